package faults

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"checkpoint12/harness"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// candidateRun is a candidate's run: its tensors, and what follows where it has none.
type candidateRun struct {
	model     *model.Model
	candidate harness.Source
	run       *replay.Run
	except    []Kind // of faults, not tried

	once   sync.Once
	hashes map[uint64][]harness.Place // the candidate's tensors by a hash of their values
}

// values are a tensor's elements as faults take them; ids are exact.
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

// dims are a step's dimensions: from what it was fed or, where that is not known
// that, from the shapes of the candidate's stages [B,T,C].
func (c *candidateRun) dims(step int) (model.Dims, bool) {
	if f, ok := c.run.Dims(step); ok {
		return model.Dims{B: f.B, T: f.T, P: f.P}, true
	}
	d := model.Dims{}
	for k := 0; k <= step; k++ {
		stages := c.candidate.Stages(k)
		i := slices.IndexFunc(stages, func(stage string) bool {
			shape, _ := c.candidate.Shape(k, stage)
			return len(shape) == 3 && stage != "logits" && !strings.HasSuffix(stage, ".c_attn")
		})
		if i < 0 {
			return d, false
		}
		shape, _ := c.candidate.Shape(k, stages[i])
		d = model.Dims{B: shape[0], T: shape[1], P: d.P + d.T}
	}
	return d, d.B > 0 && d.T > 0
}

// has reports whether the candidate has a stage, in its right shape.
func (c *candidateRun) has(step int, stage string) bool {
	shape, ok := c.candidate.Shape(step, stage)
	return ok && c.isRightShape(step, stage, shape)
}

func (c *candidateRun) isRightShape(step int, stage string, shape []int) bool {
	d, ok := c.dims(step)
	want, err := model.Shape(c.model.Config(), stage, d)
	return ok && err == nil && slices.Equal(shape, want)
}

// input is an input of a stage of the step as the candidate has it or as it follows, in
// the run, from what the candidate has; nil where it does not.
func (c *candidateRun) input(run *replay.Run, step int, name string) []float32 {
	at := harness.InputPlace(step, name)
	if at.Step < 0 {
		return []float32{}
	}
	v, err := run.Input(at.Step, at.Stage)
	switch d, ok := c.dims(at.Step); {
	case name == "pos" && err == nil:
		return values(v.Tensor)[:1] // P; the positions after it follow
	case name == "pos" && ok:
		return []float32{float32(d.P)}
	case err != nil:
		return nil
	case name != "tokens" && ok && !c.isRightShape(at.Step, at.Stage, v.Shape):
		return nil // a shape of its own, which no fault can read
	}
	return values(v.Tensor)
}

// maxSearched is how many values a tensor may have to be looked for among the others,
// or in another order: logits, of which no stage is a copy, would be most of the work.
const maxSearched = 1 << 18

// equal are the candidate's tensors with these very values, in order. All are
// read once, when this is first asked.
func (c *candidateRun) equal(x []float32) []harness.Place {
	c.once.Do(func() {
		c.hashes = map[uint64][]harness.Place{}
		for _, step := range c.candidate.Steps() {
			for _, stage := range c.candidate.Stages(step) {
				shape, _ := c.candidate.Shape(step, stage)
				if product(shape) > maxSearched {
					continue
				}
				if t, err := c.candidate.Tensor(step, stage); err == nil && !t.IDs() {
					h := hash(t.F32)
					c.hashes[h] = append(c.hashes[h], harness.Place{Step: step, Stage: stage})
				}
			}
		}
	})
	return c.hashes[hash(x)]
}

var seed = maphash.MakeSeed()

func hash(x []float32) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, v := range x {
		maphash.WriteComparable(&h, v)
	}
	return h.Sum64()
}
