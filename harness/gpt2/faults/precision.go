package faults

import "checkpoint12/harness/internal/names"

// weighted are the stages that read weights.
var weighted = []string{"wte", "wpe", "h.*.ln_*", "h.*.c_*", "ln_f", "logits"}

var precisionVariants = map[string]variant{
	"float16_weights":      func(c *Context) [][]float32 { return one(c.rounded(float16, nil)) },
	"float16_activations":  func(c *Context) [][]float32 { return c.activations(nil, float16) },
	"bfloat16_weights":     func(c *Context) [][]float32 { return one(c.rounded(bfloat16, nil)) },
	"bfloat16_activations": func(c *Context) [][]float32 { return c.activations(nil, bfloat16) },
	"tf32": func(c *Context) [][]float32 {
		return [][]float32{c.operands(tf32), c.operands(tf32Cut), c.rounded(tf32, tf32)}
	},
}

// composites are two faults of the catalogue at once, as engines make them whose
// every tensor is of a small type. They are looked at where no single one is the
// cause, and are not planted.
var composites = []Fault{
	{ID: "float16_weights+float16_activations", Kind: Precision, Stages: weighted,
		Text: "weights and activations are float16: run the engine in float32",
		Run:  func(c *Context) [][]float32 { return c.activations(float16, float16) }},
	{ID: "bfloat16_weights+bfloat16_activations", Kind: Precision, Stages: weighted,
		Text: "weights and activations are bfloat16: run the engine in float32",
		Run:  func(c *Context) [][]float32 { return c.activations(bfloat16, bfloat16) }},
}

// activations are the stage with weights through one rounding and what it reads
// and writes through another: both, the output alone, the inputs alone.
func (c *Context) activations(weights, round *rounding) [][]float32 {
	if names.Match("w[tp]e", c.Stage) {
		return one(round.of(c.rounded(weights, nil))) // they read ids
	}
	both := c.rounded(weights, round)
	return [][]float32{round.of(both), round.of(c.rounded(weights, nil)), both}
}

// operands is a matrix product whose two factors go through a rounding and whose
// bias, unlike that of rounded, does not.
func (c *Context) operands(round *rounding) []float32 {
	if word(c.Stage)[:2] == "c_" {
		return c.product(round, round, c.bias())
	}
	return c.rounded(round, round)
}

// rounded is the stage's right function on inputs and weights that went through
// roundings, nil for none.
func (c *Context) rounded(weights, inputs *rounding) []float32 {
	if weights != nil {
		switch kind(c.Stage) {
		case "wte", "wpe":
			return weights.of(c.Right())
		case "ln_1", "ln_2", "ln_f":
			n := c.norm()
			n.x, n.gain, n.bias = inputs.of(n.x), weights.of(n.gain), weights.of(n.bias)
			return n.run()
		case "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj":
			return c.product(inputs, weights, weights.of(c.bias()))
		case "logits":
			return timesTransposed(inputs.of(c.reads(0)), c.unembedding(), nil, c.embd(), weights)
		}
	}
	if inputs == nil {
		return c.Right()
	}
	return c.apply(c.Stage, func(name string) []float32 {
		if name == "tokens" || name == "pos" {
			return c.in(name)
		}
		return inputs.of(c.in(name))
	})
}
