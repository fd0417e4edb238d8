package diagnose

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"checkpoint12/harness"
	"checkpoint12/harness/align"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/cuttest"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/model"
	"checkpoint12/model/modeltest"
)

// cuts are ways to run a prompt of two tokens and n - 2 more.
func cuts(n int) map[string]harness.Cut {
	all := map[string]harness.Cut{
		"one token at a time": harness.PromptCut(1, n),
		"no cache":            nil,
		"one pass":            {{P: 0, T: n}},
		"chunks":              {{P: 0, T: 3}, {P: 3, T: n - 4}, {P: n - 1, T: 1}},
	}
	for k := 2; k <= n; k++ {
		all["no cache"] = append(all["no cache"], harness.Span{P: 0, T: k})
	}
	return all
}

// inCut returns the comparison of a run that is cut as its shapes and tokens tell.
func inCut(t testing.TB, m *model.Model, golden, candidate harness.Source) Comparison {
	t.Helper()
	c := comparisonOf(m, golden, candidate)
	if m == nil {
		c.Schedule = gpt2.Schedule(3, nil)
	}
	own := harness.PromptCut(len(golden.Manifest().Tokens[0]), golden.Manifest().New)
	r := gpt2.CutReader{Schedule: c.Schedule, Run: candidate, Golden: golden, GoldenCut: own, Model: m}
	cut, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	if c.Cut = r.Needed(cut, []harness.Cut{own}); c.Cut != nil {
		c.Goldens[0].Source = harness.NewRecut(c.Schedule, golden, own, cut)
	}
	return c
}

// unseen are the faults that change nothing in a cut, with the reason.
var unseen = map[string]map[string]string{
	"one token at a time": {
		"mask_missing": oneQuery, "mask_one_ahead": oneQuery, "mask_leaking": oneQuery, "heads_not_merged": "one position has no other to be mixed with",
		"position_before_last": "a step of one position has no other", "position_first": "a step of one position has no other",
	},
	"no cache": withoutCache,
	"one pass": withoutCache,
}

const oneQuery = "one query at a time has nothing to come"

var withoutCache = map[string]string{
	"cache_overwritten": "nothing is appended to a cache", "cache_shifted": "nothing is appended to a cache",
	"mask_without_past": "no step has a past", "pos_restarted": "each step begins at the first position",
}

// A fault is found at its stage and named whatever the cut, unless it changes nothing.
// Some are planted here, all of them by selftest.
func TestFaultsInOtherCuts(t *testing.T) {
	m := gpt2test.Tiny(t)
	g := gpt2test.Golden(t, gpt2.Schedule(3, nil), "synthetic-tiny/hello/float64")
	tokens := harness.FirstTokens(g.Tokens(), 5)
	stages := model.StageNames(m.Config(), gpt2.Temperatures)
	turn, every := 0, 48
	if harnesstest.Full() {
		every = 16
	}
	for _, name := range slices.Sorted(maps.Keys(cuts(5))) {
		cut := cuts(5)[name]
		for _, f := range faults.Catalogue() {
			if turn++; turn%every > 0 || f.ID == "tie_rule" || f.Kind == faults.Padding { // there is neither
				continue
			}
			stage := stages[slices.IndexFunc(stages, func(stage string) bool {
				s, _ := model.ParseStage(stage)
				small := strings.HasPrefix(f.ID, "ln_eps") // shows where the variance is small
				return f.At(stage) && (s.Layer != 0 || small)
			})]
			moved := false
			run := cuttest.Run(t, m, tokens, cut, func(at harness.Place, c *faults.Context) []float32 {
				if at.Stage != stage {
					return nil
				}
				out := f.Output(c)
				moved = moved || out != nil && !slices.Equal(out, c.Right())
				return out
			})
			r, err := Compare(t.Context(), inCut(t, m, g, run))
			if err != nil {
				t.Fatal(err)
			}
			reason := unseen[name][f.ID]
			if moved == (reason != "") {
				t.Errorf("%s, %s at %s: it changes something: %v; listed is %q", name, f.ID, stage, moved, reason)
			}
			if !moved {
				if !r.Passed() {
					t.Errorf("%s, %s at %s: introduced %v", name, f.ID, stage, r.Introduced)
				}
				continue
			}
			named := slices.ContainsFunc(r.Explanations, func(x harness.Explanation) bool {
				return x.Fault == f.ID || strings.Contains(x.Text, f.ID)
			})
			if len(r.Introduced) == 0 || r.Introduced[0].Stage != stage || !named && f.Kind != faults.Precision {
				t.Errorf("%s, %s at %s: introduced %v, named %v", name, f.ID, stage, r.Introduced, r.Explanations)
			}
			// The golden has probabilities at the prompt's last position alone.
			if first := r.FirstDivergence; first != nil && first.Stage != stage ||
				first == nil && f.Kind == faults.Plain && !strings.HasPrefix(stage, "probs_t") {
				t.Errorf("%s, %s at %s: first divergence %v", name, f.ID, stage, first)
			}
		}
	}
}

