package diagnose

import (
	"math"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/gpt2test"
)

// TestAcrossSteps: what a comparison says of a number that each step has for itself, that a sum of more
// digits than are printed leaves no second fault in the stages that follow, and of which rows of a cache
// that they are correct.
func TestAcrossSteps(t *testing.T) {
	m := gpt2test.Tiny(t)
	C, D := m.Config().Embd, m.Config().Embd/m.Config().Heads
	branch := func(of func(position int) float32) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 {
			out := append([]float32{}, c.In("h.0.resid_post")...)
			for i, v := range c.In("h.1.attn.c_proj") {
				out[i] += of(c.Dims.P+i/C%c.Dims.T) * v
			}
			return out
		}
	}
	late := func(c *faults.Context) []float32 { // the row of the position before, which stays
		out, S := append([]float32{}, c.Right()...), c.Dims.P+c.Dims.T
		for lo := 0; lo < len(out) && c.Dims.P > 0; lo += S * D {
			copy(out[lo+(S-1)*D:][:D], out[lo+(S-2)*D:][:D])
		}
		return out
	}
	for _, tt := range []struct {
		name, stage string
		output      func(c *faults.Context) []float32
		words, not  string
		rows, from  int // the first step that has the words
	}{
		{"by the position", "h.1.resid_mid", branch(func(p int) float32 { return 1 / float32(p+1) }),
			"the block's input + 1/(p + 1)·attn.c_proj, where the block's input + attn.c_proj belongs, at position p; h.1.resid_post is off by the same fault", "none", 3, 0},
		{"by the step", "h.1.resid_mid", branch(func(p int) float32 { return float32(math.Cos(float64(p))) }),
			"; the number changes from step to step: it is -0.98999 and -0.65364 at steps 1, 2", "none", 3, 1},
		{"one number", "h.1.resid_mid", branch(func(int) float32 { return 0.0909108 }), "(0.090911)·attn.c_proj, where the block's input + attn.c_proj belongs; h.1.resid_post is off by the same fault", "none", 3, 0},
		{"a key left out", "h.1.attn.probs", func(c *faults.Context) []float32 {
			out := append([]float32{}, c.Right()...)
			for i := 0; i < len(out); i += c.Dims.P + c.Dims.T {
				out[i] = 0
			}
			return out
		}, "in key position 0; at steps 1, 2 the stage is off by the same fault", "none", 1, 0},
		{"a row that stays", "h.1.attn.cache_k", late, "is that of the position before", "put into the cache is", 2, 2},
	} {
		planter := faults.Planter{Model: m, Plant: func(at harness.Place, c *faults.Context) []float32 {
			if at.Stage != tt.stage {
				return nil
			}
			return tt.output(c)
		}}
		rec, err := gpt2.Record(t.Context(), m, gpt2.Run{
			Tokens: [][]int{{464, 2068, 7586}, {15496, 11, 995}}, New: 3, Feed: [][]int{{1000, 1001}, {1002, 1003}}, Tap: (&gpt2.Override{Value: planter.Value}).Tap,
		})
		if err != nil {
			t.Fatal(err)
		}
		modules := gpt2test.Only{Source: rec, Keep: func(_ int, stage string) bool { return gpt2test.IsModule(stage) }}
		r, err := Compare(t.Context(), comparisonOf(m, nil, modules))
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Explanations) != tt.rows {
			t.Errorf("%s: %d rows are explained, want %d: %v", tt.name, len(r.Explanations), tt.rows, r.Explanations)
		}
		for _, x := range r.Explanations {
			if x.Step >= tt.from && (!strings.Contains(x.Text, tt.words) || strings.Contains(x.Text, tt.not)) {
				t.Errorf("%s: %s at step %d: %q lacks %q or has %q", tt.name, x.Stage, x.Step, x.Text, tt.words, tt.not)
			}
		}
	}
}
