package diagnose

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/harnesstest"
)

// What the engines exported does not contradict itself, with its manifest or
// without.
func TestGoldensDoNotContradictThemselves(t *testing.T) {
	dirs, err := filepath.Glob(gpt2test.Dir + "/synthetic-tiny/*/*")
	if err != nil || len(dirs) < 7 {
		t.Fatalf("%d goldens, %v", len(dirs), err)
	}
	s := gpt2.Schedule(3, nil)
	for _, dir := range harnesstest.Draw(dirs, 0, 3) { // of every engine
		d, _, err := dump.Open(dir, s)
		if err != nil {
			t.Fatal(err)
		}
		var checked []int
		for _, src := range []harness.Source{d, unbound{d}} {
			c, err := Compare(t.Context(), Comparison{Schedule: s, Goldens: []EngineResult{{Source: src}}, Candidate: src})
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range c.Violations {
				t.Errorf("%s: %s %s: %s", dir, v.Place, v.Rule, v.Detail)
			}
			checked = append(checked, c.Checked)
		}
		if checked[0] == 0 || checked[1] != checked[0] {
			t.Errorf("%s: %d places were judged with the manifest, %d without", dir, checked[0], checked[1])
		}
	}
}

// unbound is a source without a manifest.
type unbound struct{ harness.Source }

func (unbound) Manifest() *harness.Manifest { return nil }

func TestContradictions(t *testing.T) {
	s := gpt2.Schedule(3, nil)
	g := gpt2test.Golden(t, s, "synthetic-tiny/hello/float64")
	of := func(step int, stage string) []float32 {
		x, err := g.Tensor(step, stage)
		if err != nil {
			t.Fatal(err)
		}
		return x.F32
	}
	early := func(step int, _ string) bool { return step < 5 } // all that are edited
	const rows, masks = "its rows are not probabilities that sum to 1 and are 0 where masked", "a masked place is not -inf, or another is not finite"
	for _, tt := range []struct {
		stage  string
		step   int
		reason string
		rule   string
		alone  string // the rule where the dump has no other stage; "" where that does not show
		edit   func(x []float32)
	}{
		{"embed", 0, "positions not added", "does not follow from wte and wpe", "", func(x []float32) { copy(x, of(0, "wte")) }},
		{"h.1.resid_mid", 0, "one value, by some hundred units in the last place", "does not follow from h.0.resid_post and h.1.attn.c_proj", "",
			func(x []float32) { x[5] += 500.0 / (1 << 24) * x[5] }},
		{"h.2.resid_post", 3, "no residual", "does not follow from h.2.resid_mid and h.2.mlp.c_proj", "", func(x []float32) { copy(x, of(3, "h.2.mlp.c_proj")) }},
		{"h.1.attn.q", 0, "k for q", "does not follow from h.1.attn.c_attn", "", func(x []float32) { copy(x, of(0, "h.1.attn.k")) }},
		{"h.1.attn.cache_k", 2, "written at position 0", "does not follow from the h.1.attn.cache_k before and h.1.attn.k", "", func(x []float32) {
			for h := range 4 {
				copy(x[h*4*20:], x[(h*4+3)*20:(h*4+4)*20])
			}
		}},
		{"h.1.attn.cache_v", 2, "not written", "does not follow from the h.1.attn.cache_v before and h.1.attn.v", "", func(x []float32) { clear(x[3*20 : 4*20]) }},
		{"h.0.attn.scores", 0, "no mask", "does not follow from h.0.attn.q and h.0.attn.cache_k", masks, func(x []float32) { x[1] = -3 }},
		{"h.0.attn.scores", 0, "the mask hides the diagonal", "does not follow from h.0.attn.q and h.0.attn.cache_k", masks,
			func(x []float32) { x[3] = float32(math.Inf(-1)) }},
		{"h.0.attn.probs", 0, "it leaks a little", "does not follow from h.0.attn.scores", rows, func(x []float32) { x[1] = 1e-30 }},
		{"h.0.attn.probs", 4, "not normalised", "does not follow from h.0.attn.scores", rows, func(x []float32) {
			for i := range x {
				x[i] *= 1.00001
			}
		}},
		{"h.0.attn.probs", 4, "negative, but for the sum right", "does not follow from h.0.attn.scores", rows, func(x []float32) { x[1], x[0] = -0.01, x[0]+x[1]+0.01 }},
		{"h.0.attn.probs", 4, "NaN", "does not follow from h.0.attn.scores", rows, func(x []float32) { x[0] = float32(math.NaN()) }},
		{"h.0.attn.context", 1, "another head's", "does not follow from h.0.attn.probs and h.0.attn.cache_v", "", func(x []float32) { copy(x, x[20:40]) }},
		{"h.0.mlp.act", 0, "erf", "does not follow from h.0.mlp.c_fc", "", func(x []float32) {
			for i, v := range of(0, "h.0.mlp.c_fc") {
				x[i] = float32(0.5 * float64(v) * (1 + math.Erf(float64(v)/math.Sqrt2)))
			}
		}},
		{"logits_last", 0, "the first row", "does not follow from logits", "", func(x []float32) { copy(x, of(0, "logits")) }},
		{"next_token", 2, "another id", "does not follow from logits_last", "", func(x []float32) { x[0]++ }},
		{"probs_t2", 0, "temperature ignored", "does not follow from logits_last", "", func(x []float32) { copy(x, of(0, "probs_t1")) }},
		{"probs_t0.5", 0, "scaled", "does not follow from logits_last", rows, func(x []float32) {
			for i := range x {
				x[i] *= 1.01
			}
		}},
	} {
		t.Run(tt.stage+": "+tt.reason, func(t *testing.T) {
			for _, alone := range []bool{false, true} {
				at, rule := harness.Place{Step: tt.step, Stage: tt.stage}, tt.rule
				if alone {
					rule = tt.alone
				}
				edited := gpt2test.Foreign(t, s, g, func(step int, stage string, x harness.Tensor, _ map[string]int) harness.Tensor {
					if (harness.Place{Step: step, Stage: stage}) == at {
						tt.edit(x.F32)
					} else if alone {
						return harness.Tensor{}
					}
					return x
				})
				comparison := Comparison{Schedule: s, Goldens: []EngineResult{{Source: g}}, Candidate: edited}
				comparison.Match = early
				c, err := Compare(t.Context(), comparison)
				switch {
				case err != nil:
					t.Fatal(err)
				case c.Passed() && (rule != "" || len(c.Violations) > 0):
					t.Errorf("alone %v: it passes", alone)
				case rule == "" && len(c.Violations) == 0:
				case len(c.Violations) == 0 || c.Violations[0].Place != at || c.Violations[0].Rule != rule || !strings.Contains(c.Violations[0].Detail, "want"):
					t.Errorf("alone %v: violations %v, want the first at %s: %s", alone, c.Violations, at, rule)
				}
			}
		})
	}
}
