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

// TestSoftmaxFits: another softmax is told by its number, from probabilities that are dumped and
// from those that follow from attention's output.
func TestSoftmaxFits(t *testing.T) {
	rows := func(change func(x []float64, query int)) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 {
			x, S := c.In(strings.TrimSuffix(c.Stage, "probs")+"scores"), c.Dims.P+c.Dims.T
			out := make([]float32, len(x))
			for lo := 0; lo < len(x); lo += S {
				row := make([]float64, S)
				for j := range row {
					row[j] = float64(x[lo+j])
				}
				change(row, c.Dims.P+lo/S%c.Dims.T)
				for j, p := range row {
					out[lo+j] = float32(p)
				}
			}
			return out
		}
	}
	softmax := func(x []float64, sink float64) {
		sum := sink
		for j, v := range x {
			x[j] = math.Exp(v)
			sum += x[j]
		}
		for j := range x {
			x[j] /= sum
		}
	}
	for _, c := range []struct {
		name   string
		words  []string
		output func(c *faults.Context) []float32
	}{
		{"base 2", []string{"base 2"}, rows(func(x []float64, _ int) {
			for j := range x {
				x[j] *= math.Ln2
			}
			softmax(x, 0)
		})},
		{"one more in the denominator", []string{"rows do not sum to 1", "1 is added to the denominator"}, rows(func(x []float64, _ int) { softmax(x, 1) })},
		{"a window", []string{"last 3 keys alone", "window"}, rows(func(x []float64, query int) {
			for j := range max(0, query-2) {
				x[j] = math.Inf(-1)
			}
			softmax(x, 0)
		})},
		{"a distance", []string{"-0.3 times the distance"}, rows(func(x []float64, query int) {
			for j := range x {
				x[j] -= 0.3 * float64(query-j)
			}
			softmax(x, 0)
		})},
		{"not divided", []string{"rows do not sum to 1", "not divided by their sum"}, rows(func(x []float64, _ int) {
			for j, v := range x {
				x[j] = math.Exp(v)
			}
		})},
	} {
		for _, modules := range []bool{false, true} {
			e := engine{steps: 3, tokens: [][]int{{464, 2068, 7586, 21831, 18045}, {15496, 11, 995, 40, 716}}, plant: func(at harness.Place, x *faults.Context) []float32 {
				if !strings.HasSuffix(at.Stage, "attn.probs") {
					return nil
				}
				return c.output(x)
			}}
			if modules {
				e.keep = func(stage string) bool { return gpt2test.IsModule(stage) && strings.HasPrefix(stage, "h.") }
			}
			_, all := e.explain(t)
			for _, x := range all {
				if x.Fault != fit.PatternSoftmax || x.Explains < 0.99 {
					t.Errorf("%s, modules %t: %s at step %d: %s: %q", c.name, modules, x.Stage, x.Step, x.Fault, x.Text)
				}
				for _, w := range c.words {
					if !strings.Contains(x.Text, w) {
						t.Errorf("%s, modules %t: %q lacks %q", c.name, modules, x.Text, w)
					}
				}
			}
			if len(all) < 9 {
				t.Errorf("%s, modules %t: explained %v, want 3 layers at 3 steps", c.name, modules, all)
			}
		}
	}
}
