package diagnose

import (
	"math"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/rounding"
	"checkpoint12/harness/report"
	"checkpoint12/model"
)

// summedIn returns a plant of products which round the sum after every so many terms.
func summedIn(round rounding.Rounding, every int) func(at harness.Place, c *faults.Context) []float32 {
	return func(at harness.Place, c *faults.Context) []float32 {
		w, shape, ok := c.Model.Weight(at.Stage + ".weight")
		if !ok || !strings.Contains(at.Stage, ".c_") {
			return nil
		}
		bias, _, _ := c.Model.Weight(at.Stage + ".bias")
		K, N := shape[0], shape[1]
		x, weights := round.Of(c.In(model.Reads(c.Model.Config(), at.Stage)[0])), round.Of(w)
		out := make([]float32, len(x)/K*N)
		for i := range out {
			sum := []float32{0}
			for k := range K {
				if sum[0] += x[i/N*K+k] * weights[k*N+i%N]; (k+1)%every == 0 {
					round(sum, sum)
				}
			}
			out[i] = sum[0] + round.Of(bias[i%N : i%N+1])[0]
		}
		return out
	}
}

// softmaxIn returns a plant of probabilities of the vocabulary whose sum is rounded at each term
// of each of so many lanes.
func softmaxIn(round rounding.Rounding, lanes int) func(at harness.Place, c *faults.Context) []float32 {
	return func(at harness.Place, c *faults.Context) []float32 {
		if at.Stage != "probs_t1" {
			return nil
		}
		x := c.In("logits_last")
		e, top, sums := make([]float32, len(x)), slices.Max(x), make([]float32, lanes)
		for i, v := range x {
			e[i] = float32(math.Exp(float64(v - top)))
		}
		round(e, e)
		for i, v := range e {
			sums[i%lanes] += v
			round(sums[i%lanes:][:1], sums[i%lanes:][:1])
		}
		sum := []float32{0}
		for _, v := range sums {
			sum[0] += v
			round(sum, sum)
		}
		for i := range e {
			e[i] /= sum[0]
		}
		return e
	}
}

// tableOfGELU is ggml's ggml_vec_gelu_f32 as it is built for a CPU.
func tableOfGELU(c *faults.Context) []float32 {
	round := gpt2.Float16.Round
	x := c.In(model.Reads(c.Model.Config(), c.Stage)[0])
	out := round.Of(x)
	for i, v := range out {
		const rootOf2OverPi, a = 0.79788456080286535587989211986876, 0.044715
		out[i] = 0.5 * v * (1 + float32(math.Tanh(float64(rootOf2OverPi*v*(1+a*v*v)))))
	}
	round(out, out)
	for i, v := range x {
		if v <= -10 {
			out[i] = 0
		} else if v >= 10 {
			out[i] = v
		}
	}
	return out
}

