package verify

import (
	"checkpoint12/harness/report"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/model"
)

// tiny is synthetic-tiny with the one case that has every stage at every step,
// shared by the tests, which run one after the other.
func tiny(t *testing.T) *Suite {
	t.Helper()
	s, err := openTiny()
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Cases) != 1 || len(s.Cases[0].Goldens) < 2 {
		t.Fatalf("goldens of case hello from several engines are missing in %s", gpt2test.Dir)
	}
	return s
}

var openTiny = sync.OnceValues(func() (*Suite, error) {
	s, err := Open(Options{Model: "synthetic-tiny", Goldens: gpt2test.Dir})
	if err == nil {
		s.Cases = slices.DeleteFunc(s.Cases, func(c *Case) bool { return c.Name != "hello" })
		s.figures = nil // they are judged in figures_test.go
	}
	return s, err
})

// plant lets the suite run its case again, with other bugs.
func (s *Suite) plant(bugs ...gpt2test.Bug) {
	s.tap = (&gpt2.Override{Value: gpt2test.Planter(s.Model, bugs...).Value}).Tap
	for _, c := range s.Cases {
		c.stages, c.text = nil, nil
	}
}

func TestPlantedBugsAreFoundAtTheirOwnStage(t *testing.T) {
	s := tiny(t)
	for _, b := range gpt2test.Bugs {
		t.Run(b.Name, func(t *testing.T) {
			if b.Reason == "" {
				t.Error("a bug without a reason")
			}
			s.plant(b)
			found, err := s.Check(t.Context(), b.Checkpoint)
			if err != nil {
				t.Fatal(err)
			}
			want := harness.Place{Step: b.Step, Stage: b.Stage}
			for i, r := range s.Cases[0].stages.reports {
				golden, want := s.Cases[0].Goldens[i], want
				if !golden.has(want.Step, want.Stage) {
					// mistral.rs never has scores: with it the bug shows where they are used
					want.Stage = nextOf(s, golden, want)
				}
				if r.FirstDivergence == nil || *r.FirstDivergence != want || r.Passed() {
					t.Errorf("%s: first divergence %v, want %v", golden.Engine, r.FirstDivergence, want)
				}
			}
			f := s.first(found)
			if f == nil || f.Step != b.Step || f.Stage != b.Stage || f.Engine == Self {
				t.Fatalf("%s first fails at %+v, want %s", Describe(b.Checkpoint), f, want)
			}
			// The exact halves of these need no golden.
			if alone := slices.Contains([]int{3, 9, 10, 11}, b.Checkpoint); alone && !slices.ContainsFunc(found, func(f Finding) bool {
				return f.Failed && f.Engine == Self && f.Stage == b.Stage && f.Step == b.Step
			}) {
				t.Errorf("%s: no failure of its own at %s", Describe(b.Checkpoint), want)
			}
			if f.Begin != "" {
				t.Errorf("the first divergence points to an earlier one: %s", f.Begin)
			}
			report := f.Report()
			for _, part := range append(Describe(b.Checkpoint).Causes, "got", "want", "go run . compare") {
				if !strings.Contains(report, part) {
					t.Errorf("report lacks %q:\n%s", part, report)
				}
			}
		})
	}
}

// nextOf is the first stage behind a place that a golden has.
func nextOf(s *Suite, golden *Golden, at harness.Place) string {
	stages := model.StageNames(s.Model.Config(), s.Cases[0].temperatures)
	for _, stage := range stages[slices.Index(stages, at.Stage)+1:] {
		if golden.has(at.Step, stage) {
			return stage
		}
	}
	return ""
}

func TestCheckpoint12SaysHowItFails(t *testing.T) {
	s := tiny(t)
	noise := 0
	for _, tt := range []struct {
		name, kind string
		bug        gpt2test.Bug
		walk       string // the checkpoint at which the walk ends
		causes     []string
	}{
		{"missing residual", "other text", gpt2test.Named("missing residual"), "fix: " + Describe(7).Fix, otherText.causes},
		{"cache written at 0", "other text", gpt2test.Named("cache written at 0"), "fix: " + Describe(3).Fix, otherText.causes},
		{"noise from run to run", "not deterministic", gpt2test.Bug{Stage: "ln_f", Plant: gpt2test.Edit(func(data []float32) {
			noise++
			data[noise%len(data)] += 100
		})}, "fix: " + Describe(8).Fix, notDeterministic.causes},
		{"NaN in the middle", "wrong length", gpt2test.Bug{Stage: "logits_last", Plant: func(c *faults.Context) []float32 {
			if c.Dims.P < 5 {
				return nil
			}
			return gpt2test.Edit(func(data []float32) { data[7] = float32(math.NaN()) })(c)
		}}, "fix: " + Describe(9).Fix, wrongLength.causes},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.plant(tt.bug)
			found, err := s.Check(t.Context(), 12)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(found, func(f Finding) bool { return f.Failed && f.Kind == tt.kind })
			if i < 0 {
				t.Fatalf("no failure of kind %q in %v", tt.kind, failed(found))
			}
			for _, cause := range tt.causes {
				if !strings.Contains(found[i].Report(), cause) {
					t.Errorf("report lacks %q:\n%s", cause, found[i].Report())
				}
			}
			walk, err := s.Walk(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(walk, tt.walk) {
				t.Errorf("walk does not end with %q:\n%s", tt.walk, walk)
			}
		})
	}
}

func TestVerifySaysWhatFailsFirst(t *testing.T) {
	s := tiny(t)
	s.plant(gpt2test.Named("erf GELU"))
	r, err := s.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := r.WriteText(&text, TextOptions{Style: report.Style{Width: 1000}}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(text.String(), "\n"), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "FAIL: checkpoint 6 (feed-forward) first fails at hello/") ||
		!strings.Contains(last, "step_00/h.1.mlp.act") {
		t.Errorf("last line %q", last)
	}
	if before := lines[len(lines)-2]; before != "fix: "+Describe(6).Fix {
		t.Errorf("line before the last %q", before)
	}
	if !r.Failed() || r.First == nil || r.First.Stage != "h.1.mlp.act" {
		t.Errorf("verdict %s, first %+v", r.Verdict, r.First)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Errorf("report of a failure as JSON: %v", err)
	}
}

func failed(found []Finding) (all []string) {
	for _, f := range found {
		if f.Failed {
			all = append(all, fmt.Sprintf("%s %s", f.Kind, f.Name()))
		}
	}
	return all
}
