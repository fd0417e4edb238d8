package verify

import (
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/report/ci"
	"checkpoint12/harness/verify/engine"
)

// Why a case was not checked is what its own golden, or its own dump, says.
func TestNotCheckedOfItsCase(t *testing.T) {
	golden := func(reason string) []*Golden {
		m := &harness.Manifest{}
		if reason != "" {
			m.LeftOut = []harness.LeftOut{{Stages: "logits_last", Steps: "all", Reason: reason}}
		}
		return []*Golden{{Engine: "float64", manifest: m}}
	}
	has := &outcome{has: map[int]bool{9: true}}
	s := &Suite{schedule: gpt2.Schedule(1, nil), Cases: []*Case{
		{Name: "a", Goldens: golden("of a"), outcome: has}, {Name: "b", Goldens: golden("of b"), outcome: has},
		{Name: "c", Goldens: golden(""), outcome: has}, {Name: "d", Goldens: golden("of d"), outcome: new(outcome)},
	}}
	for _, tt := range []struct {
		verdict string
		engine  *engine.Runner
		want    []string
	}{
		{NotChecked, nil, []string{"of a", "of b", "its goldens have none of logits_last", "of d"}},
		{harness.VerdictPass, nil, []string{"of a", "of b", "its goldens have none of logits_last", "of d"}},
		{NotChecked, &engine.Runner{}, []string{"of a", "of b", "its goldens and the dumps share none of logits_last", "the engine dumps none of logits_last"}},
	} {
		s.o.Engine = tt.engine
		tests := s.tests(CheckpointReport{Checkpoint: 9, Verdict: tt.verdict, lines: []line{{why: "of a"}}}, nil)
		for i, want := range tt.want {
			if len(tests) != len(tt.want) || tests[i].Outcome != ci.NotChecked || tests[i].Message != NotChecked+": "+want {
				t.Errorf("%s, engine %v: %+v, want %q", tt.verdict, tt.engine != nil, tests, want)
				break
			}
		}
	}
}
