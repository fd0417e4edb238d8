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
	p.cuts(m)
	p.clean(m)
	p.lists(m)
	return p.Flush()
}

// A printer writes a matrix.
type printer struct{ *report.Writer }

func (p *printer) verdict(m *Matrix) {
	alone, pairs, cut := 0, 0, 0
	for _, row := range m.Faults {
		alone, pairs = alone+row.Alone.Planted, pairs+row.Pairs.Planted
	}
	for _, c := range m.Cuts {
		cut += c.Faults.Planted
	}
	runs, alarms := 0, 0
	for _, c := range m.Clean {
		runs, alarms = runs+c.Runs, alarms+c.Alarms
	}
	name := m.Model
	if m.DType != "" {
		name += " in " + m.DType
	}
	what := fmt.Sprintf("%s: %s planted %s alone, %s in pairs and %s in other cuts, %s of correct engines: ",
		name, words.Count(len(m.Faults), "fault"), words.Count(alone, "time"),
		words.Count(pairs, "time"), words.Count(cut, "time"), words.Count(runs, "run"))
	if m.Passed() {
		p.Printf("%s %sall seen, stage and cause right, no false alarm\n\n", p.Green("PASS"), what)
		return
	}
	p.Printf("%s %s%d wrong, %s\n", p.Red("FAIL"), what, len(m.Wrong)-alarms, words.Count(alarms, "false alarm"))
	for i, s := range m.Wrong {
		if i == 20 {
			p.Printf("  … %d in all; --json has them\n", len(m.Wrong))
			break
		}
		p.Printf("  %s\n", s)
	}
	p.Printf("\n")
}

// faults writes a row for each fault. Cells count the injections that went right.
func (p *printer) faults(m *Matrix) {
	t := report.NewTable("fault", "stages",
		">alone", ">seen", ">stage", ">cause", ">pairs", ">seen", ">stage", ">cause")
	for _, row := range m.Faults {
		cells := []any{row.Fault, brief(row.Kinds)}
		if !row.Alone.right() || !row.Pairs.right() {
			cells[0] = p.Red(row.Fault)
		}
		for _, tally := range []Tally{row.Alone, row.Pairs} {
			n := tally.Visible()
			cells = append(cells, n, p.of(tally.Detected, n), p.of(tally.StageRight, n), p.of(tally.CauseRight, n))
		}
		t.Row(cells...)
	}
	p.Table(t)
}

// cuts writes a row for each way to run otherwise than the goldens.
func (p *printer) cuts(m *Matrix) {
	p.Printf("\n")
	t := report.NewTable("faults in runs cut or padded otherwise", ">alone", ">seen", ">stage", ">cause")
	for _, c := range m.Cuts {
		n := c.Faults.Visible()
		t.Row(c.Cut, n, p.of(c.Faults.Detected, n), p.of(c.Faults.StageRight, n), p.of(c.Faults.CauseRight, n))
	}
	p.Table(t)
}

// of returns n, in red unless it is all.
func (p *printer) of(n, all int) any {
	if n == all {
		return n
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
	p.Printf("\n")
	t := report.NewTable("correct engines", ">runs", ">tensors", ">undecided", ">false alarms")
	for _, c := range m.Clean {
		t.Row(c.Variant, c.Runs, c.Tensors, c.Unknown, p.of(c.Alarms, 0))
	}
	p.Table(t)
	for _, s := range m.NotChecked {
		p.Printf("not checked: %s\n", s)
	}
}

func (p *printer) lists(m *Matrix) {
	if m.DType != "" {
		p.Printf("\nfaults that move a stage by two rounding bounds of %s at most, where they need not be seen\n", m.DType)
		for _, row := range m.Faults {
			if n := row.Alone.Identity + row.Pairs.Identity; n > 0 && row.MostAt != "" {
				p.Printf("  %s %s: up to %.2g of the bound, at %s\n", words.Count(n, "time"), row.Fault, float64(row.Most), row.MostAt)
			}
		}
	}
	p.Printf("\nfaults that change nothing where they are planted\n")
	for _, x := range m.Identities {
		if x.Unseen > 0 {
			p.Printf("  %s %s at %s: %s\n", words.Count(x.Unseen, "time"), x.Faults, x.Stages, x.Reason)
		}
	}
	for _, c := range m.Cuts {
		if len(c.Silent) > 0 {
			p.Printf("  %s: %s: %s\n", c.Cut, strings.Join(c.Silent, ", "), c.Reason)
		}
	}
	silent := 0
	for _, row := range m.Faults {
		silent += row.Silent
	}
	if silent > 0 {
		p.Printf("  %s nothing was planted, since the fault has no effect there: no past at the prompt, "+
			"one position at a decode step, the third of q, k, v that another order leaves in place, padding that "+
			"is not there\n", words.Count(silent, "time"))
	}
	if len(m.Equivalents) > 0 {
		p.Printf("\nfaults named together, since nothing at the place tells them apart\n")
	}
	for _, e := range m.Equivalents {
		p.Printf("  %s at %s, %s\n",
			strings.Join(e.Faults, ", "), strings.Join(e.Kinds, " "), words.Count(e.Times, "time"))
	}
}
