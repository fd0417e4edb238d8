package faults

import (
	"math"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/rounding"
	"checkpoint12/model"
)

// A Planter puts outputs of its own in the place of a model's, and keeps what the
// stages of this step and of the one before have put out, from which those are
// computed. Its Value is that of a gpt2.Override of a tapped run, each stage of which has a
// buffer of its own. Without Cut a step of several positions begins a new run.
type Planter struct {
	Model *model.Model
	Cut   harness.Cut // if set, of the run

	// Tokens and Mask, if set, are those of a padded batch, which has a Cut and a Schedule.
	// Plant is called with each of its rows as a run of its own.
	Tokens, Mask [][]int
	Schedule     *harness.Schedule
	NaNAt        []string // stages whose padding is NaN

	// Stored is what every value but ids goes through as it is stored; nil is nothing.
	Stored rounding.Rounding

	// Plant returns a stage's output, computed from c, or nil to leave that of the
	// model, which is c.Right.
	Plant func(at harness.Place, c *Context) []float32

	dims        model.Dims
	now, before map[string][]float32 // outputs by stage
	last        string               // the stage of the last output
	live        []float32            // its buffer, which another override may have written since
	batch       *harness.Recorder    // of a padded batch, its outputs
}

// Value returns what Plant puts in the place of a live output.
func (p *Planter) Value(at harness.Place, live harness.Tensor) (harness.Tensor, error) {
	if p.Mask != nil {
		return p.inRows(at, live)
	}
	if p.live != nil {
		copy(p.now[p.last], p.live) // as the stages that follow read it
	}
	if at.Stage == "wte" { // a step of B rows of T positions begins
		p.dims = model.Dims{B: live.Shape[0], T: live.Shape[1], P: p.dims.P + p.dims.T}
		if span, ok := p.Cut.At(at.Step); ok {
			p.dims.P = span.P
		} else if p.dims.T > 1 {
			p.dims.P = 0
		}
		p.before, p.now = p.now, map[string][]float32{}
	}
	stored := p.Stored
	if live.IDs() {
		stored = nil
	}
	right := values(live)
	out := stored.Of(p.Plant(at, &Context{Model: p.Model, Dims: p.dims, Stage: at.Stage, In: p.in, right: right}))
	if len(out) == 0 {
		out = stored.Of(right)
	}
	p.now[at.Stage] = slices.Clone(out)
	p.last, p.live = at.Stage, live.F32
	return harness.Tensor{Shape: live.Shape, F32: out}, nil
}

// in returns an input of a stage of this step. The ids that are fed are not known, and
// no fault in a row of a table needs them.
func (p *Planter) in(name string) []float32 {
	if name == "pos" {
		return []float32{float32(p.dims.P)}
	}
	switch at := harness.InputPlace(0, name); {
	case at.Step == 0:
		return p.now[name]
	case p.dims.P == 0:
		return []float32{}
	default:
		return p.before[at.Stage]
	}
}

// inRows is Value of a padded batch.
func (p *Planter) inRows(at harness.Place, live harness.Tensor) (harness.Tensor, error) {
	if p.batch == nil {
		p.batch = harness.NewRecorder(harness.RecorderOptions{Schedule: p.Schedule})
		p.batch.SetTokens(p.Tokens)
		p.batch.SetMask(p.Mask)
	}
	if at.Stage == "wte" {
		p.batch.Step(at.Step)
	}
	p.batch.Tap(at.Stage, live.Shape, values(live))
	whole, err := p.batch.Tensor(at.Step, at.Stage)
	if err != nil {
		return whole, err
	}
	if slices.Contains(p.NaNAt, at.Stage) {
		right := slices.Clone(whole.F32)
		for i := range whole.F32 {
			whole.F32[i] = float32(math.NaN())
		}
		for b := range p.Tokens {
			for _, place := range harness.NewBatchRow(p.Schedule, p.batch, p.Cut, b).Places(at.Step, at.Stage, false) {
				whole.F32[place] = right[place]
			}
		}
	}
	for b := range p.Tokens {
		row := harness.NewBatchRow(p.Schedule, p.batch, p.Cut, b)
		own, ok := row.Cut.At(at.Step)
		if !ok || own.T == 0 {
			continue
		}
		in := func(name string) []float32 {
			switch from := harness.InputPlace(at.Step, name); {
			case name == "pos":
				return []float32{float32(own.P)}
			case from.Step < at.Step && own.P == 0:
				return []float32{}
			default:
				t, _ := row.Tensor(from.Step, from.Stage)
				return values(t)
			}
		}
		right, err := row.Tensor(at.Step, at.Stage)
		if err != nil {
			return right, err
		}
		c := &Context{
			Model: p.Model, Dims: model.Dims{B: 1, T: own.T, P: own.P}, Stage: at.Stage, In: in,
			padded: &paddedRow{BatchRow: row, at: at, stages: []string{at.Stage}}, right: values(right),
		}
		out := p.Plant(at, c)
		if out == nil {
			continue
		}
		for i, place := range row.Places(at.Step, at.Stage, len(out) != len(c.right)) {
			if whole.IDs() {
				whole.I64[place] = int64(out[i])
			} else {
				whole.F32[place] = out[i]
			}
		}
	}
	if p.Stored != nil && !whole.IDs() {
		p.Stored(whole.F32, whole.F32)
	}
	return harness.Tensor{Shape: live.Shape, F32: values(whole)}, nil
}
