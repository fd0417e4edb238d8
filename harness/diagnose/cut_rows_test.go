package diagnose

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/cuttest"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/model/modeltest"
)

// only keeps some stages; of an item that ends in @step, at that step alone.
func only(stages ...string) func(step int, stage string) bool {
	return func(step int, stage string) bool {
		return slices.Contains(stages, stage) || slices.Contains(stages, fmt.Sprintf("%s@%d", stage, step))
	}
}

// Which positions the steps of a dump have, and which of its rows are compared. The
// golden is fed a prompt of two tokens and three more.
func TestRowsOfOtherCuts(t *testing.T) {
	cfg := modeltest.Micro
	m := modeltest.New(t, cfg, 1)
	span := func(p, n int) harness.Span { return harness.Span{P: p, T: n} }
	stepwise := harness.PromptCut(2, 4)
	single := harness.PromptCut(1, 5)
	grown := harness.Cut{span(0, 2), span(0, 3), span(0, 4), span(0, 5)}
	pass := harness.Cut{span(0, 5)}
	chunks := harness.Cut{span(0, 1), span(1, 3), span(4, 1)}
	for _, c := range []struct {
		name, reason string
		run          harness.Cut // how the candidate runs
		keep         func(step int, stage string) bool
		change       func(candidate, golden *harnesstest.Memory)
		golden       harness.Cut // how the golden is cut; nil is prompt, then tokens
		said         harness.Cut // by cut.json

		cut     harness.Cut // read
		rows    string      // compared, with how many positions, and what became of others
		missing string
	}{
		{
			name: "llama2.c", reason: "T is 1 where the golden's is 2", run: single, keep: only("wte"),
			cut: single, rows: "0/wte 1, 1/wte 1, 2/wte 1, 3/wte 1, 4/wte 1",
		}, {
			name: "nanoGPT", reason: "each position is compared each time", run: grown, keep: only("ln_f"),
			cut: grown, rows: "0/ln_f 2, 1/ln_f 3, 2/ln_f 4, 3/ln_f 5",
		}, {
			name: "one pass", reason: "all positions are in one step", run: pass, keep: only("ln_f", "logits_last"),
			cut: pass, rows: "0/ln_f 5, 0/logits_last 1", missing: "0/logits_last from 1, 1/logits_last from 2, 2/logits_last from 3",
		}, {
			name: "one pass, logits", reason: "logits_last is the last row of logits", run: pass, keep: only("logits", "logits_last"),
			change: func(candidate, golden *harnesstest.Memory) {
				delete(golden.Kept[1], "logits")
				delete(candidate.Kept[0], "logits_last")
			},
			cut: pass, rows: "0/logits 5",
		}, {
			name: "chunks", reason: "a step goes on where the one before ended", run: chunks, keep: only("h.0.attn.q"),
			cut: chunks, rows: "0/h.0.attn.q 1, 1/h.0.attn.q 3, 2/h.0.attn.q 1",
		}, {
			name: "only ids", reason: "the golden has one step less", run: single, keep: only("next_token"),
			cut: single, rows: "1/next_token 1, 2/next_token 1, 3/next_token 1, 4/next_token 1",
		}, {
			name: "stopped early", reason: "what comes after is missing", run: grown[:2], keep: only("wte", "next_token"),
			cut: grown[:2], rows: "0/wte 2, 0/next_token 1, 1/wte 3, 1/next_token 1",
			missing: "2/wte from 3, 2/next_token from 3, 3/wte from 4, 3/next_token from 4",
		}, {
			name: "a late step, by wte", reason: "the golden's step 3 is position 4, and its wte is another", run: single, keep: only("wte@3"),
			cut: single[:4], rows: "3/wte 1", missing: "0/wte from 0, 1/wte from 2, 3/wte from 4",
		}, {
			name: "a late step, by keys", reason: "four keys are those of position 3", run: single, keep: only("h.0.attn.probs@3"),
			cut: single[:4], rows: "3/h.0.attn.probs 1",
			missing: "0/h.0.attn.probs from 0, 1/h.0.attn.probs from 2, 3/h.0.attn.probs from 4",
		}, {
			name: "a late step of the golden's", reason: "the golden's own cut comes first, and nothing decides", run: stepwise, keep: only("ln_f@3"),
			cut: stepwise, rows: "3/ln_f 1", missing: "0/ln_f, 1/ln_f, 2/ln_f",
		}, {
			name: "a step is lacking", reason: "the golden's step 0 lacks its second position", run: single,
			keep: only("wte@0", "wte@2", "wte@3", "wte@4"),
			cut:  single, rows: "0/wte 1, 2/wte 1, 3/wte 1, 4/wte 1", missing: "0/wte from 1",
		}, {
			name: "one row of logits", reason: "it is the last position's, and fits the golden's steps", run: grown, keep: only("logits"),
			change: func(candidate, _ *harnesstest.Memory) { lastRows(candidate, cfg.Vocab) },
			cut:    stepwise, rows: "0/logits 1, 1/logits 1, 2/logits 1, 3/logits 1", missing: "0/logits from 0",
		}, {
			name: "one row of logits beside others", reason: "ln_f shows that all is computed again", run: grown, keep: only("ln_f", "logits"),
			change: func(candidate, _ *harnesstest.Memory) { lastRows(candidate, cfg.Vocab) },
			cut:    grown, rows: "0/ln_f 2, 0/logits 1, 1/ln_f 3, 1/logits 1, 2/ln_f 4, 2/logits 1, 3/ln_f 5, 3/logits 1",
			missing: "0/logits from 0",
		}, {
			name: "left out", reason: "the golden has no ln_f at positions 2 and 4", run: grown, keep: only("ln_f"),
			change: func(_, golden *harnesstest.Memory) {
				delete(golden.Kept[1], "ln_f")
				delete(golden.Kept[3], "ln_f")
			},
			cut: grown, rows: "0/ln_f 2, 1/ln_f 2, 2/ln_f 3, 3/ln_f 3",
		}, {
			name: "nothing of a step", reason: "the golden has no ln_f from position 2 on", run: single, keep: only("ln_f"),
			change: func(_, golden *harnesstest.Memory) {
				for k := 1; k < 4; k++ {
					delete(golden.Kept[k], "ln_f")
				}
			},
			cut: single, rows: "0/ln_f 1, 1/ln_f 1",
		}, {
			name: "one row of logits, left out", reason: "the golden has no logits at position 2", run: grown, keep: only("ln_f", "logits"),
			change: func(candidate, golden *harnesstest.Memory) {
				lastRows(candidate, cfg.Vocab)
				delete(golden.Kept[1], "logits")
			},
			cut: grown, rows: "0/ln_f 2, 0/logits 1, 1/ln_f 3, 2/ln_f 4, 2/logits 1, 3/ln_f 5, 3/logits 1",
			missing: "0/logits from 0",
		}, {
			name: "steps are lacking, no cache", reason: "the golden's ends are before those that are there", run: grown,
			keep: only("ln_f@0", "ln_f@3"), golden: single, cut: grown, rows: "0/ln_f 2, 3/ln_f 5",
		}, {
			name: "tokens of the prompt alone", reason: "no cut is so short: the golden's tokens are taken", run: single, keep: only("wte"),
			change: func(candidate, _ *harnesstest.Memory) { candidate.Fed[0] = candidate.Fed[0][:2] },
			cut:    single, rows: "0/wte 1, 1/wte 1, 2/wte 1, 3/wte 1, 4/wte 1",
		}, {
			name: "other tokens in a recomputed step", reason: "rows from position 3 on are of another sequence", run: grown, keep: only("wpe"),
			change: func(candidate, _ *harnesstest.Memory) { candidate.Fed[0][3]++ },
			cut:    grown, rows: "0/wpe 2, 1/wpe 3, 2/wpe 3, 3/wpe 3",
		}, {
			name: "other tokens, one at a time", reason: "steps from position 3 on are of another sequence", run: single, keep: only("wpe"),
			change: func(candidate, _ *harnesstest.Memory) { candidate.Fed[0][3]++ },
			cut:    single, rows: "0/wpe 1, 1/wpe 1, 2/wpe 1, 3/wpe skipped, 4/wpe skipped",
		}, {
			name: "caches", reason: "those of the step that ends at the same position, else the first", run: single, keep: only("h.0.attn.cache_k"),
			cut: single, rows: "0/h.0.attn.cache_k 1, 1/h.0.attn.cache_k 2, 2/h.0.attn.cache_k 3, 3/h.0.attn.cache_k 4, 4/h.0.attn.cache_k 5",
		}, {
			name: "golden of one pass", reason: "it has every position", run: stepwise, keep: only("h.0.attn.scores", "wte"), golden: pass,
			cut: stepwise, rows: "0/wte 2, 0/h.0.attn.scores 2, 1/wte 1, 1/h.0.attn.scores 1, 2/wte 1, 2/h.0.attn.scores 1, 3/wte 1, 3/h.0.attn.scores 1",
		}, {
			name: "golden token by token", reason: "both are cut alike", run: single, keep: only("embed"), golden: single,
			cut: single, rows: "0/embed 1, 1/embed 1, 2/embed 1, 3/embed 1, 4/embed 1",
		}, {
			name: "cut.json", reason: "it comes first, though the golden's cut would do", run: single, keep: only("ln_f@2", "ln_f@3"),
			change: func(candidate, _ *harnesstest.Memory) {
				candidate.Kept = harnesstest.Steps{1: candidate.Kept[2], 2: candidate.Kept[3]}
			},
			said: single[1:], cut: single[1:4], rows: "1/ln_f 1, 2/ln_f 1", missing: "0/ln_f from 0, 3/ln_f from 4",
		}, {
			name: "cut.json that does not fit", reason: "the shapes do not allow it", run: single, keep: only("wte"), said: grown,
			cut: single, rows: "0/wte 1, 1/wte 1, 2/wte 1, 3/wte 1, 4/wte 1",
		}, {
			name: "positions off by one", reason: "wpe never decides", run: single, keep: only("wpe"),
			change: func(candidate, _ *harnesstest.Memory) {
				for k := range 4 {
					candidate.Kept[k]["wpe"] = candidate.Kept[k+1]["wpe"]
				}
			},
			cut: single, rows: "0/wpe fail, 1/wpe fail, 2/wpe fail, 3/wpe fail, 4/wpe 1",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			tokens := [][]int{modeltest.Tokens(cfg, 6, 3)}
			if c.golden == nil {
				c.golden = stepwise
			}
			s := gpt2.Schedule(cfg.Layers, nil)
			candidate := memory(t, s, cuttest.Run(t, m, tokens, c.run, nil), c.keep)
			golden := memory(t, s, cuttest.Run(t, m, tokens, c.golden, nil), func(_ int, stage string) bool {
				return slices.ContainsFunc([]int{0, 1, 2, 3, 4}, func(k int) bool { return c.keep(k, stage) })
			})
			golden.Fed = [][]int{slices.Clone(tokens[0])}
			if c.change != nil {
				c.change(candidate, golden)
			}
			r := gpt2.CutReader{Schedule: s, Run: candidate, Said: c.said, Golden: golden, GoldenCut: c.golden, Config: &cfg}
			cut, err := r.Read()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.cut, cut); diff != "" {
				t.Errorf("%s: cut (-want +got):\n%s", c.reason, diff)
			}
			var source harness.Source = golden
			if needed := r.Needed(cut, []harness.Cut{c.golden}); needed != nil {
				source = harness.NewRecut(s, golden, c.golden, needed)
			}
			report, err := harness.Compare(s, source, candidate, harness.CompareOptions{Prompt: 2})
			if err != nil {
				t.Fatal(err)
			}
			var rows, missing []string
			for _, row := range report.Stages {
				text := fmt.Sprintf("%d/%s", row.Step, row.Stage)
				st, _ := s.Stage(row.Stage)
				switch width := elements(st, row.Shape); row.Status {
				case harness.Pass:
					rows = append(rows, fmt.Sprintf("%s %d", text, row.Elements/width))
				case harness.Missing:
				default:
					rows = append(rows, fmt.Sprintf("%s %s", text, row.Status))
				}
			}
			for _, a := range report.Missing {
				text := fmt.Sprintf("%d/%s", a.Step, a.Stage)
				if a.Position != nil {
					text += fmt.Sprintf(" from %d", *a.Position)
				}
				missing = append(missing, text)
			}
			if diff := cmp.Diff(c.rows, strings.Join(rows, ", ")); diff != "" {
				t.Errorf("%s: rows (-want +got):\n%s", c.reason, diff)
			}
			if diff := cmp.Diff(c.missing, strings.Join(missing, ", ")); diff != "" {
				t.Errorf("%s: missing (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

// The last choice is that of the step that was fed the most, be it the last or not.
func TestLastChoiceOfAnEarlierStep(t *testing.T) {
	cfg := modeltest.Micro
	m := modeltest.New(t, cfg, 1)
	whole, err := gpt2.Record(t.Context(), m, gpt2.Run{Tokens: [][]int{modeltest.Tokens(cfg, 3, 3)}, New: 3, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	cut := harness.Cut{{P: 0, T: 5}, {P: 0, T: 2}}
	c := comparisonOf(m, nil, memory(t, gpt2.Schedule(cfg.Layers, nil), cuttest.Run(t, m, whole.Tokens(), cut, nil), only("wte", "next_token")))
	c.Cut = cut
	r, err := Compare(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Passed() || strings.Contains(strings.Join(r.Notes, " "), "after the last choice") {
		t.Errorf("violations %v, notes %v", r.Violations, r.Notes)
	}
	c.Candidate.(*harnesstest.Memory).Fed[0][5]++
	if r, err = Compare(t.Context(), c); err != nil || len(r.Violations) != 1 || r.Violations[0].Step != 0 {
		t.Errorf("another last choice: %v, %v", r.Violations, err)
	}
}

// elements returns the number of elements of a row of a position.
func elements(st harness.Stage, shape []int) int {
	n := 1
	for i, axis := range strings.Fields(st.Axes) {
		rows := axis == "T" || axis == "S" && !strings.Contains(" "+st.Axes+" ", " T ")
		if i < len(shape) && !rows {
			n *= shape[i]
		}
	}
	return n
}

// memory returns a run that a test may edit, with the stages of each step that keep keeps.
func memory(t *testing.T, s *harness.Schedule, run harness.Source, keep func(step int, stage string) bool) *harnesstest.Memory {
	t.Helper()
	mem := &harnesstest.Memory{Of: s, Title: run.Name(), Fed: [][]int{slices.Clone(run.Tokens()[0])}, Kept: harnesstest.Steps{}}
	for _, k := range run.Steps() {
		for _, stage := range run.Stages(k) {
			if !keep(k, stage) {
				continue
			}
			x, err := run.Tensor(k, stage)
			if err != nil {
				t.Fatal(err)
			}
			if mem.Kept[k] == nil {
				mem.Kept[k] = map[string]harness.Tensor{}
			}
			mem.Kept[k][stage] = x
		}
	}
	return mem
}

// lastRows leaves of the logits of each step those of the last position.
func lastRows(run *harnesstest.Memory, width int) {
	for _, stages := range run.Kept {
		x := stages["logits"]
		stages["logits"] = harness.Tensor{Shape: []int{1, 1, width}, F32: x.F32[len(x.F32)-width:]}
	}
}

// A fault is placed at the step and the position at which it begins, though each
// position is computed in other steps too.
func TestFaultInOneStepOfARecomputingEngine(t *testing.T) {
	cfg := modeltest.Micro
	m := modeltest.New(t, cfg, 1)
	tokens := [][]int{modeltest.Tokens(cfg, 6, 3)}
	s := gpt2.Schedule(cfg.Layers, nil)
	stepwise := harness.PromptCut(2, 4)
	grown := harness.Cut{{P: 0, T: 2}, {P: 0, T: 3}, {P: 0, T: 4}, {P: 0, T: 5}}
	golden := memory(t, s, cuttest.Run(t, m, tokens, stepwise, nil), func(int, string) bool { return true })
	candidate := memory(t, s, cuttest.Run(t, m, tokens, grown, nil), func(int, string) bool { return true })
	act := candidate.Kept[2]["h.1.mlp.act"]
	act.F32[3*cfg.Inner+7]++ // of position 3
	act.F32[2*cfg.Inner+5]++ // of position 2, in the dump alone
	golden.Man = &harness.Manifest{Tokens: harness.FirstTokens(tokens, 2), New: 4}
	c := inCut(t, m, golden, candidate)
	c.Goldens[0].Source.(*harness.Recut).Source.(*harnesstest.Memory).Man = nil
	r, err := Compare(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	at := harness.Place{Step: 2, Stage: "h.1.mlp.act"}
	if r.FirstDivergence == nil || *r.FirstDivergence != at || len(r.Introduced) != 1 || r.Introduced[0].Step != 2 || r.Introduced[0].Stage != at.Stage {
		t.Errorf("first %v, introduced %v", r.FirstDivergence, r.Introduced)
	}
	if row := r.Row(at); row.Position == nil || *row.Position != 2 || row.Mismatched != 2 {
		t.Errorf("row %+v", row)
	}
}
