package diagnose

import (
	"math"
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
	"checkpoint12/model"
	"checkpoint12/model/modeltest"
)

// Each fault of padding, made by an engine wherever it can be, is found and named in a dump
// of all stages, of some, and of module outputs alone.
func TestFaultsOfPadding(t *testing.T) {
	cfg := modeltest.Micro
	m := modeltest.New(t, cfg, 1)
	s := gpt2.Schedule(cfg.Layers, nil)
	rows, prompts := [][]int{modeltest.Tokens(cfg, 5, 1), modeltest.Tokens(cfg, 6, 2), modeltest.Tokens(cfg, 8, 3)}, []int{2, 3, 5}
	var goldens []EngineResult
	for i, row := range rows {
		cut := harness.PromptCut(prompts[i], 4)
		goldens = append(goldens, EngineResult{Source: said{cuttest.Run(t, m, [][]int{row}, cut, nil), cut}})
	}
	all := func(string) bool { return true }
	without := func(words ...string) func(string) bool {
		return func(stage string) bool {
			return !slices.ContainsFunc(words, func(w string) bool { return strings.HasSuffix(stage, w) })
		}
	}
	for _, c := range []struct {
		name, fault, stage string // where it is made: all stages that end so
		right              bool
		steps              []int // at which it is made
		keep               func(stage string) bool
		want               harness.Place // the first introduced
	}{
		{"left", "padding_counted", "wpe", false, []int{0, 1, 2, 3}, all, harness.Place{Stage: "wpe"}},
		{"right, where it shows after the prompt", "padding_counted", "wpe", true, []int{1, 2, 3}, all, harness.Place{Step: 1, Stage: "wpe"}},
		{"no wpe", "padding_counted", "wpe", false, []int{0, 1, 2, 3}, without("wpe"), harness.Place{Stage: "embed"}},
		{"from a step on", "padding_counted", "wpe", false, []int{2, 3}, all, harness.Place{Step: 2, Stage: "wpe"}},
		{"left", "padding_seen", "scores", false, []int{0, 1, 2, 3}, all, harness.Place{Stage: "h.0.attn.scores"}},
		{"no scores", "padding_seen", "scores", false, []int{0, 1, 2, 3}, without("scores"), harness.Place{Stage: "h.0.attn.probs"}},
		{"no attention", "padding_seen", "scores", false, []int{0, 1, 2, 3}, without("scores", "probs", "q", "cache_k"), harness.Place{Stage: "h.0.attn.context"}},
		{"module outputs", "padding_seen", "scores", false, []int{0, 1, 2, 3}, gpt2test.IsModule, harness.Place{Stage: "h.0.attn.c_proj"}},
		{"left", "padding_masked_at_prompt", "scores", false, []int{1, 2, 3}, all, harness.Place{Step: 1, Stage: "h.0.attn.scores"}},
		{"right", "padding_masked_at_prompt", "scores", true, []int{1, 2, 3}, all, harness.Place{Step: 1, Stage: "h.0.attn.scores"}},
		{"left", "padding_of_other_row", "scores", false, []int{0, 1, 2, 3}, all, harness.Place{Stage: "h.0.attn.scores"}},
		{"positions", "padding_of_other_row", "wpe", false, []int{0, 1, 2, 3}, all, harness.Place{Stage: "wpe"}},
		{"right", "padding_taken_for_last", "logits_last", true, []int{0}, all, harness.Place{Stage: "logits_last"}},
		{"left", "padding_nan", "context", false, []int{0, 1, 2, 3}, all, harness.Place{Stage: "h.0.attn.context"}},
		{"right", "padding_nan", "context", true, []int{1, 3}, all, harness.Place{Step: 1, Stage: "h.0.attn.context"}},
		{"no context", "padding_nan", "context", false, []int{2}, without("context"), harness.Place{Step: 2, Stage: "h.0.attn.c_proj"}},
		{"no logits", "padding_taken_for_last", "logits_last", true, []int{0}, without("logits"), harness.Place{Stage: "logits_last"}},
	} {
		t.Run(c.fault+", "+c.name, func(t *testing.T) {
			f, err := faults.ByID(c.fault)
			if err != nil {
				t.Fatal(err)
			}
			tokens, mask := cuttest.Pad(rows, prompts, func(int) bool { return c.right })
			run := gpt2.Run{Tokens: tokens, Mask: mask, Cut: harness.PromptCut(5, 4), Threads: 1}
			planter := faults.Planter{Model: m, Tokens: tokens, Mask: mask, Cut: run.Cut, Schedule: s}
			for n := range cfg.Layers {
				if f.NaNAt != "" {
					planter.NaNAt = append(planter.NaNAt, model.StageName{Layer: n, Word: f.NaNAt}.String())
				}
			}
			made := 0
			planter.Plant = func(at harness.Place, x *faults.Context) []float32 {
				if !strings.HasSuffix(at.Stage, c.stage) || !slices.Contains(c.steps, at.Step) {
					return nil
				}
				out := f.Output(x)
				if out != nil {
					made++
				}
				return out
			}
			run.Tap = (&gpt2.Override{Value: planter.Value}).Tap
			rec, err := gpt2.Record(t.Context(), m, run)
			if err != nil || made == 0 {
				t.Fatal(made, err)
			}
			b := &cuttest.Batch{Memory: &harnesstest.Memory{Title: "batch", Fed: tokens, Kept: harnesstest.Steps{}}, Ones: mask}
			for _, at := range s.Places(rec, func(_ int, stage string) bool { return c.keep(stage) }) {
				if b.Kept[at.Step] == nil {
					b.Kept[at.Step] = map[string]harness.Tensor{}
				}
				if b.Kept[at.Step][at.Stage], err = rec.Tensor(at.Step, at.Stage); err != nil {
					t.Fatal(err)
				}
			}
			r, err := judgeBatch(m, s, goldens, b)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Introduced) == 0 || r.Introduced[0].Step != c.want.Step || r.Introduced[0].Stage != c.want.Stage {
				t.Fatalf("introduced %v, want first %v", r.Introduced, c.want)
			}
			for _, in := range r.Introduced {
				i := slices.IndexFunc(r.Explanations, func(x harness.Explanation) bool { return x.Step == in.Step && x.Stage == in.Stage })
				if i < 0 || r.Explanations[i].Fault != c.fault || strings.Contains(r.Explanations[i].Text, "second fault") || !(math.Abs(float64(r.Explanations[i].Explains)-1) < 1e-3) {
					t.Errorf("%v: explained %+v", in, r.Explanations)
					return
				}
			}
		})
	}
}

