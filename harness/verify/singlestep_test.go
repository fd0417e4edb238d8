package verify

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/gpt2test"
)

// With a golden's values forced on it the right model has no stage that is
// wrong, and a wrong one those alone that are, at every step.
func TestSingleStepNamesTheModelsOwnFaults(t *testing.T) {
	s := tiny(t)
	for _, b := range append([]gpt2test.Bug{{Name: "none"}}, gpt2test.Bugs...) {
		t.Run(b.Name, func(t *testing.T) {
			for _, g := range s.Cases[0].Goldens[:2] {
				if err := g.open(s.schedule); err != nil {
					t.Fatal(err)
				}
				plant := gpt2.Override{Value: gpt2test.Planter(s.Model, b).Value}
				var want, got []harness.Place
				step := -1
				rows, err := diagnose.SingleStep(t.Context(), s.Model, g.dump, 2, func(stage string, shape []int, data []float32) {
					if stage == "wte" {
						step++
					}
					before := slices.Clone(data)
					plant.Tap(stage, shape, data)
					same := slices.EqualFunc(before, data, func(a, b float32) bool { return a == b || a != a && b != b })
					if p := (harness.Place{Step: step, Stage: stage}); !same && (g.has(step, stage) || !isLast(stage)) {
						want = append(want, p)
					}
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
					case g.has(r.Step, b.Stage):
						got = append(got, r.Place)
					case slices.Contains(r.Span, b.Stage): // the golden lacks the stage itself
						got = append(got, harness.Place{Step: r.Step, Stage: b.Stage})
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
	s.plant(gpt2test.Named("erf GELU"))
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
