package harness

import (
	"math"
	"slices"
)

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

	Verdict string `json:"verdict"` // ReplayIntroduced, ReplayClean or ReplayUnknown

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
	// the largest of what it reads; NaN where one is not known or there is none.
	Amplification Float `json:"amplification"`

	Why string `json:"why,omitempty"` // of an unknown verdict, or of a wrong shape
}

// The origins of a row's error.
const (
	OriginIntroduced = "introduced" // the stage's own computation is wrong
	OriginInherited  = "inherited"  // outside its bound of the golden, but right for its inputs
	OriginUnknown    = "unknown"    // what it should be for its inputs cannot be said
)

// AddReplay puts what a replay found into the report: Introduced, each row's
// Origin, and how each stage amplifies the error of what it reads. reads is
// Replayer.Reads.
func (r *Report) AddReplay(rows []Replayed, reads func(stage string) []string) {
	r.Replayed = slices.Clone(rows)
	r.Introduced = []Introduced{}
	at := make(map[Place]*Row, len(r.Stages))
	for i := range r.Stages {
		at[r.Stages[i].Place] = &r.Stages[i]
	}
	for i := range r.Replayed {
		p := &r.Replayed[i]
		p.Amplification = amplification(*p, at, reads)
		row := at[p.Place]
		if row == nil {
			row = new(Row) // a stage that the golden lacks
		}
		switch {
		case p.Verdict == ReplayIntroduced:
			r.Introduced = append(r.Introduced, Introduced{p.Step, p.Stage, p.Span})
			row.Origin = OriginIntroduced
		case p.Verdict == ReplayUnknown:
			row.Origin = OriginUnknown
		case row.Status.Diverges() && !row.FailsOwnCheck():
			row.Origin = OriginInherited
		}
	}
	r.Judge()
}

// amplification is the relative error of a place over the largest of what was
// read to compute it; NaN where one is not known, nothing was wrong there, or the
// stage is exact, such as ids, which are right or wrong and never off by a part.
func amplification(p Replayed, at map[Place]*Row, reads func(string) []string) Float {
	out, most := at[p.Place], 0.0
	if out == nil || !(out.MaxRel >= 0) || out.Tolerance.Abs == 0 && out.Tolerance.Rel == 0 {
		return Float(math.NaN())
	}
	for _, stage := range p.Span {
		for _, name := range reads(stage) {
			if row := at[InputPlace(p.Step, name)]; row != nil && !slices.Contains(p.Span, name) && row.MaxRel >= 0 {
				most = max(most, float64(row.MaxRel))
			}
		}
	}
	if most == 0 || math.IsInf(most, 1) {
		return Float(math.NaN())
	}
	return out.MaxRel / Float(most)
}
