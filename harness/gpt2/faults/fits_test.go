package faults_test

import (
	"math"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/gpt2/fit"
	"checkpoint12/harness/internal/gpt2test"
)

// TestFits: outside the catalogue a cause is read off the engine's tensors, and is the same in
// all layers and steps.
func TestFits(t *testing.T) {
	m := gpt2test.Tiny(t)
	cfg := m.Config()
	branch := 1 / math.Sqrt(2*float64(cfg.Layers))
	for _, c := range []struct {
		name   string
		stage  string // by its end
		id     string
		words  []string
		output func(c *faults.Context) []float32
	}{
		{"the branch scaled at each sum", ".resid_mid", fit.PatternSum, []string{"the sum is the block's input + (0.40825 = 1/√(2L))·attn.c_proj, where the block's input + attn.c_proj belongs"},
			func(c *faults.Context) []float32 {
				out := c.Right()
				x := c.In(strings.TrimSuffix(c.Stage, "resid_mid") + "attn.c_proj")
				for i := range out {
					out[i] += float32((branch - 1) * float64(x[i]))
				}
				return out
			}},
	} {
		introduced, all := engine{steps: 3, plant: func(at harness.Place, x *faults.Context) []float32 {
			if !strings.HasSuffix(at.Stage, c.stage) {
				return nil
			}
			return c.output(x)
		}}.explain(t)
		if len(introduced) == 0 || len(all) != len(introduced) {
			t.Errorf("%s: %d rows introduced, %d explained", c.name, len(introduced), len(all))
			continue
		}
		last := all[len(all)-1].Text
		for _, x := range all {
			if x.Fault != c.id || !strings.HasSuffix(x.Text, last) || x.Explains < 0.999 {
				t.Errorf("%s: %s at step %d: %s, %.4f: %q", c.name, x.Stage, x.Step, x.Fault, float64(x.Explains), x.Text)
			}
			for _, w := range c.words {
				if !strings.Contains(x.Text, w) {
					t.Errorf("%s: %q lacks %q", c.name, x.Text, w)
				}
			}
		}
	}
}
