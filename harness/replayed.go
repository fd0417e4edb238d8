package harness

// The verdicts of a replay.
const (
	ReplayIntroduced = "introduced" // the right function of the candidate's inputs does not give its output
	ReplayClean      = "clean"      // it does: what is wrong with the output came in with the inputs
	ReplayUnknown    = "unknown"    // it cannot be said, for the reason in Why
)

// Replayed is the result of replaying one stage of one step.
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

	// MaxAbs is the error at the place where it is largest relative to its rounding bound,
	// and Bound the bound there. Share is MaxAbs / Bound: above 1 is no rounding.
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

	// Why is the reason of an unknown verdict, or of a wrong shape.
	Why string `json:"why,omitempty"`
}
