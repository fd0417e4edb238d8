package gpt2

import (
	"context"
	"flag"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"checkpoint12/harness"
	"checkpoint12/harness/align"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/model"
	"checkpoint12/model/modeltest"
)

// Each draw is a whole run: few here, -rapid.checks says how many, as .ci/run does.
func init() { flag.Set("rapid.checks", "12") }

// Every layout of the table is recognised at every stage, for one prompt and for
// a batch, and gives back the numbers of the golden bit by bit.
func TestEveryLayoutIsRecognised(t *testing.T) {
	schedule, most := Schedule(3, nil), 0
	for _, st := range schedule.Stages() {
		most = max(most, len(st.Layouts))
	}
	for _, name := range []string{"batch-of-two/candle", "hello/candle"} {
		if testing.Short() && name == "hello/candle" {
			t.Skip("short: hello adds the logits, which are wide, and takes a minute under the race detector")
		}
		g := gpt2test.Golden(t, Schedule(3, nil), "synthetic-tiny/"+name)
		for n := range most {
			used := map[string]bool{}
			c := gpt2test.Foreign(t, Schedule(3, nil), g, func(_ int, stage string, x harness.Tensor, size map[string]int) harness.Tensor {
				st, _ := schedule.Stage(stage)
				if n >= len(st.Layouts) {
					return x
				}
				other := st.Layouts[n]
				x = harnesstest.Arrange(x, st.Axes, other, size)
				used[other] = true
				return x
			})
			t.Run(fmt.Sprintf("%s/%d", name, n), func(t *testing.T) {
				check(t, g, c, len(used) > 0)
			})
		}
	}
}

