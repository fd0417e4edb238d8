package faults

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"checkpoint12/harness"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// candidateRun is a candidate's run as the variants see it: its own tensors, and what
// is computed where it has none.
type candidateRun struct {
	model     *model.Model
	candidate harness.Source
	run       *replay.Run

	once   sync.Once
	seed   maphash.Seed
	prints map[uint64][]harness.Place // the candidate's tensors by a hash of their values
}

// wrongRow is one introduced row: what the engine put out, and what the right
// function makes of the inputs that the engine gave it.
type wrongRow struct {
	harness.Replayed
	dims       model.Dims
	rows       []int // of B*T, those that the rest is of; nil is all
	shape      []int // of all
	got, right []float32
	bound      []float32 // what rounding may do at each place; nil is nothing
	noise      float64   // sum of its squares
	base       distance  // of got from right
}

// errShape is the error of a row whose output has not the right one's shape.
var errShape = errors.New("another shape")

// wrongRow gathers what there is on a row.
func (s *candidateRun) wrongRow(row harness.Replayed) (*wrongRow, error) {
	got, err := s.candidate.Tensor(row.Step, row.Stage)
	if err != nil {
		return nil, err
	}
	e := &wrongRow{Replayed: row, got: values(got), shape: got.Shape}
	var ok bool
	if e.dims, ok = s.dims(row.Step); !ok {
		return nil, fmt.Errorf("step %d: what it was fed is not known", row.Step)
	}
	want, err := model.Shape(s.model.Config(), row.Stage, e.dims)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(want, got.Shape) {
		return e, errShape
	}
	right, err := s.run.Right(row.Step, row.Stage)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(want, right.Shape) {
		return e, errShape
	}
	e.right, e.bound = values(right.Tensor), right.Bound
	e.noise = squared(e.bound)
	e.base = between(e.got, e.right, e.bound)
	return e, nil
}

// values are a tensor's elements as variants take them; ids are exact.
func values(t harness.Tensor) []float32 {
	if !t.IDs() {
		return t.F32
	}
	out := make([]float32, len(t.I64))
	for i, id := range t.I64 {
		out[i] = float32(id)
	}
	return out
}

// dims are a step's dimensions: from what it was fed or, where nobody knows
// that, from the shapes of the candidate's stages [B,T,C].
func (s *candidateRun) dims(step int) (model.Dims, bool) {
	if f, ok := s.run.Dims(step); ok {
		return model.Dims{B: f.B, T: f.T, P: f.P}, true
	}
	d := model.Dims{}
	for k := 0; k <= step; k++ {
		found := false
		for _, stage := range s.candidate.Stages(k) {
			shape, _ := s.candidate.Shape(k, stage)
			if len(shape) == 3 && stage != "logits" && !strings.HasSuffix(stage, ".c_attn") {
				d, found = model.Dims{B: shape[0], T: shape[1], P: d.P + d.T}, true
				break
			}
		}
		if !found {
			return d, false
		}
	}
	return d, d.B > 0 && d.T > 0
}

// has says whether the candidate has a stage, in its right shape.
func (s *candidateRun) has(step int, stage string) bool {
	shape, ok := s.candidate.Shape(step, stage)
	if !ok {
		return false
	}
	d, ok := s.dims(step)
	want, err := model.Shape(s.model.Config(), stage, d)
	return ok && err == nil && slices.Equal(shape, want)
}

// own is an input of a stage of the step as the candidate has it or, where it
// has none, as it follows from what the candidate has; nil where it does not.
func (s *candidateRun) own(step int, name string) []float32 {
	if name == "tokens" || name == "pos" {
		if v, err := s.run.Input(step, name); err == nil {
			if name == "pos" {
				return values(v.Tensor)[:1] // P; the positions after it follow
			}
			return values(v.Tensor)
		}
		if d, ok := s.dims(step); ok && name == "pos" {
			return []float32{float32(d.P)}
		}
		return nil
	}
	at := harness.InputPlace(step, name)
	if at.Step < 0 {
		return []float32{}
	}
	v, err := s.run.Input(at.Step, at.Stage)
	if err != nil {
		return nil
	}
	if d, ok := s.dims(at.Step); ok {
		if want, err := model.Shape(s.model.Config(), at.Stage, d); err != nil || !slices.Equal(want, v.Shape) {
			return nil // a shape of its own, which no variant can read
		}
	}
	return values(v.Tensor)
}
