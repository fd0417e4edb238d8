package harness_test

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"checkpoint12/harness"
)

// FuzzSteps asks that a list of steps is refused, or covers those that it names: a step
// is covered by a list if and only if a part of it covers the step.
func FuzzSteps(f *testing.F) {
	for _, list := range []string{"all", "0", "1-", "1-8", "2,5", " 1 , 3-4", "", ",", "-", "-1", "8-1", "99999999999999999999", "1-2147483647"} {
		f.Add(list, 3)
	}
	f.Fuzz(func(t *testing.T, list string, step int) {
		rule := func(steps string) harness.LeftOut {
			return harness.LeftOut{Stages: "*", Steps: steps, Reason: "not asked for"}
		}
		if rule(list).Check() != nil {
			return
		}
		step &= math.MaxInt32
		covered := false
		for part := range strings.SplitSeq(list, ",") {
			if err := rule(part).Check(); err != nil {
				t.Errorf("%q is taken, and of it not %q: %v", list, part, err)
			}
			covered = covered || rule(part).Covers(step, "x")
		}
		if rule(list).Covers(step, "x") != covered {
			t.Errorf("%q covers step %d: %v, its parts %v", list, step, !covered, covered)
		}
		if one := strconv.Itoa(step); !rule(one).Covers(step, "x") || rule(one).Covers(step^1, "x") || !rule(one+"-").Covers(step, "x") {
			t.Errorf("step %d is not itself", step)
		}
	})
}
