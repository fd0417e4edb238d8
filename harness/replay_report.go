package harness

import (
	"math"
	"slices"
)

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
		switch {
		case p.Verdict == ReplayIntroduced:
			r.Introduced = append(r.Introduced, Introduced{p.Step, p.Stage, p.Span})
			setOrigin(row, OriginIntroduced)
		case p.Verdict == ReplayUnknown:
			setOrigin(row, OriginUnknown)
		case row != nil && row.Status.Diverges() && !row.FailsOwnCheck():
			setOrigin(row, OriginInherited)
		}
	}
	r.Judge()
}

func setOrigin(row *Row, origin string) {
	if row != nil {
		row.Origin = origin
	}
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
