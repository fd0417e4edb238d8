package faults

import (
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model"
)

// A Context is one stage at one step with the inputs that an engine gave it, from which
// a fault is computed. It serves one goroutine.
type Context struct {
	Model *model.Model
	Dims  model.Dims
	Stage string

	// In returns, in the shape of model.Shape, what the stage can read by the
	// name of model.Reads, or another stage of the step; nil where that is not
	// known. What it returns is not changed.
	In func(name string) []float32

	// at is In of a stage of any step, for a fault that is looked for; nil for one that is planted.
	step int
	at   func(step int, stage string) []float32

	// wrong reports whether the candidate computes a stage of a step wrong itself; nil where that is not known.
	wrong func(step int, stage string) bool

	padded *paddedRow // the row of a batch that this is; nil if it is none

	got   []float32 // the engine's output, for a fault with a number that is read off it; nil where one is planted
	right []float32 // once computed
}

// unknown is the panic of a computation that needs what is not known: an input,
// or a weight that the model lacks.
type unknown string

// in returns an input, which must be known.
func (c *Context) in(name string) []float32 {
	shape, err := model.Shape(c.Model.Config(), name, c.Dims)
	x := c.In(name)
	if err != nil || len(x) != shapes.Product(shape) {
		panic(unknown(name))
	}
	return x
}

// reads returns the i-th of what the stage is computed from.
func (c *Context) reads(i int) []float32 {
	return c.in(model.Reads(c.Model.Config(), c.Stage)[i])
}

// weight returns one of the model's.
func (c *Context) weight(name string) []float32 {
	w, _, ok := c.Model.Weight(name)
	if !ok {
		panic(unknown(name))
	}
	return w
}

// unembedding returns the head's matrix [V,C].
func (c *Context) unembedding() []float32 {
	if w, _, ok := c.Model.Weight("lm_head.weight"); ok {
		return w
	}
	return c.weight("wte.weight")
}

// headBias returns the head's bias [V]; nil if it has none, as in GPT-2 as released.
func (c *Context) headBias() []float32 {
	b, _, _ := c.Model.Weight("lm_head.bias")
	return b
}

// gain returns the stage's own weight, the matrix of a linear one.
func (c *Context) gain() []float32 { return c.weight(c.Stage + ".weight") }

// bias returns the stage's own bias.
func (c *Context) bias() []float32 { return c.weight(c.Stage + ".bias") }

// block returns the name of another stage of the same block: block("attn.q").
func (c *Context) block(word string) string {
	s, _ := model.ParseStage(c.Stage)
	return model.StageName{Layer: s.Layer, Word: word}.String()
}

// blockInput returns the name of the stage that the block reads.
func (c *Context) blockInput() string {
	return model.Reads(c.Model.Config(), c.block("ln_1"))[0]
}

// wordOf returns the Word of a stage's name.
func wordOf(stage string) string {
	s, _ := model.ParseStage(stage)
	return s.Word
}

// Dimensions, as the contract names them.
func (c *Context) embd() int  { return c.Model.Config().Embd }
func (c *Context) heads() int { return c.Model.Config().Heads }
func (c *Context) width() int { return c.embd() / c.heads() } // D
func (c *Context) vocab() int { return c.Model.Config().Vocab }
func (c *Context) keys() int  { return c.Dims.P + c.Dims.T } // S

// empty returns zeros in the shape of the stage's output.
func (c *Context) empty() []float32 {
	shape, _ := model.Shape(c.Model.Config(), c.Stage, c.Dims)
	return make([]float32, shapes.Product(shape))
}

// Right returns what the stage's correct function puts out on the inputs. The caller
// does not change it.
func (c *Context) Right() []float32 {
	if c.right == nil {
		c.right = c.apply(c.Stage, c.in)
	}
	return c.right
}

// apply computes another stage of the same shape correctly, on inputs of the caller's.
func (c *Context) apply(stage string, in func(string) []float32) []float32 {
	out := c.empty()
	if err := c.Model.Apply(stage, c.Dims, in, out); err != nil {
		panic(unknown(err.Error()))
	}
	return out
}
