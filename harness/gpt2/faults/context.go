package faults

import (
	"strings"

	"checkpoint12/model"
)

// Context is what a fault is computed from: one stage at one step, with the
// inputs that an engine gave it. It serves one goroutine.
type Context struct {
	Model *model.Model
	Dims  model.Dims
	Stage string

	// In returns, in the shape of model.Shape, what the stage can read by the
	// name of model.Reads, or another stage of the step; nil where that is not
	// known. What it returns is not changed.
	In func(name string) []float32

	got   []float32 // the engine's output, for a fault with a number that is read off it; nil where one is planted
	right []float32 // once computed
}

// unknown is the panic of a computation that needs what is not known: an input,
// or a weight that the model lacks.
type unknown string

// ifKnown runs a computation and reports whether all that it needs is known.
func ifKnown(compute func()) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			if _, lacks := p.(unknown); !lacks {
				panic(p)
			}
		}
	}()
	compute()
	return true
}

// in returns an input.
func (c *Context) in(name string) []float32 {
	shape, err := model.Shape(c.Model.Config(), name, c.Dims)
	x := c.In(name)
	if err != nil || len(x) != product(shape) {
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

// unembedding is the head's matrix [V,C].
func (c *Context) unembedding() []float32 {
	if w, _, ok := c.Model.Weight("lm_head.weight"); ok {
		return w
	}
	return c.weight("wte.weight")
}

// gain and bias are the stage's own weights besides a matrix.
func (c *Context) gain() []float32 { return c.weight(c.Stage + ".weight") }
func (c *Context) bias() []float32 { return c.weight(c.Stage + ".bias") }

// block is the name of another stage of the same block: block("attn.q").
func (c *Context) block(word string) string {
	s, _ := model.ParseStage(c.Stage)
	return model.StageName{Layer: s.Layer, Word: word}.String()
}

// blockInput is the name of what the block reads.
func (c *Context) blockInput() string {
	return model.Reads(c.Model.Config(), c.block("ln_1"))[0]
}

// word is the last part of a stage's name: "c_attn" of h.0.attn.c_attn.
func word(stage string) string { return stage[strings.LastIndexByte(stage, '.')+1:] }

// kind is a stage's name without its layer: "attn.c_attn" of h.0.attn.c_attn.
func kind(stage string) string {
	if s, _ := model.ParseStage(stage); s.Layer >= 0 {
		return s.Word
	}
	return stage
}

// Dimensions, as the contract names them.
func (c *Context) embd() int  { return c.Model.Config().Embd }
func (c *Context) heads() int { return c.Model.Config().Heads }
func (c *Context) width() int { return c.embd() / c.heads() } // D
func (c *Context) vocab() int { return c.Model.Config().Vocab }
func (c *Context) keys() int  { return c.Dims.P + c.Dims.T } // S

// empty is room for the stage's output.
func (c *Context) empty() []float32 {
	shape, _ := model.Shape(c.Model.Config(), c.Stage, c.Dims)
	return make([]float32, product(shape))
}

// Right returns what the stage's right function puts out on the inputs. The caller
// does not change it.
func (c *Context) Right() []float32 {
	if c.right == nil {
		c.right = c.apply(c.Stage, c.in)
	}
	return c.right
}

// apply is the right function of a stage of the same shape on inputs of the caller's.
func (c *Context) apply(stage string, in func(string) []float32) []float32 {
	out := c.empty()
	if err := c.Model.Apply(stage, c.Dims, in, out); err != nil {
		panic(unknown(err.Error()))
	}
	return out
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
