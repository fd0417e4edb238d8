package replay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/shapes"
)

// Judge judges every stage that the candidate has, by step and in execution
// order.
func (r *Run) Judge(ctx context.Context) ([]harness.Replayed, error) {
	places := r.schedule.Places(r.candidate, r.o.Match)
	all := make([]harness.Replayed, 0, len(places))
	for i, at := range places {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		row, err := r.JudgeAt(at)
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

// JudgeAt judges one place that the candidate has.
func (r *Run) JudgeAt(at harness.Place) (harness.Replayed, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	row := unknown(at)
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
			row.Verdict, row.Status = harness.ReplayIntroduced, harness.Shape
			row.Why = fmt.Sprintf("shape %v, want %v", got.Shape, shape)
			return row, nil
		}
		row.Why = err.Error()
		return row, nil
	}
	row.Span, row.Earlier = r.spanOf(at, span)
	measureReplayed(&row, got, right)
	if row.Verdict != harness.ReplayIntroduced {
		return row, nil
	}
	// An input of a wrong shape may still give the right one, of other places.
	if r.anyMisshapen(at) {
		if right, span, err := r.replay(at, true); err == nil {
			other := unknown(at)
			other.Span, other.Earlier = r.spanOf(at, span)
			if measureReplayed(&other, got, right); other.Verdict == harness.ReplayClean {
				return other, nil
			}
		}
	}
	return row, nil
}

// anyMisshapen says whether the candidate has an input of the place in another
// shape than it should be.
func (r *Run) anyMisshapen(at harness.Place) bool {
	return slices.ContainsFunc(r.replayer.Reads(at.Stage), func(name string) bool {
		in := harness.InputPlace(at.Step, name)
		shape, ok := r.candidate.Shape(in.Step, in.Stage)
		return ok && r.misshapen(in, shape)
	})
}

// unknown is a row of which nothing is known.
func unknown(at harness.Place) harness.Replayed {
	nan := harness.Float(math.NaN())
	return harness.Replayed{
		Place: at, Verdict: harness.ReplayUnknown, Status: harness.Skipped, Span: []string{at.Stage},
		MaxAbs: nan, Bound: nan, Share: nan, RMS: nan, Amplification: nan,
	}
}

// spanOf splits the places computed into stage names in execution order, the
// judged one last, and those of earlier steps.
func (r *Run) spanOf(at harness.Place, span []harness.Place) (names []string, earlier []harness.Place) {
	for _, p := range span {
		if p.Step != at.Step {
			earlier = append(earlier, p)
		}
		if !slices.Contains(names, p.Stage) {
			names = append(names, p.Stage)
		}
	}
	return r.schedule.Sorted(names), earlier
}

// Measure judges a tensor at a place by what is right there.
func Measure(at harness.Place, got harness.Tensor, right Value) harness.Replayed {
	row := unknown(at)
	measureReplayed(&row, got, right)
	return row
}

// measureReplayed judges what the candidate has by what is right.
func measureReplayed(row *harness.Replayed, got harness.Tensor, right Value) {
	switch {
	case !slices.Equal(got.Shape, right.Shape):
		row.Verdict, row.Status = harness.ReplayIntroduced, harness.Shape
		row.Why = fmt.Sprintf("shape %v, want %v", got.Shape, right.Shape)
		return
	case got.IDs() != right.IDs():
		row.Why = fmt.Sprintf("is %s, the replay gives %s", got.DType(), right.DType())
		return
	}
	row.Elements = got.Elements()
	worst, at, judged := -1.0, 0, 0
	odd := -1 // the first place where only one is finite, or the two are not the same infinity
	var sqErr, sqBound, sqRight float64
	for i := range row.Elements {
		g, w, bound := got.At(i), right.At(i), 0.0
		judged++
		if right.Bound != nil {
			bound = float64(right.Bound[i])
		}
		switch d := math.Abs(g - w); {
		case g == w:
			if math.IsInf(w, 0) {
				judged-- // a masked place
				break
			}
			sqBound, sqRight = sqBound+bound*bound, sqRight+w*w
		case right.Accepts != nil && right.Accepts(i, got.I64[i]):
		case math.IsNaN(bound) && (!Finite(g) || Finite(w)), math.IsNaN(w) && !Finite(g):
			judged-- // inputs that are not finite make this what it is
		case !Finite(d):
			row.Mismatched++
			if odd < 0 {
				odd = i
			}
		default:
			if !(d <= bound) {
				row.Mismatched++
			}
			sqErr, sqBound, sqRight = sqErr+d*d, sqBound+bound*bound, sqRight+w*w
			if share := d / bound; share > worst { // bound 0: +Inf
				worst, at = share, i
			}
		}
	}
	if row.Elements == 0 {
		row.Why = "there is nothing in it"
		return
	}
	if judged == 0 {
		row.Why = "nothing of it can be judged: what it reads is not finite"
		return
	}
	row.MaxAbs, row.Share, row.RMS = harness.Float(math.Abs(got.At(at)-right.At(at))), harness.Float(max(worst, 0)), 0
	if row.Bound = 0; right.Bound != nil {
		row.Bound = harness.Float(right.Bound[at])
	}
	if worst < 0 {
		row.MaxAbs = 0
	}
	if sqErr > 0 {
		row.RMS = harness.Float(math.Sqrt(sqErr / sqBound))
	}
	row.Verdict, row.Status = harness.ReplayClean, harness.Pass
	if row.Mismatched > 0 {
		row.Verdict, row.Status = harness.ReplayIntroduced, harness.Fail
	}
	if odd >= 0 {
		at, row.Status, row.Share = odd, harness.Nonfinite, harness.Float(math.Inf(1))
		row.MaxAbs = harness.Float(math.Abs(got.At(at) - right.At(at)))
	}
	row.Worst = &harness.Worst{Index: shapes.Index(at, got.Shape), Got: harness.Float(got.At(at)), Want: harness.Float(right.At(at))}
	if row.Verdict == harness.ReplayClean && sqBound > maxRelBound*maxRelBound*sqRight {
		row.Verdict, row.Status = harness.ReplayUnknown, harness.Skipped
		row.Why = fmt.Sprintf("too much was computed in between: rounding alone may move it by %.2g of its size", math.Sqrt(sqBound/sqRight))
	}
}

// maxRelBound is the part of a tensor's size, both as root mean squares, from which
// on its bound says nothing any more.
const maxRelBound = 0.01

func Finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// Against judges a tensor that somebody else computed from the candidate's inputs
// to a place by what the candidate itself has there, as far apart as rounding may
// bring two right engines. The candidate is then what is right, such as a golden
// whose values were forced on a model under test. The candidate must have the
// place.
func (r *Run) Against(at harness.Place, got harness.Tensor) (harness.Replayed, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	row := unknown(at)
	want, err := r.read.get(at)
	if err != nil {
		return row, err
	}
	right, span, err := r.compute(at, want.Shape)
	if unreadable := new(readError); errors.As(err, &unreadable) {
		return row, err
	}
	if err != nil {
		row.Why = err.Error()
		return row, nil
	}
	row.Span, row.Earlier = r.spanOf(at, span)
	measureReplayed(&row, got, Value{Tensor: want, Bound: right.Bound, Accepts: right.Accepts})
	return row, nil
}
