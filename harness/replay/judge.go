package replay

import (
	"context"
	"slices"

	"checkpoint12/harness"
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
	switch shape := r.shape(at); {
	case isReadError(err):
		return row, err
	case err != nil && shape != nil && !slices.Equal(shape, got.Shape):
		return Measure(at, got, Value{Tensor: harness.Tensor{Shape: shape}}), nil
	case err != nil:
		row.Why = err.Error()
		return row, nil
	}
	row = r.measure(at, got, right, span)
	if row.Verdict != harness.ReplayIntroduced || !r.anyMisshapen(at) {
		return row, nil
	}
	// An input of a wrong shape may still give the right shape, from other places.
	if right, span, err := r.replay(at, true); err == nil {
		if other := r.measure(at, got, right, span); other.Verdict == harness.ReplayClean {
			return other, nil
		}
	}
	return row, nil
}

// Against judges a tensor that somebody else computed from the candidate's inputs
// to a place by what the candidate itself has there, with the rounding bound of
// the stage. The candidate is then what is right, such as a golden whose values
// were forced on a model under test. It must have the place.
func (r *Run) Against(at harness.Place, got harness.Tensor) (harness.Replayed, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	row := unknown(at)
	want, err := r.read.get(at)
	if err != nil {
		return row, err
	}
	right, span, err := r.compute(at, want.Shape)
	switch {
	case isReadError(err):
		return row, err
	case err != nil:
		row.Why = err.Error()
		return row, nil
	}
	return r.measure(at, got, Value{Tensor: want, Bound: right.Bound, Accepts: right.Accepts}, span), nil
}

// measure measures a tensor at a place by the right value; span is what was
// computed for that.
func (r *Run) measure(at harness.Place, got harness.Tensor, right Value, span []harness.Place) harness.Replayed {
	row := Measure(at, got, right)
	row.Span = nil
	for _, p := range span {
		if p.Step != at.Step {
			row.Earlier = append(row.Earlier, p)
		}
		if !slices.Contains(row.Span, p.Stage) {
			row.Span = append(row.Span, p.Stage)
		}
	}
	row.Span = r.schedule.Sorted(row.Span)
	return row
}

// anyMisshapen reports whether the candidate has an input of the place in another
// shape than it should have.
func (r *Run) anyMisshapen(at harness.Place) bool {
	return slices.ContainsFunc(r.replayer.Reads(at.Stage), func(name string) bool {
		in := harness.InputPlace(at.Step, name)
		shape, ok := r.candidate.Shape(in.Step, in.Stage)
		return ok && r.misshapen(in, shape)
	})
}
