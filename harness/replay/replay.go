// Package replay recomputes each stage from the candidate's own inputs and
// reports whether its own computation is wrong.
package replay

import (
	"context"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"sync"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/rounding"
	"checkpoint12/model/parallel"
)

// Value is a tensor and how far a correct engine may be from it.
type Value struct {
	harness.Tensor

	// Bound is the rounding bound of each element: by how much it may differ for
	// no other reason than rounding. Nil is not at all.
	Bound []float32

	// Allowed, if it is not zero, is what may differ where that is more than Bound.
	Allowed harness.Tolerance

	// Coarse is how many times coarser than float32's the rounding is; 0 is once. Stored is
	// what values go through as they are stored; nil is nothing.
	Coarse float64
	Stored rounding.Rounding

	// Accepts, if set, reports for a stage of ids whether another id at flat index
	// i is correct too, because rounding decides between the two.
	Accepts func(i int, id int64) bool
}

// StepDims are the numbers of ids that a step is fed.
type StepDims struct {
	B int // rows of the batch
	T int // new ids in each
	P int // ids fed before, in earlier steps
}

// Inputs returns an input of a stage by its name in Reads; ok is false if it
// cannot be had. At a step that begins at position 0, "prev:STAGE" is the zero Value:
// before it there is nothing.
type Inputs func(name string) (v Value, ok bool)

// A Replayer computes single stages of a model correctly, from given inputs. It is safe for
// concurrent use.
type Replayer interface {
	// Reads lists the inputs of a stage: stages of the same step, "tokens" (the
	// step's ids [B,T]), "pos" (their positions [T]), and "prev:STAGE" for a stage
	// of the step before, the last that ends where this one begins. It is nil for a stage that cannot be computed.
	Reads(stage string) []string

	// Shape returns the shape of a stage in a step; nil for a stage that cannot be
	// computed.
	Shape(stage string, d StepDims) []int

	// Replay computes a stage. The result's shape follows from those of the
	// inputs; shapes that do not go together are an error. Its Bound is of the
	// rounding in this stage and of what the inputs' Bounds come to.
	Replay(step int, stage string, in Inputs) (Value, error)
}

// Options configure a replay.
type Options struct {
	Golden harness.Source // if set, lends its tokens to a candidate that has none
	Prompt int            // number of prompt tokens; 0 is that of harness.PromptLength
	Cut    harness.Cut    // of the candidate into steps; nil is the prompt at once, then one token at a time

	// Match, if set, reports whether a stage is to be judged. The others still are
	// inputs.
	Match func(step int, stage string) bool

	Bounds *harness.Bounds // if set, allows stages more than rounding

	Progress func(done, all int) // if set, called after each stage
}

// Judge judges every stage that the candidate has by the replayer's function of
// the candidate's own inputs, by step and in execution order. A stage that cannot
// be judged is a verdict; an error is a source that cannot be read, or a context
// that ended.
func Judge(
	ctx context.Context, s *harness.Schedule, candidate harness.Source, r Replayer, o Options,
) ([]harness.Replayed, error) {
	run, err := NewRun(s, candidate, r, o)
	if err != nil {
		return nil, err
	}
	return run.Judge(ctx)
}

