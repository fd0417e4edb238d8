package faults

import (
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness/gpt2/fit"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model"
)

// An axis is one dimension of a stage as a person names it. An axis of channels
// that holds heads is two.
type axis struct {
	one, many string // "head", "heads"
	n         int
	first     int      // what the index 0 is called
	names     []string // of the indices, where they have names
}

// axisNames are the names that people give the axes of model.Axes.
var axisNames = map[string]axis{
	"B": {one: "batch row", many: "batch rows"},
	"T": {one: "position", many: "positions"},
	"S": {one: "key position", many: "key positions"},
	"C": {one: "channel", many: "channels"},
	"F": {one: "unit", many: "units"},
	"V": {one: "id", many: "ids"},
	"3": {one: "third", many: "thirds", names: []string{"q", "k", "v"}},
	"H": {one: "head", many: "heads"},
	"D": {one: "channel of a head", many: "channels of a head"},
}

// axesOf returns the axes of a stage, and their lengths as a shape.
func axesOf(cfg model.Config, stage string, d model.Dims) (all []axis, shape []int) {
	letters := strings.Fields(strings.NewReplacer("(", "", ")", "").Replace(model.Axes(stage)))
	for _, l := range letters {
		a := axisNames[l]
		a.n = d.Length(cfg, l)
		if l == "T" {
			a.first = d.P
			if slices.Contains(letters, "S") {
				a.one, a.many = "query position", "query positions"
			}
		}
		all, shape = append(all, a), append(shape, a.n)
	}
	return all, shape
}

// at returns the name of an index.
func (a axis) at(j int) string {
	if a.names != nil {
		return a.names[j]
	}
	return fmt.Sprint(j + a.first)
}

// some names indices: "head 3", "heads 0, 2 to 5" or "the v third".
func (a axis) some(indices []int) string {
	name := a.many
	if len(indices) == 1 {
		name = a.one
	}
	if a.names == nil {
		return name + " " + fit.Ranges(indices, a.first)
	}
	var names []string
	for _, j := range indices {
		names = append(names, a.at(j))
	}
	return "the " + strings.Join(names, " and ") + " " + name
}

// A part is a set of places of a stage's output.
type part struct {
	text string // "in head 3, batch row 1"
	in   func(index []int, d model.Dims) bool
}

// places reports for each place of a stage whether it is in the part.
func (p *part) places(cfg model.Config, c *Context) []bool {
	_, shape := axesOf(cfg, c.Stage, c.Dims)
	all := make([]bool, product(shape))
	for i := range all {
		all[i] = p.in(shapes.Index(i, shape), c.Dims)
	}
	return all
}

// part returns the part of the output that is wrong; nil for no part in particular. An axis
// counts if nothing is wrong at half of its indices or more. It takes a quarter of the part to
// be wrong: if less is, that the rest of the output is correct is chance.
func (g *rowGroup) part(e *wrongRow) *part {
	axes, shape := axesOf(g.model.Config(), e.Stage, e.dims)
	masked := len(axes) == 4 && axes[2].one == "query position" && e.dims.T > 1
	wrong := make([][]bool, len(axes))
	for a := range axes {
		wrong[a] = make([]bool, axes[a].n)
	}
	count, diagonal, hidden := 0, 0, 0
	for i := range e.got {
		if !e.isWrong(i) {
			continue
		}
		count++
		index := shapes.Index(i, shape)
		for a, j := range index {
			wrong[a][j] = true
		}
		if !masked {
			continue
		}
		switch ahead := index[3] - e.dims.P - index[2]; {
		case ahead == 0:
			diagonal++
		case ahead > 0:
			hidden++
		}
	}
	if count == 0 {
		return nil
	}
	var in []string
	var tests []func(index []int, d model.Dims) bool
	switch count {
	case diagonal:
		in = append(in, "on the diagonal")
		tests = append(tests, func(index []int, d model.Dims) bool { return index[3] == d.P+index[2] })
	case hidden:
		in = append(in, "at the places that the mask hides")
		tests = append(tests, func(index []int, d model.Dims) bool { return index[3] > d.P+index[2] })
	}
	room, first := len(e.got), true
	for a, axis := range axes {
		var indices []int
		for j, some := range wrong[a] {
			if some {
				indices = append(indices, j)
			}
		}
		if axis.n < 2 || 2*len(indices) > axis.n {
			continue
		}
		name := axis.some(indices)
		if first {
			name, first = "in "+name, false
		}
		in, room = append(in, name), room/axis.n*len(indices)
		if e.sampled == nil || a >= 2 {
			tests = append(tests, axis.among(a, indices))
		}
	}
	if len(in) == 0 || 4*count < room {
		return nil
	}
	return &part{strings.Join(in, ", "), func(index []int, d model.Dims) bool {
		return !slices.ContainsFunc(tests, func(test func([]int, model.Dims) bool) bool { return !test(index, d) })
	}}
}

// among returns a test of the a-th index of a place. Positions are counted from the first of
// the run, and those up to the last of a step go on after it.
func (x axis) among(a int, indices []int) func(index []int, d model.Dims) bool {
	positions := strings.HasSuffix(x.one, "position")
	last, goesOn := indices[len(indices)-1], false
	if positions {
		goesOn = last == x.n-1 && last-indices[0] == len(indices)-1
	}
	first := indices[0] + x.first
	return func(index []int, d model.Dims) bool {
		j := index[a]
		if !positions {
			return slices.Contains(indices, j)
		}
		if x.one != "key position" {
			j += d.P
		}
		return goesOn && j >= first || slices.Contains(indices, j-x.first)
	}
}
