package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
)

// A map shows one step at a glance: a line for each layer, a column for each of
// its stages, and in each cell how large the error is as a fraction of its
// tolerance.
//
// The layer is the number in a stage's name, the column its family.

// cell is one stage of the map.
type cell struct {
	row      *harness.Row      // nil where the golden has no such stage
	replayed *harness.Replayed // nil without a replay
}

// The marks of a cell: one for the error and one behind it.
const (
	markExact     = "="
	markFar       = "."
	markNear      = "o"
	markOther     = "x"
	markMissing   = "-"
	markShape     = "S"
	markNonfinite = "N"
	markSkipped   = "~"
	markNoGolden  = "_"
	markOwnCheck  = "c"

	markIntroduced = "!"
	markUnknown    = "?"
)

// The legends explain the marks of a comparison, of a replay, and of a check.
var (
	legend = []string{
		markExact + " exact", markFar + " below a tenth of tolerance", markNear + " within it",
		"1 up to 10 times it", "2 up to 100", "and so on",
	}
	otherLegend = []string{
		markOther + " not the same", markNonfinite + " not finite", markShape + " another shape", markMissing + " missing",
		markSkipped + " fed other tokens than the golden",
	}
	replayLegend = []string{
		markIntroduced + " its own computation is wrong", markUnknown + " cannot be judged", markNoGolden + " no golden",
	}
	ownCheckLegend = []string{markOwnCheck + " within tolerance of the golden, but fails the stage's own check"}
)

// mark returns the error of the cell as one character.
func (c cell) mark() string {
	if c.row == nil {
		return markNoGolden
	}
	switch share := c.row.Share(); {
	case c.row.Status == harness.Missing:
		return markMissing
	case c.row.Status == harness.Skipped:
		return markSkipped
	case c.row.Status == harness.Shape:
		return markShape
	case c.row.Status == harness.Nonfinite:
		return markNonfinite
	case c.row.FailsOwnCheck():
		return markOwnCheck
	case share == 0:
		return markExact
	case share <= 0.1:
		return markFar
	case share <= 1:
		return markNear
	case math.IsInf(share, 1):
		return markOther
	case share >= 1e8:
		return "9"
	default:
		return string(rune('1' + int(math.Log10(share))))
	}
}

// text returns the marks of the cell, coloured.
func (c cell) text(s Style) string {
	mark := c.mark()
	if c.replayed != nil {
		switch c.replayed.Verdict {
		case harness.ReplayIntroduced:
			return s.paint("1;37;41", mark+markIntroduced)
		case harness.ReplayUnknown:
			return s.Yellow(mark + markUnknown)
		}
	}
	switch {
	case mark == "1" || mark == markMissing || mark == markSkipped:
		return s.Yellow(mark)
	case mark == "2" || mark == "3":
		return s.paint("31", mark)
	case c.row != nil && c.row.Status.Diverges():
		return s.Red(mark)
	}
	return mark
}

// writeMaps writes the map of the prompt, and of the worst step after it. It
// writes nothing, and returns false, for a model without layers.
func (p *printer) writeMaps() bool {
	for i, step := range p.mapSteps() {
		before, layers, after := p.mapOf(step)
		if layers == nil {
			return false
		}
		title := "error at the prompt, step 0, as a fraction of each stage's tolerance"
		switch {
		case i > 0:
			title = fmt.Sprintf("and at step %d, the worst after the prompt", step)
		case step > 0:
			title = fmt.Sprintf("error at step %d, the worst, as a fraction of each stage's tolerance", step)
		}
		fmt.Fprintf(p, "\n%s\n", p.Bold(title))
		if len(before) > 0 {
			p.items("  ", before)
		}
		p.Table(layers)
		if len(after) > 0 {
			p.items("  ", after)
		}
	}
	fmt.Fprintln(p)
	p.items("", legend)
	p.items("", otherLegend)
	if p.Replayed != nil {
		p.items("", replayLegend)
	}
	if slices.ContainsFunc(p.Stages, func(row harness.Row) bool { return row.FailsOwnCheck() }) {
		p.items("", ownCheckLegend)
	}
	return true
}

