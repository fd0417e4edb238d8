package faults

import (
	"slices"

	"checkpoint12/harness"
	"checkpoint12/model"
)

// hypothesis is an engine that makes a match's fault and is right otherwise. What the
// candidate has is read from there; what it lacks is computed as this engine would.
type hypothesis struct {
	*candidateRun
	match
	e *wrongRow

	variants int // the most that the fault has had at a place
	computed map[harness.Place][]float32
	touched  map[harness.Place]bool
	outs     map[harness.Place][][]float32 // all variants at a place, where its inputs are free of the fault
}

func (g *rowGroup) hypothesis(e *wrongRow, m match) *hypothesis {
	return &hypothesis{
		candidateRun: g.candidateRun, match: m, e: e, touched: map[harness.Place]bool{}, outs: map[harness.Place][][]float32{},
	}
}

// output is the engine's output at the judged place with one variant of its
// fault; nil where something is not known.
func (h *hypothesis) output(variant int) []float32 {
	h.variant, h.variants, h.computed = variant, 0, map[harness.Place][]float32{}
	return h.compute(h.e.Place)
}

// compute is a place as the engine computes it; nil where something is not known.
func (h *hypothesis) compute(at harness.Place) []float32 {
	if x, ok := h.computed[at]; ok {
		return x
	}
	h.computed[at] = nil
	d, ok := h.dims(at.Step)
	if !ok {
		return nil
	}
	in := func(name string) []float32 { return h.value(at.Step, name) }
	c := &Context{Model: h.model, Dims: d, Stage: at.Stage, In: in}
	if at == h.e.Place {
		c = h.e.context(h.model, d, in)
		if !h.reads(at) { // then the run has judged the row by it
			c.right = h.e.right
		}
	}
	if h.sits(at) {
		outs, ok := h.outs[at]
		if !ok {
			outs = h.fault.outputs(c)
			if !h.reads(at) {
				h.outs[at] = outs
			}
		}
		h.variants = max(h.variants, len(outs))
		if h.variant < len(outs) {
			h.computed[at] = outs[h.variant]
			return outs[h.variant]
		}
	}
	ifKnown(func() { h.computed[at] = c.Right() })
	return h.computed[at]
}

// value is an input of a stage of the step.
func (h *hypothesis) value(step int, name string) []float32 {
	at := harness.InputPlace(step, name)
	if _, there := h.candidate.Shape(at.Step, at.Stage); h.given(at) || !there && !h.touches(at) {
		return h.own(step, name)
	}
	return h.compute(at)
}

// given reports whether an input is the candidate's own, whatever the fault.
func (h *hypothesis) given(at harness.Place) bool {
	return at.Stage == "tokens" || at.Stage == "pos" || at.Step < 0 || h.has(at.Step, at.Stage) || h.run.Supposes(at)
}

// sits reports whether the fault sits in a place.
func (h *hypothesis) sits(at harness.Place) bool {
	return at.Step >= h.from && slices.Contains(h.stages, at.Stage)
}

// touches reports whether a place is computed with the fault in it or before it.
func (h *hypothesis) touches(at harness.Place) bool {
	if t, ok := h.touched[at]; ok {
		return t
	}
	h.touched[at] = false
	h.touched[at] = h.sits(at) || h.reads(at)
	return h.touched[at]
}

// reads reports whether an input of a place is computed with the fault in it or
// before it.
func (h *hypothesis) reads(at harness.Place) bool {
	return slices.ContainsFunc(model.Reads(h.model.Config(), at.Stage), func(name string) bool {
		from := harness.InputPlace(at.Step, name)
		return !h.given(from) && h.touches(from)
	})
}
