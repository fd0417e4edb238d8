package harness

// The verdicts of a replay.
const (
	ReplayIntroduced = "introduced" // the right function of the candidate's inputs does not give its output
	ReplayClean      = "clean"      // it does: what is wrong with the output came in with the inputs
	ReplayUnknown    = "unknown"    // it cannot be said, for the reason in Why
)

// Replayed is the result of replaying one stage of one step: a row whose golden is
// the replayed value and whose tolerance is the rounding bound. Its Status is Skipped
// where the Verdict is ReplayUnknown.
type Replayed struct {
	Row

	// Verdict is ReplayIntroduced, ReplayClean or ReplayUnknown.
	Verdict string `json:"verdict"`

	// Span lists the stages that were computed to judge this one, in execution
	// order; this one is the last. It has more than one where the candidate lacks
	// inputs. Earlier lists those of them that belong to earlier steps; their
	// names are in Span too.
	Span    []string `json:"span"`
	Earlier []Place  `json:"earlier,omitempty"`

	// Bound is the rounding bound at Worst, where the error is largest relative to
	// its bound, and Share is MaxAbs / Bound: above 1 is no rounding.
	Bound Float `json:"bound"`
	Share Float `json:"share"`

	// Amplification is the relative error against the golden at this stage over
	// the largest of what it reads, as [Report.AddReplay] finds it; NaN where one
	// of them is not known, or there is no error at the inputs.
	Amplification Float `json:"amplification"`

	// Why is the reason of an unknown verdict, or of a wrong shape.
	Why string `json:"why,omitempty"`
}
