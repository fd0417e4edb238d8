package report

import (
	"fmt"
	"slices"
	"strconv"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/internal/words"
)

// writeAbsent writes what was not compared or not judged, and why.
func (p *printer) writeAbsent() {
	if p.skipped != nil {
		fmt.Fprintf(p, "\nskipped from step %d on, %s: %s\n", p.skipped.Step, words.Count(p.count[harness.Skipped], "tensor"), p.skipped.Detail)
		if p.Replayed != nil {
			fmt.Fprintln(p, "  these steps were replayed, but not compared with the golden")
		}
	}
	list := func(title string, rows [][]string) {
		if len(rows) == 0 {
			return
		}
		fmt.Fprintf(p, "\n%s:\n", title)
		t := NewTable("", "")
		for _, row := range rows {
			t.Row("  "+row[0], row[1])
		}
		p.Table(t)
	}
	var missing, leftOut, unknown [][]string
	for _, places := range families(p.Missing) {
		missing = append(missing, []string{nameOf(places), extent(places)})
	}
	for _, l := range p.LeftOut {
		leftOut = append(leftOut, []string{l.Stages, fmt.Sprintf("steps %s: %s", l.Steps, l.Reason)})
	}
	var unjudged []harness.Place
	for i := range p.Replayed {
		if p.Replayed[i].Verdict == harness.ReplayUnknown {
			unjudged = append(unjudged, p.Replayed[i].Place)
		}
	}
	for _, places := range families(unjudged) {
		unknown = append(unknown, []string{nameOf(places), extent(places) + ": " + p.replays[places[0]].Why})
	}
	list("missing from "+p.Candidate, missing)
	list("left out of "+p.Golden, leftOut)
	list("could not be judged", unknown)
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

// extent returns the layers and steps of places of one family, and how many places
// there are.
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
