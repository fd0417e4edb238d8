package report

import (
	"fmt"
	"math"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
)

// stageTable has a row for each family of stages: over its layers and steps, how
// many tensors there are, how many are outside the bound, and the worst of them.
func stageTable(rows []harness.Row, ink ink) string {
	type group struct {
		name          string
		compared, bad int
		first         *harness.Row // the first that diverges
		worst         *harness.Row // the largest share of its bound
	}
	var groups []*group
	for i := range rows {
		row := &rows[i]
		name := names.Family(row.Stage)
		at := slices.IndexFunc(groups, func(g *group) bool { return g.name == name })
		if at < 0 {
			at = len(groups)
			groups = append(groups, &group{name: name})
		}
		g := groups[at]
		if !row.Status.Compared() {
			continue
		}
		g.compared++
		if row.Status.Diverges() {
			if g.bad++; g.first == nil {
				g.first = row
			}
		}
		if g.worst == nil || row.Share() > g.worst.Share() {
			g.worst = row
		}
	}
	columns := []string{"stage", "compared", "worst abs", "worst rel", "of bound", "worst at", "outside", "first outside at"}
	if !slices.ContainsFunc(rows, func(r harness.Row) bool { return r.Status.Diverges() }) {
		columns = columns[:6]
	}
	t := newTable(columns...)
	for _, g := range groups {
		w := g.worst
		if w == nil {
			t.AppendRow(table.Row{ink.yellow(g.name), 0})
			continue
		}
		cells := table.Row{g.name, g.compared, num(float64(w.MaxAbs)), num(float64(w.MaxRel)), share(w), w.Place()}
		if w.Status == harness.Shape {
			cells[2], cells[3] = "", ""
		}
		if g.first != nil {
			cells[0] = ink.red(g.name)
			cells = append(cells, g.bad, g.first.Place())
		}
		t.AppendRow(cells)
	}
	return t.Render()
}

// rowTable has a row for each stage of each step.
func rowTable(rows []harness.Row, ink ink) string {
	t := newTable("step", "stage", "status", "mismatched", "max abs", "max rel", "rms", "cosine", "of bound")
	for i := range rows {
		r := &rows[i]
		status := string(r.Status)
		switch {
		case r.Status.Diverges():
			status = ink.red(status)
		case r.Status != harness.Pass:
			status = ink.yellow(status)
		}
		if r.Elements == 0 {
			t.AppendRow(table.Row{r.Step, r.Stage, status})
			continue
		}
		t.AppendRow(table.Row{r.Step, r.Stage, status, fmt.Sprintf("%d/%d", r.Mismatched, r.Elements),
			num(float64(r.MaxAbs)), num(float64(r.MaxRel)), num(float64(r.RMS)), fmt.Sprintf("%.7f", float64(r.Cosine)), share(r)})
	}
	return t.Render()
}

// share is the error as a part of its bound.
func share(r *harness.Row) string {
	switch s := r.Share(); {
	case r.Status == harness.Shape || r.Status == harness.Nonfinite:
		return string(r.Status)
	case math.IsInf(s, 0):
		return "inexact"
	case s == 0:
		return "exact"
	case s >= 1000:
		return fmt.Sprintf("%.1e", s)
	default:
		return fmt.Sprintf("%.3f", s)
	}
}

// newTable is a table without a frame, its numbers to the right.
func newTable(columns ...string) table.Writer {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.Options{SeparateHeader: false}
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	header := make(table.Row, len(columns))
	configs := make([]table.ColumnConfig, len(columns))
	for i, c := range columns {
		header[i] = c
		configs[i] = table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight}
		if slices.Contains([]string{"stage", "status", "worst at", "first outside at"}, c) {
			configs[i].Align, configs[i].AlignHeader = text.AlignLeft, text.AlignLeft
		}
	}
	t.AppendHeader(header)
	t.SetColumnConfigs(configs)
	t.SuppressTrailingSpaces()
	return t
}
