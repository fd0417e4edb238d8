package verify

import (
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/verify/figures"
)

// row is what the figures say of the logits at one position, and what the model
// gave there.
type row struct {
	at   []int // row of the batch, position
	got  logits
	ids  []int     // the figures' three largest, in order
	want []float64 // known logits: of ids, of 0 to 3, of V-1
	have []float64 // the model's, of the same
	lse  float64   // the figures' log-sum-exp
}

// newRow looks up position t of row b in x, the model's logits there.
func newRow(l *figures.Logits, b, t int, x logits) row {
	r := row{at: []int{b, t}, got: x, ids: l.Top3IDs[b][t], lse: l.LogSumExp[b][t]}
	r.want = slices.Concat(l.Top3[b][t], l.First4[b][t], []float64{l.Last[b][t]})
	for _, id := range append(slices.Clone(r.ids), 0, 1, 2, 3, len(x.values)-1) {
		r.have = append(r.have, float64(x.values[id]))
	}
	return r
}

// difference is the largest of the known logits.
func (r row) difference() (d float64) {
	for i := range r.want {
		d = max(d, math.Abs(r.have[i]-r.want[i]))
	}
	return d
}

func judgeLogits(l *figures.Logits, o *observed) []Finding {
	r := ruling{kind: "logits", source: l.Source}
	n := len(l.Tokens[0])
	var all, last []row
	largest, nll := 0.0, 0.0
	for b := range l.Tokens {
		for t := range n {
			p := newRow(l, b, t, o.logits[b*n+t])
			for _, w := range p.want {
				largest = max(largest, math.Abs(w))
			}
			if t+1 < n {
				nll += p.got.lse - float64(p.got.values[l.Labels[b][t+1]])
			}
			all = append(all, p)
		}
		last = append(last, newRow(l, b, n-1, o.last[b]))
	}
	nll /= float64(len(l.Tokens) * (n - 1))

	r.known(8, "logits", l.Tolerance, largest, []int{len(l.Tokens), n}, all)
	r.known(9, "logits_last", l.Tolerance, largest, []int{len(l.Tokens)}, last)
	r.ranks(l.Tolerance.Allowed(largest), all)
	r.chosen(o.chosen, last)

	var got, want []float64
	for _, p := range all {
		got, want = append(got, p.got.lse), append(want, p.lse)
	}
	r.within(11, "logits", "logsumexp", l.Tolerance, largest, []int{len(l.Tokens), n}, got, want)
	r.softmax(o.probs.F32, last)
	r.values(11, "logits", "mean_nll", l.NLLTolerance, []int{1}, []float64{nll}, []float64{l.MeanNLL})
	return r.found
}

// known judges the known logits, a finding for each list of them.
func (r *ruling) known(checkpoint int, stage string, t figures.Tolerance, largest float64, shape []int, rows []row) {
	for _, list := range []struct {
		name       string
		begin, end int
	}{{"top3", 0, 3}, {"first4", 3, 7}, {"last", 7, 8}} {
		var got, want []float64
		for _, p := range rows {
			got, want = append(got, p.have[list.begin:list.end]...), append(want, p.want[list.begin:list.end]...)
		}
		r.within(checkpoint, stage, list.name, t, largest, append(slices.Clone(shape), list.end-list.begin), got, want)
	}
}

// ranks asks whether the three largest logits are those of the figures. The first
// is exact. Of the others two may change places, or one with the fourth, which
// no figure knows, if they are as near as the roundings seen in this row can
// account for.
func (r *ruling) ranks(allowed float64, rows []row) {
	var problems []string
	certified := 0
	for _, p := range rows {
		d := p.difference()
		margin := p.want[0] - p.want[1]
		if margin > 2*d {
			certified++
		}
		for i, want := range p.ids {
			got := p.got.top[i]
			if got == want {
				continue
			}
			near := got >= 0 && math.Abs(float64(p.got.values[got])-float64(p.got.values[want])) <= 2*min(d, allowed)
			if i > 0 && near {
				continue
			}
			problem := fmt.Sprintf("%v: rank %d: got %d, want %d", p.at, i+1, got, want)
			if i == 0 && margin <= 2*d {
				problem += fmt.Sprintf(" (%s: margin %.3g, 2*max|dlogit| %.3g)", diagnose.NearTie, margin, 2*d)
			}
			problems = append(problems, problem)
		}
	}
	f := r.exact(10, "logits", "top3_ids", 3*len(rows), problems)
	f.Note = fmt.Sprintf("%d of %d choices %s", certified, len(rows), diagnose.Certified)
}

// chosen asks whether the model's own choice is the figures' most probable token.
func (r *ruling) chosen(tokens []int, last []row) {
	var problems []string
	for b, p := range last {
		if tokens[b] != p.ids[0] {
			problems = append(problems, fmt.Sprintf("[%d]: got %d, want %d", b, tokens[b], p.ids[0]))
		}
	}
	r.exact(10, "next_token", "top1_id", len(last), problems)
}

// softmax asks whether the model's own probabilities are exp(logit - logsumexp)
// of the figures: within checkpoint 11's bound and what the differences of
// logits and log-sum-exp account for, which are others' to judge.
func (r *ruling) softmax(probs []float32, last []row) {
	b := gpt2.ToleranceOf("probs_t1")
	var got, want, allowed []float64
	for i, p := range last {
		for j, id := range p.ids {
			w := math.Exp(p.want[j] - p.lse)
			off := math.Abs(p.have[j]-p.want[j]) + math.Abs(p.got.lse-p.lse)
			got, want = append(got, float64(probs[i*len(p.got.values)+id])), append(want, w)
			allowed = append(allowed, b.Abs+w*math.Expm1(off))
		}
	}
	r.each(11, "probs_t1", "top3_probs", []int{len(last), 3}, got, want, allowed,
		fmt.Sprintf("%g and what the differences of logits and log-sum-exp account for", b.Abs))
}
