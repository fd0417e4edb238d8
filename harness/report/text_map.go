package report

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
)

// A map shows one step at a glance: a line for each layer, a column for each of
// its stages, and in each cell how large the error is as a part of its bound.
//
// The layer is the number in a stage's name, the column its family.

// cell is one stage of the map.
type cell struct {
	row      *harness.Row      // nil where the golden has no such stage
	replayed *harness.Replayed // nil without a replay
}

// The marks of a cell: one for the error and one behind it.
const (
	markExact    = "="
	markFar      = "."
	markNear     = "o"
	markOther    = "x"
	markMissing  = "-"
	markShape    = "S"
	markOdd      = "N"
	markSkipped  = "~"
	markNoGolden = "_"
	markBroken   = "c"

	markIntroduced = "!"
	markUnknown    = "?"
)

// The legend explains the marks of a comparison, replayLegend those of a replay.
const (
	legend = markExact + " exact  " + markFar + " below a tenth of the bound  " + markNear + " within it  " +
		"1 up to 10 times it  2 up to 100 times  and so on\n" +
		markOther + " not the same  " + markOdd + " not finite  " + markShape + " another shape  " + markMissing + " missing  " +
		markSkipped + " fed other tokens than the golden"
	replayLegend = markIntroduced + " its own computation is wrong  " + markUnknown + " cannot be judged  " + markNoGolden + " no golden"
)

// mark is the error of the cell as one character.
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
		return markOdd
	case c.row.FailsOwnCheck():
		return markBroken
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

// text is the cell, padded to width and then coloured.
func (c cell) text(width int, ink ink) string {
	mark := c.mark()
	paint := func(s string) string { return s }
	switch {
	case mark == "1":
		paint = ink.yellow
	case mark == "2" || mark == "3":
		paint = ink.warm
	case c.row != nil && c.row.Status.Diverges():
		paint = ink.red
	case mark == markMissing || mark == markSkipped:
		paint = ink.yellow
	}
	if c.replayed != nil {
		switch c.replayed.Verdict {
		case harness.ReplayIntroduced:
			mark, paint = mark+markIntroduced, ink.alarm
		case harness.ReplayUnknown:
			mark, paint = mark+markUnknown, ink.yellow
		}
	}
	return paint(mark) + strings.Repeat(" ", max(0, width-len(mark)))
}

// writeMaps writes the map of the prompt, and of the worst step after it. It
// writes nothing, and says so, for a model without layers.
func (r page) writeMaps(w io.Writer, ink ink, o Options) bool {
	steps := r.mapSteps()
	for i, step := range steps {
		lines := r.mapOf(step, ink, o)
		if lines == nil {
			return false
		}
		title := "error at the prompt, step 0, as a part of each stage's bound"
		switch {
		case i > 0:
			title = fmt.Sprintf("and at step %d, the worst after the prompt", step)
		case step > 0:
			title = fmt.Sprintf("error at step %d, the worst, as a part of each stage's bound", step)
		}
		fmt.Fprintf(w, "\n%s\n", ink.bold(title))
		for _, l := range lines {
			fmt.Fprintln(w, strings.TrimRight(l, " "))
		}
	}
	fmt.Fprintf(w, "\n%s\n", legend)
	if r.Replayed != nil {
		fmt.Fprintln(w, replayLegend)
	}
	if slices.ContainsFunc(r.Stages, func(row harness.Row) bool { return row.FailsOwnCheck() }) {
		fmt.Fprintln(w, markBroken+" within the bound of the golden, but it fails the stage's own check")
	}
	return true
}

// mapSteps is step 0, if there is anything of it, and the step after it that is
// worst: the one with the most introduced stages, and of equals the one with the
// largest share of a bound.
func (r page) mapSteps() []int {
	type badness struct {
		introduced int
		share      float64
	}
	worst := map[int]badness{}
	var steps []int
	for i := range r.Stages {
		row := &r.Stages[i]
		b, seen := worst[row.Step]
		if !seen {
			steps = append(steps, row.Step)
		}
		if s := row.Share(); s > b.share {
			b.share = s
		}
		worst[row.Step] = b
	}
	for _, in := range r.Introduced {
		b, seen := worst[in.Step]
		if !seen {
			steps = append(steps, in.Step)
		}
		b.introduced++
		worst[in.Step] = b
	}
	slices.Sort(steps)
	var out []int
	best := -1
	for _, s := range steps {
		if s == 0 {
			out = append(out, 0)
			continue
		}
		if best < 0 || worst[s].introduced > worst[best].introduced ||
			worst[s].introduced == worst[best].introduced && worst[s].share > worst[best].share {
			best = s
		}
	}
	if best >= 0 {
		out = append(out, best)
	}
	return out
}

// mapOf is the lines of one step's map.
func (r page) mapOf(step int, ink ink, o Options) []string {
	var columns []string // families, in order
	var layers []string
	cells := map[string]map[string]cell{}
	var before, after []string // stages outside the layers
	for _, c := range r.cells(step) {
		stage := c.stage()
		layer := names.Numbers(stage)
		if layer == "" {
			text := o.label(stage) + " " + strings.TrimRight(c.text(0, ink), " ")
			if len(layers) == 0 {
				before = append(before, text)
			} else {
				after = append(after, text)
			}
			continue
		}
		name := names.Family(stage)
		if !slices.Contains(columns, name) {
			columns = append(columns, name)
		}
		if cells[layer] == nil {
			cells[layer] = map[string]cell{}
			layers = append(layers, layer)
		}
		cells[layer][name] = c
	}
	if len(layers) == 0 {
		return nil
	}
	margin := len(slices.MaxFunc(layers, func(a, b string) int { return cmp.Compare(len(a), len(b)) })) + 4
	widths := make([]int, len(columns))
	head := strings.Repeat(" ", margin)
	for i, name := range columns {
		label := o.label(strings.Replace(name, "*", layers[0], 1))
		widths[i] = max(len(label), 2) + 1
		head += label + strings.Repeat(" ", widths[i]-len(label))
	}
	lines := []string{head}
	if len(before) > 0 {
		lines = []string{"  " + strings.Join(before, "  "), head}
	}
	for _, layer := range layers {
		line := fmt.Sprintf("%*s  ", margin-2, layer)
		for i, name := range columns {
			if c, ok := cells[layer][name]; ok {
				line += c.text(widths[i], ink)
			} else {
				line += strings.Repeat(" ", widths[i])
			}
		}
		lines = append(lines, line)
	}
	if len(after) > 0 {
		lines = append(lines, "  "+strings.Join(after, "  "))
	}
	return lines
}

func (c cell) stage() string {
	if c.row != nil {
		return c.row.Stage
	}
	return c.replayed.Stage
}

// cells merges the rows of a step with what was replayed and has none: both are
// in execution order.
func (r page) cells(step int) []cell {
	var rows []*harness.Row
	for i := range r.Stages {
		if r.Stages[i].Step == step {
			rows = append(rows, &r.Stages[i])
		}
	}
	replayed := map[string]bool{}
	var all []*harness.Replayed
	for i := range r.Replayed {
		if r.Replayed[i].Step == step {
			all = append(all, &r.Replayed[i])
			replayed[r.Replayed[i].Stage] = true
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

// label is a stage's short name in a map: what Label says, else the last part of
// its name.
func (o Options) label(stage string) string {
	if o.Label != nil {
		if s := o.Label(stage); s != "" {
			return s
		}
	}
	if names.Numbers(stage) == "" {
		return stage
	}
	return stage[strings.LastIndexByte(stage, '.')+1:]
}