// paddedMicro returns a batch of two rows, one of them padded, of a right engine, and their goldens.
func paddedMicro(t *testing.T) (*model.Model, *harness.Schedule, []EngineResult, *cuttest.Batch) {
	cfg := modeltest.Micro
	m := modeltest.New(t, cfg, 1)
	s := gpt2.Schedule(cfg.Layers, nil)
	rows, prompts := [][]int{modeltest.Tokens(cfg, 5, 1), modeltest.Tokens(cfg, 7, 2)}, []int{2, 4}
	var goldens []EngineResult
	for i, row := range rows {
		cut := harness.PromptCut(prompts[i], 4)
		goldens = append(goldens, EngineResult{Source: said{cuttest.Run(t, m, [][]int{row}, cut, nil), cut}})
	}
	tokens, mask := cuttest.Pad(rows, prompts, func(int) bool { return false })
	value := float32(0.5)
	b := cuttest.Pack(t, m, tokens, mask, harness.PromptCut(4, 4), harnesstest.Ninf, func() float32 { return value }, nil)
	return m, s, goldens, b
}

// Scores that a right engine dumps before any mask are the only ones named, in a padded batch too.
func TestPaddedScoresBeforeTheMask(t *testing.T) {
	m, s, goldens, b := paddedMicro(t)
	cfg := m.Config()
	D := cfg.Embd / cfg.Heads
	for step := range b.Kept {
		for n := range cfg.Layers {
			block := model.StageName{Layer: n, Word: "attn."}.String()
			q, k, x := b.Kept[step][block+"q"].F32, b.Kept[step][block+"cache_k"].F32, b.Kept[step][block+"scores"]
			T, S := x.Shape[2], x.Shape[3]
			for i := range x.F32 {
				head, query, key, sum := i/(T*S), i/S%T, i%S, 0.0
				for d := range D {
					sum += float64(q[(head*T+query)*D+d]) * float64(k[(head*S+key)*D+d])
				}
				x.F32[i] = float32(sum / math.Sqrt(float64(D)))
			}
		}
	}
	r, err := judgeBatch(m, s, goldens, b)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Introduced) == 0 || r.Passed() {
		t.Fatalf("introduced %v", r.Introduced)
	}
	for _, in := range r.Introduced {
		at := harness.Place{Step: in.Step, Stage: in.Stage}
		if !strings.HasSuffix(in.Stage, "scores") || !r.IsOtherPoint(at) {
			t.Errorf("introduced %v", in)
		}
	}
	for _, x := range r.Explanations {
		if !strings.HasPrefix(x.Text, "dumped before the mask") {
			t.Errorf("%+v", x)
		}
	}
}

// A batch whose mask is forgotten does not pass in silence: how many rows were compared with
// nothing is counted, and fails where all is asked for.
func TestForgottenMask(t *testing.T) {
	_, s, goldens, b := paddedMicro(t)
	b.Ones = nil
	for _, all := range []bool{false, true} {
		c := Comparison{Schedule: s, Goldens: slices.Clone(goldens)}
		c.RequireAll = all
		if _, err := c.View(t.Context(), b, align.Hints{}, nil); err != nil {
			t.Fatal(err)
		}
		r, err := Compare(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if r.Rows != 1 || r.Passed() == all || r.Compared == 0 {
			t.Errorf("require all %v: passed %v, %d compared, %d rows with nothing", all, r.Passed(), r.Compared, r.Rows)
		}
	}
}
