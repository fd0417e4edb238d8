package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness/verify"
	"checkpoint12/model/synthetic"
	"checkpoint12/model/tokenizer"
	"checkpoint12/model/zoo"
)

// Each checkpoint runs alone: go test -run 'Checkpoint7$'. Subtests are
// model/case/engine/step/stage; of published figures, model/kind/figures/step/stage/part.

func TestCheckpoint1(t *testing.T)  { checkpoint(t, 1) }  // LayerNorm
func TestCheckpoint2(t *testing.T)  { checkpoint(t, 2) }  // QKV
func TestCheckpoint3(t *testing.T)  { checkpoint(t, 3) }  // KV cache
func TestCheckpoint4(t *testing.T)  { checkpoint(t, 4) }  // attention scores
func TestCheckpoint5(t *testing.T)  { checkpoint(t, 5) }  // attention output
func TestCheckpoint6(t *testing.T)  { checkpoint(t, 6) }  // feed-forward
func TestCheckpoint7(t *testing.T)  { checkpoint(t, 7) }  // first block
func TestCheckpoint8(t *testing.T)  { checkpoint(t, 8) }  // all layers, logits
func TestCheckpoint9(t *testing.T)  { checkpoint(t, 9) }  // last-position logits
func TestCheckpoint10(t *testing.T) { checkpoint(t, 10) } // argmax
func TestCheckpoint11(t *testing.T) { checkpoint(t, 11) } // softmax

// TestCheckpoint12 is end to end. When it fails it goes through the others
// itself and ends with the first that fails and what to fix.
func TestCheckpoint12(t *testing.T) {
	checkpoint(t, 12)
	t.Run("synthetic-tiny/same_text", func(t *testing.T) {
		for _, prompt := range []string{"The quick brown", "Once upon a time"} {
			sameEverywhere(t, suite(t, "synthetic-tiny"), prompt)
		}
	})
}

// TestEmbeddings is what comes before checkpoint 1: wte, wpe and their sum,
// which no checkpoint names and all of them read.
func TestEmbeddings(t *testing.T) { checkpoint(t, 0) }

