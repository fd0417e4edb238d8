package diagnose

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/cuttest"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/model/modeltest"
)

// TestQueriesThatSeeNoKey: whatever an engine makes of the probabilities of a query that sees
// no key, no second fault is seen in it: the mask alone is at fault, and nothing where the
// query is padding.
func TestQueriesThatSeeNoKey(t *testing.T) {
	cfg := modeltest.Micro
	cfg.Layers = 2
	m := modeltest.New(t, cfg, 1)
	s := gpt2.Schedule(cfg.Layers, nil)
	rows, prompts := [][]int{modeltest.Tokens(cfg, 3, 1), modeltest.Tokens(cfg, 6, 2)}, []int{2, 5}
	cut := harness.PromptCut(5, 2)
	tokens, mask := cuttest.Pad(rows, prompts, func(int) bool { return false })
	var goldens []EngineResult
	for i, row := range rows {
		own := harness.PromptCut(prompts[i], 2)
		goldens = append(goldens, EngineResult{Source: said{cuttest.Run(t, m, [][]int{row}, own, nil), own}})
	}
	token := func(b, column int) bool { return mask[b][column] == 1 }
	masks := []struct {
		name, fault string
		sees        func(b, query, key int) bool // of keys up to the query's
	}{
		{"right", "", func(b, query, key int) bool { return token(b, key) }},
		{"off by one", "mask_diagonal_hidden", func(b, query, key int) bool { return token(b, key) && key < query }},
		{"off by one, the first key always seen", "mask_diagonal_hidden",
			func(b, query, key int) bool { return token(b, key) && (key < query || key == 0) }},
		{"of the other row", "padding_of_other_row", func(b, query, key int) bool { return token(1-b, key) }},
	}
	fills := []struct {
		name   string
		masked float32 // of scores
		fill   func(keys int) float32
	}{
		{"0", harnesstest.Ninf, func(int) float32 { return 0 }},
		{"uniform", harnesstest.Ninf, func(keys int) float32 { return 1 / float32(keys) }},
		{"NaN", harnesstest.Ninf, func(int) float32 { return float32(math.NaN()) }},
		{"uniform, of a low number", -1e9, func(keys int) float32 { return 1 / float32(keys) }},
	}
	all := func(string) bool { return true }
	only := func(words ...string) func(string) bool {
		return func(stage string) bool {
			return slices.ContainsFunc(words, func(w string) bool { return strings.HasSuffix(stage, w) })
		}
	}
	not := func(words ...string) func(string) bool {
		return func(stage string) bool { return !only(words...)(stage) }
	}
	for i, x := range masks {
		for _, fill := range harnesstest.Draw(fills, i%2, 2) {
			for _, keep := range []struct {
				name string
				keep func(stage string) bool
			}{
				{"all", all}, {"no scores", not("scores")}, {"no scores and no probabilities", not("scores", "probs")},
				{"module outputs", gpt2test.IsModule}, {"scores alone", only("scores")}, {"probabilities alone", only("probs")},
			} {
				if keep.name != "all" && (fill.name != "0" || testing.Short()) {
					continue
				}
				t.Run(fmt.Sprintf("%s, %s, %s", x.name, fill.name, keep.name), func(t *testing.T) {
					step := -1
					run := gpt2.Run{Tokens: tokens, Mask: mask, Cut: cut, Threads: 1}
					run.Tap = func(stage string, shape []int, data []float32) {
						switch {
						case stage == "wte":
							step++
						case strings.HasSuffix(stage, "scores"):
							for i := range data {
								b, query, key := i/(shape[1]*shape[2]*shape[3]), cut[step].P+i/shape[3]%shape[2], i%shape[3]
								if key > query || !x.sees(b, query, key) {
									data[i] = fill.masked
								}
							}
						case strings.HasSuffix(stage, "probs"):
							n := shape[3]
							for i := range data {
								b, query, sees := i/(shape[1]*shape[2]*n), cut[step].P+i/n%shape[2], false
								for key := range query + 1 {
									sees = sees || x.sees(b, query, key)
								}
								if !sees {
									data[i] = fill.fill(n)
								}
							}
						}
					}
					rec, err := gpt2.Record(t.Context(), m, run)
					if err != nil {
						t.Fatal(err)
					}
					batch := &cuttest.Batch{Memory: &harnesstest.Memory{Title: "batch", Fed: tokens, Kept: harnesstest.Steps{}}, Ones: mask}
					for _, at := range s.Places(rec, func(_ int, stage string) bool { return keep.keep(stage) }) {
						if batch.Kept[at.Step] == nil {
							batch.Kept[at.Step] = map[string]harness.Tensor{}
						}
						if batch.Kept[at.Step][at.Stage], err = rec.Tensor(at.Step, at.Stage); err != nil {
							t.Fatal(err)
						}
					}
					r, err := judgeBatch(m, s, goldens, batch)
					if err != nil {
						t.Fatal(err)
					}
					if r.Passed() != (x.fault == "") || r.Passed() != (len(r.Introduced) == 0) {
						t.Fatalf("passed %v, introduced %v, violations %v", r.Passed(), r.Introduced, r.Violations)
					}
					for _, in := range r.Introduced {
						if keep.name == "all" && !strings.HasSuffix(in.Stage, "scores") {
							t.Errorf("introduced %v", in)
						}
					}
					for i, e := range r.Explanations {
						named := e.Fault == x.fault || strings.Contains(e.Text, "cannot be told from "+x.fault)
						if !strings.HasSuffix(keep.name, "alone") && (!named || strings.Contains(e.Text, "second fault")) || strings.Contains(e.Fault, "softmax") {
							t.Errorf("explanation %d: %+v", i, e)
						}
					}
				})
			}
		}
	}
}
