package faults

import (
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// inResidual returns causes of a row that no known fault explains: an unknown fault in
// a stage of the residual stream that the candidate lacks, and which follows from a
// later one and what was added in between.
func (g *rowGroup) inResidual(e *wrongRow, x harness.Explanation) []Cause {
	var all []Cause
	for _, stage := range e.Span {
		at := harness.Place{Step: e.Step, Stage: stage}
		if _, there := g.candidate.Shape(at.Step, at.Stage); there {
			continue
		}
		v, ok := g.subtract(at)
		if !ok {
			continue
		}
		values := map[harness.Place]replay.Value{at: v}
		if again, err := g.run.With(values).JudgeAt(e.Place); err == nil && again.Verdict == harness.ReplayClean {
			all = append(all, Cause{Explanation: x, Values: func() map[harness.Place]replay.Value { return values }})
		}
	}
	return all
}

// subtract returns a stage of the residual stream as it follows from a later one:
// the sum less its other part, which does not follow from the stage itself.
func (g *rowGroup) subtract(at harness.Place) (v replay.Value, ok bool) {
	sum, part := g.sumOf(at)
	p, computed, err := g.run.Follows(part.Step, part.Stage)
	if err != nil || slices.Contains(computed, at) {
		return v, false
	}
	u := unit
	if right, err := g.run.Right(sum.Step, sum.Stage); err == nil {
		u *= max(right.Coarse, 1)
	}
	var s replay.Value
	if s.Tensor, err = g.candidate.Tensor(sum.Step, sum.Stage); err != nil || !g.has(sum) {
		s, _ = g.subtract(sum)
	}
	if !slices.Equal(s.Shape, p.Shape) {
		return v, false
	}
	v.Shape, v.F32, v.Bound = s.Shape, make([]float32, len(s.F32)), make([]float32, len(s.F32))
	for i, x := range s.F32 {
		// The sum was rounded once, and this difference is once more.
		v.F32[i] = x - p.F32[i]
		v.Bound[i] = float32((math.Abs(float64(x)) + math.Abs(float64(v.F32[i]))) * u)
		for _, from := range [][]float32{s.Bound, p.Bound} {
			if from != nil {
				v.Bound[i] += from[i]
			}
		}
	}
	return v, true
}

// sumOf returns, for a stage of the residual stream, the sum that it is the first part
// of, and the other part; no places for any other stage.
func (g *rowGroup) sumOf(at harness.Place) (sum, part harness.Place) {
	for _, sum := range model.StageNames(g.model.Config(), nil) {
		reads := model.Reads(g.model.Config(), sum)
		if strings.Contains(sum, ".resid_") && reads[0] == at.Stage {
			return harness.Place{Step: at.Step, Stage: sum}, harness.Place{Step: at.Step, Stage: reads[1]}
		}
	}
	return sum, part
}