// mapSteps returns step 0, if there is anything of it, and the step after it that
// is worst: the one with the most introduced stages, and of equals the one with the
// largest error as a fraction of its tolerance.
func (p *printer) mapSteps() []int {
	type badness struct {
		introduced int
		share      float64
	}
	bad := map[int]badness{}
	for i := range p.Stages {
		row := &p.Stages[i]
		b := bad[row.Step]
		if s := row.Share(); s > b.share { // no NaN
			b.share = s
		}
		bad[row.Step] = b
	}
	for _, in := range p.Introduced {
		b := bad[in.Step]
		b.introduced++
		bad[in.Step] = b
	}
	steps := slices.Sorted(maps.Keys(bad))
	if len(steps) == 0 {
		return nil
	}
	prompt := 0 // how many of the steps are the prompt
	if steps[0] == 0 {
		prompt = 1
	}
	if len(steps) == prompt {
		return steps
	}
	worst := slices.MaxFunc(steps[prompt:], func(a, b int) int {
		return cmp.Or(cmp.Compare(bad[a].introduced, bad[b].introduced), cmp.Compare(bad[a].share, bad[b].share))
	})
	return append(steps[:prompt], worst)
}

// mapOf returns the map of one step: its layers as a table, nil if there are
// none, and the stages before and after these.
func (p *printer) mapOf(step int) (before []string, table *Table, after []string) {
	var families, layers []string // in order of first sight
	cells := map[string]map[string]string{}
	for _, c := range p.cells(step) {
		stage, text := c.stage(), c.text(p.Style)
		layer := names.Numbers(stage)
		switch {
		case layer != "":
		case layers == nil:
			before = append(before, p.label(stage)+" "+text)
			continue
		default:
			after = append(after, p.label(stage)+" "+text)
			continue
		}
		family := names.Family(stage)
		if !slices.Contains(families, family) {
			families = append(families, family)
		}
		if cells[layer] == nil {
			cells[layer] = map[string]string{}
			layers = append(layers, layer)
		}
		cells[layer][family] = text
	}
	if layers == nil {
		return before, nil, nil
	}
	head := []string{">"}
	for _, family := range families {
		head = append(head, fmt.Sprintf("%-2s", p.label(strings.Replace(family, "*", layers[0], 1))))
	}
	table = NewTable(head...)
	table.gap = " "
	for _, layer := range layers {
		row := []string{"  " + layer + " "}
		for _, family := range families {
			row = append(row, cells[layer][family])
		}
		table.Row(row...)
	}
	return before, table, after
}

func (c cell) stage() string {
	if c.row != nil {
		return c.row.Stage
	}
	return c.replayed.Stage
}

// cells merges the rows of a step with what was replayed and has none: both are
// in execution order.
func (p *printer) cells(step int) []cell {
	var rows []*harness.Row
	for i := range p.Stages {
		if p.Stages[i].Step == step {
			rows = append(rows, &p.Stages[i])
		}
	}
	replayed := map[string]bool{}
	var all []*harness.Replayed
	for i := range p.Replayed {
		if p.Replayed[i].Step == step {
			all = append(all, &p.Replayed[i])
			replayed[p.Replayed[i].Stage] = true
		}
	}
	var out []cell
	for len(rows) > 0 || len(all) > 0 {
		switch {
		case len(all) == 0 || len(rows) > 0 && !replayed[rows[0].Stage]:
			out, rows = append(out, cell{row: rows[0]}), rows[1:]
		case len(rows) > 0 && rows[0].Stage == all[0].Stage:
			out, rows, all = append(out, cell{rows[0], all[0]}), rows[1:], all[1:]
		default:
			out, all = append(out, cell{replayed: all[0]}), all[1:]
		}
	}
	return out
}

// label returns a stage's short name in a map.
func (p *printer) label(stage string) string {
	if p.options.Label != nil {
		if s := p.options.Label(stage); s != "" {
			return s
		}
	}
	if names.Numbers(stage) == "" {
		return stage
	}
	return stage[strings.LastIndexByte(stage, '.')+1:]
}
