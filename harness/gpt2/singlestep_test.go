package gpt2

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
)

// With a golden's values forced on it the right model has no stage that is
// wrong, and a wrong one those alone that are, at every step.
func TestSingleStepNamesTheModelsOwnFaults(t *testing.T) {
	s := tiny(t)
	for _, b := range append([]bug{{name: "none", plant: func(*planter, []int, []float32) {}}}, bugs...) {
		t.Run(b.name, func(t *testing.T) {
			for _, g := range s.Cases[0].Goldens[:2] {
				if err := g.open(s.schedule); err != nil {
					t.Fatal(err)
				}
				seen := map[string][]float32{}
				var want, got []harness.Place
				step := -1
				rows, err := SingleStep(t.Context(), s.Model, g.dump, 2, func(stage string, shape []int, data []float32) {
					if stage == "wte" {
						step++
					}
					before := slices.Clone(data)
					if b.stage == stage {
						b.plant(&planter{m: s.Model, bug: b, seen: seen}, shape, data)
					}
					same := slices.EqualFunc(before, data, func(a, b float32) bool { return a == b || a != a && b != b })
					if p := (harness.Place{Step: step, Stage: stage}); !same && (g.has(step, stage) || !isLast(stage)) {
						want = append(want, p)
					}
					seen[stage] = append(seen[stage][:0], data...)
				})
				if err != nil {
					t.Fatal(err)
				}
				if len(rows) < 100 {
					t.Fatalf("%s: only %d rows", g.Engine, len(rows))
				}
				for _, r := range rows {
					switch {
					case r.Verdict == harness.ReplayUnknown:
						t.Errorf("%s: %s is not judged: %s", g.Engine, r.Place, r.Why)
					case r.Verdict != harness.ReplayIntroduced:
					case g.has(r.Step, b.stage):
						got = append(got, r.Place)
					case slices.Contains(r.Span, b.stage): // the golden lacks the stage itself
						got = append(got, harness.Place{Step: r.Step, Stage: b.stage})
					default:
						t.Errorf("%s: %s is introduced, span %v", g.Engine, r.Place, r.Span)
					}
				}
				if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
					t.Errorf("%s: introduced (-want +got):\n%s", g.Engine, diff)
				}
			}
		})
	}
}

// isLast says whether no other stage reads it.
func isLast(stage string) bool { return stage == "next_token" || strings.HasPrefix(stage, "probs_t") }

func TestFailureSaysWhatTheStageDoesByItself(t *testing.T) {
	s := tiny(t)
	s.plant(bugs[slices.IndexFunc(bugs, func(b bug) bool { return b.name == "erf GELU" })])
	found, err := s.Check(t.Context(), 6)
	if err != nil {
		t.Fatal(err)
	}
	own, inherited := 0, 0
	for _, f := range found {
		switch {
		case !f.Failed:
		case f.Stage == "h.1.mlp.act":
			own++
			if !strings.Contains(f.Report(), "its own computation is wrong") {
				t.Errorf("%s", f.Report())
			}
		default:
			inherited++
			if !strings.Contains(f.Report(), "it is right: what is wrong came in") {
				t.Errorf("%s", f.Report())
			}
		}
	}
	if own == 0 || inherited == 0 {
		t.Errorf("%d failures of the stage, %d of those after it", own, inherited)
	}
	for _, r := range s.Cases[0].stages.reports {
		for _, in := range r.Introduced {
			if in.Stage != "h.1.mlp.act" {
				t.Errorf("introduced %+v", in)
			}
		}
		if len(r.Introduced) != 10 {
			t.Errorf("%d introduced, want one a step", len(r.Introduced))
		}
	}
}
