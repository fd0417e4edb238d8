package gpt2

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// Rounding to fewer bits, which moves a stage by no more than a part in a
// thousand, and another epsilon are far outside of what rounding in float32 does.
func TestReplaySeesPrecision(t *testing.T) {
	m := gpt2test.Tiny(t)
	rec, err := Record(t.Context(), m, Run{Tokens: [][]int{{15496, 13}}, New: 2})
	if err != nil {
		t.Fatal(err)
	}
	separate(t, m, rec, nil)
}

// separate computes stages of the prompt with less precision than float32 and
// asks that each is at least seen times its bound off.
func separate(t *testing.T, m *model.Model, c harness.Source, match func(stage string) bool) {
	t.Helper()
	const seen = 4
	s := Schedule(m.Config().Layers, nil)
	run, err := replay.NewRun(s, c, NewReplayer(m, nil), replay.Options{})
	if err != nil {
		t.Fatal(err)
	}
	least := map[string]float64{}
	for _, stage := range c.Stages(0) {
		if match != nil && !match(stage) {
			continue
		}
		right, err := run.Right(0, stage)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lesser(m, run, stage, right) {
			share := 0.0
			for i, v := range l.out {
				if d := math.Abs(float64(v) - float64(right.F32[i])); d > 0 && !math.IsInf(d, 0) {
					share = max(share, d/float64(right.Bound[i]))
				}
			}
			s, _ := model.ParseStage(stage)
			key := l.name + " " + s.Word
			if old, ok := least[key]; !ok || share < old {
				least[key] = share
			}
			if share < seen {
				t.Errorf("%s at %s is off by %.3g of the bound, want %d", l.name, stage, share, seen)
			}
		}
	}
	if len(least) < 20 {
		t.Fatalf("only %d kinds of stages were tried", len(least))
	}
	var b strings.Builder
	for _, key := range slices.SortedFunc(maps.Keys(least), func(a, b string) int { return int(least[a] - least[b]) })[:12] {
		fmt.Fprintf(&b, "\n  %-28s %6.1f", key, least[key])
	}
	t.Logf("least multiples of the bound, of %d:%s", len(least), b.String())
}

// lesser is what a stage gives with less precision.
type lessPrecise struct {
	name string
	out  []float32
}

func lesser(m *model.Model, run *replay.Run, stage string, right replay.Value) (all []lessPrecise) {
	half := func(x float32) float32 { return cut(x, 13) } // float16 in its normal range, and TF32
	brain := func(x float32) float32 { return cut(x, 16) }
	same := func(x float32) float32 { return x }
	cfg := m.Config()
	name, _ := model.ParseStage(stage)
	word := name.Word
	fed, _ := run.Dims(0)
	in := func(change func(float32) float32) func(string) []float32 {
		return func(name string) []float32 {
			v, err := run.Input(0, name)
			if err != nil {
				panic(err)
			}
			out := make([]float32, len(v.F32))
			for i, x := range v.F32 {
				out[i] = change(x)
			}
			return out
		}
	}
	x := in(same)(model.Reads(cfg, stage)[0])
	add := func(name string, out []float32) { all = append(all, lessPrecise{name, out}) }
	switch word {
	case "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj", "logits":
		add("float16 or TF32 weights", lessPreciseProduct(m, stage, x, same, half))
		add("TF32", lessPreciseProduct(m, stage, x, half, half))
		add("bfloat16 weights", lessPreciseProduct(m, stage, x, same, brain))
	case "ln_1", "ln_2", "ln_f":
		add("float16 weights", normed(m, stage, x, cfg.Eps, half))
		add("bfloat16 weights", normed(m, stage, x, cfg.Eps, brain))
		if stage == "h.0.ln_1" { // elsewhere the variance is far above epsilon
			add("eps 1e-6", normed(m, stage, x, 1e-6, same))
		}
	case "attn.scores", "attn.context":
		out := make([]float32, len(right.F32))
		if err := m.Apply(stage, model.Dims{B: fed.B, T: fed.T, P: fed.P}, in(half), out); err != nil {
			panic(err)
		}
		add("TF32", out)
	}
	if right.Bound == nil {
		return nil
	}
	for name, change := range map[string]func(float32) float32{"float16 output": half, "bfloat16 output": brain} {
		out := make([]float32, len(right.F32))
		for i, v := range right.F32 {
			out[i] = change(v)
		}
		add(name, out)
	}
	return all
}

// cut rounds to nearest, ties to even, without the last bits of the mantissa.
func cut(x float32, bits uint) float32 {
	b := math.Float32bits(x)
	return math.Float32frombits((b + 1<<(bits-1) - 1 + b>>bits&1) &^ (1<<bits - 1))
}

// lessPreciseProduct is x·W + b in float64, of changed x and changed weights.
func lessPreciseProduct(m *model.Model, stage string, x []float32, onX, onW func(float32) float32) []float32 {
	name, outIn := stage+".weight", false
	if stage == "logits" {
		name, outIn = "wte.weight", true
	}
	W, shape, _ := m.Weight(name)
	bias, _, _ := m.Weight(stage + ".bias")
	K, N := shape[0], shape[1]
	if outIn {
		K, N = N, K
	}
	rows := len(x) / K
	xs := make([]float64, len(x))
	for i, v := range x {
		xs[i] = float64(onX(v))
	}
	sums := make([]float64, rows*N)
	for at, w := range W { // in the order of memory
		k, j := at/N, at%N
		if outIn {
			j, k = at/K, at%K
		}
		w := float64(onW(w))
		for r := range rows {
			sums[r*N+j] += xs[r*K+k] * w
		}
	}
	out := make([]float32, len(sums))
	for i, v := range sums {
		if bias != nil {
			v += float64(onW(bias[i%N]))
		}
		out[i] = float32(v)
	}
	return out
}

// normed is LayerNorm in float64, of changed weights.
func normed(m *model.Model, stage string, x []float32, eps float64, onW func(float32) float32) []float32 {
	gain, _, _ := m.Weight(stage + ".weight")
	bias, _, _ := m.Weight(stage + ".bias")
	C := len(gain)
	out := make([]float32, len(x))
	for row := 0; row < len(x); row += C {
		var mean, variance float64
		for _, v := range x[row : row+C] {
			mean += float64(v) / float64(C)
		}
		for _, v := range x[row : row+C] {
			variance += (float64(v) - mean) * (float64(v) - mean) / float64(C)
		}
		for i, v := range x[row : row+C] {
			out[row+i] = float32((float64(v)-mean)/math.Sqrt(variance+eps)*float64(onW(gain[i])) + float64(onW(bias[i])))
		}
	}
	return out
}
