package faults

import (
	"fmt"
	"math"
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

// permuted finds the correct values in another order, along one axis or with the axes
// exchanged.
func (g *rowGroup) permuted(e *wrongRow) finding {
	if len(e.got) > maxSearched || len(e.got) < 2 || !e.sameValues() {
		return finding{}
	}
	axes, shape := axesOf(g.model.Config(), e.Stage, e.dims)
	for a := range axes {
		if from := e.along(shape, a); from != nil {
			return finding{PatternPermuted, 1, "the correct values are in another order: " + ordered(axes[a], from)}
		}
	}
	for _, order := range orders(len(axes)) {
		same := !slices.IsSorted(order)
		for i := 0; same && i < len(e.got); i++ {
			same = e.near(i, exchanged(i, shape, order), 2)
		}
		if !same {
			continue
		}
		var laid []axis
		for _, a := range order {
			laid = append(laid, axes[a])
		}
		text := fmt.Sprintf("the correct values are laid out as %s and read as %s", listed(laid), listed(axes))
		return finding{PatternPermuted, 1, text}
	}
	const text = "the correct values are there, each once, in an order that no exchange or shift of axes gives"
	return finding{PatternPermuted, 1, text}
}

// listed returns "[batch row, position, channel]".
func listed(axes []axis) string {
	names := make([]string, len(axes))
	for i, a := range axes {
		names[i] = a.one
	}
	return "[" + strings.Join(names, ", ") + "]"
}

// sameValues reports whether the two outputs, each sorted, are equal to rounding:
// to 1e-6 of their size, which is eight float32 numbers apart. That the sums
// of their squares are, to a thousandth, is cheaper to see.
func (e *wrongRow) sameValues() bool {
	d := e.base
	if d.Nonfinite == 0 && math.Abs(d.SqGot-d.SqWant) > 1e-3*d.SqWant {
		return false
	}
	slack := 1e-6 * math.Sqrt(d.SqWant/float64(max(d.Finite, 1)))
	got, right := slices.Sorted(slices.Values(e.got)), slices.Sorted(slices.Values(e.right))
	for i, v := range got {
		if v != right[i] && !(math.Abs(float64(v)-float64(right[i])) <= slack) {
			return false
		}
	}
	return true
}

// along finds for each index of an axis which index of the correct output it has;
// nil if there is none for some of them, or if all are in their place.
func (e *wrongRow) along(shape []int, a int) []int {
	const mostIndices = 4096 // each is held against each: an axis as wide as the vocabulary would take seconds
	n, inner := shape[a], product(shape[a+1:])
	if n < 2 || n > mostIndices {
		return nil
	}
	from, moved := make([]int, n), false
	for j := range n {
		// In its place, else after its place, as a shift would have it.
		k := 0
		for k < n && !e.sliceEqual(j, (j+k)%n, n, inner) {
			k++
		}
		if k == n {
			return nil
		}
		from[j], moved = (j+k)%n, moved || k > 0
	}
	if !moved {
		return nil
	}
	return from
}

// sliceEqual reports whether index j of an axis of n is the correct output's index k.
func (e *wrongRow) sliceEqual(j, k, n, inner int) bool {
	for lo := 0; lo < len(e.got); lo += n * inner {
		for i := range inner {
			if !e.near(lo+j*inner+i, lo+k*inner+i, 2) {
				return false
			}
		}
	}
	return true
}

// ordered says which index of an axis holds which of the correct output.
func ordered(a axis, from []int) string {
	n := len(from)
	shift, reversed := true, true
	for j, src := range from {
		shift = shift && (src-j+n)%n == (from[0]+n)%n
		reversed = reversed && src == n-1-j
	}
	switch {
	case shift && n > 2 && from[0] > n/2:
		return fmt.Sprintf("each %s has the values that belong %d before it", a.one, n-from[0])
	case shift && n > 2:
		return fmt.Sprintf("each %s has the values that belong %d after it", a.one, from[0])
	case reversed && n > 2:
		return fmt.Sprintf("%s in reverse", a.many)
	}
	var parts []string
	for j, src := range from {
		if j != src {
			parts = append(parts, fmt.Sprintf("%s has %s", a.at(j), a.at(src)))
		}
	}
	if len(parts) > 8 {
		parts = append(parts[:8], "…")
	}
	return fmt.Sprintf("of the %s %s", a.many, strings.Join(parts, ", "))
}

// orders returns all orders of n axes.
func orders(n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var all [][]int
	for _, rest := range orders(n - 1) {
		for at := range n {
			all = append(all, slices.Insert(slices.Clone(rest), at, n-1))
		}
	}
	return all
}

// exchanged returns the flat index, in an array of the shape, of the value at flat
// index i of the same values laid out with the axes in the order.
func exchanged(i int, shape, order []int) int {
	flat := 0
	for _, a := range slices.Backward(order) {
		flat += i % shape[a] * product(shape[a+1:])
		i /= shape[a]
	}
	return flat
}