// Logits of the last position alone are judged, and a fault in them is named, in an
// engine without a cache and in one that is cut like the golden.
func TestLogitsOfTheLastPosition(t *testing.T) {
	m := gpt2test.Tiny(t)
	g := gpt2test.Golden(t, gpt2.Schedule(3, nil), "synthetic-tiny/hello/float64")
	shifted := gpt2test.Fault{Stage: "logits", ID: "head_shifted"}
	for name, cut := range map[string]harness.Cut{"no cache": cuts(4)["no cache"], "prompt, then tokens": harness.PromptCut(2, 3)} {
		for _, planted := range [][]gpt2test.Fault{nil, {shifted}} {
			run := cuttest.Run(t, m, harness.FirstTokens(g.Tokens(), 4), cut, gpt2test.Planter(m, planted...).Plant)
			candidate := memory(t, gpt2.Schedule(3, nil), run, func(_ int, stage string) bool { return stage != "logits_last" })
			lastRows(candidate, m.Config().Vocab)
			r, err := Compare(t.Context(), inCut(t, m, g, candidate))
			if err != nil {
				t.Fatal(err)
			}
			row := r.Row(harness.Place{Step: 0, Stage: "logits"})
			switch {
			case row == nil || row.Elements != m.Config().Vocab:
				t.Errorf("%s: the row is %v", name, row)
			case planted == nil && !r.Passed():
				t.Errorf("%s: a correct engine fails: %v", name, r.Introduced)
			case planted != nil && (r.FirstDivergence == nil || r.FirstDivergence.Stage != "logits" || len(r.Explanations) == 0 || r.Explanations[0].Fault != shifted.ID):
				t.Errorf("%s: first %v, named %v", name, r.FirstDivergence, r.Explanations)
			}
		}
	}
}

// drawCut draws how n positions are run: each step begins at the first one, or where the
// one before ended, and reaches at least one more.
func drawCut(t *rapid.T, n int) (c harness.Cut) {
	for at := 0; at < n; {
		end := rapid.IntRange(at+1, n).Draw(t, "end")
		span := harness.Span{P: at, T: end - at}
		if rapid.Bool().Draw(t, "again") {
			span = harness.Span{P: 0, T: end}
		}
		c, at = append(c, span), end
	}
	return c
}

