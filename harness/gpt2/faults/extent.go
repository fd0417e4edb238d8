package faults

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model"
)

// axis is one dimension of a stage as a person names it. An axis of channels
// that holds heads is two.
type axis struct {
	name  string // "head"
	n     int
	first int // what the index 0 is called
}

// axisNames are what people call the axes that model.Axes names.
var axisNames = map[string]string{
	"B": "row of the batch", "T": "position", "S": "key position", "C": "channel", "F": "unit", "V": "id",
	"3": "third (0 q, 1 k, 2 v)", "H": "head", "D": "channel of a head",
}

// axesOf are the dimensions of a row's stage.
func (g *rowGroup) axesOf(e *wrongRow) (all []axis) {
	letters := strings.Fields(strings.NewReplacer("(", "", ")", "").Replace(model.Axes(e.Stage)))
	for _, l := range letters {
		a := axis{name: axisNames[l], n: e.dims.Length(g.model.Config(), l)}
		if l == "T" {
			a.first = e.dims.P
			if slices.Contains(letters, "S") {
				a.name = "query position"
			}
		}
		all = append(all, a)
	}
	return all
}

// lengths are the axes as a shape.
func lengths(axes []axis) []int {
	shape := make([]int, len(axes))
	for i, a := range axes {
		shape[i] = a.n
	}
	return shape
}

// isWrong says whether rounding does not account for a place.
func (e *wrongRow) isWrong(i int) bool {
	if e.got[i] == e.right[i] {
		return false
	}
	d := math.Abs(float64(e.got[i]) - float64(e.right[i]))
	return !(e.bound != nil && d <= float64(e.bound[i]))
}

// where says which part of the output is wrong; "" where that is no part of it
// in particular.
func (g *rowGroup) where(e *wrongRow) string {
	axes := g.axesOf(e)
	shape := lengths(axes)
	count := make([][]int, len(axes))
	for a := range axes {
		count[a] = make([]int, axes[a].n)
	}
	wrong, diagonal, hidden := 0, 0, 0
	for i := range e.got {
		if !e.isWrong(i) {
			continue
		}
		wrong++
		at := shapes.Index(i, shape)
		for a, j := range at {
			count[a][j]++
		}
		if n := len(at); n == 4 {
			switch ahead := at[n-1] - e.dims.P - at[n-2]; {
			case ahead == 0:
				diagonal++
			case ahead > 0:
				hidden++
			}
		}
	}
	if wrong == 0 {
		return ""
	}
	var parts []string
	if square := strings.HasSuffix(e.Stage, ".scores") || strings.HasSuffix(e.Stage, ".probs"); square && e.dims.T > 1 {
		switch wrong {
		case diagonal:
			parts = append(parts, "on the diagonal")
		case hidden:
			parts = append(parts, "at the places that the mask hides")
		}
	}
	room := len(e.got)
	for a, x := range axes {
		var set []int
		for j, n := range count[a] {
			if n > 0 {
				set = append(set, j+x.first)
			}
		}
		if x.n > 1 && 2*len(set) <= x.n {
			parts = append(parts, plural(x.name, len(set))+" "+ranges(set))
			room = room / x.n * len(set)
		}
	}
	if len(parts) == 0 || 4*wrong < room {
		return "" // scattered: that some indices are free of it is chance
	}
	if len(parts) == 1 && strings.HasPrefix(parts[0], "on ") || strings.HasPrefix(parts[0], "at ") {
		return parts[0]
	}
	return "in " + strings.Join(parts, ", ")
}

func plural(name string, n int) string {
	if n == 1 {
		return name
	}
	head, rest, ok := strings.Cut(name, " of ")
	if ok {
		return head + "s of " + rest
	}
	if head, rest, ok = strings.Cut(name, " ("); ok {
		return head + "s (" + rest
	}
	return name + "s"
}

// ranges spells ascending numbers: "0, 2 to 5, 9", cut short where it is long.
func ranges(x []int) string {
	var parts []string
	for i := 0; i < len(x); {
		j := i
		for j+1 < len(x) && x[j+1] == x[j]+1 {
			j++
		}
		switch {
		case j > i+1:
			parts = append(parts, fmt.Sprintf("%d to %d", x[i], x[j]))
			i = j + 1
		default:
			parts = append(parts, fmt.Sprint(x[i]))
			i++
		}
		if len(parts) == 8 && i < len(x) {
			parts = append(parts, fmt.Sprintf("… (%d in all)", len(x)))
			break
		}
	}
	return strings.Join(parts, ", ")
}

// wrongPlaces are the flat indices that rounding does not account for and where
// both values are finite.
func (e *wrongRow) wrongPlaces() []int {
	var at []int
	for i := range e.got {
		if e.isWrong(i) && finite(e.got[i]) && finite(e.right[i]) {
			at = append(at, i)
		}
	}
	return slices.Clip(at)
}
