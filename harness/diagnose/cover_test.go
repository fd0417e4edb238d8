package diagnose

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/replaytest"
	"checkpoint12/harness/replay"
)

// metered runs a meter, changed at some places, and judges it without the stages
// named. It returns what was at each place.
func metered(t *testing.T, missing []string, changed ...harness.Place) (*replay.Run, []harness.Replayed, map[harness.Place]harness.Tensor) {
	t.Helper()
	m := replaytest.Meter{Layers: 2}
	truth := map[harness.Place]harness.Tensor{}
	r := m.Run(t, func(at harness.Place, x *harness.Tensor) {
		if slices.Contains(changed, at) {
			x.F32[len(x.F32)-1] *= 1.01
		}
		truth[at] = *x
	})
	for _, stages := range r.Kept {
		for _, stage := range missing {
			delete(stages, stage)
		}
	}
	run, err := replay.NewRun(r.Of, r, m, replay.Options{Prompt: 3})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := run.Judge(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return run, rows, truth
}

// because returns a cause of a row: a fault in h.1.scaled, which gives it the
// values x.
func because(row harness.Place, fault string, x harness.Tensor) faults.Cause {
	return faults.Cause{
		Explanation: harness.Explanation{Step: row.Step, Stage: row.Stage, Fault: fault, Explains: 1, Text: fault},
		Values: func() map[harness.Place]replay.Value {
			return map[harness.Place]replay.Value{{Step: row.Step, Stage: "h.1.scaled"}: {Tensor: x}}
		},
	}
}

// besides returns x with 1 added to its first value.
func besides(x harness.Tensor) harness.Tensor {
	x.F32 = slices.Clone(x.F32)
	x.F32[0]++
	return x
}

// introduced lists the introduced rows with their spans.
func introduced(rows []harness.Replayed) (all []string) {
	for _, row := range rows {
		if row.Verdict == harness.ReplayIntroduced {
			all = append(all, fmt.Sprint(row.Place, row.Span))
		}
	}
	return all
}

// A fault in a stage that the candidate lacks leaves one introduced row.
func TestCover(t *testing.T) {
	once, again := harness.Place{Step: 1, Stage: "h.1.scaled"}, harness.Place{Step: 3, Stage: "h.1.scaled"}
	out := func(steps ...int) (all []string) {
		for _, step := range steps {
			all = append(all, fmt.Sprintf("step_%02d/h.1.out [h.1.scaled h.1.kept h.1.out]", step))
		}
		return all
	}
	for _, c := range []struct {
		name, reason string
		changed      []harness.Place
		known        []harness.Place // where a cause is known, in the row of the same step
		wrong        bool            // the cause gives other values
		want         []string
	}{
		{name: "nobody explains", reason: "what it is in the steps that go on with it, nobody knows",
			changed: []harness.Place{once}, want: out(1, 2, 3)},
		{name: "kept in later steps", reason: "what was kept was wrong once",
			changed: []harness.Place{once}, known: []harness.Place{once}, want: out(1)},
		{name: "wrong again", reason: "a second fault is another one",
			changed: []harness.Place{once, again}, known: []harness.Place{once, again}, want: out(1, 3)},
		{name: "wrong again, unexplained", reason: "what is left is another fault",
			changed: []harness.Place{once, again}, known: []harness.Place{once}, want: out(1, 3)},
		{name: "a wrong cause", reason: "it makes no row right",
			changed: []harness.Place{once}, known: []harness.Place{once}, wrong: true, want: out(1, 2, 3)},
	} {
		t.Run(c.name, func(t *testing.T) {
			run, rows, truth := metered(t, []string{"h.0.scaled", "h.0.kept", "h.1.scaled", "h.1.kept"}, c.changed...)
			causes, err := coverRows(run, rows, func(_ *replay.Run, rows []harness.Replayed) (all []faults.Cause, _ error) {
				for _, row := range rows {
					for _, at := range c.known {
						if row.Verdict == harness.ReplayIntroduced && row.Step == at.Step {
							values := truth[at]
							if c.wrong {
								values = besides(values)
							}
							all = append(all, because(row.Place, "x", values))
						}
					}
				}
				return all, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, introduced(rows)); diff != "" {
				t.Errorf("%s: introduced (-want +got):\n%s", c.reason, diff)
			}
			if len(causes) != len(c.known) {
				t.Errorf("%d causes of %d rows: %+v", len(causes), len(c.known), causes)
			}
			for _, row := range rows {
				if row.Verdict == harness.ReplayClean && row.Why != "" && row.Why != "correct, given the fault at step_01/h.1.out" {
					t.Errorf("%s: %s", row.Place, row.Why)
				}
			}
		})
	}
}

// Of causes that explain a row alike, the one that makes another row right too is
// taken, and none by which a right row would be wrong.
func TestCoverTakesWhatExplainsMost(t *testing.T) {
	at := harness.Place{Step: 1, Stage: "h.1.scaled"}
	kept, out := harness.Place{Step: 1, Stage: "h.1.kept"}, harness.Place{Step: 1, Stage: "h.1.out"}
	for _, c := range []struct {
		name    string
		changed []harness.Place
		before  []string
		causes  func(run *replay.Run, right, other harness.Tensor) []faults.Cause // right makes both rows right
		after   []string
		want    []string // the text of the causes
	}{
		{"two rows for one", []harness.Place{at},
			[]string{"step_01/h.1.kept [h.1.scaled h.1.kept]", "step_01/h.1.out [h.1.scaled h.1.out]"},
			func(_ *replay.Run, right, other harness.Tensor) []faults.Cause {
				return []faults.Cause{because(kept, "other", other), because(kept, "both", right), because(out, "both", right)}
			},
			[]string{"step_01/h.1.kept [h.1.scaled h.1.kept]"}, []string{"both; h.1.out is off by the same fault", "other"}},
		{"a right row", []harness.Place{kept},
			[]string{"step_01/h.1.kept [h.1.scaled h.1.kept]"},
			func(_ *replay.Run, right, other harness.Tensor) []faults.Cause {
				return []faults.Cause{because(kept, "out is wrong", other), because(kept, "out is right", right)}
			},
			[]string{"step_01/h.1.kept [h.1.scaled h.1.kept]"}, []string{"out is right", "out is wrong"}},
		{"a fault of its own besides", []harness.Place{at, kept},
			[]string{"step_01/h.1.kept [h.1.scaled h.1.kept]", "step_01/h.1.out [h.1.scaled h.1.out]"},
			func(run *replay.Run, right, _ harness.Tensor) []faults.Cause {
				if run.Supposes(at) {
					own := because(kept, "own", right)
					own.Values = nil
					return []faults.Cause{own}
				}
				return []faults.Cause{because(out, "scaled", right)}
			},
			[]string{"step_01/h.1.kept [h.1.scaled h.1.kept]", "step_01/h.1.out [h.1.scaled h.1.out]"}, []string{"own", "scaled"}},
		{"elsewhere", []harness.Place{at},
			[]string{"step_01/h.1.kept [h.1.scaled h.1.kept]", "step_01/h.1.out [h.1.scaled h.1.out]"},
			func(_ *replay.Run, right, other harness.Tensor) []faults.Cause {
				x := because(kept, "here", other)
				x.Or = []faults.Cause{because(kept, "there", right)}
				return []faults.Cause{x}
			},
			[]string{"step_01/h.1.kept [h.1.scaled h.1.kept]"}, []string{"there; h.1.out is off by the same fault"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			run, rows, truth := metered(t, []string{"h.1.scaled"}, c.changed...)
			if diff := cmp.Diff(c.before, introduced(rows)); diff != "" {
				t.Fatalf("before: introduced (-want +got):\n%s", diff)
			}
			causes, err := coverRows(run, rows, func(run *replay.Run, asked []harness.Replayed) ([]faults.Cause, error) {
				return slices.DeleteFunc(c.causes(run, truth[at], besides(truth[at])), func(x faults.Cause) bool {
					return !slices.ContainsFunc(asked, func(p harness.Replayed) bool { return p.Step == x.Step && p.Stage == x.Stage })
				}), nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.after, introduced(rows)); diff != "" {
				t.Errorf("introduced (-want +got):\n%s", diff)
			}
			var texts []string
			for _, x := range causes {
				texts = append(texts, x.Text)
			}
			if diff := cmp.Diff(c.want, texts); diff != "" {
				t.Errorf("causes (-want +got):\n%s", diff)
			}
		})
	}
}