// What an engine does with fewer bits than it should stands in the first line of its report.
func TestCausesInPrecisions(t *testing.T) {
	tiny := gpt2test.Tiny(t)
	bias, _, _ := tiny.Weight("h.0.mlp.c_proj.bias")
	far := slices.Clone(bias)
	far[7] += 600
	wide, err := tiny.With(map[string][]float32{"h.0.mlp.c_proj.bias": far})
	if err != nil {
		t.Fatal(err)
	}
	bias, _, _ = tiny.Weight("h.1.mlp.c_fc.bias")
	shifted := slices.Clone(bias)
	shifted[3], shifted[4] = 30, -30
	beyond, err := tiny.With(map[string][]float32{"h.1.mlp.c_fc.bias": shifted})
	if err != nil {
		t.Fatal(err)
	}
	only := func(word string, f func(c *faults.Context) []float32) func(at harness.Place, c *faults.Context) []float32 {
		return func(at harness.Place, c *faults.Context) []float32 {
			if !strings.Contains(at.Stage, word) {
				return nil
			}
			return f(c)
		}
	}
	float16, bfloat16 := gpt2.Float16, gpt2.BFloat16
	for _, tt := range []struct {
		name   string
		model  *model.Model
		stored gpt2.Precision
		plant  func(at harness.Place, c *faults.Context) []float32
		fault  string // "" is a correct engine
		words  []string
	}{
		{"bfloat16 sums", tiny, bfloat16, summedIn(bfloat16.Round, 1), "bfloat16_sums",
			[]string{"matrix products are summed in bfloat16", "no structure", "with 80 terms", "with 320 terms"}},
		{"bfloat16 sums by 4", tiny, bfloat16, summedIn(bfloat16.Round, 4), "bfloat16_sums", []string{"matrix products are summed in bfloat16"}},
		{"float16 sums", tiny, float16, summedIn(float16.Round, 1), "float16_sums", []string{"matrix products are summed in float16"}},
		{"float32 sums, rounded", tiny, bfloat16, summedIn(bfloat16.Round, 512), "", nil},
		{"float32 sums, kept", tiny, float16, summedIn(nil, 512), "", nil},
		{"partial sums of 160 terms", tiny, float16, summedIn(float16.Round, 160), "", nil},
		{"float16 softmax of the vocabulary", tiny, float16, softmaxIn(float16.Round, 1), "float16_softmax_sums", []string{"the softmax is summed in float16"}},
		{"the same in 2 lanes", tiny, float16, softmaxIn(float16.Round, 2), "float16_softmax_sums", []string{"the softmax is summed in float16"}},
		{"bfloat16 softmax of the vocabulary", tiny, bfloat16, softmaxIn(bfloat16.Round, 1), "bfloat16_softmax_sums", []string{"the softmax is summed in bfloat16"}},
		{"table of GELU", tiny, gpt2.Float32, only("mlp.act", tableOfGELU), "float16_activations",
			[]string{"the activation is looked up in a table of float16 numbers"}},
		{"table of GELU, and values beyond it", beyond, gpt2.Float32, only("mlp.act", tableOfGELU), "float16_activations",
			[]string{"the activation is looked up in a table of float16 numbers"}},
		{"GELU rounded", tiny, gpt2.Float32, only("mlp.act", func(c *faults.Context) []float32 {
			return float16.Round.Of(c.Right())
		}), "float16_activations", []string{"the output is rounded to float16, of an input that is not"}},
		{"float16 in a sum", tiny, gpt2.Float32, only("resid_mid", func(c *faults.Context) []float32 {
			return float16.Round.Of(c.Right())
		}), "float16_activations", []string{"the stage reads or writes float16"}},
		{"far channel", wide, float16, nil, "", nil},
		{"float16 variance", wide, float16, only("ln_", func(c *faults.Context) []float32 {
			x, C := c.In(model.Reads(tiny.Config(), c.Stage)[0]), tiny.Config().Embd
			bias, _, _ := tiny.Weight(c.Stage + ".bias")
			out := slices.Clone(c.Right())
			for lo := 0; lo < len(x); lo += C {
				if x[lo+7] > 300 {
					copy(out[lo:lo+C], bias)
				}
			}
			return out
		}), "float16_variance", []string{"the variance overflows", "the output is the bias"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plant := tt.plant
			if plant == nil {
				plant = func(harness.Place, *faults.Context) []float32 { return nil }
			}
			planter := faults.Planter{Model: tt.model, Stored: tt.stored.Round, Plant: plant}
			rec, err := gpt2.Record(t.Context(), tt.model, gpt2.Run{
				Tokens: [][]int{{464, 2068, 7586}}, New: 3, Feed: [][]int{{1000, 1001}}, Temperatures: []float64{1},
				Tap: (&gpt2.Override{Value: planter.Value}).Tap,
			})
			if err != nil {
				t.Fatal(err)
			}
			r, err := Compare(t.Context(), Comparison{
				Schedule: gpt2.Schedule(3, []float64{1}), Candidate: rec, Model: tt.model, Precision: tt.stored,
			})
			if err != nil {
				t.Fatal(err)
			}
			if r.Passed() != (tt.fault == "") {
				t.Errorf("verdict %s: introduced %v: %v", r.Verdict, r.Introduced, r.Explanations)
			}
			for _, x := range r.Explanations {
				if x.Fault != tt.fault {
					t.Errorf("%s at step %d is %q: %s", x.Stage, x.Step, x.Fault, x.Text)
				}
			}
			var text strings.Builder
			if err := report.Write(&text, r.Report, report.Options{Style: report.Style{Width: 1000}}); err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(text.String(), "\n")
			for _, w := range tt.words {
				if !strings.Contains(first, w) {
					t.Errorf("the first line lacks %q: %s", w, first)
				}
			}
		})
	}
}
