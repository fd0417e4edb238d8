package diagnose

import (
	"os"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/align"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/cuttest"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/report"
	"checkpoint12/model/modeltest"
)

// llamaFile has the rules of llama.cpp's deviations.
const llamaFile = "../bounds/llama.cpp.json"

// half is llama.cpp on a CPU: a GELU out of a table of float16, and caches of float16.
var half = []string{"h.*.mlp.act float16_activations", "h.*.attn.cache_[kv] float16_activations"}

// plantAll plants faults, each "PATTERN ID", of which the first that matches a stage holds.
func plantAll(t *testing.T, planted []string) func(at harness.Place, c *faults.Context) []float32 {
	return func(at harness.Place, c *faults.Context) []float32 {
		for _, p := range planted {
			pattern, id, _ := strings.Cut(p, " ")
			if names.Match(pattern, at.Stage) {
				f, err := faults.ByID(id)
				if err != nil {
					t.Error(err)
				}
				return f.Output(c)
			}
		}
		return nil
	}
}

// What rules accept, and what only inherits from it, is passed over; a fault elsewhere, or
// another one at the same stage, is not.
func TestAcceptedByRules(t *testing.T) {
	m := gpt2test.Tiny(t)
	s := gpt2.Schedule(3, nil)
	g := gpt2test.Golden(t, s, "synthetic-tiny/hello/float64")
	tokens := harness.FirstTokens(g.Tokens(), 3)
	llama, err := os.ReadFile(llamaFile)
	if err != nil {
		t.Fatal(err)
	}
	const act = `[{"stages": "h.*.mlp.act", "accept": true, "fault": "float16_activations", "why": "a table"}]`
	const wrongAct = "h.1.mlp.act gelu_erf"
	at := func(step int, stage string) *harness.Place { return &harness.Place{Step: step, Stage: stage} }
	inSteps := harness.PromptCut(2, 2)
	type row struct {
		reason  string
		planted []string
		rules   string
		cut     harness.Cut
		keep    func(stage string) bool
		first   *harness.Place // that is not accepted
		wrong   *harness.Place // introduced and not accepted
	}
	for _, c := range harnesstest.Draw([]row{
		{"llama.cpp", half, string(llama), inSteps, nil, nil, nil},
		{"llama.cpp, cut otherwise", half, string(llama), harness.PromptCut(1, 3), nil, nil, nil},
		{"without the rules", half, `[{"stages": "wte", "abs": 0, "why": "w"}]`, inSteps, nil, at(0, "h.0.attn.cache_k"), at(0, "h.0.attn.cache_k")},
		{"llama.cpp, without the caches", half, string(llama), inSteps, func(stage string) bool { return !strings.Contains(stage, "cache") }, nil, nil},
		{"a rule for one of the two", half, act, inSteps, nil, at(0, "h.0.attn.cache_k"), at(0, "h.0.attn.cache_k")},
		{"another cause than the rule's", []string{wrongAct}, act, inSteps, nil, at(0, "h.1.mlp.act"), at(0, "h.1.mlp.act")},
		{"whatever the cause", []string{wrongAct}, `[{"stages": "h.1.mlp.act", "accept": true, "why": "erf"}]`, inSteps, nil, nil, nil},
		{"not at these steps", []string{wrongAct}, `[{"stages": "h.1.mlp.act", "steps": "1-", "accept": true, "why": "erf"}]`, inSteps, nil, at(0, "h.1.mlp.act"), at(0, "h.1.mlp.act")},
		{"a second fault after it", append([]string{"h.2.resid_mid resid_missing"}, half...), string(llama), inSteps, nil, at(0, "h.2.resid_mid"), at(0, "h.2.resid_mid")},
		{"a second fault before it", append([]string{"h.0.ln_1 ln_bias_dropped"}, half...), string(llama), inSteps, nil, at(0, "h.0.ln_1"), at(0, "h.0.ln_1")},
		{"a second fault in one of the layers", append([]string{"h.1.mlp.act gelu_relu"}, half...), string(llama), inSteps, nil, at(0, "h.1.mlp.act"), at(0, "h.1.mlp.act")},
		{"a tolerance", []string{wrongAct}, `[{"stages": "h.1.mlp.act", "abs": 5e-4, "why": "erf"}]`, inSteps, nil, at(0, "h.1.mlp.c_proj"), nil},
		{"a tolerance that all have", []string{wrongAct}, `[{"stages": "h.*", "abs": 1e-2, "why": "erf"}, {"stages": "*", "abs": 0.1, "why": "erf"}]`, inSteps, nil, nil, nil},
		{"too narrow a tolerance", []string{wrongAct}, `[{"stages": "h.1.mlp.act", "abs": 2e-4, "why": "erf"}]`, inSteps, nil, at(0, "h.1.mlp.act"), at(0, "h.1.mlp.act")},
		{"a tolerance below rounding", nil, `[{"stages": "h.0.mlp.act", "abs": 1e-12, "why": "strict"}]`, inSteps, nil, at(0, "h.0.mlp.act"), nil},
		{"nothing to accept", nil, string(llama), inSteps, nil, nil, nil},
	}, 0, 2) {
		t.Run(c.reason, func(t *testing.T) {
			b, err := harness.ParseBounds([]byte(c.rules))
			if err != nil {
				t.Fatal(err)
			}
			b.File = "rules.json"
			var run harness.Source = cuttest.Run(t, m, tokens, c.cut, plantAll(t, c.planted))
			if c.keep != nil {
				run = gpt2test.Only{Source: run, Keep: func(_ int, stage string) bool { return c.keep(stage) }}
			}
			for _, golden := range []bool{true, false} {
				x := inCut(t, m, g, run)
				x.Bounds = b
				if !golden {
					x.Goldens, x.Cut = nil, nil
					if len(c.cut) == 3 {
						continue
					}
				}
				r, err := Compare(t.Context(), x)
				if err != nil {
					t.Fatal(err)
				}
				first := c.first
				if !golden && c.wrong == nil {
					first = nil
				}
				if (first == nil) != r.Passed() || golden && (first == nil) != (r.FirstDivergence == nil) ||
					r.FirstDivergence != nil && *r.FirstDivergence != *first {
					t.Errorf("golden %v: %s, first %v, want %v", golden, r.Verdict, r.FirstDivergence, first)
				}
				i := slices.IndexFunc(r.Introduced, func(in harness.Introduced) bool { return in.Accepted == "" })
				if (i < 0) != (c.wrong == nil) || i >= 0 && (harness.Place{Step: r.Introduced[i].Step, Stage: r.Introduced[i].Stage}) != *c.wrong {
					t.Errorf("golden %v: introduced %v at %d, want %v", golden, r.Introduced, i, c.wrong)
				}
				accepts := strings.Contains(c.rules, "accept") && len(c.planted) > 0
				if !accepts && r.Unseen.Accepted > 0 {
					t.Errorf("golden %v: %d accepted", golden, r.Unseen.Accepted)
				}
				checkAccepted(t, r.Report)
			}
		})
	}
}

