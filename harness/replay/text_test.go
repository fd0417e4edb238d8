package replay_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/replay"
	"checkpoint12/harness/report"
)

func text(t *testing.T, r *harness.Report, o report.Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.Write(&b, r, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// replayed is the report of a meter with faults in two stages, compared with one
// without, replayed, and explained.
func replayed(t *testing.T, fault func(at harness.Place, x *harness.Tensor), change func(golden, candidate *harnesstest.Memory)) *harness.Report {
	t.Helper()
	m := meter{layers: 3}
	golden, candidate := m.run(t, nil), m.run(t, fault)
	golden.Title, candidate.Title = "golden", "mine"
	if change != nil {
		change(golden, candidate)
	}
	r, err := harness.Compare(golden.Of, golden, candidate, harness.CompareOptions{Prompt: 3})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := replay.Judge(t.Context(), candidate.Of, candidate, m, replay.Options{Prompt: 3, Golden: golden})
	if err != nil {
		t.Fatal(err)
	}
	r.AddReplay(rows, m.Reads)
	for _, in := range r.Introduced {
		if strings.HasSuffix(in.Stage, "scaled") {
			r.Explanations = append(r.Explanations, harness.Explanation{
				Step: in.Step, Stage: in.Stage, Fault: "scale_4", Explains: 0.999, Text: "multiplied by 4: multiply by 3",
			})
		}
		if strings.HasSuffix(in.Stage, "out") {
			r.Explanations = append(r.Explanations, harness.Explanation{Step: in.Step, Stage: in.Stage, Text: "no known fault gives this output"})
		}
	}
	return r
}

func TestTextOfReplay(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		fault        func(at harness.Place, x *harness.Tensor)
		change       func(golden, candidate *harnesstest.Memory)
	}{
		{"two", "two faults, the second with other tokens from step 2 on, which the golden lacks", func(at harness.Place, x *harness.Tensor) {
			if strings.HasSuffix(at.Stage, "scaled") && at.Stage != "h.1.scaled" {
				for i := range x.F32 {
					x.F32[i] *= 4. / 3
				}
			}
			if at == (harness.Place{Step: 3, Stage: "h.1.out"}) {
				x.F32[1] += 5e7
			}
		}, nil},
		{"span", "one fault in what the dump lacks", func(at harness.Place, x *harness.Tensor) {
			if at == (harness.Place{Step: 1, Stage: "h.1.scaled"}) {
				x.F32[1] *= 1.5
			}
		}, func(_, candidate *harnesstest.Memory) {
			for _, stages := range candidate.Kept {
				delete(stages, "h.1.scaled")
			}
		}},
		{"unknown", "the first divergence cannot be judged", func(at harness.Place, x *harness.Tensor) {
			if at.Stage == "h.0.scaled" {
				x.F32[0] *= 2
			}
		}, func(golden, candidate *harnesstest.Memory) {
			for _, r := range []*harnesstest.Memory{golden, candidate} {
				r.Fed = nil
				for _, stages := range r.Kept {
					delete(stages, "embed")
				}
			}
		}},
		{"small", "wrong within every bound", func(at harness.Place, x *harness.Tensor) {
			if at == (harness.Place{Step: 3, Stage: "h.0.scaled"}) {
				x.F32[0] += 5e-5
			}
		}, func(golden, candidate *harnesstest.Memory) {
			delete(candidate.Kept[3], "next_id") // chaotic by design
			golden.Of = golden.Of.Edited(func(st *harness.Stage) {
				if !st.IDs {
					st.Tolerance.Rel = 1e-3
				}
			})
		}},
		{"clean", "nothing is wrong", nil, nil},
		{"stricter", "rounding, of which the stage's own check allows less", nil, func(golden, _ *harnesstest.Memory) {
			golden.Of = golden.Of.Edited(func(st *harness.Stage) {
				if st.Name == "h.0.out" {
					st.Check = func(harness.Source, int) (string, bool) { return "off by 2e-6, 1e-6 allowed", false }
				}
			})
		}},
		{"another golden", "nothing is wrong but the golden", nil, func(golden, _ *harnesstest.Memory) {
			golden.Kept[1]["h.2.out"].F32[1] *= 2
		}},
	} {
		t.Run(c.name+": "+c.reason, func(t *testing.T) {
			got := text(t, replayed(t, c.fault, c.change), report.Options{
				Style:  report.Style{Width: 100},
				Causes: func([]string) []string { return []string{"one of the usual"} },
				Label:  func(stage string) string { return map[string]string{"h.0.kept": "cache"}[stage] },
			})
			want, err := os.ReadFile(filepath.Join("testdata", strings.ReplaceAll(c.name, " ", "_")+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestTextBlamesTheGolden(t *testing.T) {
	r := replayed(t, nil, func(golden, _ *harnesstest.Memory) { golden.Kept[1]["h.2.out"].F32[1] *= 2 })
	for _, c := range []struct {
		golden []harness.Replayed
		want   string
	}{
		{nil, "or the golden is of another model"},
		{[]harness.Replayed{{Verdict: harness.ReplayClean}, {Verdict: harness.ReplayUnknown}}, "none of the golden's 1 is wrong either, so this is rounding"},
		{[]harness.Replayed{{Verdict: harness.ReplayClean}, {Row: harness.Row{Place: harness.Place{Step: 1, Stage: "h.2.out"}}, Verdict: harness.ReplayIntroduced}}, "the golden is wrong in 1 of 2 stages, first at step_01/h.2.out"},
	} {
		r.GoldenReplayed = c.golden
		if got := text(t, r, report.Options{Style: report.Style{Width: 1000}}); !strings.Contains(got, c.want) {
			t.Errorf("the report does not say %q:\n%s", c.want, got)
		}
	}

	// What a rule allows is not rounding alone.
	r.GoldenReplayed = []harness.Replayed{{Verdict: harness.ReplayClean}}
	r.Bounds = &harness.Bounds{Rules: []harness.Rule{{Stages: "h.0.*", Steps: "all", Tolerance: harness.Tolerance{Abs: 1}}}}
	if got := text(t, r, report.Options{Style: report.Style{Width: 1000}}); !strings.Contains(got, "so this is rounding, or what rules of --bounds allow, which") {
		t.Errorf("the report takes what a rule allows for rounding:\n%s", got)
	}
}
