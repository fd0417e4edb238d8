package cli

import (
	"fmt"

	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/report"
)

// maxViolations is how many violations are printed one by one.
const maxViolations = 10

// writeMore writes what the report itself does not say.
func writeMore(w *report.Writer, a *diagnose.Result) error {
	if a.Tokens == nil {
		fmt.Fprintln(w, "\nno golden was compared: each stage was judged on its own inputs alone")
	}
	if a.Tokens != nil && a.Tokens.String() != "" {
		fmt.Fprintf(w, "\n%s\n", a.Tokens)
	}
	if len(a.Violations) > 0 && a.Replayed == nil {
		fmt.Fprintf(w, "\nthe dump contradicts itself at %d of %s checked, whatever the golden:\n", len(a.Violations), words.Count(a.Checked, "place"))
		for i, v := range a.Violations {
			if i == maxViolations {
				fmt.Fprintf(w, "  and %d more\n", len(a.Violations)-i)
				break
			}
			fmt.Fprintf(w, "  step %d, stage %s: %s: %s\n", v.Step, v.Stage, v.Rule, v.Detail)
		}
	}
	if a.Quorum != nil {
		writeQuorum(w, a)
	}
	return w.Flush()
}

// writeQuorum writes how far the candidate is from each engine of the golden, and
// what the engines say of each other.
func writeQuorum(w *report.Writer, a *diagnose.Result) {
	fmt.Fprintln(w)
	t := report.NewTable("", "")
	for _, v := range a.Engines {
		bad := 0
		for i := range v.Report.Stages {
			if v.Report.Stages[i].Status.Diverges() {
				bad++
			}
		}
		t.Row("against "+v.Engine+":", fmt.Sprintf("%d of %s outside tolerance", bad, words.Count(v.Report.Compared, "tensor")))
	}
	w.Table(t)
	for _, line := range a.Quorum.Lines() {
		fmt.Fprintln(w, line)
	}
}
