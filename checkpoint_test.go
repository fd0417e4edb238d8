package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness/verify"
	"checkpoint12/harness/verify/engine"
	"checkpoint12/harness/verify/figures"
	"checkpoint12/model/synthetic"
	"checkpoint12/model/tokenizer"
	"checkpoint12/model/zoo"
)

// Each checkpoint runs alone: go test -run 'Checkpoint7$'. Subtests are
// model/case/engine/step/stage; of published figures, model/kind/figures/step/stage/part.
//
// With $CHECKPOINT12_ENGINE, a command as "verify --engine" takes it, that engine is
// judged in the place of the Go model: go test -count=1 -run 'Checkpoint7$'.

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

// TestCheckpoint12 is end to end.
func TestCheckpoint12(t *testing.T) {
	checkpoint(t, 12)
	if os.Getenv(engineVariable) != "" {
		return
	}
	t.Run("synthetic-tiny/same_text", func(t *testing.T) {
		m := modelNamed(t, "synthetic-tiny")
		found, err := m.Check(t.Context(), 12)
		if err != nil {
			t.Fatal(err)
		}
		if first := m.firstOf(t, found); first != nil {
			t.Skipf("the model fails first at %s", first.Name())
		}
		for _, prompt := range []string{"The quick brown", "Once upon a time"} {
			sameEverywhere(t, m.Suite, prompt)
		}
	})
}

// TestWeights and TestEmbeddings come before checkpoint 1: the weights are those of the
// figures; wte, wpe and their sum, which no checkpoint names, are read by all of them.
func TestWeights(t *testing.T)    { checkpoint(t, verify.CheckWeights) }
func TestEmbeddings(t *testing.T) { checkpoint(t, verify.CheckEmbeddings) }

// checkpoint runs checkpoint n on every model and makes a subtest of each finding.
// Of a model that fails, the first failure in execution order fails, in the test
// of its own checkpoint, and the others are skipped: they may follow from it.
func checkpoint(t *testing.T, n int) {
	for _, name := range zoo.Names() {
		t.Run(name, func(t *testing.T) {
			m := modelNamed(t, name)
			weights, err := m.Check(t.Context(), verify.CheckWeights)
			if err != nil {
				t.Fatal(err)
			}
			if why := m.WeightsUnknown(); why != "" {
				t.Run("weights", func(t *testing.T) { t.Skip(why) })
			}
			found, err := m.Check(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			for _, err := range m.Errors() {
				t.Errorf("%v\n  %s", &err, err.Command)
			}
			first := m.firstOf(t, slices.Concat(weights, found))
			others := 0
			for _, f := range found {
				if f.Engine != verify.Self {
					others++
				}
				t.Run(f.Name(), func(t *testing.T) { m.judge(t, f, first) })
			}
			if first != nil && first.Checkpoint != n && !runs(testOf(first.Checkpoint)) {
				t.Errorf("the model fails at another checkpoint first: go test -run '%s$'\n  %s", strings.TrimPrefix(testOf(first.Checkpoint), "Test"), first.Line())
			}
			switch {
			case others > 0:
			case os.Getenv(engineVariable) != "":
				t.Skip("the engine's dumps have no stage of it that a golden has")
			case n == verify.CheckWeights:
				t.Skip("there are no figures of its weights")
			case !strings.HasPrefix(name, "synthetic-"):
				t.Skipf("not checked against another engine; to make goldens: %s", m.MakeGoldens())
			default:
				t.Errorf("%s: no golden has a stage of it; to make goldens: %s", verify.Info(n), m.MakeGoldens())
			}
		})
	}
}

// judge is the subtest of one finding. first is the model's first failure.
func (m *tested) judge(t *testing.T, f verify.Finding, first *verify.Finding) {
	if f.Source != "" {
		t.Log(f.Source)
	}
	switch {
	case !f.Failed:
	case f.Checkpoint == first.Checkpoint && f.Name() == first.Name():
		r, _ := m.report()
		t.Error(r.FirstFailure())
	case f.Begin != "":
		t.Skipf("the run diverges earlier, at %s", f.Begin)
	default:
		t.Skipf("the model fails first at %s, from which this may follow: %s", first.Name(), f.Line())
	}
}

// firstOf returns the model's first failure, of all checkpoints, if any of found
// failed; else nil.
func (m *tested) firstOf(t *testing.T, found []verify.Finding) *verify.Finding {
	t.Helper()
	if !slices.ContainsFunc(found, func(f verify.Finding) bool { return f.Failed }) {
		return nil
	}
	r, err := m.report()
	if err != nil {
		t.Fatal(err)
	}
	return r.First
}

// testOf returns the name of the test of checkpoint n.
func testOf(n int) string {
	switch n {
	case verify.CheckWeights:
		return "TestWeights"
	case verify.CheckEmbeddings:
		return "TestEmbeddings"
	}
	return fmt.Sprintf("TestCheckpoint%d", n)
}

// runs reports whether a test is among those that -run and -skip choose.
func runs(test string) bool {
	matches := func(name string) bool {
		pattern, _, _ := strings.Cut(flag.Lookup(name).Value.String(), "/")
		ok, err := regexp.MatchString(pattern, test)
		return ok && err == nil
	}
	return matches("test.run") && (flag.Lookup("test.skip").Value.String() == "" || !matches("test.skip"))
}

// engineVariable is the command of an engine to judge in the place of the Go model.
const engineVariable = "CHECKPOINT12_ENGINE"

// faultVariable names a stage for TestOneFaultIsOneFailure to spoil.
const faultVariable = "CHECKPOINT12_TEST_FAULT"

// A model with one fault has one failure, in full, in the test of its checkpoint;
// what follows from it is skipped. A test of another checkpoint alone fails too, in
// a line.
func TestOneFaultIsOneFailure(t *testing.T) {
	if os.Getenv(faultVariable)+os.Getenv(engineVariable) != "" {
		t.Skip("this is the model with the fault, or an engine")
	}
	if r, err := modelNamed(t, "synthetic-tiny").report(); err != nil || r.Failed() {
		t.Skip("the model has a fault of its own")
	}
	for _, tt := range []struct {
		name, run string
		want      []string // of the output
		leaf      string   // the test that fails with no subtest that does
	}{
		{"all", "Checkpoint|Weights|Embeddings", []string{"checkpoint 4 (attention scores): ", "got ", "go run . dump --model synthetic-tiny --tokens ", "proof: ", "look at: q*k"},
			"TestCheckpoint4/synthetic-tiny/hello/candle/step_00/h.1.attn.scores"},
		{"one before it", "Checkpoint1$", []string{"go test -run 'Checkpoint4$'"}, "TestCheckpoint1/synthetic-tiny"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name != "all" && os.Getenv("CHECKPOINT12_FULL") == "" {
				t.Skip("judges the model once more: with CHECKPOINT12_FULL=1")
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.short", "-test.v", "-test.run", tt.run)
			cmd.Env = append(os.Environ(), faultVariable+"=h.1.attn.scores")
			out, err := cmd.Output()
			if _, failed := err.(*exec.ExitError); !failed {
				t.Fatalf("error %v, want a failure", err)
			}
			var failed []string
			skipped := 0
			for line := range strings.Lines(string(out)) {
				result := strings.TrimSpace(line)
				if name, ok := strings.CutPrefix(result, "--- FAIL: "); ok {
					failed = append(failed, strings.Fields(name)[0])
				}
				if strings.HasPrefix(result, "--- SKIP") {
					skipped++
				}
			}
			leaves := slices.DeleteFunc(slices.Clone(failed), func(name string) bool {
				return slices.ContainsFunc(failed, func(other string) bool { return strings.HasPrefix(other, name+"/") })
			})
			if want := []string{tt.leaf}; !slices.Equal(leaves, want) {
				t.Errorf("%q fail, want %q", leaves, want)
			}
			for _, want := range tt.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("output lacks %q", want)
				}
			}
			if skipped < 10 {
				t.Errorf("%d skipped", skipped)
			}
		})
	}
}

