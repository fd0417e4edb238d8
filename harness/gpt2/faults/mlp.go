package faults

import (
	"math"

	"github.com/tphakala/simd/f32"
)

var residualFaults = []Fault{
	{"resid_missing", residuals, Plain,
		"the stream is not added to the branch: the sum is what the block read plus what it computed",
		func(c *Context) [][]float32 { return one(c.reads(1)) }},
	{"resid_from_normed", residuals, Plain,
		"the branch is added to the LayerNorm's output: add it to the stream as it was before the norm",
		func(c *Context) [][]float32 {
			norm := "ln_1"
			if word(c.Stage) == "resid_post" {
				norm = "ln_2"
			}
			return one(sum(c.in(c.block(norm)), c.reads(1)))
		}},
	{"resid_of_block_input", []string{"h.*.resid_post"}, Plain,
		"mlp.c_proj is added to the block's input, so attention's part is lost: add it to resid_mid",
		func(c *Context) [][]float32 { return one(sum(c.in(c.blockInput()), c.reads(1))) }},
}

func sum(a, b []float32) []float32 {
	out := make([]float32, len(a))
	f32.Add(out, a, b)
	return out
}

var geluFaults = []Fault{
	{"gelu_erf", acts, GELU,
		"GELU is taken in its erf form: GPT-2 uses the tanh form, gelu_new, 0.5*x*(1 + tanh(sqrt(2/pi)*(x + 0.044715*x^3)))",
		func(c *Context) [][]float32 {
			return one(each(c.reads(0), func(x float64) float64 { return 0.5 * x * math.Erfc(-x/math.Sqrt2) }))
		}},
	{"gelu_relu", acts, Plain,
		"ReLU stands for GELU: use gelu_new",
		func(c *Context) [][]float32 {
			return one(each(c.reads(0), func(x float64) float64 { return math.Max(x, 0) }))
		}},
	{"gelu_sigmoid", acts, Plain,
		"GELU is taken as x*sigmoid(1.702*x), quick_gelu: GPT-2 uses the tanh form, gelu_new",
		func(c *Context) [][]float32 {
			return [][]float32{
				each(c.reads(0), func(x float64) float64 { return x / (1 + math.Exp(-1.702*x)) }),
				each(c.reads(0), func(x float64) float64 { return x / (1 + math.Exp(-x)) }), // SiLU
			}
		}},
}

// each is f of every value, computed in float64.
func each(x []float32, f func(float64) float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(f(float64(v)))
	}
	return out
}
