package replay_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/replaytest"
	"checkpoint12/harness/replay"
)

// A mistake in a stage that the candidate lacks is laid on one stage that it has.
func TestSettle(t *testing.T) {
	m := replaytest.Meter{Layers: 2}
	wrong := func(x *harness.Tensor) { x.F32[len(x.F32)-1] *= 1.01 }
	for _, c := range []struct {
		name, reason string
		bugs         []harness.Place
		seats        []harness.Place // where explain says that a mistake sits, in the row of the same step
		bad          bool            // explain is wrong about the value
		introduced   []string
	}{
		{name: "nobody explains", reason: "what it is in the steps that go on with it, nobody knows",
			bugs: []harness.Place{{Step: 1, Stage: "h.1.scaled"}}, introduced: []string{
				"step_01/h.1.out [h.1.scaled h.1.kept h.1.out] fail",
				"step_02/h.1.out [h.1.scaled h.1.kept h.1.out] fail",
				"step_03/h.1.out [h.1.scaled h.1.kept h.1.out] fail"}},
		{name: "kept in later steps", reason: "what was kept was wrong once",
			bugs: []harness.Place{{Step: 1, Stage: "h.1.scaled"}}, seats: []harness.Place{{Step: 1, Stage: "h.1.scaled"}}, introduced: []string{
				"step_01/h.1.out [h.1.scaled h.1.kept h.1.out] fail"}},
		{name: "wrong again", reason: "a second mistake is another one",
			bugs:  []harness.Place{{Step: 1, Stage: "h.1.scaled"}, {Step: 3, Stage: "h.1.scaled"}},
			seats: []harness.Place{{Step: 1, Stage: "h.1.scaled"}, {Step: 3, Stage: "h.1.scaled"}}, introduced: []string{
				"step_01/h.1.out [h.1.scaled h.1.kept h.1.out] fail",
				"step_03/h.1.out [h.1.scaled h.1.kept h.1.out] fail"}},
		{name: "a wrong explanation", reason: "it takes nothing back",
			bugs: []harness.Place{{Step: 1, Stage: "h.1.scaled"}}, seats: []harness.Place{{Step: 1, Stage: "h.1.scaled"}}, bad: true, introduced: []string{
				"step_01/h.1.out [h.1.scaled h.1.kept h.1.out] fail",
				"step_02/h.1.out [h.1.scaled h.1.kept h.1.out] fail",
				"step_03/h.1.out [h.1.scaled h.1.kept h.1.out] fail"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			truth := map[harness.Place]harness.Tensor{}
			r := m.Run(t, func(at harness.Place, x *harness.Tensor) {
				if slices.Contains(c.bugs, at) {
					wrong(x)
				}
				truth[at] = *x
			})
			for step := range r.Kept {
				for stage := range r.Kept[step] {
					if strings.HasSuffix(stage, "scaled") || strings.HasSuffix(stage, "kept") {
						delete(r.Kept[step], stage)
					}
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
			explain := func(rows []harness.Replayed) (all []harness.Explanation, _ error) {
				for _, row := range rows {
					for _, seat := range c.seats {
						if row.Verdict == harness.ReplayIntroduced && row.Step == seat.Step {
							all = append(all, harness.Explanation{Step: row.Step, Stage: row.Stage, Fault: "x", Explains: 1, Text: "why",
								Seats: []harness.Seat{{Stage: seat.Stage, Value: func() (harness.Tensor, bool) {
									v := truth[seat]
									if c.bad {
										v.F32 = slices.Clone(v.F32)
										v.F32[0]++
									}
									return v, true
								}}}})
						}
					}
				}
				return all, nil
			}
			causes, err := run.Settle(t.Context(), rows, explain)
			if err != nil {
				t.Fatal(err)
			}
			introduced, _ := verdicts(rows)
			if diff := cmp.Diff(c.introduced, introduced); diff != "" {
				t.Errorf("%s: introduced (-want +got):\n%s", c.reason, diff)
			}
			for _, e := range causes {
				if !slices.Contains(c.seats, harness.Place{Step: e.Step, Stage: "h.1.scaled"}) {
					t.Errorf("an explanation of a row that was taken back: %+v", e)
				}
			}
			for _, row := range rows {
				if row.Verdict == harness.ReplayClean && row.Why != "" && row.Why != "right, given the mistake in h.1.scaled" {
					t.Errorf("%s: %s", row.Place, row.Why)
				}
			}
		})
	}
}

// Of mistakes that explain a row alike, the one that explains another row too is
// taken.
func TestSettlePrefersWhatExplainsMore(t *testing.T) {
	m := replaytest.Meter{Layers: 2}
	var truth harness.Tensor
	r := m.Run(t, func(at harness.Place, x *harness.Tensor) {
		if at == (harness.Place{Step: 1, Stage: "h.1.scaled"}) {
			x.F32[0] *= 1.01
			truth = *x
		}
	})
	for step := range r.Kept {
		delete(r.Kept[step], "h.1.scaled")
	}
	run, err := replay.NewRun(r.Of, r, m, replay.Options{Prompt: 3})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := run.Judge(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before, _ := verdicts(rows)
	want := []string{"step_01/h.1.kept [h.1.scaled h.1.kept] fail", "step_01/h.1.out [h.1.scaled h.1.out] fail"}
	if diff := cmp.Diff(want, before); diff != "" {
		t.Fatalf("before: introduced (-want +got):\n%s", diff)
	}
	value := func(factor float32) func() (harness.Tensor, bool) {
		return func() (harness.Tensor, bool) {
			x := harness.Tensor{Shape: truth.Shape, F32: slices.Clone(truth.F32)}
			x.F32[1] *= factor
			return x, true
		}
	}
	causes, err := run.Settle(t.Context(), rows, func([]harness.Replayed) ([]harness.Explanation, error) {
		return []harness.Explanation{
			{Step: 1, Stage: "h.1.kept", Fault: "other", Explains: 1, Text: "other", Seats: []harness.Seat{{Stage: "h.1.scaled", Value: value(2)}}},
			{Step: 1, Stage: "h.1.kept", Fault: "both", Explains: 1, Text: "both", Seats: []harness.Seat{{Stage: "h.1.scaled", Value: value(1)}}},
			{Step: 1, Stage: "h.1.out", Fault: "both", Explains: 1, Text: "both", Seats: []harness.Seat{{Stage: "h.1.scaled", Value: value(1)}}},
		}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	after, _ := verdicts(rows)
	if diff := cmp.Diff(want[:1], after); diff != "" {
		t.Errorf("introduced (-want +got):\n%s", diff)
	}
	var texts []string
	for _, e := range causes {
		texts = append(texts, e.Text)
	}
	if diff := cmp.Diff([]string{"both; h.1.out is off by the same mistake", "other"}, texts); diff != "" {
		t.Errorf("causes (-want +got):\n%s", diff)
	}
}