// engines have a golden of every committed case each.
var engines = []string{"candle", "float64", "mistralrs", "tinygrad", "transformers"}

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
		want[verify.Figures+"/text"] = g.Reduce == figures.Text
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

// tested is a model under test.
type tested struct {
	*verify.Suite
	report func() (*verify.Report, error) // of all checkpoints; made when something fails
}

// TestMain removes what the engine has left when all tests have run.
func TestMain(m *testing.M) {
	status := m.Run()
	for _, r := range runners {
		r.Close()
	}
	os.Exit(status)
}

var runners []*engine.Runner

// models are the models under test, each loaded once for all tests.
var models sync.Map // name -> func() (*tested, error)

func modelNamed(t *testing.T, name string) *tested {
	t.Helper()
	if why := tooLarge(name); why != "" {
		t.Skip(why)
	}
	if !strings.HasPrefix(name, "synthetic-") {
		if _, ok, err := zoo.Locate(name); err != nil {
			t.Fatal(err)
		} else if !ok {
			t.Skipf("no weights of %s here: go run . fetch %s", name, name)
		}
	}
	open, _ := models.LoadOrStore(name, sync.OnceValues(func() (*tested, error) {
		ctx := context.WithoutCancel(t.Context()) // the report may be another test's
		o := verify.Options{Model: name, Command: "go run ."}
		if fault := os.Getenv(faultVariable); fault != "" {
			o.Tap = func(stage string, _ []int, data []float32) {
				for i := range data {
					if stage == fault {
						data[i] *= 1.01
					}
				}
			}
		}
		if command := os.Getenv(engineVariable); command != "" {
			words, err := engine.Parse(command)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", engineVariable, err)
			}
			o.Engine = &engine.Runner{Command: words, Timeout: 10 * time.Minute}
			runners = append(runners, o.Engine)
		}
		s, err := verify.Open(o)
		if err != nil {
			return nil, err
		}
		if o.Tap != nil { // one case is enough
			s.Cases = slices.DeleteFunc(s.Cases, func(c *verify.Case) bool { return c.Name != "hello" })
		}
		m := &tested{s, sync.OnceValues(func() (*verify.Report, error) { return s.Verify(ctx) })}
		if len(s.Cases) == 0 {
			// Of a model that has figures alone, as the largest have, the findings are
			// kept and the weights let go: they are 10 GB.
			defer s.Close()
			_, err = m.report()
		}
		return m, err
	}))
	m, err := open.(func() (*tested, error))()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// tooLarge returns why a model is left out: of a full shape where that is not asked for.
func tooLarge(name string) string {
	switch {
	case name == "synthetic-tiny":
	case testing.Short():
		return "full shape: not with -short"
	case strings.HasPrefix(name, "synthetic-") && flag.Lookup("test.run").Value.String() == "" && os.Getenv("CHECKPOINT12_FULL") == "":
		return "full shape: with CHECKPOINT12_FULL=1, or a -run"
	}
	return ""
}

// TestCases checks that the Go tokenizer encodes each prompt of scripts/cases.json as
// the goldens have it, and that every case and engine has its golden.
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
		if tooLarge(name) != "" {
			continue
		}
		s := modelNamed(t, name)
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
