package faults

import (
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// output returns what an engine that makes a match's fault and is right otherwise puts
// out at a row, and its values of the stages of the row's step that the candidate lacks
// and in which the fault sits. It is nil where the fault changes nothing.
func (g *rowGroup) output(e *wrongRow, m match) (out []float32, made map[harness.Place]replay.Value) {
	run, made := g.run, map[harness.Place]replay.Value{}
	for _, at := range e.computed() {
		if at.Step < m.from || !slices.Contains(m.stages, at.Stage) || at != e.Place && g.has(at.Step, at.Stage) {
			continue
		}
		d, ok := g.dims(at.Step)
		shape, err := model.Shape(g.model.Config(), at.Stage, d)
		if !ok || err != nil {
			return nil, nil
		}
		c := &Context{Model: g.model, Dims: d, Stage: at.Stage, In: func(name string) []float32 { return g.input(run, at.Step, name) }}
		if at == e.Place {
			c = e.context(g.model, d, c.In)
			if run == g.run { // then the run has judged the row by it
				c.right = e.right
			}
		}
		out := m.fault.output(c, m.variant)
		switch {
		case out == nil:
		case at == e.Place:
			return out, made
		default:
			v := replay.Value{Tensor: harness.Tensor{Shape: shape, F32: out}}
			run = run.Suppose(map[harness.Place]replay.Value{at: v})
			if at.Step == e.Step {
				made[at] = v
			}
		}
	}
	if run == g.run {
		return nil, nil
	}
	right, err := run.Right(e.Step, e.Stage)
	if err != nil {
		return nil, nil
	}
	return values(right.Tensor), made
}

// computed lists what was computed to judge the row, itself among it, in that order.
func (e *wrongRow) computed() []harness.Place {
	all := slices.Clone(e.Earlier)
	for _, stage := range e.Span {
		all = append(all, harness.Place{Step: e.Step, Stage: stage})
	}
	return all
}
