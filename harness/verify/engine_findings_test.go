package verify

import (
	"testing"

	"checkpoint12/harness"
)

// What the goldens that decide do not confirm is a note, not a failure.
func TestOverrule(t *testing.T) {
	at := harness.Place{Step: 1, Stage: "ln_f"}
	for _, tt := range []struct {
		why    string
		failed bool
		rows   []harness.Row // of the report by all goldens
		want   bool
	}{
		{"the reference fails too", true, []harness.Row{{Place: at, Status: harness.Fail}}, true},
		{"the reference agrees", true, []harness.Row{{Place: at, Status: harness.Pass}}, false},
		{"the reference lacks it", true, nil, true},
		{"nothing failed", false, []harness.Row{{Place: at, Status: harness.Pass}}, false},
	} {
		f := Finding{Step: at.Step, Stage: at.Stage, Share: 2, Failed: tt.failed, Detail: "off"}
		f.overrule(&harness.Report{Stages: tt.rows})
		if f.Failed != tt.want || (f.Note != "") != (tt.failed && !tt.want) || f.Share != 2 {
			t.Errorf("%s: %+v", tt.why, f)
		}
	}
}

// A place that is wrong in two cases is there once, with the causes of the first that has any.
func TestCausesMergeOverCases(t *testing.T) {
	at := func(step int) harness.Place { return harness.Place{Step: step, Stage: "h.0.mlp.act"} }
	wrong := func(causes ...string) *harness.Report {
		r := new(harness.Report)
		for step := range 2 {
			r.Introduced = append(r.Introduced, harness.Introduced{Step: step, Stage: at(step).Stage})
			r.Replayed = append(r.Replayed, harness.Replayed{
				Row: harness.Row{Place: at(step)}, Verdict: harness.ReplayIntroduced,
			})
		}
		for _, c := range causes {
			r.Explanations = append(r.Explanations, harness.Explanation{Step: 1, Stage: at(1).Stage, Fault: c})
		}
		return r
	}
	e := &EngineReport{merged: new(harness.Report), unseen: map[harness.Status]int{}}
	for _, r := range []*harness.Report{wrong(), wrong("gelu_erf"), wrong("other"), new(harness.Report)} {
		e.merge(r)
	}
	m := e.merged
	if len(m.Introduced) != 2 || len(m.Replayed) != 2 || len(m.Explanations) != 1 || m.Explanations[0].Fault != "gelu_erf" || e.wrong != 3 {
		t.Errorf("%+v in %d cases", m, e.wrong)
	}
}
