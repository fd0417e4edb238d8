package faults_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/gpt2/fit"
	"checkpoint12/harness/internal/gpt2test"
)

func TestPatterns(t *testing.T) {
	m := gpt2test.Tiny(t)
	C, H := m.Config().Embd, m.Config().Heads
	D := C / H
	rng := rand.New(rand.NewPCG(3, 4))
	edit := gpt2test.Edit
	each := func(f func(i int, v float32) float32) func(*faults.Context) []float32 {
		return edit(func(data []float32) {
			for i, v := range data {
				data[i] = f(i, v)
			}
		})
	}
	noise := func(at func(i int) bool) func(*faults.Context) []float32 {
		return each(func(i int, v float32) float32 {
			if at(i) {
				return float32(rng.NormFloat64())
			}
			return v
		})
	}
	weight := func(name string) []float32 {
		w, _, _ := m.Weight(name)
		return w
	}
	add := func(name string) func(*faults.Context) []float32 {
		bias := weight(name)
		return each(func(i int, v float32) float32 { return v + bias[i%len(bias)] })
	}
	gain, attnBias := weight("h.2.ln_2.weight"), weight("h.1.attn.c_attn.bias")
	heads := func(i, k int) func(*faults.Context) []float32 { // of [2,H,3,D]
		return edit(func(data []float32) {
			old, n := slices.Clone(data), 3*D
			for b := range 2 {
				copy(data[(b*H+i)*n:][:n], old[(b*H+k)*n:])
				copy(data[(b*H+k)*n:][:n], old[(b*H+i)*n:])
			}
		})
	}
	for _, c := range []struct {
		name  string
		stage string
		id    string
		part  float64 // of the error that it reproduces, at least
		words []string
		put   func(c *faults.Context) []float32
	}{
		{"a constant ratio", "h.1.mlp.c_fc", fit.PatternRatio, 0.999, []string{"0.9 times"}, each(func(_ int, v float32) float32 { return 0.9 * v })},
		{"a ratio with a name", "h.1.attn.context", fit.PatternRatio, 0.999, []string{"√D"},
			each(func(_ int, v float32) float32 { return v * float32(math.Sqrt(float64(D))) })},
		{"a constant offset", "h.1.resid_mid", fit.PatternOffset, 0.999, []string{"plus 0.5"}, each(func(_ int, v float32) float32 { return v + 0.5 })},
		{"the bias twice", "h.1.mlp.c_proj", fit.PatternBias, 0.999, []string{"mlp.c_proj.bias, is added twice", "once"}, add("h.1.mlp.c_proj.bias")},
		{"another bias", "h.1.mlp.c_proj", fit.PatternChannelOffset, 0.999, []string{"attn.c_proj.bias of the next layer is added to every row"}, add("h.2.attn.c_proj.bias")},
		{"a bias in the place of another", "h.1.mlp.c_proj", fit.PatternBias, 0.999, []string{"its bias is attn.c_proj.bias, where mlp.c_proj.bias belongs"}, func(c *faults.Context) []float32 {
			own, other := weight("h.1.mlp.c_proj.bias"), weight("h.1.attn.c_proj.bias")
			return each(func(i int, v float32) float32 { return v - own[i%len(own)] + other[i%len(own)] })(c)
		}},
		{"columns of three", "h.1.attn.c_attn", fit.PatternPermuted, 0.999, []string{"columns are transposed: j is that of ["}, func(c *faults.Context) []float32 {
			right, C := c.Right(), m.Config().Embd
			return each(func(i int, _ float32) float32 {
				j := i % (3 * C)
				return right[i-j+j%C*3+j/C]
			})(c)
		}},
		{"another gain", "h.1.attn.c_proj", fit.PatternChannelRatio, 0.999, []string{"every row is multiplied by ln_2.weight of the next layer"}, each(func(i int, v float32) float32 { return v * gain[i%len(gain)] })},
		{"one head was never written", "h.2.attn.q", fit.PatternZero, 0.999, []string{"head 3"},
			each(func(i int, v float32) float32 {
				if i/D/3%H == 3 { // [B,H,T,D]
					return 0
				}
				return v
			})},
		{"a positions's values are noise", "h.1.attn.k", "", 0, []string{"position 1", "no known fault"},
			noise(func(i int) bool { return i/D%3 == 1 })},
		{"the diagonal of a head is noise", "h.0.attn.scores", "", 0, []string{"6 of 72 values wrong, on the diagonal, in head 3; off by"},
			noise(func(i int) bool { return i/9%H == 3 && i/3%3 == i%3 })},
		{"what the mask hides is noise", "h.0.attn.scores", faults.PatternNonfinite, 0, []string{"only these values are wrong: at the places that the mask hides"},
			noise(func(i int) bool { return i/3%3 < i%3 })},
		{"a unit is -inf", "h.1.mlp.c_fc", faults.PatternNonfinite, 0, []string{"6 -inf, where nothing is masked; only these values are wrong: in unit 7"},
			each(func(i int, v float32) float32 {
				if i%(4*C) == 7 {
					return float32(math.Inf(-1))
				}
				return v
			})},
		{"a key is hidden", "h.0.attn.scores", fit.PatternScores, 1, []string{"key 0 is left out of the sum of every later query"},
			each(func(i int, v float32) float32 {
				if i%3 == 0 && i/3%3 > 0 {
					return float32(math.Inf(-1))
				}
				return v
			})},
		{"a batch row is noise", "h.1.mlp.act", "", 0, []string{"960 of 1920 values wrong, in batch row 1; off by", "right in layers 0, 2; it is right at step 1"},
			noise(func(i int) bool { return i/(3*4*C) == 1 })},
		{"a bias in q alone", "h.1.attn.c_attn", fit.PatternBias, 0.999, []string{"the bias is left out in the k and v thirds"}, each(func(i int, v float32) float32 {
			if c := i % (3 * C); c >= C {
				return v - attnBias[c]
			}
			return v
		})},
		{"the biases of k and v exchanged", "h.1.attn.c_attn", fit.PatternBias, 0.999, []string{"the bias of the k third is added in the v third", "the bias of the v third is added in the k third"}, each(func(i int, v float32) float32 {
			c := i % (3 * C)
			return v - attnBias[c] + attnBias[c+[]int{0, C, -C}[c/C]]
		})},
		{"no bias in v", "h.1.attn.c_attn", fit.PatternBias, 0.999, []string{"attn.c_attn.bias, is missing: add it, in the v third"},
			each(func(i int, v float32) float32 {
				if c := i % (3 * C); c >= 2*C {
					return v - attnBias[c]
				}
				return v
			})},
		{"a ratio near 1", "h.1.mlp.act", fit.PatternRatio, 0.999, []string{"0.02% larger than the correct one"}, each(func(_ int, v float32) float32 { return 1.0002 * v })},
		{"next to nothing", "h.1.resid_mid", fit.PatternRatio, 0.999, []string{"the output is 1e-06 times the correct one"}, each(func(_ int, v float32) float32 { return 1e-6 * v })},
		{"heads exchanged", "h.0.attn.v", fit.PatternColumns, 1, []string{"head 1 is head 2 of v, head 2 is head 1 of v"}, heads(1, 2)},
		{"the first heads exchanged", "h.0.attn.v", fit.PatternColumns, 1, []string{"head 0 is head 1 of v, head 1 is head 0 of v"}, heads(0, 1)},
		{"the first heads of the cache exchanged", "h.0.attn.cache_v", fit.PatternPermuted, 1, []string{"heads 0 and 1 are exchanged"}, heads(0, 1)},
		{"rows rolled", "h.0.mlp.c_fc", fit.PatternPermuted, 1, []string{"position", "1 before"}, edit(func(data []float32) {
			old, n := slices.Clone(data), len(data)/6
			for b := range 2 {
				for r := range 3 {
					copy(data[(b*3+r)*n:][:n], old[(b*3+(r+2)%3)*n:])
				}
			}
		})},
		{"the last row is the first", "h.0.mlp.c_fc", fit.PatternPermuted, 1, []string{"position 2 has the values of position 0"}, edit(func(data []float32) {
			for n, b := len(data)/6, 0; b < 2; b++ {
				copy(data[(b*3+2)*n:][:n], data[b*3*n:])
			}
		})},
		{"axes exchanged", "h.1.attn.q", fit.PatternPermuted, 1, []string{"[batch row, position, head, channel of a head]"}, edit(func(data []float32) {
			old := slices.Clone(data)
			for i := range data { // as [B,T,H,D]
				b, p, h, d := i/(3*C), i/C%3, i/D%H, i%D
				data[i] = old[((b*H+h)*3+p)*D+d]
			}
		})},
		{"another stage's buffer", "h.1.ln_2", fit.PatternCopy, 1, []string{"that of ln_1"}, func(c *faults.Context) []float32 { return c.In("h.1.ln_1") }},
		{"not a number", "h.1.attn.c_proj", faults.PatternNonfinite, 0, []string{"1 NaN"}, edit(func(data []float32) { data[5] = float32(math.NaN()) })},
		{"weights and activations of bfloat16", "h.1.mlp.c_fc", "bfloat16_weights+bfloat16_activations", 0.99, nil, func(c *faults.Context) []float32 {
			x, w, bias := bfloat16(c.In("h.1.ln_2")), bfloat16(weight("h.1.mlp.c_fc.weight")), bfloat16(weight("h.1.mlp.c_fc.bias"))
			out, n := make([]float32, len(c.Right())), len(bias)
			for i := range out {
				sum := float64(bias[i%n])
				for k := range C {
					sum += float64(x[i/n*C+k]) * float64(w[k*n+i%n])
				}
				out[i] = float32(sum)
			}
			return bfloat16(out)
		}},
		{"weights off by two vectors", "h.1.mlp.c_fc", faults.PatternRank, 0, []string{"the error is of rank 2: in the 6 wrong rows that were compared", "the weights are off by a matrix of rank 2"}, func(c *faults.Context) []float32 {
			out, n := slices.Clone(c.Right()), len(weight("h.1.mlp.c_fc.bias"))
			for i, v := range c.In("h.1.ln_2") {
				for j := range n {
					out[i/C*n+j] += 0.01 * v * float32(math.Sin(float64(i%C*7))*math.Cos(float64(j*j))+math.Cos(float64(i%C))*math.Sin(float64(3*j)))
				}
			}
			return out
		}},
		{"any token", "next_token", "", 0, []string{"id 7 in row 0", "logits above"}, edit(func(data []float32) { data[0] = 7 })},
		{"nothing known", "h.1.resid_post", "", 0, []string{"no known fault and no fit", "480 of 480 values wrong; off by 11 times the output's size; 97% of the error is in channel 53"}, each(func(_ int, v float32) float32 { return v*v + float32(math.Sin(float64(v))) })},
	} {
		t.Run(c.name, func(t *testing.T) {
			introduced, all := engine{plant: at(0, c.stage, c.put), keep: func(stage string) bool { return stage != "logits" }}.explain(t)
			if !slices.Equal(introduced, []harness.Place{{Step: 0, Stage: c.stage}}) {
				t.Fatalf("introduced %v, want %s alone", introduced, c.stage)
			}
			if len(all) != 1 {
				t.Fatalf("explanations %v, want one", all)
			}
			x := all[0]
			if x.Step != 0 || x.Stage != c.stage || x.Fault != c.id || float64(x.Explains) < c.part {
				t.Errorf("got %q at step %d, %s, explaining %.4f; want %q and %.4f: %s", x.Fault, x.Step, x.Stage, x.Explains, c.id, c.part, x.Text)
			}
			for _, w := range c.words {
				if !strings.Contains(x.Text, w) {
					t.Errorf("text %q, want it to say %q", x.Text, w)
				}
			}
		})
	}
}

