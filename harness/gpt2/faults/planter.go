package faults

import (
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/model"
)

// Planter puts outputs of its own in the place of a model's, and keeps what the
// stages of this step and of the one before have put out, from which those are
// computed. Its Value is that of a gpt2.Override. A step of several positions
// begins a new run.
type Planter struct {
	Model *model.Model

	// Plant returns a stage's output, computed from c, or nil to leave that of the
	// model, which is c.Right.
	Plant func(at harness.Place, c *Context) []float32

	dims        model.Dims
	now, before map[string][]float32 // outputs by stage
}

// Value returns what Plant puts in the place of a live output.
func (p *Planter) Value(at harness.Place, live harness.Tensor) (harness.Tensor, error) {
	if at.Stage == "wte" { // a step of B rows of T positions begins
		p.dims = model.Dims{B: live.Shape[0], T: live.Shape[1], P: p.dims.P + p.dims.T}
		if p.dims.T > 1 {
			p.dims.P = 0
		}
		p.before, p.now = p.now, map[string][]float32{}
	}
	right := values(live)
	out := p.Plant(at, &Context{Model: p.Model, Dims: p.dims, Stage: at.Stage, In: p.in, right: right})
	if out == nil {
		p.now[at.Stage] = slices.Clone(right)
		return harness.Tensor{}, nil
	}
	p.now[at.Stage] = slices.Clone(out)
	return harness.Tensor{Shape: live.Shape, F32: out}, nil
}

// in is an input of a stage of this step. The ids that are fed are not known, and
// no fault in a row of a table needs them.
func (p *Planter) in(name string) []float32 {
	if name == "pos" {
		return []float32{float32(p.dims.P)}
	}
	stage, earlier := strings.CutPrefix(name, "prev:")
	if !earlier {
		return p.now[name]
	}
	if p.dims.P == 0 {
		return []float32{}
	}
	return p.before[stage]
}