// Judge judges every stage that the candidate has, by step and in execution
// order. Every core takes its share of the stages.
func (r *Run) Judge(ctx context.Context) ([]harness.Replayed, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	places := r.schedule.Places(r.candidate, r.o.Match)
	all := make([]harness.Replayed, len(places))
	shares := r.shares(places, runtime.GOMAXPROCS(0))
	runs := make([]*Run, len(shares))
	for i := range shares {
		runs[i] = r.alone(len(shares))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex // of what is judged
	done := 0
	parallel.For(len(shares), func(i int) {
		if err := runs[i].judge(ctx, places, shares[i], func(at int, row harness.Replayed) {
			mu.Lock()
			defer mu.Unlock()
			all[at] = row
			if done++; r.o.Progress != nil {
				r.o.Progress(done, len(places))
			}
		}); err != nil {
			cancel(err)
		}
	})
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	for _, run := range runs {
		maps.Copy(r.derived, run.derived)
	}
	return all, nil
}

// judge judges groups of places, each of one stage.
func (r *Run) judge(ctx context.Context, places []harness.Place, groups [][]int, judged func(at int, row harness.Replayed)) error {
	for _, some := range groups {
		r.together(places, some)
		for _, i := range some {
			if err := ctx.Err(); err != nil {
				return err
			}
			row, err := r.JudgeAt(places[i])
			if err != nil {
				return err
			}
			judged(i, row)
		}
	}
	return nil
}

// JudgeAt judges one place that the candidate has.
func (r *Run) JudgeAt(at harness.Place) (harness.Replayed, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	row, err := r.judgeAt(at)
	if row.Inputs == nil {
		row.Inputs = r.inputsOf([]harness.Place{at})
	}
	return row, err
}

func (r *Run) judgeAt(at harness.Place) (harness.Replayed, error) {
	row := unknown(at)
	shape, _ := r.candidate.Shape(at.Step, at.Stage)
	right, span, err := r.compute(at, shape)
	switch want := r.shape(at); {
	case r.read.err != nil:
		return row, r.read.err
	case err != nil && want != nil && !slices.Equal(want, shape):
		return Measure(at, harness.Tensor{Shape: shape}, Value{Tensor: harness.Tensor{Shape: want}}), nil
	case err != nil:
		row.Why = err.Error()
		return row, nil
	case !slices.Equal(shape, right.Shape): // it is not read, however large
		return r.measure(at, harness.Tensor{Shape: shape}, right, span), nil
	}
	got, err := r.read.get(at)
	if err != nil {
		return row, err
	}
	row = r.measure(at, got, right, span)
	if row.Verdict == harness.ReplayIntroduced {
		// An input of a wrong shape may still give the correct shape, from other places.
		if right, span, err := r.replay(at, true); err == nil {
			if other := r.measure(at, got, right, span); other.Verdict == harness.ReplayClean {
				return other, nil
			}
		}
	}
	return row, nil
}

// Against judges a tensor that somebody else computed from the candidate's inputs
// to a place by what the candidate itself has there, with the rounding bound of
// the stage. The candidate is then what is correct, such as a golden whose values
// were forced on a model under test. It must have the place.
func (r *Run) Against(at harness.Place, got harness.Tensor) (harness.Replayed, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	want, _ := r.read.get(at)
	right, span, err := r.compute(at, want.Shape)
	if err != nil {
		row := unknown(at)
		row.Why = err.Error()
		return row, r.read.err
	}
	return r.measure(at, got, Value{Tensor: want, Bound: right.Bound, Allowed: right.Allowed, Accepts: right.Accepts}, span), nil
}

// measure measures a tensor at a place by the correct value; span is what was
// computed for that.
func (r *Run) measure(at harness.Place, got harness.Tensor, right Value, span []harness.Place) harness.Replayed {
	row := Measure(at, got, right)
	row.Span, row.Inputs = nil, r.inputsOf(span)
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

// maxRelBound is the RMS of float32's rounding bound, relative to the RMS of the correct
// values, above which a replay that finds nothing wrong is inconclusive.
const maxRelBound = 0.01

// Measure compares a tensor at a place with the correct value. The verdict is
// harness.ReplayUnknown where nothing can be said, for the reason in Why.
func Measure(at harness.Place, got harness.Tensor, right Value) harness.Replayed {
	row := unknown(at)
	switch {
	case !slices.Equal(got.Shape, right.Shape):
		row.Verdict, row.Status = harness.ReplayIntroduced, harness.WrongShape
		row.Shape, row.GotShape = right.Shape, got.Shape
		row.Why = fmt.Sprintf("shape %v, want %v", got.Shape, right.Shape)
		return row
	case got.IDs() != right.IDs():
		row.Why = fmt.Sprintf("is %s, the replay gives %s", got.DType(), right.DType())
		return row
	}
	most := maxRelBound * max(right.Coarse, 1)
	var e harness.Distance
	row.Row, e = harness.CompareRounding(at.Stage, right.Tensor, got, right.Bound, right.Accepts)
	if e.Wrong > 0 && right.Allowed != (harness.Tolerance{}) {
		wide := right.widened()
		row.Row, e = harness.CompareRounding(at.Stage, right.Tensor, got, wide, right.Accepts)
		if row.Tolerance.Reason = right.Allowed.Reason; e.Wrong == 0 {
			e.SqBound = 0 // it is conclusive, as far as it was asked for
		}
	}
	row.Step, row.Verdict = at.Step, harness.ReplayUnknown
	switch {
	case e.N == 0:
		row.Why = "it is empty"
	case e.Judged == 0:
		row.Why = "it cannot be judged: its inputs are not finite"
	case e.Wrong > 0:
		row.Verdict = harness.ReplayIntroduced
	case e.SqBound > most*most*e.SqWant:
		row.Why = fmt.Sprintf("too much was computed in between: rounding alone may reach %.2g of its size",
			math.Sqrt(e.SqBound/e.SqWant))
	default:
		row.Verdict = harness.ReplayClean
	}
	if row.Verdict == harness.ReplayUnknown {
		row.Status = harness.Skipped
	}
	return row
}

// widened returns the bounds of a value that are no less than what is allowed.
func (v Value) widened() []float32 {
	most := 0.0
	for _, x := range v.F32 {
		if x := math.Abs(float64(x)); !math.IsInf(x, 0) {
			most = max(most, x) // NaN stays none
		}
	}
	wide := make([]float32, len(v.F32))
	for i := range wide {
		wide[i] = float32(v.Allowed.At(most))
		if v.Bound != nil {
			wide[i] = max(wide[i], v.Bound[i])
		}
	}
	return wide
}

// unknown returns a row of which nothing is known.
func unknown(at harness.Place) harness.Replayed {
	nan := harness.Float(math.NaN())
	return harness.Replayed{
		Row: harness.Row{
			Place: at, Status: harness.Skipped,
			MaxAbs: nan, MaxRel: nan, RMS: nan, Cosine: nan, Scale: math.NaN(),
		},
		Verdict: harness.ReplayUnknown, Span: []string{at.Stage}, Amplification: nan,
	}
}
