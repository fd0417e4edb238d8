package harness

import "fmt"

// TB is the part of a *testing.T that [Check] needs.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Check compares what a model under test computed with a golden, and fails t with
// the first stage that differs, in execution order over all steps. Every stage
// that the golden has and the recorder wanted must be there. Comparing nothing
// fails too.
func Check(t TB, golden Source, candidate *Recorder) {
	t.Helper()
	report, err := Compare(candidate.schedule, golden, candidate, CompareOptions{RequireAll: true, Match: candidate.match})
	if err != nil {
		t.Fatalf("%v", err)
		return
	}
	for _, note := range report.Notes {
		t.Logf("%s", note)
	}
	bad := 0
	for i := range report.Stages {
		if row := &report.Stages[i]; row.Status.Diverges() || row.Status == Missing {
			if bad++; bad == 1 {
				t.Errorf("%v", row)
			}
		}
	}
	if bad > 1 {
		t.Logf("%d of %d tensors differ in all; those after the first may only inherit its error", bad, len(report.Stages))
	}
}

// String returns what became of the row and, of one that diverges, where it is
// worst and what is allowed there.
func (r *Row) String() string {
	s := fmt.Sprintf("step %d, stage %s: ", r.Step, r.Stage)
	switch {
	case r.Status == Missing:
		return s + "missing: the golden has it, the candidate does not"
	case r.Status == Shape:
		return s + fmt.Sprintf("shape %v, want %v", r.GotShape, r.Shape)
	case r.Worst == nil || r.Mismatched == 0:
		s += string(r.Status)
	default:
		s += fmt.Sprintf("%d of %d values differ, worst at %v: got %v, want %v; allowed is %s",
			r.Mismatched, r.Elements, r.Worst.Index, r.Worst.Got, r.Worst.Want, r.Allowed())
	}
	if r.Tolerance.Reason != "" && r.Mismatched > 0 {
		s += " (" + r.Tolerance.Reason + ")"
	}
	if r.Detail != "" {
		s += ": " + r.Detail
	}
	return s
}

// Allowed returns the row's tolerance and what it is made of, in figures.
func (r *Row) Allowed() string {
	t := r.Tolerance
	switch {
	case t.Abs == 0 && t.Rel == 0:
		return "0: exact"
	case t.Rel == 0:
		return fmt.Sprintf("%.3g", t.Abs)
	}
	return fmt.Sprintf("%.3g = %.3g + %.3g * max|want|", r.Bound, t.Abs, t.Rel)
}
