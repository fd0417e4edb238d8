package gpt2

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
	"checkpoint12/model/memory"
)

// replayer computes single stages by the Go model's functions, with rounding bounds.
type replayer struct {
	m       *model.Model
	cfg     model.Config
	weights bool // the model has them
	wide    bool // the candidate chooses ids by logits in more digits than it stores
	values  bool // without bounds

	precision Precision
}

// NewReplayer returns the Replayer of a model for a candidate that computes in a precision.
// The candidate may be nil; its manifest may say that it computes in float64. A [model.WithoutWeights] computes only
// stages that need no weights and, without Heads in its config, none of attention's.
func NewReplayer(m *model.Model, candidate harness.Source, p Precision) replay.Replayer {
	_, _, weights := m.Weight("wte.weight")
	if p.IsFloat32() {
		p = Float32
	}
	wide := !p.IsFloat32() || candidate != nil && candidate.Manifest() != nil && candidate.Manifest().Engine.DType == "float64"
	return &replayer{m: m, cfg: m.Config(), weights: weights, wide: wide, precision: p}
}

// Unbounded returns the Replayer without rounding bounds.
func (r *replayer) Unbounded() replay.Replayer {
	plain := *r
	plain.values = true
	return &plain
}

// Reads is model.Reads; nil for a stage that cannot be computed.
func (r *replayer) Reads(stage string) []string {
	if !r.weights && model.NeedsWeights(stage) || r.cfg.Heads == 0 && strings.Contains(stage, ".attn.") {
		return nil
	}
	return model.Reads(r.cfg, stage)
}

// Shape is model.Shape; nil for a stage that cannot be computed.
func (r *replayer) Shape(stage string, f replay.StepDims) []int {
	if r.Reads(stage) == nil {
		return nil
	}
	shape, _ := model.Shape(r.cfg, stage, model.Dims{B: f.B, T: f.T, P: f.P})
	return shape
}

// ByRow reports whether a stage is computed at each position from the same position of its inputs.
func (r *replayer) ByRow(stage string) bool {
	apart := func(name string) bool { return strings.HasPrefix(model.Axes(name), "B T ") }
	return apart(stage) && !slices.ContainsFunc(r.Reads(stage), func(name string) bool { return !apart(name) })
}

// Replay computes a stage by model.Apply, in the dimensions of its inputs.
func (r *replayer) Replay(_ int, stage string, in replay.Inputs) (v replay.Value, err error) {
	s := &stageCall{replayer: r, stage: stage, reads: r.Reads(stage)}
	if s.reads == nil {
		return v, fmt.Errorf("%.80q is not a stage of a GPT-2 of %d layers", stage, r.cfg.Layers)
	}
	if err := s.gather(in); err != nil {
		return v, err
	}
	if s.shape, err = model.Shape(r.cfg, stage, s.Dims); err != nil {
		return v, err
	}
	n, ok := shapes.Size(s.shape)
	if err := memory.Room(16 * n); err != nil || !ok { // with its bounds and what these are made of
		return v, cmp.Or(err, fmt.Errorf("shape %v is too large", s.shape))
	}
	s.out = make([]float32, n)
	if err := s.apply(s.out, func(v replay.Value) []float32 { return v.F32 }); err != nil {
		return v, err
	}
	v.Tensor, v.Coarse = Live(stage, s.shape, s.out), r.precision.Coarseness()
	if v.IDs() {
		v.Accepts = s.nearTie
		return v, nil
	}
	if v.Stored = r.precision.Round; !r.values {
		v.Bound = rowOf(stage).rounding(s)
		s.leaveOpen(v.Bound)
	}
	return v, nil
}

// stageCall is a stage with its inputs, dimensions and output.
type stageCall struct {
	*replayer
	model.Dims
	stage string
	reads []string
	in    []replay.Value // as reads, all of them float32
	shape []int
	out   []float32
}

// layer returns the stage's layer, -1 outside the blocks.
func (s *stageCall) layer() int {
	name, _ := model.ParseStage(s.stage)
	return name.Layer
}

// gather takes the inputs and reads B, T and P off their shapes. It returns an error
// for shapes that do not go together and ids outside the vocabulary.
func (s *stageCall) gather(in replay.Inputs) error {
	sizes := sizesOf(s.cfg)
	for _, name := range s.reads {
		v, ok := in(name)
		if !ok {
			return fmt.Errorf("%s is missing", name)
		}
		axes, first := model.Axes(name), v.Shape == nil && harness.InputPlace(0, name).Step < 0
		if name == "pos" {
			axes = "T" // of all positions, not of the first alone
		}
		if !first && !sizes.Learn(axes, v.Shape) { // before the first step there is nothing
			return fmt.Errorf("%s reads %s of shape %v, which does not match the axes %s and the other inputs",
				s.stage, name, v.Shape, axes)
		}
		switch {
		case name == "pos":
			v.F32 = []float32{float32(v.I64[0])}
		case v.IDs():
			v.F32 = make([]float32, len(v.I64))
			for i, id := range v.I64 {
				if id < 0 || id >= int64(s.cfg.Vocab) {
					return fmt.Errorf("%s reads %s: id %d is outside the vocabulary of %d",
						s.stage, name, id, s.cfg.Vocab)
				}
				v.F32[i] = float32(id)
			}
		}
		s.in = append(s.in, v)
	}
	s.Dims = model.Dims{B: max(1, sizes["B"]), T: max(1, sizes["T"]), P: sizes["P"]}
	if S, ok := sizes["S"]; ok {
		s.P = S - s.T
	}
	return nil
}

// apply computes the stage from what of takes from its inputs.
func (s *stageCall) apply(out []float32, of func(replay.Value) []float32) error {
	return s.m.Apply(s.stage, s.Dims, func(name string) []float32 {
		return of(s.in[slices.Index(s.reads, name)])
	}, out)
}

// nearTie reports whether id is a correct choice at row i too: no other logit is
// above its for certain, given their rounding.
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
		return s.precision.step * abs(row[j])
	}
	mine := float64(row[id]) + off(int(id))
	for j, l := range row {
		if float64(l)-off(j) > mine {
			return false
		}
	}
	return true
}