// checkpoint runs checkpoint n on every model. Weights that are not those of the
// figures are named, and then nothing else is blamed.
func checkpoint(t *testing.T, n int) {
	for _, name := range zoo.Names() {
		t.Run(name, func(t *testing.T) {
			s := suite(t, name)
			if report(t, s, verify.Weights); t.Failed() {
				return
			}
			if why := s.WeightsUnknown(); why != "" {
				t.Run("weights", func(t *testing.T) { t.Skip(why) })
			}
			engines := report(t, s, n)
			if t.Failed() && n == 12 {
				walk, err := s.Walk(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				t.Log(walk)
			}
			switch {
			case engines > 0:
			case !strings.HasPrefix(name, "synthetic-"):
				t.Skipf("not checked against another engine; to make goldens: %s", s.MakeGoldens())
			default:
				t.Errorf("%s: no golden has a stage of it; to make goldens: %s", verify.Describe(n), s.MakeGoldens())
			}
		})
	}
}

// report runs one checkpoint and makes a subtest of each finding. It returns how
// many come from goldens or figures.
func report(t *testing.T, s *verify.Suite, n int) (engines int) {
	t.Helper()
	found, err := s.Check(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	reported := map[string]bool{}
	for _, f := range found {
		if f.Engine != verify.Self {
			engines++
		}
		t.Run(f.Name(), func(t *testing.T) {
			if f.Source != "" {
				t.Log(f.Source)
			}
			switch run := f.Case + "/" + f.Engine; {
			case !f.Failed:
			case reported[run]: // what follows from it is not worth as many words
				t.Error(f.Line())
			default:
				reported[run] = true
				t.Error(f.Report())
			}
		})
	}
	return engines
}

// engines have a golden of every committed case each.
var engines = []string{"candle", "float64", "mistralrs", "tinygrad"}

// sameEverywhere asks that a prompt's text is the same in three runs and from
// every engine.
func sameEverywhere(t *testing.T, s *verify.Suite, prompt string) {
	i := slices.IndexFunc(s.Cases, func(c *verify.Case) bool { return c.Prompt == prompt })
	if i < 0 {
		t.Fatalf("%s: no case has the prompt %q", s.Name, prompt)
	}
	found, err := s.CheckCase(t.Context(), s.Cases[i], 12)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"self/runs": true}
	for _, engine := range engines {
		want[engine+"/text"] = true
	}
	for _, g := range s.Cases[i].Goldens {
		want[g.Engine+"/text"] = true
	}
	for _, g := range s.Cases[i].Greedy {
		want[verify.Figures+"/text"] = g.Text != ""
	}
	got := map[string]bool{}
	for _, f := range found {
		if f.Stage == "runs" || f.Stage == "text" {
			got[f.Engine+"/"+f.Stage] = !f.Failed
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%q: want the same text in three runs and from every engine (-want +got):\n%s", prompt, diff)
	}
}

// suites are the models under test, each loaded once for all tests.
var suites sync.Map // name -> func() (*gpt2.Suite, error)

func suite(t *testing.T, name string) *verify.Suite {
	t.Helper()
	if name != "synthetic-tiny" && testing.Short() {
		t.Skip("full shape: not with -short")
	}
	if !strings.HasPrefix(name, "synthetic-") {
		if _, ok, err := zoo.Locate(name); err != nil {
			t.Fatal(err)
		} else if !ok {
			t.Skipf("no weights of %s here: go run . fetch %s", name, name)
		}
	}
	open, _ := suites.LoadOrStore(name, sync.OnceValues(func() (*verify.Suite, error) {
		s, err := verify.Open(verify.Options{Model: name})
		if err != nil || len(s.Cases) > 0 {
			return s, err
		}
		// Of a model that has figures alone, as the largest have, the findings are
		// kept and the weights let go: they are 10 GB.
		defer s.Close()
		for n := verify.Weights; n <= verify.CheckpointCount; n++ {
			if _, err := s.Check(t.Context(), n); err != nil {
				return nil, err
			}
		}
		return s, nil
	}))
	s, err := open.(func() (*verify.Suite, error))()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestCases asks that what the goldens were made from is what the Go tokenizer
// makes of the prompts, and that every case and engine has its golden.
func TestCases(t *testing.T) {
	b, err := os.ReadFile("scripts/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Models map[string]map[string]struct {
			Prompt *string `json:"prompt"`
			Tokens [][]int `json:"tokens"`
			New    int     `json:"new"`
		} `json:"models"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	tokenizer, err := tokenizer.New()
	if err != nil {
		t.Fatal(err)
	}
	prompts := 0
	for name, cases := range file.Models {
		for id, c := range cases {
			if c.Prompt == nil {
				continue
			}
			prompts++
			got, err := tokenizer.Encode(*c.Prompt)
			if err != nil {
				t.Errorf("%s/%s: %v", name, id, err)
			}
			if diff := cmp.Diff(c.Tokens, [][]int{got}); diff != "" {
				t.Errorf("%s/%s: %q encodes otherwise (-cases.json +tokenizer):\n%s", name, id, *c.Prompt, diff)
			}
		}
	}
	if prompts == 0 {
		t.Error("scripts/cases.json has no prompt")
	}
	for _, name := range synthetic.Names() {
		s := suite(t, name)
		for id, c := range file.Models[name] {
			i := slices.IndexFunc(s.Cases, func(c *verify.Case) bool { return c.Name == id })
			if i < 0 {
				t.Errorf("%s/%s: no goldens; to make them: %s", name, id, s.MakeGoldens())
				continue
			}
			if got := s.Cases[i]; got.New != c.New || !cmp.Equal(got.Tokens, c.Tokens) {
				t.Errorf("%s/%s: goldens are of %v and %d new, cases.json says %v and %d", name, id, got.Tokens, got.New, c.Tokens, c.New)
			}
			for _, engine := range engines {
				if !slices.ContainsFunc(s.Cases[i].Goldens, func(g *verify.Golden) bool { return g.Engine == engine }) {
					t.Errorf("%s/%s: no golden of %s; to make it: %s", name, id, engine, s.MakeGoldens())
				}
			}
		}
	}
}
