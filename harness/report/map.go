package report

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
)

// A map shows one step: a line for each layer, a column for each family of stages,
// and in each cell the error as a fraction of its tolerance.

// A cell is one stage of the map.
type cell struct {
	row      *harness.Row      // nil where the golden has no such stage
	replayed *harness.Replayed // nil without a replay
}

// marks has those of the statuses that a share does not show.
var marks = map[harness.Status]string{
	harness.Missing: "-", harness.Skipped: "~", harness.WrongShape: "S", harness.Nonfinite: "N",
}

// The legends explain the marks: of a replay, those that stand behind another.
var (
	legend = []Text{"= exact", ". below a tenth of tolerance", "o within it", "1 up to 10 times it",
		"2 up to 100", "and so on"}
	otherLegend = []Text{"x not equal", "N not finite", "S different shape", "- missing",
		"~ fed different tokens from the golden"}
	replayLegend   = []Text{"! its own computation is wrong", "? cannot be judged", "_ no golden"}
	ownCheckLegend = []Text{"c within tolerance of the golden, but fails the stage's own check"}
)

// mark returns the error of the cell as one character.
func (c cell) mark() string {
	if c.row == nil {
		return "_"
	}
	if mark, ok := marks[c.row.Status]; ok {
		return mark
	}
	switch share := c.row.Share(); {
	case c.row.FailsOwnCheck():
		return "c"
	case share == 0:
		return "="
	case share <= 0.1:
		return "."
	case share <= 1:
		return "o"
	case math.IsInf(share, 1):
		return "x"
	case share >= 1e8:
		return "9"
	default:
		return string(rune('1' + int(math.Log10(share))))
	}
}

// text returns the marks of the cell, coloured.
func (c cell) text(s Style) Text {
	mark := c.mark()
	if c.replayed != nil {
		switch c.replayed.Verdict {
		case harness.ReplayIntroduced:
			return s.paint("1;37;41", mark+"!")
		case harness.ReplayUnknown:
			return s.Yellow(mark + "?")
		}
	}
	switch {
	case mark == "1" || mark == "-" || mark == "~":
		return s.Yellow(mark)
	case mark == "2" || mark == "3":
		return s.paint("31", mark)
	case c.row != nil && c.row.Status.Diverges():
		return s.Red(mark)
	}
	return Text(mark)
}

// writeMaps writes the maps; of a model without layers none, and returns false.
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
		p.Printf("\n%s\n", p.Bold(title))
		p.items("  ", before)
		p.Table(layers)
		p.items("  ", after)
	}
	p.Printf("\n")
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

// mapSteps returns step 0, if there is anything of it, and the worst step after it: by
// how many stages are introduced, and then by how many diverge.
func (p *printer) mapSteps() []int {
	wrong := map[int]int{}
	for i := range p.Stages {
		wrong[p.Stages[i].Step] += 0
		if p.Stages[i].Status.Diverges() {
			wrong[p.Stages[i].Step]++
		}
	}
	for _, in := range p.Introduced {
		wrong[in.Step] += len(p.Stages)
	}
	steps := slices.Sorted(maps.Keys(wrong))
	after := slices.Index(steps, 0) + 1
	if after == len(steps) {
		return steps
	}
	worst := slices.MaxFunc(steps[after:], func(a, b int) int { return wrong[a] - wrong[b] })
	return append(steps[:after], worst)
}

// mapOf returns the layers of one step, nil if there are none, and what is around them.
func (p *printer) mapOf(step int) (before []Text, table *Table, after []Text) {
	var families, layers []string // in order of first sight
	cells := map[string]map[string]Text{}
	for _, c := range p.cells(step) {
		stage, text := c.stage(), c.text(p.Style)
		layer, family := names.Numbers(stage), names.Family(stage)
		switch {
		case layer == "" && layers == nil:
			before = append(before, Unbroken(p.label(stage)+" ")+text)
			continue
		case layer == "":
			after = append(after, Unbroken(p.label(stage)+" ")+text)
			continue
		case cells[layer] == nil:
			cells[layer] = map[string]Text{}
			layers = append(layers, layer)
		}
		if !slices.Contains(families, family) {
			families = append(families, family)
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
		row := []any{"  " + layer + " "}
		for _, family := range families {
			row = append(row, cells[layer][family])
		}
		table.Row(row...)
	}
	return before, table, after
}

// stage returns the name of the stage.
func (c cell) stage() string {
	if c.row != nil {
		return c.row.Stage
	}
	return c.replayed.Stage
}

// cells merges the rows of a step with what was replayed and has none, in order.
func (p *printer) cells(step int) []cell {
	var cells []cell
	for i := range p.Stages {
		if p.Stages[i].Step == step {
			cells = append(cells, cell{row: &p.Stages[i]})
		}
	}
	next := len(cells)
	for i := len(p.Replayed) - 1; i >= 0; i-- {
		r := &p.Replayed[i]
		if r.Step != step {
			continue
		}
		if at := slices.IndexFunc(cells, func(c cell) bool { return c.stage() == r.Stage }); at >= 0 {
			cells[at].replayed, next = r, at
		} else {
			cells = slices.Insert(cells, next, cell{replayed: r})
		}
	}
	return cells
}

// label returns a stage's short name in a map.
func (p *printer) label(stage string) string {
	if p.options.Label != nil && p.options.Label(stage) != "" {
		return p.options.Label(stage)
	}
	if names.Numbers(stage) == "" {
		return stage
	}
	return stage[strings.LastIndexByte(stage, '.')+1:]
}
