package fit

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// How far from a function of the position numbers may be, and rounding may move them, as parts of how much
// they differ.
const (
	courseSlack    = 5e-3
	courseRounding = 0.04
)

// ofStep is the text of a course of numbers that go with the step.
const ofStep = "k"

// A course is how a number goes with the position.
type course struct {
	text    string
	where   string // what the text does not say
	numbers int
	of      func(p int) (k float64, ok bool)
}

// A growth is a function of the position.
type growth struct {
	text string // with %s for what it is multiplied with, which may be nothing
	of   func(p float64) float64
}

var growths = []growth{
	{"%s(p + 1)", func(p float64) float64 { return p + 1 }},
	{"%s1/(p + 1)", func(p float64) float64 { return 1 / (p + 1) }},
	{"%s√(p + 1)", func(p float64) float64 { return math.Sqrt(p + 1) }},
	{"%s1/√(p + 1)", func(p float64) float64 { return 1 / math.Sqrt(p+1) }},
	{"%sp", func(p float64) float64 { return p }},
	{"%sln(p + 1)", func(p float64) float64 { return math.Log(p + 1) }},
	{"%sln(p + 2)", func(p float64) float64 { return math.Log(p + 2) }},
}

// rounding returns what rounding may do at a place, which of a step around the row's own is not known.
func (r *Row) rounding(i int) float64 {
	return max(r.bound(i), math.Abs(float64(r.Right[i]))/(1<<22))
}

// courses returns how the numbers go with the position, called by the name of a variable, the plainest
// first; nothing where they are one, or of too few positions to tell. Where half of them or more are the
// number that changes nothing it is a part of the positions that has something.
func (b *byPosition) courses(variable string, none float64) (all []course) {
	positions := slices.DeleteFunc(slices.Sorted(maps.Keys(b.xx)), func(p int) bool { return !(b.xx[p] > 0) })
	if len(positions) < 3 {
		return nil
	}
	k, off, idle := map[int]float64{}, map[int]float64{}, 0
	least, most, furthest := math.Inf(1), math.Inf(-1), 0.0
	for _, p := range positions {
		k[p] = b.xy[p] / b.xx[p]
		off[p] = math.Sqrt(b.rounding[p]) / b.xx[p]
		least, most, furthest = min(least, k[p]), max(most, k[p]), max(furthest, off[p])
		if math.Abs(k[p]-none) < sameNumber {
			idle++
		}
	}
	if !(most-least > sameNumber*max(math.Abs(most), math.Abs(least))) || 2*idle >= len(positions) {
		return nil
	}
	// Of numbers that hardly differ any function is near: it has to follow how they differ.
	follow := func(of func(p float64) float64) bool {
		return furthest < courseRounding*(most-least) && !slices.ContainsFunc(positions, func(p int) bool {
			return !(math.Abs(k[p]-of(float64(p))) <= courseSlack*(most-least)+2*off[p])
		})
	}
	for _, g := range growths {
		var fy, ff float64
		for _, p := range positions {
			f := g.of(float64(p))
			fy, ff = fy+b.xx[p]*k[p]*f, ff+b.xx[p]*f*f
		}
		a := fy / ff
		if !follow(func(p float64) float64 { return a * g.of(p) }) {
			continue
		}
		add := func(text string, a float64, numbers int) {
			all = append(all, course{strings.ReplaceAll(text, "p", variable), "", numbers, func(p int) (float64, bool) { return a * g.of(float64(p)), true }})
		}
		if n := math.Round(math.Exp(1 / a)); strings.HasPrefix(g.text, "%sln") && n > 2 && math.Abs(a*math.Log(n)-1) < sameNumber {
			add(fmt.Sprintf(g.text+"/ln %v", "", n), 1/math.Log(n), 1)
		}
		for i, a := range written(a) {
			text := decimal(a) + "·"
			if a == 1 {
				text = ""
			}
			add(fmt.Sprintf(g.text, text), a, 1+i)
		}
	}
	var line regression
	for _, p := range positions {
		line.add(float64(p), k[p], b.xx[p])
	}
	xx, xy := line.within()
	slope := xy / xx
	first := (line.y - slope*line.x) / line.w
	if len(all) == 0 && len(positions) > 3 && follow(func(p float64) float64 { return first + slope*p }) {
		slopes := written(slope)
		for i, a := range written(first) {
			s := slopes[min(i, len(slopes)-1)]
			text := fmt.Sprintf("(%s + %s·%s)", decimal(a), decimal(s), variable)
			all = append(all, course{text, "", 2 + i, func(p int) (float64, bool) { return a + s*float64(p), true }})
		}
	}
	ends, several := map[int][2]float64{}, false // of the numbers of a step
	for _, p := range positions {
		end, seen := ends[b.step[p]]
		if several = several || seen; !seen {
			end = [2]float64{k[p], k[p]}
		}
		ends[b.step[p]] = [2]float64{min(end[0], k[p]), max(end[1], k[p])}
	}
	if alike := func(p int) bool {
		end := ends[b.step[p]]
		return end[1]-end[0] <= courseSlack*(most-least)+2*off[p]
	}; several && len(ends) > 1 && !slices.ContainsFunc(positions, func(p int) bool { return !alike(p) }) {
		var few []string
		last := -1
		for _, p := range positions {
			if step := b.step[p]; step != last {
				few, last = append(few, fmt.Sprintf("%.5g at step %d", k[p], step)), step
			}
		}
		if len(few) > 4 {
			few = append(few[:4], fmt.Sprintf("… (%d steps in all)", len(few)))
		}
		return append(all, course{ofStep, "; k is one number at each step: " + strings.Join(few, ", "), len(ends), func(p int) (float64, bool) {
			v, ok := k[p]
			return v, ok
		}})
	}
	var few []string
	for _, p := range positions[:min(len(positions), 4)] {
		few = append(few, fmt.Sprintf("%.5g at %d", k[p], p))
	}
	if len(positions) > 4 {
		few = append(few, fmt.Sprintf("… (%d in all)", len(positions)))
	}
	return append(all, course{"k(" + variable + ")", "; k(" + variable + ") is " + strings.Join(few, ", "), len(positions), func(p int) (float64, bool) {
		v, ok := k[p]
		return v, ok
	}})
}

// written returns a number with few digits, if these are nearly it, and as it is.
func written(v float64) (all []float64) {
	for digits := 1; digits <= 4; digits++ {
		if short, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', digits, 64), 64); math.Abs(short-v) <= sameNumber*math.Abs(v) {
			all = append(all, short)
			break
		}
	}
	full, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 7, 64), 64)
	return append(all, full)
}
