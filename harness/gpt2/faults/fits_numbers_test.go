package faults_test

import (
	"math"
	"strings"
	"testing"

	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/gpt2/fit"
	"checkpoint12/model"
)

// each changes every value of the correct output.
func each(f func(x float64) float64) func(c *faults.Context) []float32 {
	return func(c *faults.Context) []float32 {
		out := append([]float32{}, c.Right()...)
		for i, v := range out {
			if v-v == 0 {
				out[i] = float32(f(float64(v)))
			}
		}
		return out
	}
}

// ofFirst is a function of every value of the stage's first input.
func ofFirst(f func(x float64) float64) func(c *faults.Context) []float32 {
	return func(c *faults.Context) []float32 {
		var out []float32
		for _, v := range c.In(model.Reads(c.Model.Config(), c.Stage)[0]) {
			out = append(out, float32(f(float64(v))))
		}
		return out
	}
}

// tanhGELU is GELU's tanh form with other numbers in it.
func tanhGELU(root, cubic float64) func(x float64) float64 {
	return func(x float64) float64 { return 0.5 * x * (1 + math.Tanh(root*(x+cubic*x*x*x))) }
}

// TestPointwise: what an engine makes of each value by itself is found with its numbers.
func TestPointwise(t *testing.T) {
	e := engine{judge: oddModel(t), tokens: [][]int{{104, 268, 17, 301, 9}, {15, 11, 295, 77, 210}}, steps: 3}
	root := math.Sqrt(2 / math.Pi)
	gelu := tanhGELU(root, 0.044715)
	const clipped, function, table = fit.PatternClipped, fit.PatternFunction, fit.PatternTable
	cases := []fitCase{
		{"clipped", "attn.c_attn", clipped, []string{"clipped at ±0.75"}, each(func(x float64) float64 { return max(-0.75, min(x, 0.75)) })},
		{"clipped above", "mlp.act", clipped, []string{"clipped at 0.5", "no value is above"}, each(func(x float64) float64 { return min(x, 0.5) })},
		{"a soft cap", "resid_mid", function, []string{"5·tanh(y/5)", "cap"}, each(func(x float64) float64 { return 5 * math.Tanh(x/5) })},
		{"absolute", "attn.q", function, []string{"the absolute value of the correct one"}, each(math.Abs)},
		{"negative halved", "attn.v", function, []string{"below 0", "0.3 times the correct one"}, each(func(x float64) float64 { return x - 0.7*min(x, 0) })},
		{"the input capped", "mlp.act", clipped, []string{"mlp.c_fc, is cut at 0.6 from above"}, ofFirst(func(x float64) float64 { return gelu(min(x, 0.6)) })},
		{"the input clipped", "mlp.act", clipped, []string{"mlp.c_fc, is cut at ±0.6"}, ofFirst(func(x float64) float64 { return gelu(max(-0.6, min(x, 0.6))) })},
		{"twice", "mlp.act", function, []string{"applied twice"}, ofFirst(func(x float64) float64 { return gelu(gelu(x)) })},
		{"a rounded constant", "mlp.act", function, []string{"0.0447 in the place of 0.044715"}, ofFirst(tanhGELU(root, 0.0447))},
		{"a rounded root", "mlp.act", function, []string{"0.8 in the place of √(2/π)"}, ofFirst(tanhGELU(0.8, 0.044715))},
		{"another constant", "mlp.act", function, []string{"0.05 in the place of 0.044715"}, ofFirst(tanhGELU(root, 0.05))},
		{"sigmoid of 1.7", "mlp.act", function, []string{"x·sigmoid(1.7·x)"}, ofFirst(func(x float64) float64 { return x / (1 + math.Exp(-1.7*x)) })},
		{"scaled input", "mlp.act", function, []string{"gelu_new(1.25·x)", "input is scaled"}, ofFirst(func(x float64) float64 { return gelu(1.25 * x) })},
		{"softplus", "mlp.act", function, []string{"softplus"}, ofFirst(func(x float64) float64 { return math.Log1p(math.Exp(x)) })},
		{"leaky", "mlp.act", function, []string{"0.2·x below"}, ofFirst(func(x float64) float64 { return max(x, 0.2*x) })},
		{"a part of relu", "mlp.act", function, []string{"0.7 times relu(x)"}, ofFirst(func(x float64) float64 { return 0.7 * max(x, 0) })},
		{"itself beyond a number", "mlp.act", function, []string{"above 0.8 the output is mlp.c_fc itself"}, ofFirst(func(x float64) float64 {
			if x > 0.8 {
				return x
			}
			return gelu(x)
		})},
		{"the input added", "mlp.act", function, []string{"0.01 times the input, mlp.c_fc"}, ofFirst(func(x float64) float64 { return gelu(x) + 0.01*x })},
		{"an approximate tanh", "mlp.act", function, []string{"z(27 + z²)/(27 + 9z²)"}, ofFirst(func(x float64) float64 {
			z := root * (x + 0.044715*x*x*x)
			return 0.5 * x * (1 + z*(27+z*z)/(27+9*z*z))
		})},
		{"a table", "mlp.act", table, []string{"table", "256"}, ofFirst(func(x float64) float64 {
			const h = 16.0 / 256
			return gelu(math.Round((x+8)/h)*h - 8)
		})},
		{"a table with lines", "mlp.act", table, []string{"table", "straight line"}, ofFirst(func(x float64) float64 {
			const h = 12.0 / 100
			n := math.Floor((x + 6) / h)
			a, b := n*h-6, (n+1)*h-6
			return gelu(a) + (x-a)/h*(gelu(b)-gelu(a))
		})},
		{"small values 0", "mlp.act", function, []string{"within ±0.05", "the output is 0"}, ofFirst(func(x float64) float64 {
			if math.Abs(x) < 0.05 {
				return 0
			}
			return gelu(x)
		})},
	}
	for i := range cases {
		if !strings.HasPrefix(cases[i].stage, ".") {
			cases[i].stage = "." + cases[i].stage
		}
	}
	testFits(t, e, cases)
}
