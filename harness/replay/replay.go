// Package replay recomputes each stage from the candidate's own inputs and
// reports whether its own computation is wrong.
package replay

import (
	"context"

	"checkpoint12/harness"
)

// Value is a tensor and how far a correct engine may be from it.
type Value struct {
	harness.Tensor

	// Bound is the rounding bound of each element: by how much it may differ for
	// no other reason than rounding. Nil is not at all.
	Bound []float32

	// Accepts, if set, reports for a stage of ids whether another id at flat index
	// i is right too, because rounding decides between the two.
	Accepts func(i int, id int64) bool
}

// StepDims are the numbers of ids that a step is fed.
type StepDims struct {
	B int // rows of the batch
	T int // new ids in each
	P int // ids fed before, in earlier steps
}

// Inputs returns an input of a stage by its name in Reads; ok is false if it
// cannot be had. At step 0, "prev:STAGE" is the zero Value: before the first step
// there is nothing.
type Inputs func(name string) (v Value, ok bool)

// A Replayer computes single stages of a model correctly, from given inputs.
type Replayer interface {
	// Reads lists the inputs of a stage: stages of the same step, "tokens" (the
	// step's ids [B,T]), "pos" (their positions [T]), and "prev:STAGE" for a stage
	// of the step before. It is nil for a stage that cannot be computed.
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

	// Match, if set, reports whether a stage is to be judged. The others still are
	// inputs.
	Match func(step int, stage string) bool

	// Progress, if set, is called after each stage.
	Progress func(done, all int)
}

// Judge judges every stage that the candidate has by the replayer's function of
// the candidate's own inputs, by step and in execution order. A stage that cannot
// be judged is a verdict; an error is a source that cannot be read, or a context
// that ended.
func Judge(ctx context.Context, s *harness.Schedule, candidate harness.Source, r Replayer, o Options) ([]harness.Replayed, error) {
	run, err := NewRun(s, candidate, r, o)
	if err != nil {
		return nil, err
	}
	return run.Judge(ctx)
}
