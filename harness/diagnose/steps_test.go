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

// TestAcrossSteps: what a comparison says of a number that each step has for itself, and that a sum
// of more digits than are printed leaves no second fault in the stages that follow.
func TestAcrossSteps(t *testing.T) {
	m := gpt2test.Tiny(t)
	for _, tt := range []struct {
		name  string
		of    func(position int) float32
		words string
		rows  int
	}{
		{"by the position", func(p int) float32 { return 1 / float32(p+1) },
			"the block's input + 1/(p + 1)·attn.c_proj, where the block's input + attn.c_proj belongs, at position p; h.1.resid_post is off by the same fault", 3},
		{"by the step", func(p int) float32 { return float32(math.Cos(float64(p))) },
			"; the number changes from step to step: it is -0.98999 and -0.65364 at steps 1, 2", 3},
		{"one number", func(int) float32 { return 0.0909108 }, "(0.090911)·attn.c_proj, where the block's input + attn.c_proj belongs; h.1.resid_post is off by the same fault", 3},
	} {
		planter := faults.Planter{Model: m, Plant: func(at harness.Place, c *faults.Context) []float32 {
			if at.Stage != "h.1.resid_mid" {
				return nil
			}
			out, C := append([]float32{}, c.In("h.0.resid_post")...), m.Config().Embd
			for i, v := range c.In("h.1.attn.c_proj") {
				out[i] += tt.of(c.Dims.P+i/C%c.Dims.T) * v
			}
			return out
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
			if (x.Step > 0 || tt.name != "by the step") && !strings.Contains(x.Text, tt.words) {
				t.Errorf("%s: %s at step %d: %q lacks %q", tt.name, x.Stage, x.Step, x.Text, tt.words)
			}
		}
	}
}