// check compares the candidate, through a view, with the golden: bit by bit the
// same.
func check(t *testing.T, g *dump.Dump, c harness.Source, notes bool) *align.View {
	t.Helper()
	s := Schedule(3, nil)
	v, err := View(s, g, c, nil, align.Hints{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := harness.Compare(s, g, v, harness.CompareOptions{RequireAll: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Stages {
		if row := &r.Stages[i]; row.MaxAbs != 0 || row.Status != harness.Pass {
			t.Errorf("%s: %s, off by %v, shape %v of %v", row.Place, row.Status, row.MaxAbs, row.GotShape, row.Shape)
		}
	}
	if (len(v.Notes()) > 0) != notes {
		t.Errorf("notes %q", v.Notes())
	}
	return v
}

func TestALayoutWithoutBatchIsRecognised(t *testing.T) {
	g := gpt2test.Golden(t, Schedule(3, nil), "synthetic-tiny/hello/candle")
	v := check(t, g, gpt2test.Foreign(t, Schedule(3, nil), g, func(_ int, stage string, x harness.Tensor, _ map[string]int) harness.Tensor {
		if stage != "wpe" {
			x.Shape = x.Shape[1:]
		}
		return x
	}), true)
	if n := v.Notes(); len(n) != 1 || !strings.Contains(n[0], "no axis B") || !strings.Contains(n[0], "h.*.attn.cache_k") {
		t.Errorf("notes %q, want one", n)
	}
}

func TestMaskedScoresOfAnotherKind(t *testing.T) {
	for _, tt := range []struct {
		name         string
		at           func(score float32) float32 // what stands at a masked place; score is a neighbour's
		probs        bool                        // the dump has probabilities
		leak         float32                     // what they are at masked places
		bad          bool                        // masked scores stay what they are
		note, reason string
	}{
		{"transformers", func(float32) float32 { return -math.MaxFloat32 }, true, 0, false, "their probabilities are exactly 0", "torch.finfo(float32).min"},
		{"picoGPT", func(s float32) float32 { return s - 1e10 }, true, 0, false, "-1e+10", "a mask that is added"},
		{"minGPT before 2021", func(s float32) float32 { return s - 1e4 }, true, 0, false, "exactly 0", "the least of the constants in use"},
		{"fused", func(float32) float32 { return -1e9 }, false, 0, false, "far enough below", "no probabilities in the dump"},
		{"leaking", func(float32) float32 { return -1e4 }, true, 1e-30, true, "", "a probability that is not 0"},
		{"too near", func(float32) float32 { return -500 }, true, 0, true, "", "a number that a score could have"},
		{"hidden", func(float32) float32 { return float32(math.Inf(-1)) }, true, 0, false, "", "the contract's"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := gpt2test.Golden(t, Schedule(3, nil), "synthetic-tiny/quick-brown/float64")
			c := gpt2test.Foreign(t, Schedule(3, nil), g, func(_ int, stage string, x harness.Tensor, size map[string]int) harness.Tensor {
				scores, probs := strings.HasSuffix(stage, "attn.scores"), strings.HasSuffix(stage, "attn.probs")
				if probs && !tt.probs {
					return harness.Tensor{}
				}
				for i := range x.F32 {
					if q := i / size["S"] % size["T"]; i%size["S"] <= size["S"]-size["T"]+q {
						continue
					}
					if scores {
						x.F32[i] = tt.at(x.F32[i-i%size["S"]])
					} else if probs {
						x.F32[i] = tt.leak
					}
				}
				return x
			})
			s := Schedule(3, nil)
			v, err := View(s, g, c, nil, align.Hints{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			r, err := harness.Compare(s, g, v, harness.CompareOptions{})
			if err != nil {
				t.Fatal(err)
			}
			failed := 0
			for i := range r.Stages {
				if r.Stages[i].Status != harness.Pass && strings.HasSuffix(r.Stages[i].Stage, ".scores") {
					failed++
				}
			}
			if (failed > 0) != tt.bad {
				t.Errorf("%d rows of scores do not pass", failed)
			}
			whole, err := v.Tensor(0, "h.1.attn.scores")
			if err != nil {
				t.Fatal(err)
			}
			parts, err := v.Open(0, "h.1.attn.scores")
			if err != nil {
				t.Fatal(err)
			}
			joined := harness.Tensor{Shape: whole.Shape}
			for i, mem := 0, new(harness.Tensor); i < len(whole.F32); i += 7 { // across rows
				part, err := parts.Part(i, min(7, len(whole.F32)-i), mem)
				if err != nil {
					t.Fatal(err)
				}
				joined.F32 = append(joined.F32, part.F32...)
			}
			if !harnesstest.SameTensor(joined, whole) {
				t.Errorf("in parts %v, whole %v", joined.F32, whole.F32)
			}
			notes := strings.Join(v.Notes(), "\n")
			if tt.note == "" && notes != "" || !strings.Contains(notes, tt.note) || tt.note != "" && !strings.Contains(notes, "h.*.attn.scores (3 tensors)") {
				t.Errorf("notes %q, want %q", notes, tt.note)
			}
		})
	}
}

// A run agrees with itself, whichever of the two is in other layouts and conventions,
// and another engine's dump with its own copy.
func TestARunAgreesWithItself(t *testing.T) {
	m := modeltest.New(t, micro, 1)
	rapid.Check(t, func(t *rapid.T) {
		run := Run{New: rapid.IntRange(1, 3).Draw(t, "new")}
		prompt := rapid.IntRange(1, 4).Draw(t, "prompt")
		for b := range rapid.IntRange(1, 3).Draw(t, "batch") {
			run.Tokens = append(run.Tokens, modeltest.Tokens(micro, prompt, uint64(b)))
		}
		rec, err := Record(context.Background(), m, run)
		if err != nil {
			t.Fatal(err)
		}
		man, err := Manifest(m, run, "", "")
		if err != nil {
			t.Fatal(err)
		}
		s := Schedule(micro.Layers, nil)
		own := harnesstest.WithManifest{Source: rec, Man: &man}
		masked := rapid.SampledFrom([]func(score float32) float32{
			func(score float32) float32 { return float32(math.Inf(-1)) },
			func(score float32) float32 { return -math.MaxFloat32 },
			func(score float32) float32 { return -1e9 },
			func(score float32) float32 { return score - 1e4 },
		}).Draw(t, "masked")
		withoutBatch := len(run.Tokens) == 1 && rapid.Bool().Draw(t, "without batch")
		layouts := map[string]string{}
		for _, st := range s.Stages() {
			name, _ := model.ParseStage(st.Name)
			if layouts[name.Kind()] == "" {
				layouts[name.Kind()] = rapid.SampledFrom(append(st.Layouts, st.Axes)).Draw(t, name.Kind())
			}
		}
		foreign := gpt2test.Foreign(t, s, own, func(_ int, stage string, x harness.Tensor, size map[string]int) harness.Tensor {
			name, _ := model.ParseStage(stage)
			if name.Word == "attn.scores" {
				for i := range x.F32 {
					if math.IsInf(float64(x.F32[i]), -1) {
						x.F32[i] = masked(x.F32[i-i%size["S"]])
					}
				}
			}
			st, _ := s.Stage(stage)
			x = harnesstest.Arrange(x, st.Axes, layouts[name.Kind()], size)
			if axes := strings.Fields(layouts[name.Kind()]); withoutBatch && axes[0] == "B" {
				x.Shape = x.Shape[1:]
			}
			return x
		})
		pairs := [][2]harness.Source{{own, foreign}, {foreign, own}, {foreign, foreign}, {own, own}}
		if prompt > 2 && run.New > 1 {
			pairs = append(pairs, [2]harness.Source{rec, foreign}, [2]harness.Source{foreign, rec})
		}
		sparse := rapid.Bool().Draw(t, "attention alone but at the last step")
		for _, pair := range pairs {
			for i, src := range pair {
				pair[i] = gpt2test.Only{Source: src, Keep: func(step int, stage string) bool {
					word := stage[strings.LastIndexByte(stage, '.')+1:]
					return !sparse || step == run.New-1 || slices.Contains([]string{"cache_k", "cache_v", "scores", "probs"}, word)
				}}
			}
			golden, err := ViewGolden(s, pair[0], pair[1], nil, align.Hints{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			candidate, err := View(s, golden, pair[1], nil, align.Hints{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			r, err := harness.Compare(s, golden, candidate, harness.CompareOptions{RequireAll: true, Unusable: candidate.Unusable()})
			if err != nil {
				t.Fatal(err)
			}
			if !r.Passed() {
				var row *harness.Row
				if r.FirstDivergence != nil {
					row = r.Row(*r.FirstDivergence)
				}
				t.Fatalf("%T against %T: %v; unusable %v; notes %q", pair[1], pair[0], row, r.Unusable, append(golden.Notes(), candidate.Notes()...))
			}
		}
	})
}

// Logits of the last position alone need the golden's rows of it, without an axis B or T too.
func TestLastPositionIsCut(t *testing.T) {
	s, own := Schedule(1, nil), harness.PromptCut(3, 1)
	one, two := [][]int{{1, 2, 3}}, [][]int{{1, 2, 3}, {4, 5, 6}}
	for _, tt := range []struct {
		tokens [][]int
		shape  []int
		cut    bool
	}{
		{one, []int{1, 3, 7}, false}, {one, []int{3, 7}, false}, {one, []int{1, 1, 7}, true}, {one, []int{1, 7}, true},
		{nil, []int{3, 7}, false}, {nil, []int{1, 7}, true},
		{two, []int{2, 3, 7}, false}, {two, []int{6, 7}, false}, {two, []int{2, 1, 7}, true}, {two, []int{2, 7}, true},
		{two, []int{1, 7}, false}, {two, []int{3, 7}, false}, {two, []int{0, 7}, false},
	} {
		run := &harnesstest.Memory{Of: s, Fed: tt.tokens, Kept: harnesstest.Steps{0: {"logits": {Shape: tt.shape}}}}
		if got := (CutReader{Schedule: s, Run: run}).Needed(own, []harness.Cut{own}); (got != nil) != tt.cut {
			t.Errorf("logits of shape %v, %d rows: cut as %v", tt.shape, len(tt.tokens), got)
		}
	}
}
