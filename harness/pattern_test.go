package harness_test

import (
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

func TestLeftOutCovers(t *testing.T) {
	for _, c := range []struct {
		steps string
		in    []int
		out   []int
	}{
		{"all", []int{0, 1, 99}, nil},
		{"0", []int{0}, []int{1}},
		{"1-", []int{1, 2, 1000}, []int{0}},
		{"1-8", []int{1, 8}, []int{0, 9}},
		{"2,5", []int{2, 5}, []int{3, 4, 6}},
		{"0, 3-4, 7-", []int{0, 3, 4, 7, 8}, []int{1, 5, 6}},
	} {
		l := harness.LeftOut{Stages: "h.*", Steps: c.steps, Reason: "test"}
		if err := l.Check(); err != nil {
			t.Errorf("%s: %v", c.steps, err)
		}
		for _, step := range c.in {
			if !l.Covers(step, "h.0.ln_1") || l.Covers(step, "wte") {
				t.Errorf("steps %s: step %d", c.steps, step)
			}
		}
		for _, step := range c.out {
			if l.Covers(step, "h.0.ln_1") {
				t.Errorf("steps %s: step %d is in it", c.steps, step)
			}
		}
	}
	for _, steps := range []string{"", "-", "-3", "3-1", "1,", "a", "1-b", "1.5", "99999999999"} {
		if (harness.LeftOut{Stages: "*", Steps: steps, Reason: "test"}).Check() == nil {
			t.Errorf("steps %q are taken", steps)
		}
	}
}
