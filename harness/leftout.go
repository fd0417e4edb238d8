package harness

import (
	"fmt"
	"strconv"
	"strings"

	"checkpoint12/harness/internal/names"
)

// LeftOut is one rule of a manifest's left_out: which stages at which steps the
// exporter did not write, and why.
type LeftOut struct {
	Stages string `json:"stages"` // a pattern as Match takes it
	Steps  string `json:"steps"`  // "all", "0", "1-", "1-8", "2,5", or several of these with commas
	Reason string `json:"reason"`
}

// Covers reports whether the rule leaves out the stage at the step.
func (l LeftOut) Covers(step int, stage string) bool {
	in, err := stepsContain(l.Steps, step)
	return err == nil && in && names.Match(l.Stages, stage)
}

// Check returns an error if the rule is not well formed.
func (l LeftOut) Check() error {
	if err := names.CheckPattern(l.Stages); err != nil {
		return err
	}
	if _, err := stepsContain(l.Steps, 0); err != nil {
		return err
	}
	if l.Reason == "" {
		return fmt.Errorf("stages %q are left out without a reason", l.Stages)
	}
	return nil
}

// stepsContain reads a list of steps and reports whether step is in it.
func stepsContain(list string, step int) (bool, error) {
	if list == "all" {
		return true, nil
	}
	in := false
	for part := range strings.SplitSeq(list, ",") {
		lo, hi, isRange := strings.Cut(strings.TrimSpace(part), "-")
		a, err := strconv.ParseUint(lo, 10, 31)
		if err != nil {
			return false, fmt.Errorf("steps %q: want all, 0, 1-, 1-8 or 2,5", list)
		}
		b := a
		switch {
		case isRange && hi == "":
			b = 1<<31 - 1
		case isRange:
			if b, err = strconv.ParseUint(hi, 10, 31); err != nil || b < a {
				return false, fmt.Errorf("steps %q: want all, 0, 1-, 1-8 or 2,5", list)
			}
		}
		in = in || step >= int(a) && step <= int(b)
	}
	return in, nil
}
