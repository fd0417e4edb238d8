package harness

import (
	"fmt"
	"math"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// stageTable has a row for each family of stages: over its layers and steps, how
// many tensors there are, how many are outside the bound, and the worst of them.
func stageTable(rows []Row, ink ink) string {
	type group struct {
		name          string
		compared, bad int
		first         *Row // the first that diverges
		worst         *Row // the largest share of its bound
	}
	var groups []*group
	for i := range rows {
		row := &rows[i]
		name := family(row.Stage)
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
	t := newTable("stage", "compared", "outside", "worst abs", "worst rel", "of bound", "worst at", "first outside at")
	for _, g := range groups {
		if g.worst == nil {
			t.AppendRow(table.Row{ink.yellow(g.name), 0, "", "", "", "", "", ""})
			continue
		}
		name, first := g.name, ""
		if g.first != nil {
			name, first = ink.red(name), g.first.Place().String()
		}
		w := g.worst
		t.AppendRow(table.Row{name, g.compared, g.bad, num(float64(w.MaxAbs)), num(float64(w.MaxRel)), share(w), w.Place(), first})
	}
	return t.Render()
}

// rowTable has a row for each stage of each step.
func rowTable(rows []Row, ink ink) string {
	t := newTable("step", "stage", "status", "mismatched", "max abs", "max rel", "rms", "cosine", "of bound")
	for i := range rows {
		r := &rows[i]
		status := string(r.Status)
		switch {
		case r.Status.Diverges():
			status = ink.red(status)
		case r.Status != Pass:
			status = ink.yellow(status)
		}
		if r.Elements == 0 {
			t.AppendRow(table.Row{r.Step, r.Stage, status, "", "", "", "", "", ""})
			continue
		}
		t.AppendRow(table.Row{r.Step, r.Stage, status, fmt.Sprintf("%d/%d", r.Mismatched, r.Elements),
			num(float64(r.MaxAbs)), num(float64(r.MaxRel)), num(float64(r.RMS)), fmt.Sprintf("%.7f", float64(r.Cosine)), share(r)})
	}
	return t.Render()
}

// share is the error as a part of its bound.
func share(r *Row) string {
	switch s := r.Share(); {
	case r.Status == Shape || r.Status == Nonfinite:
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
