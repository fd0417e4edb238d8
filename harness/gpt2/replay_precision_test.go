package gpt2

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/faults"
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

// separate computes stages of the prompt with fewer bits: each loss of precision of the
// catalogue, and its parts, the output alone and each input alone; at h.0.ln_1, whose
// variance is not far above it, also with another epsilon. It asks that each is at least
// seen times its bound off.
func separate(t *testing.T, m *model.Model, c harness.Source, match func(stage string) bool) {
	t.Helper()
	const seen = 4
	s := Schedule(m.Config().Layers, nil)
	run, err := replay.NewRun(s, c, NewReplayer(m, nil, Float32), replay.Options{})
	if err != nil {
		t.Fatal(err)
	}
	fed, _ := run.Dims(0)
	dims := model.Dims{B: fed.B, T: fed.T, P: fed.P}
	in := func(name string) []float32 {
		v, err := run.Input(0, name)
		if err != nil {
			t.Fatal(err)
		}
		return v.F32
	}
	least := map[string]float64{}
	for _, stage := range c.Stages(0) {
		right, err := run.Right(0, stage)
		if err != nil {
			t.Fatal(err)
		}
		if right.Bound == nil || match != nil && !match(stage) {
			continue
		}
		try := func(what string, out []float32) {
			share := 0.0
			for i, v := range out {
				if d := math.Abs(float64(v) - float64(right.F32[i])); d > 0 && !math.IsInf(d, 0) {
					share = max(share, d/float64(right.Bound[i]))
				}
			}
			name, _ := model.ParseStage(stage)
			key := what + " " + name.Word
			if old, ok := least[key]; !ok || share < old {
				least[key] = share
			}
			if share < seen {
				t.Errorf("%s at %s is off by %.3g of the bound, want %d", what, stage, share, seen)
			}
		}
		for _, f := range faults.Catalogue() {
			if f.At(stage) && (f.Kind == faults.Precision || f.ID == "ln_eps_1e-6" && stage == "h.0.ln_1") {
				try(f.ID, f.Output(&faults.Context{Model: m, Dims: dims, Stage: stage, In: in}))
			}
		}
		for _, to := range []struct {
			name string
			drop uint // bits of the mantissa
		}{{"float16", 13}, {"bfloat16", 16}} {
			try(to.name+" output", cut(right.F32, to.drop))
			for i, rounded := range model.Reads(m.Config(), stage) {
				if len(in(rounded)) == 0 {
					continue // ids, or a cache before the first step
				}
				out := make([]float32, len(right.F32))
				err := m.Apply(stage, dims, func(name string) []float32 {
					if name == rounded {
						return cut(in(name), to.drop)
					}
					return in(name)
				}, out)
				if err != nil {
					t.Fatal(err)
				}
				try(fmt.Sprintf("%s input %d", to.name, i), out)
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

// cut rounds to nearest, ties to even, without the last bits of the mantissa: to float16
// in its normal range, which is TF32, or to bfloat16.
func cut(x []float32, drop uint) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		b := math.Float32bits(v)
		out[i] = math.Float32frombits((b + 1<<(drop-1) - 1 + b>>drop&1) &^ (1<<drop - 1))
	}
	return out
}
