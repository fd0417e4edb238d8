package faults_test

import (
	"math"
	"path"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/model"
)

// TestAcrossSteps: a cause that was read off one step says where other steps refute it.
func TestAcrossSteps(t *testing.T) {
	scores := func(of func(v float64, q, k int) float64) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 {
			out := append([]float32{}, c.Right()...)
			S, T := c.Dims.P+c.Dims.T, c.Dims.T
			for i, v := range out {
				if k, q := i%S, c.Dims.P+i/S%T; k <= q {
					out[i] = float32(of(float64(v), q, k))
				}
			}
			return out
		}
	}
	branch := func(of func(position int) float64) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 {
			reads, C := model.Reads(c.Model.Config(), c.Stage), c.Model.Config().Embd
			out := append([]float32{}, c.In(reads[0])...)
			for i, v := range c.In(reads[1]) {
				out[i] += float32(of(c.Dims.P+i/C%c.Dims.T) * float64(v))
			}
			return out
		}
	}
	rows := func(factor func(b, position int) float64) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 {
			out := append([]float32{}, c.Right()...)
			width := len(out) / (c.Dims.B * c.Dims.T)
			for i := range out {
				out[i] = float32(float64(out[i]) * factor(i/width/c.Dims.T, c.Dims.P+i/width%c.Dims.T))
			}
			return out
		}
	}
	moved := func(by int) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 {
			right := c.Right()
			out, S, T := append([]float32{}, right...), c.Dims.P+c.Dims.T, c.Dims.T
			for i := range out {
				k, q := i%S, c.Dims.P+i/S%T
				if from := min(max(k+by, 0), S-1); k <= q {
					if out[i] = right[i-k+from]; from > q {
						at, _, _ := strings.Cut(c.Stage, "scores")
						D, sum := c.Model.Config().Embd/c.Model.Config().Heads, 0.0
						for d := range D {
							sum += float64(c.In(at + "q")[i/S*D+d]) * float64(c.In(at + "cache_k")[(i/S/T*S+from)*D+d])
						}
						out[i] = float32(sum / math.Sqrt(float64(D)))
					}
				}
			}
			return out
		}
	}
	one := []string{"changes", "wrong too"}
	const before = "attn.cache_k: each key position has the values that belong 1 before it: it is read so anew at each of these steps, what is written into it is right"
	const changes = "the number changes from step to step: it is "
	for _, c := range []struct {
		name, stage string
		output      func(c *faults.Context) []float32
		words, not  []string
		full        bool     // all stages are dumped, not the modules alone
		prompt      []string // words at step 0, where they are asked for
	}{
		{"scores by the position", "attn.scores", scores(func(v float64, q, _ int) float64 { return v * (1 + float64(q)/10) }),
			[]string{"(1 + 0.1·p) times the scores, for the query at position p"}, []string{"changes"}, false, nil},
		{"scores by the steps alone", "attn.scores", scores(func(v float64, q, k int) float64 {
			if q < 5 {
				return v + math.Sin(float64(7*q*k))
			}
			return v * (1 + float64(q)/10)
		}), []string{changes + "1.5, 1.6 and 1.7 at steps 1 to 3; at step 0 the stage is wrong too, by no one such number"}, nil, false, nil},
		{"a window but for key 0", "attn.scores", scores(func(v float64, q, k int) float64 {
			if k == 0 || q-k < 3 {
				return v
			}
			return math.Inf(-1)
		}), []string{"last 3 keys and key 0 alone"}, []string{"changes"}, false, nil},
		{"scores by the key", "attn.scores", scores(func(v float64, _, k int) float64 { return v + 0.3*math.Sin(float64(k)) }),
			[]string{"the same vector, 0, 0.2524, 0.2728, …, is added to every row"}, one, true, []string{"the same vector, 0, 0.2524, 0.2728"}},
		{"half the scores of one layer", "h.1.attn.scores", scores(func(v float64, _, _ int) float64 { return v / 2 }),
			[]string{"the output is 0.5 times the correct one"}, []string{"scale_attn", "in layer n:"}, true, nil},
		{"a product by the step", "mlp.c_proj", rows(func(_, p int) float64 { return 1 + 0.1*float64((max(p, 4)*7)%5) }),
			[]string{"is k times the correct one", "k is one number at each step: 1.3 at step 0, 1 at step 1, 1.2 at step 2, 1.4 at step 3"}, []string{"k(p)", "at position p"}, false, nil},
		{"scores of one layer", "h.1.attn.scores", scores(func(v float64, _, _ int) float64 { return 2 * v }),
			[]string{"the output is 2 times the correct one"}, []string{"n+1 times"}, true, nil},
		{"a norm nearly by a line", "ln_2", rows(func(_, p int) float64 { // on it at later steps, near it before
			off := 0.0
			if p < 5 {
				off = 1.5e-4 * math.Sin(float64(7*p*p))
			}
			return 0.99 - 7e-5*float64(p) + off
		}), nil, []string{"·p)"}, false, nil},
		{"a branch by the position", "h.1.resid_mid", branch(func(p int) float64 { return 1 / float64(p+1) }),
			[]string{"the block's input + 1/(p + 1)·attn.c_proj"}, []string{"changes"}, false, nil},
		{"another number at the prompt", "h.1.resid_mid", branch(func(p int) float64 {
			if p < 5 {
				return math.Cos(float64(7 * p * p))
			}
			return 0.7
		}), []string{"(0.7)·attn.c_proj", "at step 0 the stage is wrong too, and not by this number"}, []string{"changes", "it is not all"}, false, nil},
		{"a branch by one number", "h.1.resid_mid", branch(func(int) float64 { return 0.7 }), []string{"(0.7)·attn.c_proj"}, []string{"changes", "wrong too"}, false, nil},
		{"a product of one batch row", "mlp.c_proj", rows(func(b, _ int) float64 { return 1 + 0.01*float64(b) }),
			[]string{"1.01 times the correct one, in batch row 1"}, one, false, []string{"1.01 times the correct one, in batch row 1"}},
		{"a product from a position on", "mlp.c_proj", rows(func(_, p int) float64 { return 1 - 0.3*float64(p/4) }),
			[]string{"0.7 times the correct one, from position 4 on"}, one, false, []string{"0.7 times the correct one, from position 4 on"}},
		{"rows here and there", "mlp.act", rows(func(b, p int) float64 { return 1 + 0.1*float64((b+p)%2) }),
			[]string{"1.1 times the correct one, in batch row"}, one, false, []string{"1.1 times the correct one, in 5 of 10 rows"}},
		{"keys of the position before", "attn.scores", moved(-1), []string{"each key position has the values that belong 1 before it"}, one, true, []string{"each key position has the values that belong 1 before it"}},
		{"a cache read from the position before", "attn.scores", moved(-1), []string{before}, one, false, []string{before}},
		{"keys of the position after", "attn.scores", moved(1), []string{"each key position has the values that belong 1 after it"}, one, true, []string{"each key position has the values that belong 1 after it"}},
		{"scores by the prompt alone", "attn.scores", scores(func(v float64, q, k int) float64 {
			if q < 5 {
				return 1.5 * v
			}
			return v + math.Sin(float64(7*q*k))
		}), nil, nil, false, []string{"of 1.5 times the scores", "; at steps 1 to 3 the stage is wrong too, and no cause was found there"}},
		{"noise after attention", "h.1.attn.c_proj", rows(func(b, p int) float64 { return 1 + math.Sin(float64(7*b+p*p)) }), nil, []string{"is what h."}, false, []string{"no mix of the rows of the correct h.", "gives this output, if attn.c_proj is right: other values are mixed, or something is done to the mix"}},
		{"nearly so at the prompt", "h.1.resid_mid", branch(func(p int) float64 {
			if p < 5 {
				return 0.7 + 1e-5*math.Sin(float64(p))
			}
			return 0.7
		}), []string{"(0.7)·attn.c_proj"}, one, false, []string{"nearly, and what is left is", "(0.7)·attn.c_proj"}},
	} {
		_, all := engine{judge: oddModel(t), tokens: [][]int{{1, 2, 300, 4, 19}, {7, 8, 9, 30, 200}}, steps: 4, keep: func(stage string) bool { return c.full || gpt2test.IsModule(stage) }, plant: func(at harness.Place, x *faults.Context) []float32 {
			if ok, _ := path.Match("*"+c.stage, at.Stage); !ok {
				return nil
			}
			return c.output(x)
		}}.explain(t)
		later := 0
		for _, x := range all {
			if x.Step == 0 && c.prompt != nil && !strings.HasSuffix(x.Stage, "resid_post") && !says(x.Text, c.prompt, c.not) {
				t.Errorf("%s: %s at step 0: %q", c.name, x.Stage, x.Text)
			}
			if x.Step == 0 || strings.HasSuffix(x.Stage, "resid_post") {
				continue
			}
			if later++; !says(x.Text, c.words, c.not) {
				t.Errorf("%s: %s at step %d: %q", c.name, x.Stage, x.Step, x.Text)
			}
		}
		if later < 3 {
			t.Errorf("%s: %d explained", c.name, later)
		}
	}
}

