package harness

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Judge judges every stage that the candidate has, by step and in execution
// order.
func (r *Rerun) Judge(ctx context.Context) ([]Replayed, error) {
	places := placesOf(r.schedule, r.candidate, r.o.Match)
	all := make([]Replayed, 0, len(places))
	for i, at := range places {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		row, err := r.judge(at)
		if err != nil {
			return nil, err
		}
		all = append(all, row)
		if r.o.Progress != nil {
			r.o.Progress(i+1, len(places))
		}
	}
	return all, nil
}

// judge judges one place that the candidate has.
func (r *Rerun) judge(at Place) (Replayed, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	nan := Float(math.NaN())
	row := Replayed{
		Place: at, Verdict: ReplayUnknown, Status: Skipped, Span: []string{at.Stage},
		MaxAbs: nan, Bound: nan, Share: nan, RMS: nan, Amplification: nan,
	}
	got, err := r.read.get(at)
	if err != nil {
		return row, err
	}
	right, span, err := r.compute(at, got.Shape)
	if unreadable := new(readError); errors.As(err, &unreadable) {
		return row, err
	}
	if err != nil {
		if shape := r.shape(at); shape != nil && !slices.Equal(shape, got.Shape) {
			row.Verdict, row.Status = ReplayIntroduced, Shape
			row.Why = fmt.Sprintf("shape %v, want %v", got.Shape, shape)
			return row, nil
		}
		row.Why = err.Error()
		return row, nil
	}
	row.Span, row.Earlier = r.spanOf(at, span)
	row.measure(got, right)
	row.Amplification, err = r.amplification(at)
	return row, err
}

// spanOf splits the places computed into stage names in execution order, the
// judged one last, and those of earlier steps.
func (r *Rerun) spanOf(at Place, span []Place) (names []string, earlier []Place) {
	for _, p := range span {
		if p.Step != at.Step {
			earlier = append(earlier, p)
		}
		if !slices.Contains(names, p.Stage) {
			names = append(names, p.Stage)
		}
	}
	return r.schedule.sorted(names), earlier
}

// measure judges what the candidate has by what is right.
func (row *Replayed) measure(got Tensor, right Value) {
	switch {
	case !slices.Equal(got.Shape, right.Shape):
		row.Verdict, row.Status = ReplayIntroduced, Shape
		row.Why = fmt.Sprintf("shape %v, want %v", got.Shape, right.Shape)
		return
	case got.IDs() != right.IDs():
		row.Why = fmt.Sprintf("is %s, the replay gives %s", got.DType(), right.DType())
		return
	}
	row.Elements = got.Elements()
	worst, at := -1.0, 0
	odd := -1 // the first place where only one is finite, or the two are not the same infinity
	var sqErr, sqBound float64
	for i := range row.Elements {
		g, w := got.At(i), right.At(i)
		if g == w || math.IsNaN(g) && math.IsNaN(w) {
			if right.Bound != nil && !math.IsInf(w, 0) {
				sqBound += sq(float64(right.Bound[i]))
			}
			continue
		}
		if got.IDs() && right.Accepts != nil && right.Accepts(i, got.I64[i]) {
			continue
		}
		d, bound := math.Abs(g-w), 0.0
		if right.Bound != nil {
			bound = float64(right.Bound[i])
		}
		if math.IsNaN(d) || math.IsInf(d, 0) {
			row.Mismatched++
			if odd < 0 {
				odd = i
			}
			continue
		}
		if !(d <= bound) {
			row.Mismatched++
		}
		sqErr, sqBound = sqErr+d*d, sqBound+bound*bound
		if share := d / bound; share > worst { // bound 0: +Inf
			worst, at = share, i
		}
	}
	row.MaxAbs, row.Bound, row.Share, row.RMS = 0, 0, Float(max(worst, 0)), 0
	if sqErr > 0 {
		row.RMS = Float(math.Sqrt(sqErr / sqBound))
	}
	if worst < 0 && right.Bound != nil && row.Elements > 0 {
		row.Bound = Float(right.Bound[at])
	}
	if worst >= 0 {
		row.MaxAbs = Float(math.Abs(got.At(at) - right.At(at)))
		if right.Bound != nil {
			row.Bound = Float(right.Bound[at])
		}
	}
	row.Verdict, row.Status = ReplayClean, Pass
	if row.Mismatched > 0 {
		row.Verdict, row.Status = ReplayIntroduced, Fail
	}
	if odd >= 0 {
		at, row.Status, row.Share = odd, Nonfinite, Float(math.Inf(1))
		row.MaxAbs = Float(math.Abs(got.At(at) - right.At(at)))
	}
	if row.Elements > 0 {
		row.Worst = &Worst{Index: Unravel(at, got.Shape), Got: Float(got.At(at)), Want: Float(right.At(at))}
	}
}

func sq(x float64) float64 { return x * x }

// amplification is the relative error of a place against the golden over the
// largest of what it reads.
func (r *Rerun) amplification(at Place) (Float, error) {
	return Float(math.NaN()), nil
}
