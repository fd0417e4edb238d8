package verify

import (
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/harness/verify/figures"
)

// judge compares what the model computed with its figures, kind by kind in the
// order of the file.
func judge(m *figures.Model, o *observed) []Finding {
	var all []Finding
	if m.LnF != nil {
		all = append(all, judgeLnF(m.LnF, o)...)
	}
	if m.Logits != nil {
		all = append(all, judgeLogits(m.Logits, o)...)
	}
	if p := m.TokenLogprobs; p != nil {
		r := ruling{kind: "token_logprobs", source: p.Source}
		r.values(11, "probs_t1", "logprobs", p.Tolerance, []int{len(p.Logprobs)}, o.logprobs, p.Logprobs)
		r.values(11, "probs_t1", "sum", p.SumTolerance, []int{1}, []float64{sum(o.logprobs)}, []float64{sum(p.Logprobs)})
		all = append(all, r.found...)
	}
	if h := m.FirstHidden; h != nil {
		r := ruling{kind: "ln_f_hello_world", source: h.Source}
		row := o.hidden.F32[h.Position*o.hidden.Shape[2]:]
		r.values(8, "ln_f", "first10", h.Tolerance, []int{len(h.First10)}, float64s(row[:len(h.First10)]), h.First10)
		all = append(all, r.found...)
	}
	if n := m.NextLogit; n != nil {
		r := ruling{kind: "next_logit", source: n.Source}
		r.values(9, "logits_last", "logit", n.Tolerance, []int{1}, []float64{float64(o.next.F32[n.Argmax])}, []float64{n.Logit})
		f := r.finding(10, "next_token", "argmax", 1)
		if o.token != n.Argmax {
			f.fail("got %d, want %d", o.token, n.Argmax)
		}
		all = append(all, r.found...)
	}
	return all
}

func judgeLnF(l *figures.LnF, o *observed) []Finding {
	r := ruling{kind: "ln_f", source: l.Source}
	c := o.lnF.Shape[2]
	var first, first4, peaks, peak, norms, l2 []float64 // each got before its want
	var channels []string
	largest := 0.0
	for b, row := range l.AbsMax {
		for t, p := range row {
			x := o.lnF.F32[(b*len(row)+t)*c:][:c] // [C]
			first, first4 = append(first, float64s(x[:4])...), append(first4, l.First4[b][t]...)
			peaks, peak = append(peaks, float64(x[p.Index])), append(peak, p.Value)
			norms, l2 = append(norms, norm(x)), append(l2, l.L2[b][t])
			largest = max(largest, math.Abs(p.Value))
		}
	}
	allowed := l.Tolerance.Allowed(largest)
	positions := []int{len(l.Tokens), len(l.Tokens[0])}
	r.within(8, "ln_f", "first4", l.Tolerance, largest, append(slices.Clone(positions), 4), first, first4)
	r.within(8, "ln_f", "absmax", l.Tolerance, largest, positions, peaks, peak)
	for b, row := range l.AbsMax {
		for t, p := range row {
			x := o.lnF.F32[(b*len(row)+t)*c:][:c]
			// Another channel may only lead by what two roundings can do.
			if i := widest(x); i < 0 || math.Abs(float64(x[i]))-math.Abs(float64(x[p.Index])) > 2*allowed {
				channels = append(channels, fmt.Sprintf("[%d %d]: got channel %d, want %d", b, t, i, p.Index))
			}
		}
	}
	r.exact(8, "ln_f", "absmax_channel", len(peak), channels)
	r.within(8, "ln_f", "l2", l.Tolerance, largest, positions, norms, l2)
	return r.found
}

// ruling gathers the findings on one kind of figure.
type ruling struct {
	kind, source string
	found        []Finding
}

// finding begins one; it passes until it is told otherwise. The pointer is good
// until the next.
func (r *ruling) finding(checkpoint int, stage, part string, elements int) *Finding {
	r.found = append(r.found, Finding{
		Checkpoint: checkpoint, Case: r.kind, Engine: Figures, Stage: stage, Figure: r.kind + "." + part,
		What: r.source, Source: r.source, Elements: elements,
	})
	return &r.found[len(r.found)-1]
}

// values is within, with the largest of these values as max|want|.
func (r *ruling) values(checkpoint int, stage, part string, t figures.Tolerance, shape []int, got, want []float64) {
	largest := 0.0
	for _, w := range want {
		largest = max(largest, math.Abs(w))
	}
	r.within(checkpoint, stage, part, t, largest, shape, got, want)
}

// within judges values by a tolerance. shape says how they are indexed.
func (r *ruling) within(checkpoint int, stage, part string, t figures.Tolerance, largest float64, shape []int, got, want []float64) {
	allowed := slices.Repeat([]float64{t.Allowed(largest)}, len(want))
	r.each(checkpoint, stage, part, shape, got, want, allowed, fmt.Sprintf("%.3g + %.3g*max|want|: %s", t.Abs, t.Rel, t.Reason))
}

// each judges values, each by a bound of its own; rule says where that is from.
func (r *ruling) each(checkpoint int, stage, part string, shape []int, got, want, allowed []float64, rule string) {
	f := r.finding(checkpoint, stage, part, len(want))
	if len(got) != len(want) {
		f.fail("%d values, want %d", len(got), len(want))
		return
	}
	off, worst := 0, 0
	for i := range want {
		share := math.Abs(got[i]-want[i]) / allowed[i]
		if !(share <= 1) { // NaN too
			off++
		}
		if math.IsNaN(share) {
			share = math.Inf(1)
		}
		if share > float64(f.Share) {
			f.Share, worst = harness.Float(share), i
		}
	}
	if off > 0 {
		share := f.Share
		f.fail("%d of %d values are off; worst at %v: got %v, want %v\n  difference %.3g absolute; %.3g allowed, %s",
			off, len(want), shapes.Index(worst, shape), got[worst], want[worst], math.Abs(got[worst]-want[worst]), allowed[worst], rule)
		f.Share = share
	}
}

// exact is a finding that fails with the first of its problems.
func (r *ruling) exact(checkpoint int, stage, part string, elements int, problems []string) *Finding {
	f := r.finding(checkpoint, stage, part, elements)
	if len(problems) > 0 {
		f.fail("%d of %d differ; first at %s", len(problems), elements, problems[0])
	}
	return f
}

func float64s(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

func sum(x []float64) (s float64) {
	for _, v := range x {
		s += v
	}
	return s
}

func norm(x []float32) float64 {
	var squares float64
	for _, v := range x {
		squares += float64(v) * float64(v)
	}
	return math.Sqrt(squares)
}

// widest is the index of the largest magnitude, -1 where there is none.
func widest(x []float32) int {
	best, at := math.Inf(-1), -1
	for i, v := range x {
		if a := math.Abs(float64(v)); a > best {
			best, at = a, i
		}
	}
	return at
}
