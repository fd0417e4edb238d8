package replay

import (
	"context"

	"checkpoint12/harness"
)

// Value is a tensor and how far off a right engine may be from it.
type Value struct {
	harness.Tensor

	// Bound is, for each element, by how much the value may differ for no other
	// reason than rounding; nil means not at all.
	Bound []float32

	// Accepts, if set, says of a stage of ids whether another id at flat index i
	// is right too, because rounding decides between the two.
	Accepts func(i int, id int64) bool
}

// StepDims are the numbers of ids that a step is fed.
type StepDims struct {
	B int // rows of the batch
	T int // new ids in each
	P int // ids fed before, in earlier steps
}

// Inputs gives what a stage is computed from, by the names that Reads lists; ok
// is false for what cannot be had. At step 0 a name "prev:STAGE" is there and is
// the zero Value: before the first step there is nothing.
type Inputs func(name string) (v Value, ok bool)

// A Replayer computes any single stage of a model the right way, from inputs
// that somebody else supplies.
type Replayer interface {
	// Reads lists what a stage is computed from: stages of the same step,
	// "tokens" (the step's ids [B,T]), "pos" (their positions [T]), and
	// "prev:STAGE" for a stage of the step before. Nil is a stage that this
	// Replayer cannot compute.
	Reads(stage string) []string

	// Shape is the shape that a stage has in a step that feeds each of B rows T
	// ids after P; nil is a stage that this Replayer cannot compute.
	Shape(stage string, f StepDims) []int

	// Replay computes a stage. The result's shape follows from the inputs'
	// shapes; inputs whose shapes do not go together are an error. Its Bound is
	// what rounding may do in this stage, and what the inputs' Bounds become.
	Replay(step int, stage string, in Inputs) (Value, error)
}

// Options says what a replay starts from.
type Options struct {
	// Golden, if set, lends its tokens to a candidate that has none.
	Golden harness.Source

	// Prompt is the number of prompt tokens, where the caller knows it; 0 takes
	// it from a manifest, or from the lengths of tokens and steps.
	Prompt int

	// Match, if set, leaves out what it declines. Left-out stages still are
	// inputs of others.
	Match func(step int, stage string) bool

	// Progress, if set, is called after each stage with how many are done of all.
	Progress func(done, all int)
}

// Judge judges every stage of the candidate by the right function of the
// candidate's own inputs to it, and returns one Replayed for each stage it has,
// by step and in execution order. An error is a source that cannot be read, or
// a context that ended; a stage that cannot be judged is a verdict.
func Judge(ctx context.Context, s *harness.Schedule, candidate harness.Source, r Replayer, o Options) ([]harness.Replayed, error) {
	run, err := NewRun(s, candidate, r, o)
	if err != nil {
		return nil, err
	}
	return run.Judge(ctx)
}
