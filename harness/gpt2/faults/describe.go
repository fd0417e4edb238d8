package faults

import (
	"fmt"
	"math"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/model"
)

// secondFault is how many times what rounding may do is left of the error where
// another fault has a part in it.
const secondFault = 3

// describe words the matches that reproduce a row.
func (g *rowGroup) describe(e *wrongRow, matches []match) []harness.Explanation {
	var all []harness.Explanation
	for i, m := range matches {
		rest := ""
		if others := idsBut(matches, i); len(others) > 0 {
			rest += fmt.Sprintf(" (nothing here tells it from %s)", strings.Join(others, ", "))
		}
		if share := m.left.share; e.bound != nil && math.IsInf(share, 1) {
			rest += " (something is left at places that rounding does not change: look for a second fault once this one is mended)"
		} else if e.bound != nil && share > secondFault {
			rest += fmt.Sprintf(" (what is left is %.2g times what rounding may do: look for a second fault once this one is mended)", share)
		}
		x := g.explanation(e, m, rest)
		for _, stage := range m.or {
			other := m
			other.stages = []string{stage}
			x.Or = append(x.Or, g.explanation(e, other, rest))
		}
		if len(m.or) > 0 {
			x.Text += fmt.Sprintf(" (in %s it would give the same)", strings.Join(m.or, " or "))
		}
		all = append(all, x)
	}
	return all
}

// explanation is one by a fault in the match's stages.
func (g *rowGroup) explanation(e *wrongRow, m match, rest string) harness.Explanation {
	text := m.fault.Text + rest
	if m.from > 0 {
		text += " (from this step on: what the steps before put into the cache is right)"
	}
	if len(e.Span) > 1 {
		text = "in " + strings.Join(m.stages, ", ") + ": " + text
	}
	return harness.Explanation{
		Step: e.Step, Stage: e.Stage, Fault: m.fault.ID, Explains: harness.Float(m.explains), Text: text,
		At: m.stages, Seats: g.seats(e, m),
	}
}

func idsBut(all []match, but int) (ids []string) {
	for i, m := range all {
		if i != but {
			ids = append(ids, m.fault.ID)
		}
	}
	return ids
}

// seats are the stages with the match's fault that the candidate lacks.
func (g *rowGroup) seats(e *wrongRow, m match) []harness.Seat {
	var all []harness.Seat
	for _, stage := range m.stages {
		if _, there := g.candidate.Shape(e.Step, stage); there {
			continue
		}
		all = append(all, harness.Seat{Stage: stage, Value: func() (harness.Tensor, bool) {
			h := g.hypothesis(e, m.fault, m.stages, m.from)
			h.output(m.variant)
			x := h.computed[harness.Place{Step: e.Step, Stage: stage}]
			shape, err := model.Shape(g.model.Config(), stage, e.dims)
			return harness.Tensor{Shape: shape, F32: x}, x != nil && err == nil && product(shape) == len(x)
		}})
	}
	return all
}
