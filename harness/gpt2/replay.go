package gpt2

import (
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// replayer computes single stages of GPT-2 by the Go model's own stage functions,
// each with the rounding that a right engine may differ by.
type replayer struct {
	m    *model.Model
	cfg  model.Config
	wide bool // the candidate computes with more than it stores: ids come from logits before they were rounded
}

// NewReplayer makes the Replayer of a model. dtype is what the candidate
// computes in, "float64" for one that keeps more digits than its dump has; ""
// is float32.
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

// Subtract walks the residual stream back: a block's input is resid_mid less
// attn.c_proj, and resid_mid is the block's output less mlp.c_proj.
func (r *replayer) Subtract(stage string) (sum, other string, ok bool) {
	s, _ := model.ParseStage(stage)
	in := func(layer int, word string) string { return model.StageName{Layer: layer, Word: word}.String() }
	switch s.Word {
	case "resid_mid":
		return in(s.Layer, "resid_post"), in(s.Layer, "mlp.c_proj"), true
	case "embed", "resid_post":
		return in(s.Layer+1, "resid_mid"), in(s.Layer+1, "attn.c_proj"), s.Layer+1 < r.cfg.Layers
	}
	return "", "", false
}

// Replay computes a stage by model.Apply, in the dimensions of its inputs.
func (r *replayer) Replay(_ int, stage string, in replay.Inputs) (replay.Value, error) {
	s, err := r.stageOf(stage, in)
	if err != nil {
		return replay.Value{}, err
	}
	err = r.m.Apply(stage, s.Dims, func(name string) []float32 {
		return s.in[slices.Index(s.reads, name)].F32
	}, s.out)
	if err != nil {
		return replay.Value{}, err
	}
	v := replay.Value{Tensor: harness.Tensor{Shape: s.shape}}
	if stage != "next_token" {
		v.F32, v.Bound = s.out, s.bound()
		return v, nil
	}
	v.I64 = make([]int64, len(s.out))
	for i, id := range s.out {
		v.I64[i] = int64(id)
	}
	v.Accepts = s.nearTie
	return v, nil
}

// staged is a stage at work.
type staged struct {
	*replayer
	model.Dims
	stage string
	word  string // what comes after the layer: "ln_1", "attn.q"; "probs_t"
	reads []string
	in    []replay.Value // as reads, all of them float32
	shape []int
	out   []float32
}

// stageOf gathers a stage's inputs and finds the dimensions that they agree on.
func (r *replayer) stageOf(stage string, in replay.Inputs) (*staged, error) {
	s := &staged{replayer: r, stage: stage, word: wordOf(stage), reads: r.Reads(stage)}
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
		want, err := model.Shape(r.cfg, name, s.Dims)
		if err != nil {
			return nil, err
		}
		if name == "pos" {
			want = []int{s.T}
		}
		if !slices.Equal(v.Shape, want) && !(v.Shape == nil && strings.HasPrefix(name, "prev:") && s.P == 0) {
			return nil, fmt.Errorf("%s reads %s of shape %v: want %v", stage, name, v.Shape, want)
		}
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
	n := 1
	for _, d := range s.shape {
		n *= d
	}
	s.out = make([]float32, n)
	return s, nil
}

// findDims reads B, T and P off the shapes of the inputs.
func (s *staged) findDims() error {
	s.B, s.T, s.P = 1, 1, 0
	for i, name := range s.reads {
		shape, word := s.in[i].Shape, wordOf(name)
		rank := len(shape)
		ok := true
		switch {
		case strings.HasPrefix(name, "prev:"):
			if rank == 4 {
				s.P = shape[2]
			}
			ok = rank == 4 || shape == nil
		case word == "pos":
			if ok = rank == 1 && shape[0] > 0; ok {
				s.T = shape[0]
			}
		case word == "wpe":
			if ok = rank == 2; ok {
				s.T = shape[0]
			}
		case word == "tokens":
			if ok = rank == 2; ok {
				s.B, s.T = shape[0], shape[1]
			}
		case word == "logits_last":
			if ok = rank == 2; ok {
				s.B = shape[0]
			}
		case word == "attn.scores" || word == "attn.probs":
			if ok = rank == 4; ok {
				s.B, s.T, s.P = shape[0], shape[2], shape[3]-shape[2]
			}
		case word == "attn.cache_k" || word == "attn.cache_v":
			if ok = rank == 4; ok {
				s.P = shape[2] - s.T // T is of the input before
			}
		case word == "attn.q" || word == "attn.k" || word == "attn.v":
			if ok = rank == 4; ok {
				s.B, s.T = shape[0], shape[2]
			}
		default:
			if ok = rank == 3; ok {
				s.B, s.T = shape[0], shape[1]
			}
		}
		if !ok {
			return fmt.Errorf("%s reads %s of shape %v, which has too many or too few axes", s.stage, name, shape)
		}
	}
	return nil
}

// wordOf returns a stage's name without its layer or temperature.
func wordOf(stage string) string {
	s, _ := model.ParseStage(stage)
	return s.Word
}

// nearTie says whether an id at row i is a right choice too: with what rounding
// may have done to the logits, no other is above it for certain.
func (s *staged) nearTie(i int, id int64) bool {
	v, V := s.in[0], s.cfg.Vocab
	if id < 0 || id >= int64(V) {
		return false
	}
	row := v.F32[i*V : (i+1)*V]
	if slices.ContainsFunc(row, func(l float32) bool { return l != l }) {
		return true // of NaN none is the largest: whatever was chosen, the choice is not at fault
	}
	if v.Bound == nil && !s.wide {
		return false
	}
	off := func(j int) float64 {
		if v.Bound != nil {
			return float64(v.Bound[i*V+j])
		}
		return Unit * abs(row[j])
	}
	mine := float64(row[id]) + off(int(id))
	for j, l := range row {
		if float64(l)-off(j) > mine {
			return false
		}
	}
	return true
}

// DType is what a source's engine computes in, by its manifest.
func DType(s harness.Source) string {
	if m := s.Manifest(); m != nil {
		return m.Engine.DType
	}
	return ""
}
