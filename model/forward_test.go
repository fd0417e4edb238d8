package model_test

import (
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"
	"testing"

	"checkpoint12/model"
	"checkpoint12/model/modeltest"
)

// recorded is a copy of what a tap saw, step by step.
type recorded struct {
	order []string
	steps []map[string][]float32
	shape []map[string][]int
}

func (r *recorded) begin() {
	r.order = nil
	r.steps = append(r.steps, map[string][]float32{})
	r.shape = append(r.shape, map[string][]int{})
}

func (r *recorded) tap(stage string, shape []int, data []float32) {
	n := len(r.steps) - 1
	r.order = append(r.order, stage)
	r.steps[n][stage] = append([]float32(nil), data...)
	r.shape[n][stage] = shape
}

// record runs the given steps, each a list of B·T tokens.
func record(t testing.TB, m *model.Model, o model.SessionOptions, steps ...[]int) *recorded {
	t.Helper()
	r := &recorded{}
	o.Tap = r.tap
	s, err := m.NewSession(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, tokens := range steps {
		r.begin()
		if _, err := s.Step(tokens); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// wide crosses every block size of the kernels with a remainder.
var wide = model.Config{Vocab: 270, Positions: 40, Embd: 130, Layers: 2, Heads: 5, Inner: 530, Eps: 1e-5}

// Every stage, prompt and decode, in a batch, agrees with float64, relative
// to the tensor's largest value. float32 keeps 6e-8 of a value; through the
// sums of these models, some hundred terms each, and a second softmax that
// doubles what its scores are off by, measured is 1.4e-6 with AVX-512 and
// 2.1e-6 without any vectors, which add up in longer chains. The bound is twice
// that; TF32 or half precision would be off by 5e-4.
func TestForwardMatchesFloat64(t *testing.T) {
	const bound = 4e-6
	own := modeltest.Weights(modeltest.Micro, 3)
	own["lm_head.weight"] = modeltest.Weights(modeltest.Micro, 4)["wte.weight"]
	withBias := maps.Clone(own)
	withBias["lm_head.bias"] = modeltest.Weights(modeltest.Micro, 8)["wte.weight"][:modeltest.Micro.Vocab]
	erf, byLayer, unscaled := modeltest.Micro, modeltest.Micro, modeltest.Micro
	erf.Activation, byLayer.ScaleByLayer = "gelu", true
	unscaled.Unscaled, unscaled.Activation, unscaled.Tying = true, "relu", model.Untied
	one := modeltest.Micro
	one.Heads, one.Inner, one.Layers = 1, 5, 1
	temperatures := []float64{0.5, 1, 2}
	for _, test := range []struct {
		name    string
		reason  string
		cfg     model.Config
		weights map[string][]float32
		steps   []int // T of each step
		batch   int
	}{
		{"prompt and decode", "the usual", modeltest.Micro, modeltest.Weights(modeltest.Micro, 1), []int{3, 1, 1}, 1},
		{"one token", "T = 1 and P = 0 at once", modeltest.Micro, modeltest.Weights(modeltest.Micro, 1), []int{1, 1}, 1},
		{"full context", "the last position is used", modeltest.Micro, modeltest.Weights(modeltest.Micro, 2), []int{10, 1, 1}, 1},
		{"prompt in pieces", "T > 1 with P > 0 needs the mask shifted by P", modeltest.Micro, modeltest.Weights(modeltest.Micro, 2), []int{3, 4, 2}, 1},
		{"batch", "rows must not mix", modeltest.Micro, modeltest.Weights(modeltest.Micro, 1), []int{4, 1, 1}, 3},
		{"own head", "lm_head.weight takes the place of wte", modeltest.Micro, own, []int{2, 1}, 1},
		{"own head with a bias", "Hugging Face's has none", modeltest.Micro, withBias, []int{2, 1}, 2},
		{"erf GELU", "Cerebras-GPT", erf, modeltest.Weights(erf, 1), []int{2, 1}, 1},
		{"scaled by layer", "Stanford's", byLayer, modeltest.Weights(byLayer, 1), []int{2, 1}, 1},
		{"not scaled", "scale_attn_weights is false", unscaled, withBias, []int{2, 1}, 1},
		{"one head", "D = C; F < C", one, modeltest.Weights(one, 5), []int{3, 1}, 2},
		{"wide", "kernels in blocks, with remainders; many rows and few", wide, modeltest.Weights(wide, 6), []int{9, 1, 2, 1}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := modeltest.Of(t, test.cfg, test.weights)
			total := 0
			for _, T := range test.steps {
				total += T
			}
			tokens := modeltest.Tokens(test.cfg, test.batch*total, 7) // [B,total]
			var steps [][]int
			P := 0
			for _, T := range test.steps {
				var step []int
				for b := range test.batch {
					step = append(step, tokens[b*total+P:b*total+P+T]...)
				}
				steps = append(steps, step)
				P += T
			}
			got := record(t, m, model.SessionOptions{Batch: test.batch, Temperatures: temperatures}, steps...)
			P = 0
			worst, at := 0.0, ""
			for k, T := range test.steps {
				S := P + T
				for b := range test.batch {
					want := oracle(test.cfg, test.weights, tokens[b*total:b*total+S], temperatures)
					if len(want) != len(got.order) {
						t.Fatalf("%d stages were tapped, %d exist", len(got.order), len(want))
					}
					var inputError float64 // of the softmax that follows: largest, absolute
					for _, stage := range got.order {
						shape, data := got.shape[k][stage], got.steps[k][stage]
						if stage != "wpe" {
							n := len(data) / test.batch
							data = data[b*n : (b+1)*n]
							shape = append([]int{1}, shape[1:]...)
						}
						w := window(stage, want[stage], S, P, shape)
						e := relativeError(data, w)
						limit := bound
						if temperature, ok := softmaxOf(t, stage); ok {
							// A softmax turns what its input is off by, absolutely,
							// into what its result is off by, relatively.
							limit += 2 * inputError / temperature
						} else if e > worst {
							worst, at = e, fmt.Sprintf("step %d %s", k, stage)
						}
						if stage == "logits_last" || strings.HasSuffix(stage, "attn.scores") {
							inputError = e * largest(w)
						}
						if !(e <= limit) {
							t.Errorf("step %d, row %d, %s: error is %.3g of the largest value, bound %.3g", k, b, stage, e, limit)
						}
					}
				}
				P = S
			}
			t.Logf("largest error: %.2g of the tensor's maximum, at %s", worst, at)
		})
	}
}

// softmaxOf reports whether a stage is a softmax, and at which temperature.
func softmaxOf(t *testing.T, stage string) (float64, bool) {
	if strings.HasSuffix(stage, "attn.probs") {
		return 1, true
	}
	digits, ok := strings.CutPrefix(stage, "probs_t")
	if !ok {
		return 0, false
	}
	temperature, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		t.Fatal(err)
	}
	return temperature, true
}

// largest is the largest finite magnitude.
func largest(x []float64) float64 {
	m := 0.0
	for _, v := range x {
		if a := math.Abs(v); !math.IsInf(a, 0) {
			m = max(m, a)
		}
	}
	return m
}

// relativeError is the largest difference over the largest magnitude; infinity
// where lengths, infinities or NaN do not agree.
func relativeError(got []float32, want []float64) float64 {
	if len(got) != len(want) || len(want) == 0 {
		return math.Inf(1)
	}
	worst := 0.0
	for i, w := range want {
		g := float64(got[i])
		if math.IsInf(w, 0) || math.IsInf(g, 0) {
			if g != w {
				return math.Inf(1)
			}
			continue
		}
		if math.IsNaN(g) {
			return math.Inf(1)
		}
		worst = max(worst, math.Abs(g-w))
	}
	if worst == 0 {
		return 0
	}
	return worst / largest(want)
}
