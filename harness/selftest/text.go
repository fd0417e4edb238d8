package selftest

import (
	"fmt"
	"io"
	"strings"

	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/report"
)

// WriteText writes the matrix for people.
func (m *Matrix) WriteText(w io.Writer, s report.Style) error {
	p := printer{report.NewWriter(w, s)}
	p.verdict(m)
	p.faults(m)
	p.clean(m)
	p.lists(m)
	return p.Flush()
}

// A printer writes a matrix.
type printer struct{ *report.Writer }

func (p *printer) verdict(m *Matrix) {
	alone, pairs := 0, 0
	for _, row := range m.Faults {
		alone, pairs = alone+row.Alone.Planted, pairs+row.Pairs.Planted
	}
	runs, alarms := 0, 0
	for _, c := range m.Clean {
		runs, alarms = runs+c.Runs, alarms+c.Alarms
	}
	what := fmt.Sprintf("%s: %s planted %s alone and %s in pairs, %s of correct engines: ", m.Model,
		words.Count(len(m.Faults), "fault"), words.Count(alone, "time"), words.Count(pairs, "time"), words.Count(runs, "run"))
	if m.Passed() {
		fmt.Fprintf(p, "%s %sall seen, stage and cause right, no false alarm\n\n", p.Green("PASS"), what)
		return
	}
	fmt.Fprintf(p, "%s %s%d wrong, %s\n", p.Red("FAIL"), what, len(m.Wrong)-alarms, words.Count(alarms, "false alarm"))
	for i, s := range m.Wrong {
		if i == 20 {
			fmt.Fprintf(p, "  … %d in all; --json has them\n", len(m.Wrong))
			break
		}
		fmt.Fprintf(p, "  %s\n", s)
	}
	fmt.Fprintln(p)
}

// faults writes a row for each fault. Cells count the injections that were right.
func (p *printer) faults(m *Matrix) {
	t := report.NewTable("fault", "stages",
		">alone", ">seen", ">stage", ">cause", ">pairs", ">seen", ">stage", ">cause")
	for _, row := range m.Faults {
		name := row.Fault
		if !row.Alone.right() || !row.Pairs.right() {
			name = p.Red(name)
		}
		cells := []string{name, brief(row.Kinds)}
		for _, tally := range []Tally{row.Alone, row.Pairs} {
			n := tally.Visible()
			cells = append(cells, fmt.Sprint(n),
				p.of(tally.Detected, n), p.of(tally.StageRight, n), p.of(tally.CauseRight, n))
		}
		t.Row(cells...)
	}
	p.Table(t)
}

// of returns n, in red unless it is all.
func (p *printer) of(n, all int) string {
	if n == all {
		return fmt.Sprint(n)
	}
	return p.Red(fmt.Sprint(n))
}

// brief returns kinds of stages, of several long ones the first.
func brief(kinds []string) string {
	short := strings.ReplaceAll(strings.Join(kinds, " "), "h.*.", "")
	if len(kinds) > 1 && len(short) > 21 {
		return strings.ReplaceAll(words.Some(kinds, 1), "h.*.", "")
	}
	return short
}

func (p *printer) clean(m *Matrix) {
	fmt.Fprintln(p)
	t := report.NewTable("correct engines", ">runs", ">tensors", ">undecided", ">false alarms")
	for _, c := range m.Clean {
		t.Row(c.Variant, fmt.Sprint(c.Runs), fmt.Sprint(c.Tensors), fmt.Sprint(c.Unknown), p.of(c.Alarms, 0))
	}
	p.Table(t)
	for _, s := range m.NotChecked {
		fmt.Fprintf(p, "not checked: %s\n", s)
	}
}

func (p *printer) lists(m *Matrix) {
	fmt.Fprintln(p, "\nfaults that change nothing where they are planted")
	for _, x := range m.Identities {
		if x.Unseen > 0 {
			fmt.Fprintf(p, "  %s %s at %s: %s\n", words.Count(x.Unseen, "time"), x.Faults, x.Stages, x.Reason)
		}
	}
	silent := 0
	for _, row := range m.Faults {
		silent += row.Silent
	}
	if silent > 0 {
		fmt.Fprintf(p, "  %s nothing was planted, since the fault has no effect there: no past at the prompt, "+
			"one position at a decode step, the third of q, k, v that another order leaves in place\n", words.Count(silent, "time"))
	}
	if len(m.Equivalents) > 0 {
		fmt.Fprintln(p, "\nfaults named together, since nothing at the place tells them apart")
	}
	for _, e := range m.Equivalents {
		fmt.Fprintf(p, "  %s at %s, %s\n",
			strings.Join(e.Faults, ", "), strings.Join(e.Kinds, " "), words.Count(e.Times, "time"))
	}
}
