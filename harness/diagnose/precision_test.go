package diagnose

import (
	"math"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/internal/rounding"
	"checkpoint12/harness/report"
	"checkpoint12/model"
)

// stored returns a tap that plants a fault of the catalogue in a stage at the prompt, if there
// is one, and then rounds every value that is stored.
func stored(m *model.Model, round rounding.Rounding, id, stage string) model.Tap {
	planter := faults.Planter{Model: m, Stored: round, Plant: func(at harness.Place, c *faults.Context) []float32 {
		if f, err := faults.ByID(id); err == nil && at == (harness.Place{Stage: stage}) {
			return f.Output(c)
		}
		return nil
	}}
	return (&gpt2.Override{Value: planter.Value}).Tap
}

// A run is judged in the precision that was asked for: one of more bits is right in it too, one
// of fewer is named for that alone, and a fault is placed and named in any.
func TestPrecisions(t *testing.T) {
	m, s := gpt2test.Tiny(t), gpt2.Schedule(3, nil)
	golden := gpt2test.Golden(t, s, "synthetic-tiny/quick-brown/float64")
	in := func(name string) rounding.Rounding {
		for _, typ := range rounding.Types {
			if typ.Name == name {
				return typ.Round
			}
		}
		return nil
	}
	cases := []struct {
		stored       string // in it is every value, if it is none of float32
		asked        gpt2.Precision
		fault, stage string
		alone        bool // without a model
		unbound      bool // by a golden without a manifest
		narrow       *harness.Narrow
		headline     string
	}{
		{stored: "float32", asked: gpt2.BFloat16},
		{stored: "float16", asked: gpt2.Float16},
		{stored: "float16", asked: gpt2.BFloat16},
		{stored: "bfloat16", asked: gpt2.BFloat16},
		{stored: "bfloat16", asked: gpt2.BFloat16, unbound: true},
		{
			stored: "bfloat16", asked: gpt2.Float32, narrow: &harness.Narrow{Type: "bfloat16", Asked: "float32", DType: "bf16"},
			headline: "computes in bfloat16; float32 was asked for: judge it with --dtype bf16",
		}, {
			stored: "bfloat16", asked: gpt2.Float16, narrow: &harness.Narrow{Type: "bfloat16", Asked: "float16", DType: "bf16"},
			headline: "computes in bfloat16; float16 was asked for: judge it with --dtype bf16",
		}, {
			stored: "float16", asked: gpt2.TF32, narrow: &harness.Narrow{Type: "float16", Asked: "float32", DType: "f16"},
			headline: "computes in float16; float32 was asked for",
		}, {
			stored: "float16", alone: true, narrow: &harness.Narrow{Type: "float16", Asked: "float32", DType: "f16"},
			headline: "computes in float16; float32 was asked for: judge it with --dtype f16",
		}, {
			stored: "fp8 (e5m2)", alone: true, narrow: &harness.Narrow{Type: "fp8 (e5m2)", Asked: "float32"},
			headline: "computes in fp8 (e5m2); float32 was asked for\n",
		},
		{stored: "bfloat16", asked: gpt2.BFloat16, fault: "scale_d", stage: "h.1.attn.scores", headline: "h.1.attn.scores wrong at step 0"},
		{stored: "float16", asked: gpt2.Float16, fault: "ln2_with_ln1_weights", stage: "h.2.ln_2", headline: "h.2.ln_2 wrong at step 0"},
		{stored: "float32", asked: gpt2.TF32, fault: "gelu_relu", stage: "h.0.mlp.act", headline: "h.0.mlp.act wrong at step 0"},
		{
			stored: "bfloat16", asked: gpt2.Float32, fault: "resid_missing", stage: "h.0.resid_post",
			narrow: &harness.Narrow{Type: "bfloat16", Asked: "float32", DType: "bf16"}, headline: "computes in bfloat16",
		},
	}
	for _, tt := range harnesstest.Draw(cases, 1, 3) {
		t.Run(strings.Join([]string{tt.stored, tt.asked.Name, tt.fault}, " "), func(t *testing.T) {
			rec, err := gpt2.Record(t.Context(), m, gpt2.Run{
				Tokens: golden.Manifest().Tokens, New: 3, Feed: [][]int{golden.Tokens()[0][3:5]},
				Tap: stored(m, in(tt.stored), tt.fault, tt.stage),
			})
			if err != nil {
				t.Fatal(err)
			}
			c := Comparison{Schedule: s, Candidate: rec, Goldens: []EngineResult{{Source: golden}}, Precision: tt.asked}
			if !tt.alone {
				c.Model = m
			}
			if tt.unbound {
				c.Goldens[0].Source = unbound{golden}
			}
			r, err := Compare(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case tt.narrow == nil && r.Narrow != nil, tt.narrow != nil && (r.Narrow == nil || *r.Narrow != *tt.narrow):
				t.Errorf("narrow: %+v, want %+v", r.Narrow, tt.narrow)
			case r.Passed() != (tt.headline == ""):
				t.Errorf("verdict %s: introduced %v, first divergence %v", r.Verdict, r.Introduced, r.FirstDivergence)
			case tt.fault == "" && len(r.Introduced) > 0:
				t.Errorf("introduced: %v", r.Introduced)
			case tt.fault != "" && (len(r.Introduced) != 1 || r.Introduced[0].Stage != tt.stage ||
				len(r.Explanations) != 1 || r.Explanations[0].Fault != tt.fault):
				t.Errorf("introduced %v: %v; want %s: %s", r.Introduced, r.Explanations, tt.stage, tt.fault)
			}
			var text strings.Builder
			if err := report.Write(&text, r.Report, report.Options{Style: report.Style{Width: 200}}); err != nil {
				t.Fatal(err)
			}
			first := strings.Join(strings.SplitAfterN(text.String(), "\n", 9)[:8], "")
			if !strings.Contains(first, tt.headline) || !strings.Contains(first, tt.fault) {
				t.Errorf("the first lines lack %q or %q:\n%s", tt.headline, tt.fault, first)
			}
		})
	}
}

// NaN, an infinity or one number everywhere tell no type of values.
func TestNoTypeOfOneValue(t *testing.T) {
	m := gpt2test.Tiny(t)
	s := gpt2.Schedule(m.Config().Layers, nil)
	for _, v := range []float32{float32(math.NaN()), float32(math.Inf(1)), 1} {
		rec, err := gpt2.Record(t.Context(), m, gpt2.Run{
			Tokens: [][]int{{15496, 13}}, New: 1,
			Tap: func(stage string, _ []int, data []float32) {
				for i := range data {
					if stage != "next_token" {
						data[i] = v
					}
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := Compare(t.Context(), Comparison{Schedule: s, Candidate: rec, Model: m}); err != nil || r.Narrow != nil || r.Passed() {
			t.Errorf("all %v: %v, narrow %+v, passed %v; want a failure of no type", v, err, r.Narrow, err == nil && r.Passed())
		}
	}
}
