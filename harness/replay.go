package harness

import "context"

// Value is a tensor and how far off a right engine may be from it.
type Value struct {
	Tensor

	// Bound is, for each element, by how much the value may differ for no other
	// reason than rounding; nil means not at all.
	Bound []float32

	// Accepts, if set, says of a stage of ids whether another id at flat index i
	// is right too, because rounding decides between the two.
	Accepts func(i int, id int64) bool
}

// Fed says how many ids a step is fed.
type Fed struct {
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
	Shape(stage string, f Fed) []int

	// Replay computes a stage. The result's shape follows from the inputs'
	// shapes; inputs whose shapes do not go together are an error. Its Bound is
	// what rounding may do in this stage, and what the inputs' Bounds become.
	Replay(step int, stage string, in Inputs) (Value, error)
}

// The verdicts of a replay.
const (
	ReplayIntroduced = "introduced" // the right function of the candidate's inputs does not give its output
	ReplayClean      = "clean"      // it does: what is wrong with the output came in with the inputs
	ReplayUnknown    = "unknown"    // it cannot be said, for the reason in Why
)

// Replayed is what the replay of one stage of one step says.
type Replayed struct {
	Place

	// Verdict is ReplayIntroduced, ReplayClean or ReplayUnknown.
	Verdict string `json:"verdict"`

	// Span lists the stages that were computed to judge this one, in execution
	// order; this one is the last. It has more than one where the candidate lacks
	// inputs. Earlier lists those of them that belong to earlier steps; their
	// names are in Span too.
	Span    []string `json:"span"`
	Earlier []Place  `json:"earlier,omitempty"`

	// Status compares the candidate with the replayed value: Pass, Fail, Shape or
	// Nonfinite; Skipped where Verdict is ReplayUnknown.
	Status Status `json:"status"`

	// MaxAbs is the error at the place with the largest share of its bound, and
	// Bound the bound there. Share is MaxAbs / Bound: above 1 is no rounding.
	MaxAbs Float `json:"max_abs"`
	Bound  Float `json:"bound"`
	Share  Float `json:"share"`

	// RMS is the root mean square of the error over that of the bound.
	RMS Float `json:"rms"`

	Mismatched int    `json:"mismatched"` // places beyond their bound
	Elements   int    `json:"elements"`
	Worst      *Worst `json:"worst"` // the place of MaxAbs; Want is the replayed value

	// Amplification is the relative error against the golden at this stage over
	// the largest of what it reads, as [Report.AddReplay] finds it; NaN where one
	// of them is not known, or there is no error at the inputs.
	Amplification Float `json:"amplification"`

	// Why says why the verdict is unknown, or what about a shape is wrong.
	Why string `json:"why,omitempty"`
}

// ReplayOptions says what a replay starts from.
type ReplayOptions struct {
	// Golden, if set, lends its tokens to a candidate that has none.
	Golden Source

	// Prompt is the number of prompt tokens, where the caller knows it; 0 takes
	// it from a manifest, or from the lengths of tokens and steps.
	Prompt int

	// Match, if set, leaves out what it declines. Left-out stages still are
	// inputs of others.
	Match func(step int, stage string) bool

	// Progress, if set, is called after each stage with how many are done of all.
	Progress func(done, all int)
}

// Replay judges every stage of the candidate by the right function of the
// candidate's own inputs to it, and returns one Replayed for each stage it has,
// by step and in execution order. An error is a source that cannot be read, or
// a context that ended; a stage that cannot be judged is a verdict.
func Replay(ctx context.Context, s *Schedule, candidate Source, r Replayer, o ReplayOptions) ([]Replayed, error) {
	run, err := NewRerun(s, candidate, r, o)
	if err != nil {
		return nil, err
	}
	return run.Judge(ctx)
}
