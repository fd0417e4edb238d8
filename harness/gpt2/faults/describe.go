package faults

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// secondFault is how many times what rounding may do is left of the error where
// another fault has a part in it.
const secondFault = 3

// describe words the matches that reproduce a row.
func (g *rowGroup) describe(e *wrongRow, matches []match) []Cause {
	var all []Cause
	for i, m := range matches {
		rest := ""
		if others := idsBut(matches, i); len(others) > 0 {
			rest += fmt.Sprintf(" (nothing here tells it from %s)", strings.Join(others, ", "))
		}
		flips := m.fault.Kind == Precision && m.leavesFlips()
		if e.bound != nil && m.left.Share > secondFault && !flips {
			left := fmt.Sprintf("%.2g times what rounding may do", m.left.Share)
			if math.IsInf(m.left.Share, 1) {
				left = "at places that rounding does not change"
			}
			rest += " (what is left is " + left + ": look for a second fault once this one is mended)"
		}
		x := g.cause(e, m, rest)
		for _, stage := range m.or {
			other := m
			other.stages = []string{stage}
			x.Or = append(x.Or, g.cause(e, other, rest))
		}
		if len(m.or) > 0 {
			x.Text += fmt.Sprintf(" (in %s it would give the same)", strings.Join(m.or, " or "))
		}
		all = append(all, x)
	}
	return all
}

// cause is a fault in the match's stages.
func (g *rowGroup) cause(e *wrongRow, m match, rest string) Cause {
	text := m.fault.Text + rest
	if m.from > 0 {
		text += " (from this step on: what the steps before put into the cache is correct)"
	}
	if len(e.Span) > 1 {
		text = "in " + strings.Join(m.stages, ", ") + ": " + text
	}
	x := Cause{Explanation: harness.Explanation{
		Step: e.Step, Stage: e.Stage, Fault: m.fault.ID, Explains: harness.Float(m.explains), Text: text, At: m.stages,
	}}
	missing := slices.DeleteFunc(slices.Clone(m.stages), func(stage string) bool {
		_, there := g.candidate.Shape(e.Step, stage)
		return there
	})
	if len(missing) > 0 {
		x.Values = func() map[harness.Place]replay.Value { return g.values(e, m, missing) }
	}
	return x
}

// values computes stages of the row's step as the match's fault makes them.
func (g *rowGroup) values(e *wrongRow, m match, stages []string) map[harness.Place]replay.Value {
	h := g.hypothesis(e, m.fault, m.stages, m.from)
	h.output(m.variant)
	all := map[harness.Place]replay.Value{}
	for _, stage := range stages {
		at := harness.Place{Step: e.Step, Stage: stage}
		shape, err := model.Shape(g.model.Config(), stage, e.dims)
		if x := h.computed[at]; x != nil && err == nil && product(shape) == len(x) {
			all[at] = replay.Value{Tensor: harness.Tensor{Shape: shape, F32: x}}
		}
	}
	return all
}

func idsBut(all []match, but int) (ids []string) {
	for i, m := range all {
		if i != but {
			ids = append(ids, m.fault.ID)
		}
	}
	return ids
}
