package faults_test

import (
	"math"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/selftest/naive"
	"checkpoint12/model"
)

// TestNearly: a known fault that leaves more than rounding is named by words alone, with how much
// is left; one that an engine makes in an order of sums of its own leaves no more.
func TestNearly(t *testing.T) {
	relu := func(extra float64) func(c *faults.Context) []float32 {
		return ofFirst(func(x float64) float64 { return max(x, 0) + extra*math.Sin(37*x) })
	}
	backwards := naive.Engine{Sum: naive.Backwards}
	for _, c := range []struct {
		name, stage string
		output      func(c *faults.Context) []float32
		fault       string
		words       string
	}{
		{"ReLU", "mlp.act", relu(0), "gelu_relu", "ReLU stands for GELU"},
		{"ReLU and more", "mlp.act", relu(1e-3), "", "times the rounding bound: ReLU stands for GELU"},
		{"no bias, in float64", "attn.c_attn", func(c *faults.Context) []float32 { return product(c, 1) }, "bias_dropped", "the bias is not added"},
		{"no bias, and a weight that is off", "attn.c_attn", func(c *faults.Context) []float32 { return product(c, 1.001) }, "", "times the rounding bound: the bias is not added"},
		{"divided by D, summed backwards", "attn.scores", func(c *faults.Context) []float32 {
			out := backwards.Output(c)
			for i := range out {
				out[i] /= float32(math.Sqrt(float64(c.Model.Config().Embd / c.Model.Config().Heads)))
			}
			return out
		}, "scale_d", "q*k is divided by D"},
	} {
		_, all := engine{judge: oddModel(t), tokens: [][]int{{1, 2, 300, 4, 19}, {7, 8, 9, 30, 200}}, steps: 3, plant: func(at harness.Place, x *faults.Context) []float32 {
			if strings.HasSuffix(at.Stage, c.stage) {
				return c.output(x)
			}
			return backwards.Output(x)
		}}.explain(t)
		if len(all) == 0 {
			t.Errorf("%s: nothing is explained", c.name)
		}
		for _, x := range all {
			nearly := strings.HasPrefix(x.Text, "nearly, and what is left is ")
			if x.Fault != c.fault || !strings.Contains(x.Text, c.words) || nearly != (c.fault == "") || x.Rest != nearly || x.Explains < 0.999 {
				t.Errorf("%s: %s at step %d: %q, %.6f: %q", c.name, x.Stage, x.Step, x.Fault, float64(x.Explains), x.Text)
			}
		}
	}
}

// product is a stage's product without its bias, summed in float64, of weights of which those of one
// input are times about a factor.
func product(c *faults.Context, factor float64) []float32 {
	x := c.In(model.Reads(c.Model.Config(), c.Stage)[0])
	w, shape, _ := c.Model.Weight(c.Stage + ".weight")
	K, N := shape[0], shape[1]
	out := make([]float32, len(x)/K*N)
	for i := range out {
		sum := 0.0
		for k := range K {
			v := float64(x[i/N*K+k]) * float64(w[k*N+i%N])
			if k == 3 {
				v *= factor * (1 + (factor-1)*math.Sin(float64(i%N)))
			}
			sum += v
		}
		out[i] = float32(sum)
	}
	return out
}
