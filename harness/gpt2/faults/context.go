package faults

import (
	"fmt"
	"strings"

	"checkpoint12/model"
)

// Context is what a variant of a stage is computed from: one stage at one step,
// with the inputs that an engine gave it. It serves one goroutine.
type Context struct {
	Model *model.Model
	Dims  model.Dims
	Stage string

	// In gives, in the shape that model.Shape says, a stage of the same step by
	// its name, "tokens", "pos", and "prev:" with the name of a cache for the
	// step before's; nil where nobody knows. What it returns is not changed.
	In func(name string) []float32

	// Got is what the engine's stage put out, for the faults with a parameter
	// that is read off it; nil where there is none, as when a fault is planted.
	Got []float32

	right   []float32      // once computed
	kept    *roundedMatrix // may be nil
	lacking string         // the first input that was asked for and is not known
}

// Err says which input was needed and is not known, after a call that failed for
// want of it.
func (c *Context) err() error {
	if c.lacking == "" {
		return nil
	}
	return fmt.Errorf("%s: %s is not known", c.Stage, c.lacking)
}

// in is an input. One that is not known makes the whole variant unknown; zeros
// in its place let the variant run to its end without a look at each.
func (c *Context) in(name string) []float32 {
	shape, err := model.Shape(c.Model.Config(), name, c.Dims)
	n := product(shape)
	if err == nil {
		if x := c.In(name); len(x) == n && (x != nil || n == 0) {
			return x
		}
	}
	if c.lacking == "" {
		c.lacking = name
	}
	return make([]float32, n)
}

// known is an input that a variant can do without; nil where it is not known.
func (c *Context) known(name string) []float32 {
	if x := c.In(name); len(x) == product(c.shapeOf(name)) {
		return x
	}
	return nil
}

// reads is the i-th of what the stage is computed from.
func (c *Context) reads(i int) []float32 {
	return c.in(model.Reads(c.Model.Config(), c.Stage)[i])
}

// weight is one of the model's, nil with a mark where it has none of the name.
func (c *Context) weight(name string) []float32 {
	w, _, ok := c.Model.Weight(name)
	if !ok && c.lacking == "" {
		c.lacking = name
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
	n, _ := layerOf(c.Stage)
	return model.StageName{Layer: n, Word: word}.String()
}

// blockInput is the name of what the block reads.
func (c *Context) blockInput() string {
	return model.Reads(c.Model.Config(), c.block("ln_1"))[0]
}

// layerOf is the layer of a stage within a block.
func layerOf(stage string) (n int, ok bool) {
	s, _ := model.ParseStage(stage)
	return max(s.Layer, 0), s.Layer >= 0
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
func (c *Context) embd() int    { return c.Model.Config().Embd }
func (c *Context) heads() int   { return c.Model.Config().Heads }
func (c *Context) width() int   { return c.embd() / c.heads() } // D
func (c *Context) vocab() int   { return c.Model.Config().Vocab }
func (c *Context) keys() int    { return c.Dims.P + c.Dims.T } // S
func (c *Context) shape() []int { return c.shapeOf(c.Stage) }

func (c *Context) shapeOf(name string) []int {
	s, _ := model.Shape(c.Model.Config(), name, c.Dims)
	return s
}

// empty is room for the stage's output.
func (c *Context) empty() []float32 { return make([]float32, product(c.shape())) }

// Right is what the stage's right function puts out on the inputs. The caller
// does not change it.
func (c *Context) Right() []float32 {
	if c.right == nil {
		c.right = c.apply(c.Stage, c.in)
	}
	return c.right
}

// apply is the right function of a stage on inputs of the caller's.
func (c *Context) apply(stage string, in func(string) []float32) []float32 {
	out := make([]float32, product(c.shapeOf(stage)))
	if err := c.Model.Apply(stage, c.Dims, in, out); err != nil && c.lacking == "" {
		c.lacking = err.Error()
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
