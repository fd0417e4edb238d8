package verify

import (
	"cmp"
	"fmt"
	"math"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/verify/figures"
	"checkpoint12/model"
)

// judgeFigures compares what the model computed with the figures.
func (s *Suite) judgeFigures(read []reading) []Finding {
	found := []Finding{}
	for i := range read {
		r := &read[i]
		f := figureFinding(r.Figure, s.checkpointOf(r.Figure), r.Stage, len(r.Want.Values))
		if r.Reduce.Indices() {
			f = r.ranks(f, read)
		} else {
			f = compareFigure(f, r.Figure, r.got, func(k int) float64 { return r.accounted(read, k) })
		}
		if f.Failed {
			f.Closer = s.figureCloser(r.Figure)
		}
		found = append(found, f)
	}
	return found
}

// checkpointOf returns the checkpoint that a figure belongs to.
func (s *Suite) checkpointOf(f *figures.Figure) int {
	switch f.Reduce {
	case figures.Top:
		return 10
	case figures.LogSumExp, figures.NLL:
		return 11
	}
	st, _ := s.schedule.Stage(f.Stage)
	return st.Checkpoint
}

// figureFinding returns a passing finding of a figure.
func figureFinding(f *figures.Figure, checkpoint int, stage string, elements int) Finding {
	return Finding{
		Checkpoint: checkpoint, Case: f.Kind(), Engine: Figures, Stage: stage, Figure: f.Name,
		What: f.Source, Source: f.Source, Elements: elements,
	}
}

// off returns the largest difference from the figures of a stage of the run, by a reduce,
// among the elements that match.
func (r *reading) off(
	read []reading, stage string, reduce figures.Reduce, match func(o *reading, at element) bool,
) (off float64) {
	for i := range read {
		o := &read[i]
		if o.run != r.run || o.Stage != stage || o.Reduce != reduce || len(o.got) != len(o.Want.Values) {
			continue
		}
		for k, want := range o.Want.Values {
			if match(o, o.at[k]) {
				off = max(off, math.Abs(o.got[k]-want))
			}
		}
	}
	return off
}

// accounted returns how much the differences of its logit and of the log-sum-exp move a
// probability at temperature 1, which is no fault of its own.
func (r *reading) accounted(read []reading, k int) float64 {
	if st, _ := model.ParseStage(r.Stage); st.Temperature != 1 || r.Reduce != figures.Value {
		return 0
	}
	logit := r.off(read, "logits_last", figures.Value, func(_ *reading, at element) bool { return at == r.at[k] })
	sum := r.off(read, "logits", figures.LogSumExp, func(o *reading, at element) bool {
		return at.row == (r.at[k].row+1)*len(o.rows)/len(r.rows)-1 // its last position
	})
	return r.Want.Values[k] * math.Expm1(logit+sum)
}

// compareFigure judges values by a figure's tolerance plus more(k) for each.
func compareFigure(f Finding, figure *figures.Figure, got []float64, more func(k int) float64) Finding {
	want, wrong, worst := figure.Want.Values, 0, 0
	if len(got) != len(want) {
		return f.failing("%d values, want %d", len(got), len(want))
	}
	share, allowed := 0.0, 0.0 // of the worst
	for k := range want {
		a := figure.Allowed(want[k]) + more(k)
		s := math.Abs(got[k]-want[k]) / a
		switch {
		case got[k] == want[k]:
			continue
		case math.IsNaN(s):
			s = math.Inf(1)
		}
		if s > 1 {
			wrong++
		}
		if s > share {
			share, allowed, worst = s, a, k
		}
	}
	if wrong > 0 {
		f = f.failing("%d of %s wrong; worst at %v: got %v, want %v; difference %.3g absolute; %.3g allowed: %s",
			wrong, words.Count(len(want), "value"), shapes.Index(worst, figure.Want.Shape), got[worst], want[worst],
			math.Abs(got[worst]-want[worst]), allowed, cmp.Or(figure.Reason, "exact"))
	}
	f.Share = harness.Float(share)
	return f
}

// ranks judges the largest elements of each row. The first of Top, which is chosen, is
// exact; others may change places if the differences seen in the row can do that.
func (r *reading) ranks(f Finding, read []reading) Finding {
	ids, certified, wrong, first := r.Want.IDs(), 0, 0, ""
	n := len(ids) / len(r.rows)
	if n == 0 || n*len(r.rows) != len(ids) {
		return f.failing("%d rows, want indices of each, not %d", len(r.rows), len(ids))
	}
	for i, order := range r.order {
		off := r.off(read, r.Stage, figures.Value, func(_ *reading, at element) bool { return at.row == i })
		apart := func(a, b int) float64 { // NaN where one is no element
			of := elements(r.rows[i], []int{max(a, 0), b})
			return math.Abs(of[0] - of[1])
		}
		if order[1] >= 0 && apart(order[0], order[1]) > 2*off {
			certified++
		}
		for k, want := range ids[i*n : (i+1)*n] {
			got := order[k]
			near := got >= 0 && apart(got, want) <= 2*min(off, r.Allowed(0))
			if got == want || near && (k > 0 || r.Reduce == figures.AbsMax) {
				continue
			}
			if wrong++; wrong > 1 {
				continue
			}
			first = fmt.Sprintf("%v: got %d, want %d", shapes.Index(i*n+k, r.Want.Shape), got, want)
			if near {
				first += fmt.Sprintf(" (%s: margin %.3g, 2*max|dlogit| %.3g)",
					diagnose.NearTie, apart(got, want), 2*off)
			}
		}
	}
	if wrong > 0 {
		f = f.failing("%d of %d wrong; first at %s", wrong, len(ids), first)
	}
	if r.Reduce == figures.Top {
		f.Note = fmt.Sprintf("%d of %d choices %s", certified, len(r.rows), diagnose.Certified)
	}
	return f
}
