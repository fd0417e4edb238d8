package faults

import (
	"slices"

	"checkpoint12/harness/internal/names"
)

// Where tensors can have gone through fewer bits.
var (
	weighted = slices.Concat([]string{"wte", "wpe", "logits"}, norms, linears)
	products = slices.Concat([]string{"logits"}, linears, scores, contexts)
	every    = slices.Concat(weighted, []string{"embed", "logits_last"},
		heads, caches, scores, probs, contexts, residuals, acts, choices)
)

var precisionFaults = []Fault{
	{"float16_weights", weighted, Precision,
		"the weights went through float16: load them as float32",
		func(c *Context) [][]float32 { return one(c.rounded(float16, nil)) }},
	{"float16_activations", every, Precision,
		"the stage reads or writes float16: keep activations in float32",
		func(c *Context) [][]float32 { return c.activations(nil, float16) }},
	{"bfloat16_weights", weighted, Precision,
		"the weights went through bfloat16: load them as float32",
		func(c *Context) [][]float32 { return one(c.rounded(bfloat16, nil)) }},
	{"bfloat16_activations", every, Precision,
		"the stage reads or writes bfloat16: keep activations in float32, autocast off",
		func(c *Context) [][]float32 { return c.activations(nil, bfloat16) }},
	{"tf32", products, Precision,
		"the matrix product reads its operands with 10 bits of mantissa (TF32): switch it off, torch.backends.cuda.matmul.allow_tf32 = False",
		func(c *Context) [][]float32 {
			return [][]float32{c.operands(tf32), c.operands(tf32Cut), c.rounded(tf32, tf32)}
		}},
}

// composites are two faults of the catalogue at once, as engines make them whose
// every tensor is of a small type. They are looked at where no single one is the
// cause, and are not planted.
var composites = []Fault{
	{"float16_weights+float16_activations", weighted, Precision,
		"weights and activations are float16: run the engine in float32",
		func(c *Context) [][]float32 { return c.activations(float16, float16) }},
	{"bfloat16_weights+bfloat16_activations", weighted, Precision,
		"weights and activations are bfloat16: run the engine in float32",
		func(c *Context) [][]float32 { return c.activations(bfloat16, bfloat16) }},
}

// activations are the stage with weights through one rounding and what it reads
// and writes through another: both, the output alone, the inputs alone.
func (c *Context) activations(weights, round *rounding) [][]float32 {
	both := c.rounded(weights, round)
	out := [][]float32{round.of(both), round.of(c.rounded(weights, nil))}
	if names.Match("w[tp]e", c.Stage) {
		return out // they read ids
	}
	return append(out, both)
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