// apply is the function of a stage on a tensor of the prompt's step.
func apply(stage, input string) func(*faults.Context) []float32 {
	return func(c *faults.Context) []float32 {
		out := make([]float32, len(c.Right()))
		if err := c.Model.Apply(stage, c.Dims, func(string) []float32 { return c.In(input) }, out); err != nil {
			panic(err)
		}
		return out
	}
}

// noisy adds to each value a random part of the output's size.
func noisy(rng *rand.Rand, part float64) func(*faults.Context) []float32 {
	return gpt2test.Edit(func(data []float32) {
		var sq float64
		for _, v := range data {
			sq += float64(v) * float64(v)
		}
		size := part * math.Sqrt(sq/float64(len(data)))
		for i := range data {
			data[i] += float32(size * rng.NormFloat64())
		}
	})
}

// TestNoise: what fewer bits leave is seen where the stage is off at every step, and not taken for
// that where it is right at one.
func TestNoise(t *testing.T) {
	for _, c := range []struct {
		part float64
		id   string
		or   bool // both are told
	}{{1.0 / 4096, faults.PatternNoise10, false}, {1.0 / 900, faults.PatternNoise7, true}, {1.0 / 512, faults.PatternNoise7, false}} {
		for _, right := range []int{-1, 1} { // the step that is
			rng := rand.New(rand.NewPCG(3, 4))
			_, all := engine{plant: func(at harness.Place, x *faults.Context) []float32 {
				if at.Stage != "h.1.mlp.c_proj" || at.Step == right {
					return nil
				}
				return noisy(rng, c.part)(x)
			}}.explain(t)
			want := c.id
			if right >= 0 {
				want = ""
			}
			for _, x := range all {
				if x.Fault != want || strings.Contains(x.Text, "; or ") != (c.or && right < 0) {
					t.Errorf("%v, right at step %d: explained %v, want %q", c.part, right, x, want)
				}
			}
			if len(all) == 0 {
				t.Errorf("%v, right at step %d: not explained", c.part, right)
			}
		}
	}
}