// Whatever the cut, a correct run passes, with the model and without, and a fault is
// found at the stage, and named, as in a run that is cut like the golden.
func TestAnyCut(t *testing.T) {
	cfg := modeltest.Micro
	m := modeltest.New(t, cfg, 1)
	const prompt, n = 2, 6
	tokens := [][]int{modeltest.Tokens(cfg, n+1, 1), modeltest.Tokens(cfg, n+1, 2)}
	plain := harness.PromptCut(prompt, n-prompt+1)
	man := harness.Manifest{Tokens: harness.FirstTokens(tokens, prompt), New: n - prompt + 1, Engine: harness.Engine{Name: "test"}}
	man.LeftOut = []harness.LeftOut{{Stages: "*", Steps: "all", Reason: "as it happens"}}
	sum, err := m.WeightsSHA256()
	if err != nil {
		t.Fatal(err)
	}
	man.Model = harness.ManifestModel{Name: "micro", Config: cfg.JSON(), WeightsSHA256: sum}
	golden := harnesstest.WithManifest{Source: cuttest.Run(t, m, tokens, plain, nil), Man: &man}
	judge := func(t *rapid.T, m *model.Model, cut harness.Cut, f *gpt2test.Fault) *Result {
		var plant func(at harness.Place, c *faults.Context) []float32
		if f != nil {
			plant = gpt2test.Planter(m, *f).Plant
		}
		model := m
		if f == nil && rapid.Bool().Draw(t, "without model") {
			model = nil
		}
		c := comparisonOf(m, golden, cuttest.Run(t, m, tokens, cut, plant))
		c.Model, c.Cut = model, cut
		c.Goldens[0].Source = harness.NewRecut(c.Schedule, golden, plain, cut)
		c.Match = func(_ int, stage string) bool { return !strings.HasPrefix(stage, "probs_t") }
		r, err := Compare(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	rapid.Check(t, func(t *rapid.T) {
		cut := drawCut(t, n)
		if r := judge(t, m, cut, nil); !r.Passed() || r.Compared < 20 {
			t.Fatalf("a correct run in the cut %v: %d compared, first %v, introduced %v, violations %v",
				cut, r.Compared, r.FirstDivergence, r.Introduced, r.Violations)
		}
		f := rapid.SampledFrom(gpt2test.Faults).Draw(t, "fault")
		shows := func(s harness.Span) bool {
			switch f.ID {
			case "mask_one_ahead", "position_before_last":
				return s.T > 1
			case "cache_overwritten":
				return s.P > 0
			}
			return f.Checkpoint != 11
		}
		if !slices.ContainsFunc(cut, shows) {
			t.Skip("nothing in the cut shows it")
		}
		want, got := judge(t, m, plain, &f), judge(t, m, cut, &f)
		if len(got.Introduced) == 0 || got.Introduced[0].Stage != want.Introduced[0].Stage {
			t.Fatalf("%s in the cut %v: introduced %v, in the golden's %v", f.Name, cut, got.Introduced, want.Introduced)
		}
		if first, own := got.FirstDivergence, want.FirstDivergence; first == nil || first.Stage != own.Stage {
			t.Fatalf("%s in the cut %v: first divergence %v, in the golden's %v", f.Name, cut, first, own)
		}
		named := func(r *Result) bool {
			return slices.ContainsFunc(r.Explanations, func(x harness.Explanation) bool {
				return x.Fault == f.ID || strings.Contains(x.Text, f.ID)
			})
		}
		if named(want) && !named(got) {
			t.Fatalf("%s in the cut %v: not named: %v", f.Name, cut, got.Explanations)
		}
	})
}

// Without tokens, of the golden and of the candidate, a run that is cut otherwise raises no
// false alarm: its cut is read from shapes, or it is refused where these leave it open.
func TestCutsWithoutTokens(t *testing.T) {
	cfg := modeltest.Micro
	cfg.Layers = 1
	m := modeltest.New(t, cfg, 1)
	s := gpt2.Schedule(cfg.Layers, nil)
	ways := cuts(5)
	ways["prompt, then tokens"] = harness.PromptCut(2, 4)
	for _, batch := range []int{1, 2} {
		var tokens [][]int
		for b := range batch {
			tokens = append(tokens, modeltest.Tokens(cfg, 5, uint64(b)))
		}
		for _, stages := range [][]string{{"h.0.resid_post", "ln_f", "logits"}, {"h.0.attn.scores", "h.0.resid_post", "logits"}} {
			runs := map[string]*harnesstest.Memory{}
			for name, cut := range ways {
				runs[name] = memory(t, s, cuttest.Run(t, m, tokens, cut, nil), only(stages...))
				runs[name].Fed = nil
			}
			for golden := range ways {
				for candidate := range ways {
					c := Comparison{Schedule: s, Goldens: []EngineResult{{Source: said{runs[golden], nil}}}}
					_, err := c.View(t.Context(), said{runs[candidate], nil}, align.Hints{}, nil)
					if open := golden == "no cache" && stages[1] == "ln_f"; open || err != nil {
						if !open || err == nil || !strings.Contains(err.Error(), "without tokens.npy") {
							t.Errorf("golden %s, candidate %s, %v of %d: error %v", golden, candidate, stages, batch, err)
						}
						continue
					}
					r, err := Compare(t.Context(), c)
					if err != nil || !r.Passed() || r.Compared < len(runs[candidate].Kept) {
						t.Errorf("golden %s, candidate %s, %v of %d: %+v, %v", golden, candidate, stages, batch, r, err)
					}
				}
			}
		}
	}
}