// In a batch a tensor is accepted if it is in each row in which it is wrong, padding or not.
func TestAcceptedInBatches(t *testing.T) {
	cfg := modeltest.Micro
	m, s := modeltest.New(t, cfg, 1), gpt2.Schedule(cfg.Layers, nil)
	rows, prompts := [][]int{modeltest.Tokens(cfg, 5, 1), modeltest.Tokens(cfg, 6, 2), modeltest.Tokens(cfg, 8, 3)}, []int{2, 3, 5}
	var goldens []EngineResult
	for i, row := range rows {
		for _, engine := range []string{Reference, "candle"} {
			cut := harness.PromptCut(prompts[i], 4)
			goldens = append(goldens, EngineResult{Engine: engine, Source: said{cuttest.Run(t, m, [][]int{row}, cut, nil), cut}})
		}
	}
	const act, scores = "h.1.mlp.act", "h.0.attn.scores"
	type row struct {
		reason, stage string
		faults        [3]string // of each row
		rules         string
		passed        bool
	}
	for _, c := range harnesstest.Draw([]row{
		{"the same in all rows", act, [3]string{"gelu_erf", "gelu_erf", "gelu_erf"}, `[{"stages": "h.*.act", "accept": true, "fault": "gelu_erf", "why": "erf"}]`, true},
		{"in one row", act, [3]string{"", "gelu_erf", ""}, `[{"stages": "h.*.act", "accept": true, "fault": "gelu_erf", "why": "erf"}]`, true},
		{"another in one row", act, [3]string{"gelu_erf", "gelu_relu", "gelu_erf"}, `[{"stages": "h.*.act", "accept": true, "fault": "gelu_erf", "why": "erf"}]`, false},
		{"whatever the cause", act, [3]string{"gelu_erf", "gelu_relu", "gelu_erf"}, `[{"stages": "h.*.act", "accept": true, "why": "erf"}]`, true},
		{"padding", scores, [3]string{"padding_seen", "padding_seen", "padding_seen"}, `[{"stages": "h.*.attn.scores", "accept": true, "fault": "padding_seen", "why": "no mask"}]`, true},
		{"padding, another cause", scores, [3]string{"padding_seen", "padding_seen", "padding_seen"}, `[{"stages": "h.*.attn.scores", "accept": true, "fault": "scale_d", "why": "no mask"}]`, false},
		{"padding, whatever the cause", scores, [3]string{"padding_seen", "padding_seen", "padding_seen"}, `[{"stages": "h.*.attn.scores", "accept": true, "why": "no mask"}]`, true},
	}, 2, 2) {
		t.Run(c.reason, func(t *testing.T) {
			tokens, mask := cuttest.Pad(rows, prompts, func(int) bool { return false })
			run := gpt2.Run{Tokens: tokens, Mask: mask, Cut: harness.PromptCut(5, 4), Threads: 1}
			planter := faults.Planter{Model: m, Tokens: tokens, Mask: mask, Cut: run.Cut, Schedule: s}
			planter.Plant = func(at harness.Place, x *faults.Context) []float32 {
				row := slices.Index(prompts, x.Dims.P+x.Dims.T-at.Step)
				f, err := faults.ByID(c.faults[row])
				if at.Stage != c.stage || err != nil {
					return nil
				}
				return f.Output(x)
			}
			run.Tap = (&gpt2.Override{Value: planter.Value}).Tap
			rec, err := gpt2.Record(t.Context(), m, run)
			if err != nil {
				t.Fatal(err)
			}
			x := Comparison{Schedule: s, Model: m, Goldens: slices.Clone(goldens)}
			if x.Bounds, err = harness.ParseBounds([]byte(c.rules)); err != nil {
				t.Fatal(err)
			}
			x.Bounds.File = "rules.json"
			if _, err := x.View(t.Context(), masked{said{rec, run.Cut}, mask}, align.Hints{}, nil); err != nil {
				t.Fatal(err)
			}
			r, err := Compare(t.Context(), x)
			if err != nil {
				t.Fatal(err)
			}
			if r.Passed() != c.passed || r.Unseen.Accepted == 0 == c.passed {
				t.Errorf("%s, first %v, %d accepted, introduced %v, violations %v", r.Verdict, r.FirstDivergence, r.Unseen.Accepted, r.Introduced, r.Violations)
			}
			checkAccepted(t, r.Report)
		})
	}
}

// masked is a run with a mask of padding.
type masked struct {
	said
	mask [][]int
}

func (m masked) Mask() [][]int { return m.mask }

// checkAccepted asserts that the first lines say what was accepted, and that nothing else was.
func checkAccepted(t *testing.T, r *harness.Report) {
	t.Helper()
	var text strings.Builder
	if err := report.Write(&text, r, report.Options{}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text.String(), "\n")
	head := strings.Join(strings.Fields(strings.Join(lines[:min(len(lines), 14)], " ")), " ")
	for i, rule := range r.Bounds.Rules {
		if !strings.Contains(head, r.Bounds.File) || !strings.Contains(head, rule.Why) {
			t.Errorf("the first lines say nothing of rule %d:\n%s", i+1, text.String())
		}
	}
	for i := range r.Stages {
		row := &r.Stages[i]
		if row.Accepted != "" && !row.Status.Diverges() && row.Origin != harness.OriginIntroduced {
			t.Errorf("%s of status %s is accepted", row.Place, row.Status)
		}
	}
	if said := strings.Contains(head, " accepted"); said != (r.Unseen.Accepted > 0) {
		t.Errorf("%d accepted: said %v:\n%s", r.Unseen.Accepted, said, text.String())
	}
}
