package harness_test

import (
	"slices"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, stage string
		want           bool
		reason         string
	}{
		{"wte", "wte", true, "a name is itself"},
		{"wte", "wte2", false, "to the end"},
		{"*", "h.0.attn.c_attn", true, "* is anything"},
		{"h.*.attn.scores", "h.0.attn.scores", true, "* is a number"},
		{"h.*.attn.scores", "h.23.attn.scores", true, "of any length"},
		{"h.*.c_proj", "h.0.attn.c_proj", true, "* crosses dots"},
		{"h.*.attn.scores", "h.0.attn.probs", false, "the rest counts"},
		{"h.?.ln_1", "h.9.ln_1", true, "? is one character"},
		{"h.?.ln_1", "h.10.ln_1", false, "and only one"},
		{"h.[0-2].ln_1", "h.1.ln_1", true, "a range"},
		{"h.[!0-2].ln_1", "h.1.ln_1", false, "Python's negation"},
		{"h.[!0-2].ln_1", "h.3.ln_1", true, "Python's negation lets others in"},
		{"probs_t*", "probs_t0.5", true, "temperatures"},
		{"", "wte", false, "nothing matches nothing"},
		{"h.[", "h.[", false, "a malformed pattern matches nothing"},
	} {
		if got := names.Match(c.pattern, c.stage); got != c.want {
			t.Errorf("%s: names.Match(%q, %q) = %v", c.reason, c.pattern, c.stage, got)
		}
	}
	for _, p := range []string{"", "h.[", "h.[]"} {
		if names.CheckPattern(p) == nil {
			t.Errorf("names.CheckPattern(%q) finds nothing", p)
		}
	}
}

func TestLeftOutCheck(t *testing.T) {
	for steps, want := range map[string]bool{
		"all": true, "0": true, "1-": true, "1-8": true, "2,5": true, "0, 3-4, 7-": true, "3-3": true,
		"": false, "-": false, "-3": false, "3-1": false, "1,": false, "a": false, "1-b": false, "1.5": false, "99999999999": false,
	} {
		if err := (harness.LeftOut{Stages: "*", Steps: steps, Reason: "test"}).Check(); (err == nil) != want {
			t.Errorf("steps %q: %v", steps, err)
		}
	}
}

func TestLeftOutCovers(t *testing.T) {
	for steps, want := range map[string][]int{
		"all": {0, 1, 2, 3, 4, 5}, "0": {0}, "1-": {1, 2, 3, 4, 5}, "1-3": {1, 2, 3}, "2,5": {2, 5}, "0, 3-4": {0, 3, 4}, "nonsense": nil,
	} {
		rule := harness.LeftOut{Stages: "h.*.attn.*", Steps: steps}
		var got []int
		for step := range 6 {
			if rule.Covers(step, "h.10.attn.q") {
				got = append(got, step)
			}
			if rule.Covers(step, "h.10.ln_1") {
				t.Errorf("steps %q: covers a stage that it does not name", steps)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("steps %q: covers %v, want %v", steps, got, want)
		}
	}
}
