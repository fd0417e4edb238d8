package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/internal/words"
)

// writeAbsent writes what was not compared or not judged, and why.
func (p *printer) writeAbsent() {
	list := func(title string, t *Table) {
		if len(t.rows) > 0 {
			p.Printf("\n%s:\n", title)
			p.Table(t)
		}
	}
	doubted, missing, leftOut, unknown := NewTable("", ""), NewTable("", ""), NewTable("", ""), NewTable("", "")
	var doubts []harness.Place
	for i := range p.Stages {
		if p.Stages[i].Doubt != "" {
			doubts = append(doubts, p.Stages[i].Place)
		}
	}
	for _, places := range families(doubts) {
		doubted.Row("  "+nameOf(places), extent(places)+": "+p.rows[places[0]].Doubt)
	}
	var absent []harness.Place
	for _, a := range p.Missing {
		absent = append(absent, a.Place)
	}
	for _, places := range families(absent) {
		missing.Row("  "+nameOf(places), extent(places))
	}
	for _, l := range p.LeftOut {
		leftOut.Row("  "+l.Stages, stepsLeftOut(l.Steps)+": "+l.Reason)
	}
	var unjudged []harness.Place
	for i := range p.Replayed {
		if p.Replayed[i].Verdict == harness.ReplayUnknown {
			unjudged = append(unjudged, p.Replayed[i].Place)
		}
	}
	for _, places := range families(unjudged) {
		unknown.Row("  "+nameOf(places), extent(places)+": "+p.replays[places[0]].Why)
	}
	title := "missing from " + p.Candidate
	if p.Cut != "" {
		title += ", by the golden's steps"
	}
	list("in doubt though within tolerance", doubted)
	list(title, missing)
	list("left out of "+p.Golden, leftOut)
	list("could not be judged", unknown)
}

// stepsLeftOut words the steps of a harness.LeftOut.
func stepsLeftOut(steps string) string {
	if steps == "all" {
		return "all steps"
	}
	if first, open := strings.CutSuffix(steps, "-"); open {
		return "from step " + first + " on"
	}
	return "steps " + steps
}

// families groups places by family, in order of first sight.
func families(places []harness.Place) [][]harness.Place {
	var groups [][]harness.Place
	index := map[string]int{}
	for _, at := range places {
		family := names.Family(at.Stage)
		i, ok := index[family]
		if !ok {
			i = len(groups)
			index[family], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], at)
	}
	return groups
}

// nameOf returns the stage of places of one family or, of several, the family.
func nameOf(places []harness.Place) string {
	for _, at := range places {
		if at.Stage != places[0].Stage {
			return names.Family(at.Stage)
		}
	}
	return places[0].Stage
}

// extent returns the layers, the steps and the number of places of one family.
func extent(places []harness.Place) string {
	var layers, steps []int
	for _, at := range places {
		steps = append(steps, at.Step)
		if n, err := strconv.Atoi(names.Numbers(at.Stage)); err == nil {
			layers = append(layers, n)
		}
	}
	s := ranged("step", steps)
	if nameOf(places) != places[0].Stage && len(layers) > 0 {
		s = ranged("layer", layers) + ", " + s
	}
	if len(places) > 1 {
		s += fmt.Sprintf(" (%s)", words.Count(len(places), "tensor"))
	}
	return s
}

// ranged returns "step 0", "steps 0 to 9", or how many of which range.
func ranged(noun string, numbers []int) string {
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	n, first, last := len(numbers), numbers[0], numbers[len(numbers)-1]
	switch {
	case n == 1:
		return fmt.Sprintf("%s %d", noun, first)
	case n == 2:
		return fmt.Sprintf("%ss %d and %d", noun, first, last)
	case last-first+1 == n:
		return fmt.Sprintf("%ss %d to %d", noun, first, last)
	}
	return fmt.Sprintf("%d %ss from %d to %d", n, noun, first, last)
}

// stageTable has a row for each family of stages, over its layers and steps.
func (p *printer) stageTable() *Table {
	columns := []string{"stage", ">compared", ">worst abs", ">worst rel", ">of tolerance", "worst at"}
	if p.FirstDivergence != nil {
		columns = append(columns, ">outside", "first outside at")
	}
	t := NewTable(columns...)
	var all []harness.Place
	for i := range p.Stages {
		if row := &p.Stages[i]; p.rows[row.Place] == row {
			all = append(all, row.Place)
		}
	}
	for _, places := range families(all) {
		compared, bad := 0, 0
		var first, worst *harness.Row // that diverges; the largest error as a fraction of its tolerance
		for _, at := range places {
			row := p.rows[at]
			if !row.Status.Compared() {
				continue
			}
			compared++
			if row.Status.Diverges() && row.Accepted == "" {
				if bad++; first == nil {
					first = row
				}
			}
			if worst == nil || row.Share() > worst.Share() {
				worst = row
			}
		}
		name := names.Family(places[0].Stage)
		if worst == nil {
			t.Row(p.Yellow(name), 0)
			continue
		}
		cells := []any{name, compared, num(worst.MaxAbs), num(worst.MaxRel), fraction(worst), worst.Place}
		if worst.Status == harness.WrongShape {
			cells[2], cells[3] = "", ""
		}
		if first != nil {
			cells[0] = p.Red(name)
			cells = append(cells, bad, first.Place)
		}
		t.Row(cells...)
	}
	return t
}

// RowTable returns a table with a row for each stage of each step.
func (s Style) RowTable(rows []harness.Row) *Table {
	t := NewTable(">step", "stage", "status", ">mismatched", ">max abs", ">max rel", ">rms", ">cosine", ">of tolerance")
	for i := range rows {
		r := &rows[i]
		cells := []any{r.Step, r.Stage, r.Status}
		switch {
		case r.Accepted != "":
			cells[2] = s.Yellow(string(r.Status) + ", accepted")
		case r.Status.Diverges():
			cells[2] = s.Red(string(r.Status))
		case r.Status != harness.Pass:
			cells[2] = s.Yellow(string(r.Status))
		}
		if r.Elements > 0 {
			cells = append(cells, fmt.Sprintf("%d/%d", r.Mismatched, r.Elements), num(r.MaxAbs), num(r.MaxRel),
				num(r.RMS), fmt.Sprintf("%.7f", float64(r.Cosine)), fraction(r))
		}
		t.Row(cells...)
	}
	return t
}

// fraction returns the error as a fraction of its tolerance.
func fraction(r *harness.Row) string {
	switch s := r.Share(); {
	case r.Status == harness.WrongShape || r.Status == harness.Nonfinite:
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