// TestStale: a buffer of the step before.
func TestStale(t *testing.T) {
	stage := "h.1.mlp.act"
	introduced, all := engine{steps: 3, plant: at(2, stage, func(c *faults.Context) []float32 { return c.In("prev:" + stage) })}.explain(t)
	if len(introduced) != 1 || len(all) != 1 || all[0].Fault != fit.PatternCopy || !strings.Contains(all[0].Text, "that of the step before") {
		t.Errorf("introduced %v, explained %v", introduced, all)
	}
	testFits(t, engine{judge: oddModel(t), tokens: [][]int{{1, 2, 300, 4, 5}}, steps: 3}, []fitCase{
		{"its last position", "h.1.mlp.c_fc", fit.PatternOtherInput, []string{"it reads ln_2 of the step before, where ln_2 belongs"}, func(c *faults.Context) []float32 {
			before := c.In("prev:h.1.ln_2")
			if c.Dims.P == 0 {
				return nil
			}
			out := make([]float32, len(c.Right()))
			if err := c.Model.Apply(c.Stage, c.Dims, func(string) []float32 { return before[len(before)-48:] }, out); err != nil {
				t.Fatal(err)
			}
			return out
		}},
		{"its row", "wpe", fit.PatternCopy, []string{"that of the step before, row 5 of wpe: either", "clamped", "or a buffer"}, func(c *faults.Context) []float32 {
			if c.Dims.P < 6 {
				return nil
			}
			return rowsOfTable(c, "wpe.weight", func(_, _ int) int { return 5 })
		}},
	})
}

