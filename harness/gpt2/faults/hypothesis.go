package faults

import (
	"slices"

	"checkpoint12/harness"
	"checkpoint12/model"
)

// hypothesis is an engine that makes one fault, in one or more stages, at every step
// from one on, and is right otherwise. What the candidate has is read from there; what
// it lacks is computed as this engine would.
type hypothesis struct {
	*candidateRun
	fault   Fault
	variant int      // which of the fault's variants
	stages  []string // where it sits
	from    int      // the first step at which it is made
	e       *wrongRow

	made    map[harness.Place][]float32
	touched map[harness.Place]bool
	outs    map[harness.Place][][]float32 // all variants at a place, where its inputs are free of the fault
	kept    *roundedMatrix
	most    int // the most variants that the fault has had at a place
}

func (g *rowGroup) hypothesis(e *wrongRow, f Fault, stages []string, from int) *hypothesis {
	return &hypothesis{
		candidateRun: g.candidateRun, kept: &g.kept, fault: f, stages: stages, from: from, e: e,
		touched: map[harness.Place]bool{}, outs: map[harness.Place][][]float32{},
	}
}

// output is what the engine puts out at the judged place with one variant of its
// fault; nil where there is no such variant.
func (s *hypothesis) output(variant int) []float32 {
	s.variant, s.made, s.most = variant, map[harness.Place][]float32{}, 0
	out := s.compute(s.e.Place)
	if s.variant >= s.most {
		return nil // it has made no difference
	}
	return out
}

// compute is a place as the engine computes it; nil where something is not known.
func (s *hypothesis) compute(at harness.Place) []float32 {
	if x, ok := s.made[at]; ok {
		return x
	}
	s.made[at] = nil
	d, ok := s.dims(at.Step)
	if !ok {
		return nil
	}
	in := func(name string) []float32 { return s.value(at.Step, name) }
	c := &Context{Model: s.model, Dims: d, Stage: at.Stage, In: in}
	if at == s.e.Place {
		c = s.context(s.e, in)
	}
	c.kept = s.kept
	if s.sits(at) {
		outs, ok := s.outs[at]
		if !ok {
			outs = s.fault.Outputs(c)
			if !s.reads(at) {
				s.outs[at] = outs
			}
		}
		s.most = max(s.most, len(outs))
		if s.variant < len(outs) {
			s.made[at] = outs[s.variant]
			return outs[s.variant]
		}
	}
	c.lacking = ""
	out := c.Right()
	if c.err() != nil {
		return nil
	}
	s.made[at] = out
	return out
}

// value is an input of a stage of the step.
func (s *hypothesis) value(step int, name string) []float32 {
	at := harness.InputPlace(step, name)
	if name == "tokens" || name == "pos" || at.Step < 0 || s.has(at.Step, at.Stage) || s.run.Assumed(at) {
		return s.own(step, name)
	}
	if _, there := s.candidate.Shape(at.Step, at.Stage); !there && !s.touches(at) {
		return s.own(step, name)
	}
	return s.compute(at)
}

// sits says whether the fault sits in a place.
func (s *hypothesis) sits(at harness.Place) bool {
	return at.Step >= s.from && slices.Contains(s.stages, at.Stage)
}

// touches says whether the fault has a part in what is computed for a place.
func (s *hypothesis) touches(at harness.Place) bool {
	if t, ok := s.touched[at]; ok {
		return t
	}
	s.touched[at] = false
	s.touched[at] = s.sits(at) || s.reads(at)
	return s.touched[at]
}

// reads says whether the fault has a part in what is computed for the inputs of
// a place.
func (s *hypothesis) reads(at harness.Place) bool {
	for _, name := range model.Reads(s.model.Config(), at.Stage) {
		from := harness.InputPlace(at.Step, name)
		if name == "tokens" || name == "pos" || from.Step < 0 || s.has(from.Step, from.Stage) || s.run.Assumed(from) {
			continue
		}
		if s.touches(from) {
			return true
		}
	}
	return false
}

// places are the sets of stages of a span in which one mistake can sit: each
// alone and, since a mistake is often made wherever it can be, all of them.
func (f Fault) places(span []string) [][]string {
	var all []string
	var sets [][]string
	for _, stage := range span {
		if f.At(stage) {
			all = append(all, stage)
			sets = append(sets, []string{stage})
		}
	}
	if len(all) > 1 {
		sets = append(sets, all)
	}
	return sets
}
