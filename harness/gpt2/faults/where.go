package faults

import (
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model"
)

// axis is one dimension of a stage as a person names it. An axis of channels
// that holds heads is two.
type axis struct {
	one, many string // "head", "heads"
	n         int
	first     int      // what the index 0 is called
	names     []string // of the indices, where they have names
}

// axisNames are what people call the axes that model.Axes names.
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

// axesOf returns the dimensions of a row's stage.
func (g *rowGroup) axesOf(e *wrongRow) (all []axis) {
	letters := strings.Fields(strings.NewReplacer("(", "", ")", "").Replace(model.Axes(e.Stage)))
	for _, l := range letters {
		a := axisNames[l]
		a.n = e.dims.Length(g.model.Config(), l)
		if l == "T" {
			a.first = e.dims.P
			if slices.Contains(letters, "S") {
				a.one, a.many = "query position", "query positions"
			}
		}
		all = append(all, a)
	}
	return all
}

// at is what an index is called.
func (a axis) at(j int) string {
	if a.names != nil {
		return a.names[j]
	}
	return fmt.Sprint(j + a.first)
}

// some is "head 3", "heads 0, 2 to 5" or "the v third".
func (a axis) some(indices []int) string {
	name := a.many
	if len(indices) == 1 {
		name = a.one
	}
	if a.names == nil {
		return name + " " + ranges(indices, a.first)
	}
	var names []string
	for _, j := range indices {
		names = append(names, a.at(j))
	}
	return "the " + strings.Join(names, " and ") + " " + name
}

// lengths returns the axes as a shape.
func lengths(axes []axis) []int {
	shape := make([]int, len(axes))
	for i, a := range axes {
		shape[i] = a.n
	}
	return shape
}

// where words which part of the output is wrong: "in head 3, batch row 1"; "" for no
// part in particular. An axis counts if nothing is wrong at half of its indices or
// more. It takes a quarter of the part to be wrong: if less is, that the rest of the
// output is right is chance.
func (g *rowGroup) where(e *wrongRow) string {
	axes := g.axesOf(e)
	shape := lengths(axes)
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
		return ""
	}
	var mask, in []string
	switch count {
	case diagonal:
		mask = []string{"on the diagonal"}
	case hidden:
		mask = []string{"at the places that the mask hides"}
	}
	room := len(e.got)
	for a, axis := range axes {
		var indices []int
		for j, some := range wrong[a] {
			if some {
				indices = append(indices, j)
			}
		}
		if axis.n > 1 && 2*len(indices) <= axis.n {
			in = append(in, axis.some(indices))
			room = room / axis.n * len(indices)
		}
	}
	if 4*count < room {
		return ""
	}
	if in != nil {
		in[0] = "in " + in[0]
	}
	return strings.Join(append(mask, in...), ", ")
}

// ranges spells ascending numbers, first added to each: "0, 2 to 5, 9", cut short
// where it is long.
func ranges(x []int, first int) string {
	const most = 8
	var parts []string
	for i := 0; i < len(x); {
		j := i
		for j+1 < len(x) && x[j+1] == x[j]+1 {
			j++
		}
		if j > i+1 {
			parts = append(parts, fmt.Sprintf("%d to %d", x[i]+first, x[j]+first))
			i = j + 1
		} else {
			parts = append(parts, fmt.Sprint(x[i]+first))
			i++
		}
		if len(parts) == most && i < len(x) {
			parts = append(parts, fmt.Sprintf("… (%d in all)", len(x)))
			break
		}
	}
	return strings.Join(parts, ", ")
}
