package diagnose

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/replay"
	"checkpoint12/model/modeltest"
)

// judged runs a small GPT-2, changed at some places, and judges it without the stages
// named. It returns what was at each place.
func judged(t *testing.T, missing []string, changed ...harness.Place) (*replay.Run, []harness.Replayed, map[harness.Place]harness.Tensor) {
	t.Helper()
	m := modeltest.New(t, modeltest.Micro, 1)
	change := gpt2.Override{Value: func(at harness.Place, live harness.Tensor) (x harness.Tensor, _ error) {
		if slices.Contains(changed, at) {
			x = harness.Tensor{Shape: live.Shape, F32: slices.Clone(live.F32)}
			x.F32[len(x.F32)-1] *= 1.01
		}
		return x, nil
	}}
	rec, err := gpt2.Record(t.Context(), m, gpt2.Run{Tokens: [][]int{{1, 2, 3}}, New: 4, Tap: change.Tap})
	if err != nil {
		t.Fatal(err)
	}
	s := gpt2.Schedule(modeltest.Micro.Layers, nil)
	truth := map[harness.Place]harness.Tensor{}
	for _, at := range s.Places(rec, nil) {
		truth[at], _ = rec.Tensor(at.Step, at.Stage)
	}
	some := gpt2test.Only{Source: rec, Keep: func(_ int, stage string) bool { return !slices.Contains(missing, stage) }}
	run, err := replay.NewRun(s, some, gpt2.NewReplayer(m, nil, gpt2.Float32), replay.Options{Prompt: 3})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := run.Judge(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return run, rows, truth
}

// because returns a cause of a row: a fault in a stage of its step, which gives that
// the values x.
func because(row harness.Place, stage, fault string, x harness.Tensor) faults.Cause {
	return faults.Cause{
		Explanation: harness.Explanation{Step: row.Step, Stage: row.Stage, Fault: fault, Explains: 1, Text: fault},
		Values: func() map[harness.Place]replay.Value {
			return map[harness.Place]replay.Value{{Step: row.Step, Stage: stage}: {Tensor: x}}
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
	once, again := harness.Place{Step: 1, Stage: "h.1.attn.k"}, harness.Place{Step: 3, Stage: "h.1.attn.k"}
	out := func(steps ...int) (all []string) {
		for _, step := range steps {
			all = append(all, fmt.Sprintf("step_%02d/h.1.attn.scores [h.1.attn.k h.1.attn.cache_k h.1.attn.scores]", step))
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
			run, rows, truth := judged(t, []string{"h.0.attn.k", "h.0.attn.cache_k", "h.1.attn.k", "h.1.attn.cache_k"}, c.changed...)
			causes, err := coverRows(run, rows, func(_ *replay.Run, rows []harness.Replayed) (all []faults.Cause, _ error) {
				for _, row := range rows {
					for _, at := range c.known {
						if row.Verdict == harness.ReplayIntroduced && row.Step == at.Step {
							values := truth[at]
							if c.wrong {
								values = besides(values)
							}
							all = append(all, because(row.Place, once.Stage, "x", values))
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
				if row.Verdict == harness.ReplayClean && row.Why != "" && row.Why != "correct, given the fault at step_01/h.1.attn.scores" {
					t.Errorf("%s: %s", row.Place, row.Why)
				}
			}
		})
	}
}

// Of causes that explain a row alike, the one that makes another row correct too is
// taken, and none by which a correct row would be wrong.
func TestCoverChoosesWhatExplainsMost(t *testing.T) {
	at := harness.Place{Step: 1, Stage: "h.1.resid_mid"}
	norm, sum := harness.Place{Step: 1, Stage: "h.1.ln_2"}, harness.Place{Step: 1, Stage: "h.1.resid_post"}
	for _, c := range []struct {
		name    string
		changed []harness.Place
		before  []string
		causes  func(run *replay.Run, right, other harness.Tensor) []faults.Cause // right makes both rows correct
		after   []string
		want    []string // the text of the causes
	}{
		{"two rows for one", []harness.Place{at},
			[]string{"step_01/h.1.ln_2 [h.1.resid_mid h.1.ln_2]", "step_01/h.1.resid_post [h.1.resid_mid h.1.resid_post]"},
			func(_ *replay.Run, right, other harness.Tensor) []faults.Cause {
				return []faults.Cause{because(norm, at.Stage, "other", other), because(norm, at.Stage, "both", right), because(sum, at.Stage, "both", right)}
			},
			[]string{"step_01/h.1.ln_2 [h.1.resid_mid h.1.ln_2]"}, []string{"both; h.1.resid_post is off by the same fault", "other"}},
		{"a right row", []harness.Place{norm},
			[]string{"step_01/h.1.ln_2 [h.1.resid_mid h.1.ln_2]"},
			func(_ *replay.Run, right, other harness.Tensor) []faults.Cause {
				return []faults.Cause{because(norm, at.Stage, "sum is wrong", other), because(norm, at.Stage, "sum is right", right)}
			},
			[]string{"step_01/h.1.ln_2 [h.1.resid_mid h.1.ln_2]"}, []string{"sum is right", "sum is wrong"}},
		{"a fault of its own besides", []harness.Place{at, norm},
			[]string{"step_01/h.1.ln_2 [h.1.resid_mid h.1.ln_2]", "step_01/h.1.resid_post [h.1.resid_mid h.1.resid_post]"},
			func(run *replay.Run, right, _ harness.Tensor) []faults.Cause {
				if given, _ := run.Input(at.Step, at.Stage); slices.Equal(given.F32, right.F32) {
					own := because(norm, at.Stage, "own", right)
					own.Values = nil
					return []faults.Cause{own}
				}
				return []faults.Cause{because(sum, at.Stage, "resid_mid", right)}
			},
			[]string{"step_01/h.1.ln_2 [h.1.resid_mid h.1.ln_2]", "step_01/h.1.resid_post [h.1.resid_mid h.1.resid_post]"}, []string{"own", "resid_mid"}},
		{"elsewhere", []harness.Place{at},
			[]string{"step_01/h.1.ln_2 [h.1.resid_mid h.1.ln_2]", "step_01/h.1.resid_post [h.1.resid_mid h.1.resid_post]"},
			func(_ *replay.Run, right, other harness.Tensor) []faults.Cause {
				x := because(norm, at.Stage, "here", other)
				x.Or = []faults.Cause{because(norm, at.Stage, "there", right)}
				return []faults.Cause{x}
			},
			[]string{"step_01/h.1.ln_2 [h.1.resid_mid h.1.ln_2]"}, []string{"there; h.1.resid_post is off by the same fault"}},
		{"a twin in the row alone", []harness.Place{at},
			[]string{"step_01/h.1.ln_2 [h.1.resid_mid h.1.ln_2]", "step_01/h.1.resid_post [h.1.resid_mid h.1.resid_post]"},
			func(_ *replay.Run, right, other harness.Tensor) []faults.Cause {
				own := because(norm, norm.Stage, "own", other)
				own.Values = nil
				return []faults.Cause{because(norm, at.Stage, "both", right).WithTwins([]faults.Cause{own})}
			},
			[]string{"step_01/h.1.ln_2 [h.1.resid_mid h.1.ln_2]"}, []string{"both; h.1.resid_post is off by the same fault"}},
		{"a twin in each row", []harness.Place{at},
			[]string{"step_01/h.1.ln_2 [h.1.resid_mid h.1.ln_2]", "step_01/h.1.resid_post [h.1.resid_mid h.1.resid_post]"},
			func(_ *replay.Run, right, other harness.Tensor) []faults.Cause {
				each := because(norm, at.Stage, "each", other)
				return []faults.Cause{because(norm, at.Stage, "both", right).WithTwins([]faults.Cause{each}), because(sum, at.Stage, "each", other)}
			},
			[]string{"step_01/h.1.ln_2 [h.1.resid_mid h.1.ln_2]"}, []string{"both; or, which gives the same, each; h.1.resid_post is off by the same fault"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			run, rows, truth := judged(t, []string{"h.1.resid_mid"}, c.changed...)
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
