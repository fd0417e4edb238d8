package selftest

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// TextOptions says how a matrix is written.
type TextOptions struct {
	Color bool
}

// WriteText writes the matrix for a person: the verdict, what went wrong, a row
// for each fault, the clean runs, and the faults that were not to be seen.
func (m *Matrix) WriteText(w io.Writer, o TextOptions) error {
	p := printer{color: o.Color}
	p.verdict(m)
	p.faults(m)
	p.clean(m)
	p.lists(m)
	_, err := io.WriteString(w, p.String())
	return err
}

type printer struct {
	strings.Builder
	color bool
}

func (p *printer) paint(code, s string) string {
	if !p.color {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

const red, green = "1;31", "1;32"

func (p *printer) verdict(m *Matrix) {
	var alone, pairs Tally
	for _, row := range m.Faults {
		alone.addUp(row.Alone)
		pairs.addUp(row.Pairs)
	}
	runs, alarms := 0, 0
	for _, c := range m.Clean {
		runs, alarms = runs+c.Runs, alarms+c.Alarms
	}
	what := fmt.Sprintf("%s: %d faults planted %d times alone and %d times in pairs, %d runs of right engines: ",
		m.Model, len(m.Faults), alone.Planted, pairs.Planted, runs)
	if m.Passed() {
		fmt.Fprintf(p, "%s %sall seen, stage and cause right, no false alarm\n\n", p.paint(green, "PASS"), what)
		return
	}
	fmt.Fprintf(p, "%s %s%d wrong, %d false alarms\n", p.paint(red, "FAIL"), what, len(m.Wrong)-alarms, alarms)
	for i, s := range m.Wrong {
		if i == 20 {
			fmt.Fprintf(p, "  … %d in all; --json has them\n", len(m.Wrong))
			break
		}
		fmt.Fprintf(p, "  %s\n", s)
	}
	fmt.Fprintln(p)
}

func (t *Tally) addUp(o Tally) {
	t.Planted += o.Planted
	t.Identity += o.Identity
	t.Detected += o.Detected
	t.StageRight += o.StageRight
	t.CauseRight += o.CauseRight
}

// faults writes the matrix itself. A cell is how many were right of those that
// were to be seen.
func (p *printer) faults(m *Matrix) {
	t := newTable(
		[]string{"fault", "stages", "alone", "seen", "stage", "cause", "in pairs", "seen", "stage", "cause", "not to be seen"},
		"fault", "stages")
	for _, row := range m.Faults {
		name := row.Fault
		if !row.Alone.right() || !row.Pairs.right() {
			name = p.paint(red, name)
		}
		cells := table.Row{name, brief(row.Kinds)}
		for _, tally := range []Tally{row.Alone, row.Pairs} {
			n := tally.Visible()
			cells = append(cells, n, p.of(tally.Detected, n), p.of(tally.StageRight, n), p.of(tally.CauseRight, n))
		}
		hidden := ""
		if n := row.Alone.Identity + row.Pairs.Identity; n > 0 {
			hidden = fmt.Sprint(n)
		}
		t.AppendRow(append(cells, hidden))
	}
	fmt.Fprintln(p, t.Render())
}

// of is n, in red unless it is all.
func (p *printer) of(n, all int) string {
	if n == all {
		return fmt.Sprint(n)
	}
	return p.paint(red, fmt.Sprint(n))
}

// brief is kinds of stages in one short cell.
func brief(kinds []string) string {
	var words []string
	for _, k := range kinds {
		words = append(words, strings.TrimPrefix(k, "h.*."))
	}
	if len(words) > 3 {
		return fmt.Sprintf("%s and %d more", words[0], len(words)-1)
	}
	return strings.Join(words, " ")
}

func (p *printer) clean(m *Matrix) {
	fmt.Fprintln(p)
	t := newTable([]string{"right engines", "runs", "tensors", "undecided", "false alarms"}, "right engines")
	for _, c := range m.Clean {
		t.AppendRow(table.Row{c.Variant, c.Runs, c.Tensors, c.Unknown, p.of(c.Alarms, 0)})
	}
	fmt.Fprintln(p, t.Render())
	for _, s := range m.NotChecked {
		fmt.Fprintf(p, "not checked: %s\n", s)
	}
}

func (p *printer) lists(m *Matrix) {
	fmt.Fprintln(p, "\nnot to be seen")
	for _, x := range m.Identities {
		if x.Unseen == 0 {
			continue
		}
		fmt.Fprintf(p, "  %d times %s at %s: %s\n", x.Unseen, x.Faults, x.Stages, x.Reason)
	}
	silent := 0
	for _, row := range m.Faults {
		silent += row.Silent
	}
	if silent > 0 {
		fmt.Fprintf(p, "  %d times nothing was planted: the fault says nothing there (no past at the prompt, one position at a decode step, the third of q, k, v that another order leaves in place)\n", silent)
	}
	if len(m.Equivalents) > 0 {
		fmt.Fprintln(p, "\nnamed together, since nothing at the place tells them apart")
	}
	for _, e := range m.Equivalents {
		fmt.Fprintf(p, "  %s at %s, %d times\n", strings.Join(e.Faults, ", "), strings.Join(e.Kinds, " "), e.Times)
	}
}

// newTable is a table without a frame; all columns but those named are numbers.
func newTable(columns []string, left ...string) table.Writer {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.Options{}
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	header := make(table.Row, len(columns))
	configs := make([]table.ColumnConfig, len(columns))
	for i, c := range columns {
		header[i] = c
		configs[i] = table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight}
		if slices.Contains(left, c) {
			configs[i].Align, configs[i].AlignHeader = text.AlignLeft, text.AlignLeft
		}
	}
	t.AppendHeader(header)
	t.SetColumnConfigs(configs)
	t.SuppressTrailingSpaces()
	return t
}
