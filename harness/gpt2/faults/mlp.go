package faults

import (
	"math"

	"github.com/tphakala/simd/f32"
)

var residualVariants = map[string]variant{
	"resid_missing": func(c *Context) [][]float32 { return one(c.reads(1)) },
	"resid_from_normed": func(c *Context) [][]float32 {
		norm := "ln_1"
		if word(c.Stage) == "resid_post" {
			norm = "ln_2"
		}
		return one(sum(c.in(c.block(norm)), c.reads(1)))
	},
	"resid_of_block_input": func(c *Context) [][]float32 { return one(sum(c.in(c.blockInput()), c.reads(1))) },
}

func sum(a, b []float32) []float32 {
	out := make([]float32, len(a))
	f32.Add(out, a, b)
	return out
}

var geluVariants = map[string]variant{
	"gelu_erf": func(c *Context) [][]float32 {
		return one(each(c.reads(0), func(x float64) float64 { return 0.5 * x * math.Erfc(-x/math.Sqrt2) }))
	},
	"gelu_relu": func(c *Context) [][]float32 {
		return one(each(c.reads(0), func(x float64) float64 { return math.Max(x, 0) }))
	},
	"gelu_sigmoid": func(c *Context) [][]float32 {
		return [][]float32{
			each(c.reads(0), func(x float64) float64 { return x / (1 + math.Exp(-1.702*x)) }),
			each(c.reads(0), func(x float64) float64 { return x / (1 + math.Exp(-x)) }), // SiLU
		}
	},
}

// each is f of every value, computed in float64.
func each(x []float32, f func(float64) float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(f(float64(v)))
	}
	return out
}
