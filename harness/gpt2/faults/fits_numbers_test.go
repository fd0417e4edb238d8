package faults_test

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
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

// bits rounds to so many bits of mantissa, of a number that is 2 to the least power at the least.
func bits(x float64, bits, least int) float64 {
	_, e := math.Frexp(x)
	step := math.Ldexp(1, max(e, least)-1-bits)
	return math.RoundToEven(x/step) * step
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
		{"a number added to the input", "mlp.act", function, []string{"gelu_new(x + 0.125): a number is added"}, ofFirst(func(x float64) float64 { return gelu(x + 0.125) })},
		{"softplus", "mlp.act", function, []string{"softplus"}, ofFirst(func(x float64) float64 { return math.Log1p(math.Exp(x)) })},
		{"leaky", "mlp.act", function, []string{"0.2·x below"}, ofFirst(func(x float64) float64 { return max(x, 0.2*x) })},
		{"a part of relu", "mlp.act", function, []string{"0.7 times relu(x)"}, ofFirst(func(x float64) float64 { return 0.7 * max(x, 0) })},
		{"itself beyond a number", "mlp.act", function, []string{"above 0.8 the output is mlp.c_fc itself"}, ofFirst(func(x float64) float64 {
			if x > 0.8 {
				return x
			}
			return gelu(x)
		})},
		{"tails cut", "mlp.act", function, []string{"above 0.8 the output is mlp.c_fc itself, where it is below -0.6 it is 0"}, ofFirst(func(x float64) float64 {
			switch {
			case x > 0.8:
				return x
			case x < -0.6:
				return 0
			}
			return gelu(x)
		})},
		{"a fixed step", "mlp.c_fc", fit.PatternLevels, []string{"rounded to multiples of 1/32"}, each(func(x float64) float64 { return math.RoundToEven(x*32) / 32 })},
		{"8 bits of float", "attn.cache_k", fit.PatternLevels, []string{"rounded to float8 (e4m3), 3 bits of mantissa"}, each(func(x float64) float64 { return bits(x, 3, -5) })},
		{"8 bits with a wide range", "attn.c_proj", fit.PatternLevels, []string{"rounded to float8 (e5m2), 2 bits of mantissa"}, each(func(x float64) float64 { return bits(x, 2, -13) })},
		{"5 bits", "resid_mid", fit.PatternLevels, []string{"rounded to 5 bits of mantissa"}, each(func(x float64) float64 { return bits(x, 5, -100) })},
		{"one number in some channels", "attn.c_attn", function, []string{"every value is -100, whatever belongs there, in the v third, head 5, channels of a head 4 to 7"}, func(c *faults.Context) []float32 {
			out := append([]float32{}, c.Right()...)
			for i := range out {
				if i%144 >= 140 {
					out[i] = -100
				}
			}
			return out
		}},
		{"a fine step", "resid_mid", fit.PatternLevels, []string{"rounded to multiples of 1/256"}, each(func(x float64) float64 { return math.RoundToEven(x*256) / 256 })},
		{"hundredths", "attn.scores", fit.PatternLevels, []string{"cut down to multiples of 0.01"}, each(func(x float64) float64 { return math.Floor(x*100) / 100 })},
		{"the input added", "mlp.act", function, []string{"0.01 times the input, mlp.c_fc"}, ofFirst(func(x float64) float64 { return gelu(x) + 0.01*x })},
		{"an approximate tanh", "mlp.act", function, []string{"z(27 + z²)/(27 + 9z²)"}, ofFirst(func(x float64) float64 {
			z := root * (x + 0.044715*x*x*x)
			return 0.5 * x * (1 + z*(27+z*z)/(27+9*z*z))
		})},
		{"a table", "mlp.act", table, []string{"table", "256"}, ofFirst(func(x float64) float64 {
			const h = 16.0 / 256
			return gelu(math.Round((x+8)/h)*h - 8)
		})},
		{"a table of eighths", "mlp.act", table, []string{"entries from -3 to 3 are 0.125 apart, in 48 intervals", "straight line"}, ofFirst(func(x float64) float64 {
			const h = 1.0 / 8
			x = max(-3, min(x, 3))
			n := math.Floor(x / h)
			a, b := n*h, (n+1)*h
			return gelu(a) + (x-a)/h*(gelu(b)-gelu(a))
		})},
		{"a table with lines", "mlp.act", table, []string{"table", "straight line"}, ofFirst(func(x float64) float64 {
			const h = 12.0 / 100
			n := math.Floor((x + 6) / h)
			a, b := n*h-6, (n+1)*h-6
			return gelu(a) + (x-a)/h*(gelu(b)-gelu(a))
		})},
		{"small outputs 0", "mlp.act", function, []string{"what is below 0.05 in size is set to 0"}, each(func(x float64) float64 {
			if math.Abs(x) < 0.05 {
				return 0
			}
			return x
		})},
		{"few small outputs 0", "attn.c_attn", function, []string{"what is below 0.02 in size is set to 0"}, each(func(x float64) float64 {
			if math.Abs(x) < 0.02 {
				return 0
			}
			return x
		})},
		{"a square", "mlp.act", function, []string{"x² in the place of x³"}, ofFirst(func(x float64) float64 { return 0.5 * x * (1 + math.Tanh(root*(x+0.044715*x*x))) })},
		{"another power", "mlp.act", function, []string{"another power of x", "p = 2.5"}, ofFirst(func(x float64) float64 {
			return 0.5 * x * (1 + math.Tanh(root*(x+0.044715*math.Copysign(math.Pow(math.Abs(x), 2.5), x))))
		})},
		{"a shifted relu", "mlp.act", function, []string{"relu of the input plus -0.125"}, ofFirst(func(x float64) float64 { return max(x-0.125, 0) })},
		{"tanh of few bits", "mlp.act", function, []string{"the tanh is rounded to bfloat16"}, ofFirst(func(x float64) float64 {
			return 0.5 * x * (1 + bits(math.Tanh(root*(x+0.044715*x*x*x)), 7, -100))
		})},
		{"11 bits", "mlp.c_fc", fit.PatternLevels, []string{"rounded to 11 bits of mantissa, 12 significant bits"}, each(func(x float64) float64 { return bits(x, 11, -100) })},
		{"cut to 9 bits", "resid_post", fit.PatternLevels, []string{"cut off, toward 0, to 9 bits"}, each(func(x float64) float64 {
			return float64(math.Float32frombits(math.Float32bits(float32(x)) &^ (1<<14 - 1)))
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

// TestOneRow: a number that is read off one row and that other rows refute is no cause; what they
// have in common is said of all.
func TestOneRow(t *testing.T) {
	e := engine{judge: oddModel(t), tokens: [][]int{{104, 268, 17, 301, 9, 15, 11, 295, 77}}, steps: 4,
		keep: func(stage string) bool { return !strings.HasPrefix(stage, "logits") }}
	for _, stage := range []string{"ln_f", "h.1.ln_2"} {
		e.plant = planted(fitCase{stage: stage, output: func(c *faults.Context) []float32 {
			return normalise(c, func(_ []float32, mean, _ float64) float64 { return mean }, func(_ []float32, m, v float64) float64 {
				return math.Sqrt(v*(1+0.05*math.Cos(1000*m)) + 1e-5)
			}, func(g, b float64) (float64, float64) { return g, b })
		}})
		introduced, all := e.explain(t)
		if len(introduced) != e.steps || len(all) != e.steps {
			t.Errorf("%s: introduced %v, explained %v; want %d steps", stage, introduced, all, e.steps)
		}
		for _, x := range all {
			if x.Explains != 0 || !strings.Contains(x.Text, "divisor") || x.Step == 0 != strings.Contains(x.Text, "a number of its own") || x.Step > 0 != strings.Contains(x.Text, "cannot be told by one row") {
				t.Errorf("%s at step %d: %s, %.4f: %q", stage, x.Step, x.Fault, float64(x.Explains), x.Text)
			}
		}
	}
	e.plant = planted(fitCase{stage: "ln_f", output: func(c *faults.Context) []float32 {
		return normalise(c, func(_ []float32, mean, _ float64) float64 { return mean + math.Cos(1000*mean)/10 },
			func(_ []float32, _, v float64) float64 { return math.Sqrt(v + 1e-5) }, func(g, b float64) (float64, float64) { return g, b })
	}})
	_, all := e.explain(t)
	for _, x := range all {
		if x.Explains != 0 || !strings.Contains(x.Text, "another number were taken off than its mean") {
			t.Errorf("another centre: %s at step %d: %s: %q", x.Stage, x.Step, x.Fault, x.Text)
		}
	}
	e.plant = planted(fitCase{stage: "ln_f", output: func(c *faults.Context) []float32 {
		return normalise(c, func(_ []float32, mean, _ float64) float64 { return mean + math.Cos(1000*mean)/1e4 },
			func(_ []float32, _, v float64) float64 { return math.Sqrt(v + 1e-5) }, func(g, b float64) (float64, float64) { return g, b })
	}})
	if _, all := e.explain(t); len(all) == 0 || !strings.Contains(all[0].Text, "as where the statistics are computed in few bits, or") {
		t.Errorf("a centre in few bits: %v", all)
	}
	// One that all rows have is told of one row as well.
	e.tokens = [][]int{{104}}
	testFits(t, e, []fitCase{{"scaled", ".ln_2", fit.PatternScaled, []string{"without the bias the output is 1.2 times", "the gain or the divisor is scaled"}, func(c *faults.Context) []float32 {
		return normalise(c, func(_ []float32, mean, _ float64) float64 { return mean }, func(_ []float32, _, v float64) float64 { return math.Sqrt(v+1e-5) / 1.2 },
			func(g, b float64) (float64, float64) { return g, b })
	}}})
}

// TestDropout: an engine in training mode is one, whatever stage it drops values of.
func TestDropout(t *testing.T) {
	e := engine{judge: oddModel(t), tokens: [][]int{{104, 268, 17, 301, 9}, {15, 11, 295, 77, 210}}, steps: 2,
		keep: func(stage string) bool { return !strings.HasPrefix(stage, "logits") }}
	rng := rand.New(rand.NewPCG(1, 2))
	drop := func(x float64) float64 {
		if rng.Float64() < 0.1 {
			return 0
		}
		return x / 0.9
	}
	words := []string{"dropout of p = 0.1 is on", "training mode"}
	testFits(t, e, []fitCase{
		{"of probabilities", ".attn.probs", fit.PatternDropout, words, each(drop)},
		{"of a projection", ".mlp.c_proj", fit.PatternDropout, words, each(drop)},
		{"of channels", ".mlp.c_fc", fit.PatternDropout, []string{"0 in random channels, at every position the same, and 1/(1-p) times"}, func(c *faults.Context) []float32 {
			out := append([]float32{}, c.Right()...)
			for i, v := range out {
				if out[i] = v / 0.875; i%112%8 == 3 {
					out[i] = 0
				}
			}
			return out
		}},
		{"without its factor", ".mlp.act", fit.PatternDropout, []string{"0 at random places", "training mode"}, each(func(x float64) float64 {
			if rng.Float64() < 0.1 {
				return 0
			}
			return x
		})},
		{"of the embedding", "embed", fit.PatternDropout, words, each(drop)},
		{"of a branch", ".resid_mid", fit.PatternDropout, append(words, "the branch, attn.c_proj"), func(c *faults.Context) []float32 {
			reads := model.Reads(c.Model.Config(), c.Stage)
			out := append([]float32{}, c.In(reads[0])...)
			for i, v := range c.In(reads[1]) {
				out[i] += float32(drop(float64(v)))
			}
			return out
		}},
	})
	e.tokens, e.steps = [][]int{{104, 268}}, 3
	testFits(t, e, []fitCase{{"of few probabilities", ".attn.probs", fit.PatternDropout, words, each(drop)}})
}

// TestWeights: weights that are not the file's are named where they can be.
func TestWeights(t *testing.T) {
	e := engine{judge: oddModel(t), tokens: [][]int{{104, 268, 17, 301, 9}, {15, 11, 295, 77, 210}}, steps: 2}
	with := func(change func(w []float32, out int)) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 {
			w, shape, _ := c.Model.Weight(c.Stage + ".weight")
			w = append([]float32{}, w...)
			change(w, shape[1])
			m, err := c.Model.With(map[string][]float32{c.Stage + ".weight": w})
			if err != nil {
				t.Fatal(err)
			}
			out := make([]float32, len(c.Right()))
			if err := m.Apply(c.Stage, c.Dims, c.In, out); err != nil {
				t.Fatal(err)
			}
			return out
		}
	}
	testFits(t, e, []fitCase{
		{"a flipped bit", "h.1.mlp.c_fc", fit.PatternWeight, []string{"h.1.mlp.c_fc.weight[5, 7]", "one bit is flipped, bit 24"},
			with(func(w []float32, out int) { w[5*out+7] = math.Float32frombits(math.Float32bits(w[5*out+7]) ^ 1<<24) })},
		{"two others", "h.2.attn.c_proj", fit.PatternWeight, []string{"h.2.attn.c_proj.weight[3, 0] is 1.5 in the engine", "h.2.attn.c_proj.weight[9, 1] is 0 in the engine"},
			with(func(w []float32, out int) { w[3*out], w[9*out+1] = 1.5, 0 })},
		{"a row", "h.1.attn.c_attn", fit.PatternWeight, []string{"one input channel, 11 of"},
			with(func(w []float32, out int) {
				for j := range out {
					w[11*out+j] += float32(j%7) / 9
				}
			})},
		{"clipped", ".mlp.c_proj", fit.PatternWeights, []string{"the weights are clipped at ±0.15"},
			with(func(w []float32, _ int) {
				for i, v := range w {
					w[i] = max(-0.15, min(v, 0.15))
				}
			})},
		{"keys' in bfloat16", ".attn.c_attn", fit.PatternWeights, []string{"the weights are rounded to bfloat16", "in the k third"},
			with(func(w []float32, out int) {
				for i := range w {
					if j := i % out; out/3 <= j && j < out/3*2 {
						w[i] = bfloat16(w[i : i+1])[0]
					}
				}
			})},
		{"units from 20 on in bfloat16", ".mlp.c_fc", fit.PatternLevels, []string{"the output is rounded to bfloat16", "in units 20 to 111"}, func(c *faults.Context) []float32 {
			out := slices.Clone(c.Right())
			for i, v := range bfloat16(out) {
				if i%112 >= 20 {
					out[i] = v
				}
			}
			return out
		}},
		{"groups of 4 bits", ".mlp.c_proj", fit.PatternWeights, []string{"quantised to 4 bits", "of each group of 32 inputs of an output over 7"},
			with(func(w []float32, out int) {
				for j := range out {
					for lo := j; lo < len(w); lo += 32 * out {
						top := float32(0)
						for i := lo; i < min(lo+32*out, len(w)); i += out {
							top = max(top, w[i], -w[i])
						}
						for i := lo; i < min(lo+32*out, len(w)); i += out {
							w[i] = float32(math.RoundToEven(float64(w[i]/(top/7)))) * (top / 7)
						}
					}
				}
			})},
		{"from the least to the largest", ".attn.c_attn", fit.PatternWeights, []string{"quantised to 8 bits, integers up to 255 from the least value of the whole matrix"},
			with(func(w []float32, _ int) {
				lo, hi := slices.Min(w), slices.Max(w)
				for i, v := range w {
					w[i] = float32(math.RoundToEven(float64((v-lo)/((hi-lo)/255))))*((hi-lo)/255) + lo
				}
			})},
		{"float8", ".mlp.c_fc", fit.PatternWeights, []string{"quantised to 8 bits, float8 (e4m3)"},
			with(func(w []float32, _ int) {
				for i, v := range w {
					w[i] = float32(bits(float64(v), 3, -5))
				}
			})},
		{"2 of 4", ".mlp.c_fc", fit.PatternWeights, []string{"of every 4 weights along the inputs the 2 smaller are 0"},
			with(func(w []float32, out int) {
				for lo := range len(w) / 4 {
					lo = lo/out*4*out + lo%out
					at := []int{lo, lo + out, lo + 2*out, lo + 3*out}
					slices.SortFunc(at, func(a, b int) int { return cmp.Compare(math.Abs(float64(w[a])), math.Abs(float64(w[b]))) })
					w[at[0]], w[at[1]] = 0, 0
				}
			})},
		{"pruned", ".attn.c_proj", fit.PatternWeights, []string{"weights within ±0.0", "pruned"},
			with(func(w []float32, _ int) {
				for i, v := range w {
					if v > -0.02 && v < 0.02 {
						w[i] = 0
					}
				}
			})},
	})
}

// TestOneInput: of a function that is none of those known it is said of what it is one.
func TestOneInput(t *testing.T) {
	for _, c := range []struct {
		stage, words string
		f            func(x float64) float64
	}{
		{".mlp.act", "the values follow mlp.c_fc, as another function of it", func(x float64) float64 { return x / 2 * (1 + math.Tanh(x+0.3*math.Sin(3*x))) }},
		{".mlp.act", "none is wrong below |x| = 0.5", func(x float64) float64 {
			return tanhGELU(math.Sqrt(2/math.Pi), 0.044715)(x) + 0.2*max(math.Abs(x)-0.5, 0)*math.Sin(3*x)
		}},
	} {
		e := engine{judge: oddModel(t), tokens: [][]int{{104, 268, 17, 301, 9, 55, 66}, {15, 11, 295, 77, 210, 8, 7}}, steps: 1}
		e.plant = func(at harness.Place, x *faults.Context) []float32 {
			if !strings.HasSuffix(at.Stage, c.stage) {
				return nil
			}
			return ofFirst(c.f)(x)
		}
		_, all := e.explain(t)
		for _, x := range all {
			if x.Fault != fit.PatternFunction || x.Explains != 0 || !strings.Contains(x.Text, c.words) {
				t.Errorf("%s: %s, %v: %s", x.Stage, x.Fault, x.Explains, x.Text)
			}
		}
	}
}
