package faults

import (
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/model"
)

// name words what matches that reproduce a row say, and remembers their faults.
func (g *rowGroup) name(e *wrongRow, best []match) []harness.Explanation {
	var all []harness.Explanation
	for i, a := range best {
		if !slices.Contains(g.causes, a.fault.ID) {
			g.causes = append(g.causes, a.fault.ID)
		}
		rest := ""
		if others := idsBut(best, i); len(others) > 0 {
			rest += fmt.Sprintf(" (nothing here tells it from %s)", strings.Join(others, ", "))
		}
		if e.bound != nil && a.left.share > 3 {
			rest += fmt.Sprintf(" (what is left is %.2g times what rounding may do: look for a second fault once this one is mended)", a.left.share)
		}
		x := g.explanation(e, a, rest)
		for _, stage := range a.or {
			other := a
			other.stages = []string{stage}
			x.Or = append(x.Or, g.explanation(e, other, rest))
		}
		if len(a.or) > 0 {
			x.Text += fmt.Sprintf(" (in %s it would give the same)", strings.Join(a.or, " or "))
		}
		all = append(all, x)
	}
	return all
}

// explanation is one by a fault in the match's stages.
func (g *rowGroup) explanation(e *wrongRow, a match, rest string) harness.Explanation {
	text := a.fault.Text + rest
	if a.from > 0 {
		text += " (from this step on: what the steps before put into the cache is right)"
	}
	if len(e.Span) > 1 {
		text = "in " + strings.Join(a.stages, ", ") + ": " + text
	}
	return harness.Explanation{
		Step: e.Step, Stage: e.Stage, Fault: a.fault.ID, Explains: harness.Float(a.explains), Text: text,
		At: a.stages, Seats: g.seats(e, a),
	}
}

func idsBut(all []match, but int) (ids []string) {
	for i, a := range all {
		if i != but {
			ids = append(ids, a.fault.ID)
		}
	}
	return ids
}

// seats are the stages with the match's fault that the candidate lacks.
func (g *rowGroup) seats(e *wrongRow, a match) []harness.Seat {
	var all []harness.Seat
	for _, stage := range a.stages {
		if _, there := g.candidate.Shape(e.Step, stage); there {
			continue
		}
		all = append(all, harness.Seat{Stage: stage, Value: func() (harness.Tensor, bool) {
			s := g.hypothesis(e, a.fault, a.stages, a.from)
			s.output(a.variant)
			x := s.made[harness.Place{Step: e.Step, Stage: stage}]
			shape, err := model.Shape(g.model.Config(), stage, e.dims)
			return harness.Tensor{Shape: shape, F32: x}, x != nil && err == nil && product(shape) == len(x)
		}})
	}
	return all
}
