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
		if again, err := g.run.Suppose(values).JudgeAt(e.Place); err == nil && again.Verdict == harness.ReplayClean {
			all = append(all, Cause{Explanation: x, Values: func() map[harness.Place]replay.Value { return values }})
		}
	}
	return all
}

// subtract returns a stage of the residual stream as it follows from a later one:
// the sum less its other part.
func (g *rowGroup) subtract(at harness.Place) (v replay.Value, ok bool) {
	sum, part := g.addedTo(at.Stage)
	if sum == "" || !g.has(at.Step, part) {
		return v, false
	}
	var s replay.Value
	if g.has(at.Step, sum) {
		t, err := g.candidate.Tensor(at.Step, sum)
		s, ok = replay.Value{Tensor: t}, err == nil
	} else {
		s, ok = g.subtract(harness.Place{Step: at.Step, Stage: sum})
	}
	p, err := g.candidate.Tensor(at.Step, part)
	if !ok || err != nil || !slices.Equal(s.Shape, p.Shape) {
		return v, false
	}
	v = replay.Value{Tensor: harness.Tensor{Shape: s.Shape, F32: make([]float32, len(s.F32))}, Bound: make([]float32, len(s.F32))}
	for i, x := range s.F32 {
		// The sum was rounded once, and this difference is once more.
		v.F32[i] = x - p.F32[i]
		v.Bound[i] = float32((math.Abs(float64(x)) + math.Abs(float64(v.F32[i]))) * unit)
		if s.Bound != nil {
			v.Bound[i] += s.Bound[i]
		}
	}
	return v, true
}

// addedTo names, for a stage of the residual stream, the sum that it is the first
// part of, and the other part; "" for any other stage.
func (g *rowGroup) addedTo(stage string) (sum, part string) {
	for _, sum := range model.StageNames(g.model.Config(), nil) {
		reads := model.Reads(g.model.Config(), sum)
		if strings.Contains(sum, ".resid_") && reads[0] == stage {
			return sum, reads[1]
		}
	}
	return "", ""
}
