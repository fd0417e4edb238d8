package gpt2

import (
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// replayer computes single stages of GPT-2 by the Go model's own stage functions,
// each with its rounding bound.
type replayer struct {
	m    *model.Model
	cfg  model.Config
	wide bool // the candidate computes with more than it stores: ids come from logits before they were rounded
}

// NewReplayer returns the Replayer of a model. dtype is the type that the
// candidate computes in, "float64" for one that keeps more digits than its dump
// has; "" is float32.
func NewReplayer(m *model.Model, dtype string) replay.Replayer {
	return &replayer{m: m, cfg: m.Config(), wide: dtype == "float64"}
}

// Reads is model.Reads.
func (r *replayer) Reads(stage string) []string { return model.Reads(r.cfg, stage) }

// Shape is model.Shape.
func (r *replayer) Shape(stage string, f replay.StepDims) []int {
	shape, err := model.Shape(r.cfg, stage, model.Dims{B: f.B, T: f.T, P: f.P})
	if err != nil {
		return nil
	}
	return shape
}

// Replay computes a stage by model.Apply, in the dimensions of its inputs.
func (r *replayer) Replay(_ int, stage string, in replay.Inputs) (replay.Value, error) {
	s, err := r.call(stage, in)
	if err != nil {
		return replay.Value{}, err
	}
	if err := s.apply(s.out, func(v replay.Value) []float32 { return v.F32 }); err != nil {
		return replay.Value{}, err
	}
	v := replay.Value{Tensor: harness.Tensor{Shape: s.shape}}
	if stage != "next_token" {
		v.F32, v.Bound = s.out, rowOf(stage).rounding(s)
		return v, nil
	}
	v.I64 = make([]int64, len(s.out))
	for i, id := range s.out {
		v.I64[i] = int64(id)
	}
	v.Accepts = s.nearTie
	return v, nil
}

// stageCall is one stage at work: its inputs, its dimensions and its output.
type stageCall struct {
	*replayer
	model.Dims
	stage string
	reads []string
	in    []replay.Value // as reads, all of them float32
	shape []int
	out   []float32
}

// call gathers a stage's inputs and makes room for its output.
func (r *replayer) call(stage string, in replay.Inputs) (*stageCall, error) {
	s := &stageCall{replayer: r, stage: stage, reads: r.Reads(stage)}
	if s.reads == nil {
		return nil, fmt.Errorf("%.80q is no stage of a GPT-2 of %d layers", stage, r.cfg.Layers)
	}
	for _, name := range s.reads {
		v, ok := in(name)
		if !ok {
			return nil, fmt.Errorf("%s is missing", name)
		}
		s.in = append(s.in, v)
	}
	if err := s.findDims(); err != nil {
		return nil, err
	}
	for i, name := range s.reads {
		v := &s.in[i]
		switch {
		case name == "pos":
			v.F32 = []float32{float32(v.I64[0])}
		case v.IDs():
			v.F32 = make([]float32, len(v.I64))
			for j, id := range v.I64 {
				if id < 0 || id >= int64(r.cfg.Vocab) {
					return nil, fmt.Errorf("%s reads %s: id %d is outside the vocabulary of %d", stage, name, id, r.cfg.Vocab)
				}
				v.F32[j] = float32(id)
			}
		}
	}
	var err error
	if s.shape, err = model.Shape(r.cfg, stage, s.Dims); err != nil {
		return nil, err
	}
	n, _ := shapes.Size(s.shape)
	s.out = make([]float32, n)
	return s, nil
}

// findDims reads B, T and P off the shapes of the inputs. An error is shapes that
// do not go together.
func (s *stageCall) findDims() error {
	sizes := sizesOf(s.cfg)
	for i, name := range s.reads {
		shape, axes := s.in[i].Shape, model.Axes(name)
		switch {
		case name == "pos":
			axes = "T" // of all positions, not of the first alone
		case shape == nil && strings.HasPrefix(name, "prev:"):
			continue // before the first step there is nothing
		}
		if !sizes.Learn(axes, shape) {
			return fmt.Errorf("%s reads %s of shape %v, which does not go with the axes %s and the other inputs", s.stage, name, shape, axes)
		}
	}
	s.Dims = model.Dims{B: max(1, sizes["B"]), T: max(1, sizes["T"]), P: sizes["P"]}
	if S, ok := sizes["S"]; ok {
		s.P = S - s.T
	}
	return nil
}

// apply computes the stage from the values that of takes from its inputs.
func (s *stageCall) apply(out []float32, of func(replay.Value) []float32) error {
	return s.m.Apply(s.stage, s.Dims, func(name string) []float32 {
		return of(s.in[slices.Index(s.reads, name)])
	}, out)
}

// nearTie reports whether an id at row i is a correct choice too: within the
// rounding of the logits, no other is above it for certain.
func (s *stageCall) nearTie(i int, id int64) bool {
	v, V := s.in[0], s.cfg.Vocab
	if id < 0 || id >= int64(V) {
		return false
	}
	row := v.F32[i*V : (i+1)*V]
	if slices.ContainsFunc(row, func(l float32) bool { return l != l }) {
		return true // of NaN none is the largest: the choice is not at fault, whichever it is
	}
	if v.Bound == nil && !s.wide {
		return false
	}
	off := func(j int) float64 {
		if v.Bound != nil {
			return float64(v.Bound[i*V+j])
		}
		return unit * abs(row[j])
	}
	mine := float64(row[id]) + off(int(id))
	for j, l := range row {
		if float64(l)-off(j) > mine {
			return false
		}
	}
	return true
}

// DType returns the type that a source's engine computes in, by its manifest; ""
// if nothing tells.
func DType(s harness.Source) string {
	if m := s.Manifest(); m != nil {
		return m.Engine.DType
	}
	return ""
}