// TestFewValues: of tensors of a handful of values, such as probabilities of 0 and 1, that one
// equals another is no sign of a wrong buffer.
func TestFewValues(t *testing.T) {
	for _, values := range [][]float32{{1, 0, 0}, {0.5, 0.25, 0.25}, {7}} {
		introduced, all := engine{steps: 1, plant: func(at harness.Place, c *faults.Context) []float32 {
			if !strings.HasSuffix(at.Stage, "probs") {
				return nil
			}
			return gpt2test.Edit(func(data []float32) {
				for i := range data {
					data[i] = values[i%len(values)]
				}
			})(c)
		}}.explain(t)
		if len(introduced) != 3 || slices.ContainsFunc(all, func(x harness.Explanation) bool { return x.Fault == fit.PatternCopy }) {
			t.Errorf("%v: introduced %v, explained %v", values, introduced, all)
		}
	}
}

// TestShapes: outputs of other shapes are described.
func TestShapes(t *testing.T) {
	for _, c := range []struct {
		stage  string
		words  string
		reform func(x *harness.Tensor)
	}{
		{"h.1.attn.cache_k", "append this step's rows", func(x *harness.Tensor) { *x = rowsOf(*x, 3) }},
		{"h.1.attn.cache_v", "only this step's rows", func(x *harness.Tensor) { *x = rowsOf(*x, 1) }},
		{"h.0.mlp.act", "as many values", func(x *harness.Tensor) { x.Shape = []int{x.Elements()} }},
		{"wte", "feeds 2 tokens, where 1 were expected; if your engine's steps overlap, write cut.json", func(x *harness.Tensor) {
			*x = harness.Tensor{Shape: []int{2, 2, x.Shape[2]}, F32: slices.Concat(x.F32, x.F32)}
		}},
		{"logits", "the vocabulary is padded", func(x *harness.Tensor) {
			*x = harness.Tensor{Shape: []int{2, 1, x.Shape[2] + 14}, F32: append(slices.Clone(x.F32), make([]float32, 28)...)}
		}},
		{"h.0.attn.q", "another order", func(x *harness.Tensor) { x.Shape = []int{x.Shape[0], x.Shape[2], x.Shape[1], x.Shape[3]} }},
		{"h.2.ln_1", "axis 2 is off", func(x *harness.Tensor) { *x = harness.Tensor{Shape: []int{2, 1, 79}, F32: x.F32[:2*79]} }},
	} {
		_, all := engine{keep: func(string) bool { return true }, reform: func(step int, stage string, x *harness.Tensor) {
			if step == 1 && stage == c.stage {
				c.reform(x)
			}
		}}.explain(t)
		i := slices.IndexFunc(all, func(x harness.Explanation) bool { return x.Step == 1 && x.Stage == c.stage })
		if i < 0 || all[i].Fault != faults.PatternShape || !strings.Contains(all[i].Text, c.words) {
			t.Errorf("%s: explained %v, want %s that says %q", c.stage, all, faults.PatternShape, c.words)
		}
	}
}

