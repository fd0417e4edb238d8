package diagnose

import (
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/model"
)

// A stage that a right engine dumps at another point than the contract's is the only one that
// is wrong, and its text says which point it is.
func TestDumpedAtAnotherPoint(t *testing.T) {
	m, s := gpt2test.Tiny(t), gpt2.Schedule(3, nil)
	g := gpt2test.Golden(t, s, "synthetic-tiny/quick-brown/float64")
	rec, err := gpt2.Record(t.Context(), m, gpt2.Run{Tokens: g.Manifest().Tokens, New: 2})
	if err != nil {
		t.Fatal(err)
	}
	fault := func(id string) func(c *faults.Context) []float32 {
		f, err := faults.ByID(id)
		if err != nil {
			t.Fatal(err)
		}
		return f.Output
	}
	other := func(stage string) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 {
			return c.In(strings.Replace(c.Stage, c.Stage[strings.LastIndex(c.Stage, ".")+1:], stage, 1))
		}
	}
	bare := func(c *faults.Context) []float32 { // q·k, of all keys
		out := slices.Clone(fault("mask_missing")(c))
		for i := range out {
			out[i] *= float32(4.472135954999579) // √20
		}
		return out
	}
	for _, c := range []struct {
		stage string // of the layers, what its name ends with
		dumps func(c *faults.Context) []float32
		want  string // in the text of the first
		keep  func(stage string) bool
	}{
		{"scores", fault("mask_missing"), "dumped before the mask: ", nil},
		{"scores", fault("scale_missing"), "dumped before the scale: ", nil},
		{"scores", bare, "dumped before scale and mask: ", nil},
		{"scores", fault("mask_missing"), "h.0.attn.context follows from the correct output", func(stage string) bool { return !strings.HasSuffix(stage, "probs") }},
		{"ln_1", fault("ln_gain_dropped"), "dumped before its gain: ", nil},
		{"c_attn", fault("bias_dropped"), "dumped before its bias is added: ", nil},
		{"act", other("c_fc"), "reads it: the output is that of mlp.c_fc", nil},
		{"resid_mid", other("resid_post"), "which comes later: the buffer was written over before it was kept", nil},
		{"embed", fault("pos_not_added"), "dumped before the positions are added: h.0.ln_1 and h.0.resid_mid follow", nil},
	} {
		t.Run(c.want, func(t *testing.T) {
			b := harnesstest.Source(s, "candidate", rec.Tokens(), harnesstest.Steps{0: {}, 1: {}})
			changed := map[harness.Place]bool{}
			for _, at := range s.Places(rec, nil) {
				x, err := rec.Tensor(at.Step, at.Stage)
				if err != nil {
					t.Fatal(err)
				}
				if c.keep != nil && !c.keep(at.Stage) {
					continue
				}
				if at.Stage == c.stage || strings.HasSuffix(at.Stage, "."+c.stage) {
					out := c.dumps(&faults.Context{
						Model: m, Stage: at.Stage, Dims: model.Dims{B: 1, T: []int{3, 1}[at.Step], P: []int{0, 3}[at.Step]},
						In: func(name string) []float32 {
							from := harness.InputPlace(at.Step, name)
							x, _ := rec.Tensor(from.Step, from.Stage)
							return x.F32
						},
					})
					if out != nil && !slices.Equal(out, x.F32) {
						x, changed[at] = harness.Tensor{Shape: x.Shape, F32: out}, true
					}
				}
				b.Kept[at.Step][at.Stage] = x
			}
			for _, goldens := range [][]EngineResult{{{Source: g}}, nil} {
				r, err := Compare(t.Context(), Comparison{Schedule: s, Model: m, Goldens: goldens, Candidate: b})
				if err != nil {
					t.Fatal(err)
				}
				if r.Passed() || len(r.Introduced) != len(changed) || len(changed) == 0 {
					t.Fatalf("introduced %v, want %v", r.Introduced, changed)
				}
				for i, in := range r.Introduced {
					x := r.Explanations[i]
					if at := (harness.Place{Step: in.Step, Stage: in.Stage}); !changed[at] || x.Fault != harness.OtherPoint || x.Stage != in.Stage {
						t.Errorf("introduced %v: %+v", at, x)
					}
				}
				if !strings.Contains(r.Explanations[0].Text, c.want) {
					t.Errorf("%s: want %q", r.Explanations[0].Text, c.want)
				}
			}
		})
	}
}
