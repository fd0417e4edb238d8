package report

import (
	"fmt"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/internal/words"
)

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
	var layers, steps []string
	for _, at := range places {
		if l := names.Numbers(at.Stage); l != "" && !slices.Contains(layers, l) {
			layers = append(layers, l)
		}
		if s := fmt.Sprint(at.Step); !slices.Contains(steps, s) {
			steps = append(steps, s)
		}
	}
	s := ranged("step", steps)
	if len(layers) > 1 {
		s = ranged("layer", layers) + ", " + s
	}
	if len(places) > 1 {
		s += fmt.Sprintf(" (%s)", words.Count(len(places), "tensor"))
	}
	return s
}

// ranged returns "step 0", "steps 0 to 9", or how many of which range.
func ranged(noun string, numbers []string) string {
	first, last := numbers[0], numbers[len(numbers)-1]
	var lo, hi int
	if _, err := fmt.Sscan(first, &lo); err == nil && len(numbers) > 1 {
		for _, n := range numbers {
			var v int
			fmt.Sscan(n, &v)
			lo, hi = min(lo, v), max(hi, v)
		}
		first, last = fmt.Sprint(lo), fmt.Sprint(hi)
	}
	switch {
	case len(numbers) == 1:
		return noun + " " + first
	case len(numbers) == 2:
		return fmt.Sprintf("%ss %s and %s", noun, first, last)
	case hi-lo+1 == len(numbers):
		return fmt.Sprintf("%ss %s to %s", noun, first, last)
	}
	return fmt.Sprintf("%d %ss from %s to %s", len(numbers), noun, first, last)
}
