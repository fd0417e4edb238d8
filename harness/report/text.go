// Package report writes a comparison as text for people and as JSON for
// programs.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/words"
)

// Options is how Write writes a report.
type Options struct {
	Style
	Verbose bool // with a row for every stage of every step

	// Causes, if set, returns the usual causes of a failure at a stage. They are
	// written only where no cause is known.
	Causes func(stage string) []string

	// Closer, if set, returns the command that looks closer at a place, or "".
	Closer func(step int, stage string) string

	// Label, if set, returns a short name of a stage for the head of a column, or
	// "" for the last part of its name.
	Label func(stage string) string
}

// WriteJSON writes a report, or what a command adds to one, as one line of JSON.
func WriteJSON(w io.Writer, report any) error {
	data, err := json.Marshal(report)
	if err == nil {
		_, err = w.Write(append(data, '\n'))
	}
	return err
}

// Write writes the report for a person: the verdict and its reason; the
// stages whose own computation is wrong, with their causes; the first divergence
// with all that is needed to act on it; the error by layer and stage or, of a
// pass, by stage alone; then what was missing, skipped, left out and could not be
// judged.
func Write(w io.Writer, report *harness.Report, o Options) error {
	p := &printer{NewWriter(w, o.Style), report, o}
	p.writeHeadline()
	p.writeReplayed()
	p.writeIntroduced()
	p.writeFirstDivergence()
	mapped := p.Verdict == harness.VerdictFail && p.writeMaps()
	if mapped {
		p.writeAmplification()
	}
	switch {
	case o.Verbose:
		fmt.Fprintln(p)
		p.Table(p.rowTable())
	case !mapped:
		fmt.Fprintln(p)
		p.Table(p.stageTable())
	}
	p.writeSkipped()
	p.writeMissing()
	p.writeLeftOut()
	p.writeUnknown()
	return p.Flush()
}

// printer is a report as it is written.
type printer struct {
	*Writer
	*harness.Report
	options Options
}

// writeHeadline writes the verdict and its reason.
func (p *printer) writeHeadline() {
	n := map[harness.Status]int{}
	for i := range p.Stages {
		n[p.Stages[i].Status]++
	}
	bad := n[harness.Fail] + n[harness.Shape] + n[harness.Nonfinite]
	rest := ""
	if n[harness.Missing] > 0 {
		rest += fmt.Sprintf(", %d missing", n[harness.Missing])
	}
	if n[harness.Skipped] > 0 {
		rest += fmt.Sprintf(", %d skipped", n[harness.Skipped])
		if row := p.firstSkipped(); row.Detail != "" {
			rest += fmt.Sprintf(" from step %d on: %s", row.Step, row.Detail)
		}
	}
	verdict := p.Red("FAIL")
	if p.Passed() {
		verdict = p.Green("PASS")
	}
	fmt.Fprintf(p, "%s  ", verdict)
	switch {
	case p.Passed():
		fmt.Fprintf(p, "%s agrees with %s: %s within tolerance%s\n", p.Candidate, p.Golden, words.Count(p.Compared, "tensor"), rest)
	case len(p.Introduced) > 0:
		p.writeIntroducedHeadline()
	case p.FirstDivergence != nil:
		fmt.Fprintf(p, "%s first differs from %s at step %d, stage %s: %d of %s outside tolerance%s\n", p.Candidate, p.Golden,
			p.FirstDivergence.Step, p.Bold(p.FirstDivergence.Stage), bad, words.Count(p.Compared, "tensor"), rest)
	case n[harness.Missing] > 0:
		fmt.Fprintf(p, "%s lacks %s that %s has\n", p.Candidate, words.Count(n[harness.Missing], "tensor"), p.Golden)
	default:
		fmt.Fprintln(p, "nothing compared")
	}
}

// writeFirstDivergence writes what an engineer needs to know of the first row that
// diverges.
func (p *printer) writeFirstDivergence() {
	if p.FirstDivergence == nil {
		return
	}
	r := p.Row(*p.FirstDivergence)
	head := fmt.Sprintf("step %d, stage %s, shape %v", r.Step, r.Stage, r.Shape)
	if r.Checkpoint > 0 {
		head = fmt.Sprintf("checkpoint %d: %s", r.Checkpoint, head)
	}
	fmt.Fprintf(p, "\n%s\n", p.Bold(head))
	line := func(name, format string, args ...any) {
		fmt.Fprintf(p, "  %-31s%s\n", name+":", fmt.Sprintf(format, args...))
	}
	if r.Status == harness.Shape {
		line("shape", "got %v, want %v", r.GotShape, r.Shape)
	} else {
		line("mismatched elements", "%d / %d (%.1f%%)", r.Mismatched, r.Elements, 100*float64(r.Mismatched)/float64(r.Elements))
		line("greatest absolute difference", "%s at index %v: got %s, want %s",
			num(float64(r.MaxAbs)), r.Worst.Index, exact(r.Worst.Got), exact(r.Worst.Want))
		if !math.IsNaN(r.Scale) {
			line("greatest relative difference", "%s of max|want| %s", num(float64(r.MaxRel)), num(r.Scale))
		}
		line("tolerance", "%s", r.Allowed())
		if !math.IsNaN(float64(r.Cosine)) {
			line("rms, cosine", "%s, %.9f", num(float64(r.RMS)), float64(r.Cosine))
		}
	}
	if r.Tolerance.Reason != "" {
		line("reason for the tolerance", "%s", r.Tolerance.Reason)
	}
	if r.Detail != "" {
		line("the stage's own check", "%s", r.Detail)
	}
	switch replayed := p.replayOf(r.Place); {
	case replayed == nil || replayed.Verdict != harness.ReplayClean:
		if p.options.Causes == nil || p.hasCause(r.Place) {
			break
		}
		for i, cause := range p.options.Causes(r.Stage) {
			name := ""
			if i == 0 {
				name = "usual causes:"
			}
			fmt.Fprintf(p, "  %-31s%s\n", name, cause)
		}
	case r.FailsOwnCheck():
		line("replayed on its inputs", "correct within float32 rounding; the stage's own check is stricter")
	default:
		line("replayed on its inputs", "correct: the error came in with them, or is the golden's")
	}
	if p.options.Closer != nil {
		if command := p.options.Closer(r.Step, r.Stage); command != "" {
			line("look closer", "%s", Unbroken(command))
		}
	}
}

// num is a measure to three digits.
func num(v float64) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case v == 0:
		return "0"
	}
	return fmt.Sprintf("%.3g", v)
}

// exact is a float32 or an id to all its digits.
func exact(v harness.Float) string { return fmt.Sprintf("%.9g", float64(v)) }