// TestOtherChannels: channels that are wrong in one row, where other steps have others, are no cause.
func TestOtherChannels(t *testing.T) {
	for _, c := range []struct {
		name string
		by   int // how far the channels go on from step to step
		told bool
	}{{"others at each step", 7, false}, {"the same at each step", 0, true}} {
		_, all := engine{judge: oddModel(t), tokens: [][]int{{1, 2, 300, 4, 19}}, steps: 4, keep: gpt2test.IsModule, plant: func(at harness.Place, x *faults.Context) []float32 {
			if at.Stage != "h.1.resid_mid" || at.Step == 0 {
				return nil
			}
			out, C := append([]float32{}, x.Right()...), x.Model.Config().Embd
			for i := range 3 {
				out[(3+9*i+c.by*at.Step)%C] = 0
			}
			return out
		}}.explain(t)
		for _, x := range all {
			if strings.Contains(x.Text, "never written, in channel") != c.told {
				t.Errorf("%s: %s at step %d: %q", c.name, x.Stage, x.Step, x.Text)
			}
		}
		if len(all) == 0 {
			t.Errorf("%s: nothing is explained", c.name)
		}
	}
}

// TestSpread: where nothing explains what is wrong, the report says where most of it is.
func TestSpread(t *testing.T) {
	noise := func(i int) float32 { return float32(math.Sin(float64(i*i%97 + 3*i))) }
	for _, c := range []struct {
		name   string
		change func(v float32, i, channel, position int) float32
		words  string
	}{
		{"everywhere", func(v float32, i, _, _ int) float32 { return v + 0.1*noise(i) }, "the error is spread over batch rows, positions and channels alike"},
		{"in some channels", func(v float32, i, channel, _ int) float32 {
			if channel == 7 || channel == 30 {
				return v + noise(i)
			}
			return v + 0.1*noise(i)
		}, "more of the error than elsewhere is in channels 7, 30: 81%; the error is spread over batch rows and positions alike"},
		{"but for a position", func(v float32, i, _, position int) float32 {
			if position == 2 {
				return v
			}
			return v + 0.1*noise(i)
		}, "nothing is wrong in position 2; the error is spread over batch rows, channels and the other positions alike"},
		{"from a position on", func(v float32, i, _, position int) float32 {
			if position < 6 {
				return v
			}
			return v + 0.1*noise(i)
		}, "the error is spread over batch rows, channels and positions 6 to 9 alike"},
		{"on a grid", func(v float32, _, _, _ int) float32 { return float32(math.Round(float64(v)*63.5) / 63.5) }, "no known fault and no fit gives this output: "},
		{"in one value", func(v float32, i, _, _ int) float32 {
			if i == 300 {
				return 0
			}
			return v
		}, "no fit gives this output: 1 of 960 values wrong"},
		{"with zeros", func(v float32, i, channel, _ int) float32 {
			if channel == 9 {
				return 0
			}
			return v + 0.1*noise(i)
		}, "20 values, 2.1% of all, are 0 where the right values are not; all is 0 in channel 9"},
	} {
		_, all := engine{judge: oddModel(t), tokens: [][]int{{1, 2, 300, 4, 19, 5, 6, 7, 8, 9}, {7, 8, 9, 30, 200, 1, 2, 3, 4, 5}}, steps: 1, plant: at(0, "h.1.ln_2", func(x *faults.Context) []float32 {
			out, C := append([]float32{}, x.Right()...), x.Model.Config().Embd
			for i, v := range out {
				out[i] = c.change(v, i, i%C, i/C%x.Dims.T)
			}
			return out
		})}.explain(t)
		if len(all) != 1 || !strings.Contains(all[0].Text, c.words) {
			t.Errorf("%s: %v, want %q", c.name, all, c.words)
		}
	}
}