// rowsOf is the first n rows of a cache [B,H,S,D].
func rowsOf(x harness.Tensor, n int) harness.Tensor {
	S, D := x.Shape[2], x.Shape[3]
	out := harness.Tensor{Shape: []int{x.Shape[0], x.Shape[1], n, D}}
	for head := range x.Shape[0] * x.Shape[1] {
		out.F32 = append(out.F32, x.F32[head*S*D:][:n*D]...)
	}
	return out
}

// TestNaN: NaN, of which any function is NaN, bears out no cause; what is wrong beside it does.
func TestNaN(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		name  string
		from  int // the first row of c_attn that is NaN
		open  bool
		fault string
	}{
		{"nothing but NaN under a mask that is added", 0, false, faults.PatternNonfinite},
		{"some NaN under a mask that is added", 2, false, faults.PatternNonfinite},
		{"some NaN and no mask", 2, true, "mask_missing"},
	} {
		missing, _ := faults.ByID("mask_missing")
		_, all := engine{tokens: [][]int{{464, 2068, 7586, 995}}, steps: 1, plant: func(at harness.Place, x *faults.Context) []float32 {
			switch at.Stage {
			case "h.1.attn.c_attn":
				return gpt2test.Edit(func(data []float32) {
					for i := c.from * len(data) / 4; i < len(data); i++ {
						data[i] = nan
					}
				})(x)
			case "h.1.attn.scores":
				out := missing.Output(x)
				for i, v := range x.Right() {
					if !c.open && math.IsInf(float64(v), -1) && out[i] == out[i] {
						out[i] = v
					}
				}
				return out
			}
			return nil
		}}.explain(t)
		for _, x := range all {
			if x.Stage == "h.1.attn.scores" && x.Fault != c.fault {
				t.Errorf("%s: %s at step %d: %s: %q", c.name, x.Stage, x.Step, x.Fault, x.Text)
			}
		}
		if len(all) != 2 {
			t.Errorf("%s: explained %v, want two", c.name, all)
		}
	}
}

// TestFixedStep: multiples of one step are no values of a narrow type, whatever else is wrong; what
// rounding to it gives is.
func TestFixedStep(t *testing.T) {
	for _, c := range []struct {
		words string
		of    func(x float64) float64
	}{
		{"every value of the output is a multiple of 1/32: it is rounded to a fixed step", func(x float64) float64 { return math.Round((x+math.Cos(40*x)/40)*32) / 32 }},
		{"works in bfloat16", func(x float64) float64 {
			return float64(bfloat16([]float32{float32(x * (1 + math.Cos(400*x)/200))})[0])
		}},
		{"no known fault and no fit", func(x float64) float64 { return float64(bfloat16([]float32{float32(x + math.Cos(40*x))})[0]) }},
	} {
		_, all := engine{plant: at(0, "h.1.mlp.c_fc", each(c.of)), steps: 1}.explain(t)
		if len(all) != 1 || !strings.Contains(all[0].Text, c.words) {
			t.Errorf("got %v, want %q", all, c.words)
		}
	}
}
