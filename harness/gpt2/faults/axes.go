package faults

import (
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness/gpt2/fit"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model"
)

// axesOf returns the axes of a stage, and their lengths as a shape. Positions that have keys are
// those of queries.
func axesOf(cfg model.Config, stage string, d model.Dims) (all []fit.Axis, shape []int) {
	all, shape = fit.Axes(cfg, stage, d)
	if !slices.ContainsFunc(all, func(a fit.Axis) bool { return a.Letter == "S" }) {
		return all, shape
	}
	for i := range all {
		if a := &all[i]; a.Letter == "T" {
			a.One, a.Many = "query position", "query positions"
		}
	}
	return all, shape
}

// A part is a set of places of a stage's output.
type part struct {
	text string // "in head 3, batch row 1"
	on   string // text where later steps are in it too: "from position 6 on"; "" if it has not the last position
	rows bool   // it has some batch rows or positions alone
	keys bool   // it has some keys alone
	in   func(index []int, d model.Dims) bool

	further []fit.Axis // of positions that go on, by the text of those where it was seen: see at
	seen    []string
}

// at returns the text of the part at a step of other positions, of which those that go on name their own.
func (p *part) at(d model.Dims) string {
	text := p.text
	for i, x := range p.further {
		from, to := x.First, d.P+d.T
		if x.Letter == "T" {
			x.First = d.P
			from = max(from, d.P)
		} else {
			x.First = 0
		}
		var indices []int
		for j := from; j < to; j++ {
			indices = append(indices, j-x.First)
		}
		if len(indices) > 0 {
			text = strings.Replace(text, p.seen[i], x.Some(indices), 1)
		}
	}
	return text
}

// of reports for each place of a row, or of a sample of one, whether it is in the part.
func (p *part) of(e *wrongRow, cfg model.Config) []bool {
	all := p.places(cfg, &Context{Stage: e.Stage, Dims: e.dims})
	if e.some == e {
		return all
	}
	return pick(all, e.some.sampled, e.dims.B*e.dims.T)
}

// places reports for each place of a stage whether it is in the part.
func (p *part) places(cfg model.Config, c *Context) []bool {
	_, shape := axesOf(cfg, c.Stage, c.Dims)
	all := make([]bool, shapes.Product(shape))
	for i := range all {
		all[i] = p.in(shapes.Index(i, shape), c.Dims)
	}
	return all
}

// parts returns the parts of the output that the wrong values may be of: the heads that have any, if
// half of the heads or more have none, and then what part returns.
func (g *rowGroup) parts(e *wrongRow) (all []*part) {
	axes, shape := axesOf(g.model.Config(), e.Stage, e.dims)
	own := g.part(e, false)
	if a := slices.IndexFunc(axes, func(a fit.Axis) bool { return a.Letter == "H" }); a >= 0 {
		wrong := make([]int, axes[a].N) // places of each head
		for i := range e.got {
			if e.isWrong(i) {
				wrong[shapes.Index(i, shape)[a]]++
			}
		}
		var in []int
		for h, n := range wrong {
			if n > 0 {
				in = append(in, h)
			}
		}
		if text := "in " + axes[a].Some(in); len(in) > 0 && 2*len(in) <= len(wrong) && (own == nil || own.text != text) {
			all = append(all, &part{text: text, in: func(index []int, _ model.Dims) bool { return slices.Contains(in, index[a]) }})
		}
	}
	if own == nil {
		own = g.tail(e)
	}
	if own != nil {
		all = append(all, own)
	}
	if own != nil && own.keys {
		if whole := g.part(e, true); whole != nil && !slices.ContainsFunc(all, func(p *part) bool { return p.text == whole.text }) {
			all = append(all, whole)
		}
	}
	return all
}

// tail returns the part of the output from the first index of its last axis on that has a wrong value; nil
// where too few are before it, or too few values are wrong. It may be more than half.
func (g *rowGroup) tail(e *wrongRow) *part {
	const fewest = 16
	axes, shape := axesOf(g.model.Config(), e.Stage, e.dims)
	a := len(axes) - 1
	if a < 1 || axes[a].Letter == "S" || shapes.Product(shape) != len(e.got) {
		return nil
	}
	n, first, count := axes[a].N, axes[a].N, 0
	for i := range e.got {
		if e.isWrong(i) {
			first, count = min(first, i%n), count+1
		}
	}
	if first < max(fewest, n/8) || first > n-fewest || 4*count < len(e.got)/n*(n-first) {
		return nil
	}
	var indices []int
	for j := first; j < n; j++ {
		indices = append(indices, j)
	}
	return &part{text: "in " + axes[a].Some(indices), in: func(index []int, _ model.Dims) bool { return index[a] >= first }}
}

// onlyIn returns values of a row in one part, and the right ones elsewhere; nil is no part in particular.
func (g *rowGroup) onlyIn(p *part, e *wrongRow, x, right []float32) []float32 {
	if p == nil {
		return x
	}
	out := slices.Clone(right)
	for i, in := range p.of(e, g.model.Config()) {
		if in {
			out[i] = x[i]
		}
	}
	return out
}

// part returns the part of the output that is wrong; nil for no part in particular. An axis
// counts if nothing is wrong at half of its indices or more. It takes a quarter of the part to
// be wrong: if less is, that the rest of the output is correct is chance. With allKeys the part has all keys
// of the rows that are in it.
func (g *rowGroup) part(e *wrongRow, allKeys bool) *part {
	axes, shape := axesOf(g.model.Config(), e.Stage, e.dims)
	masked := len(axes) == 4 && axes[2].One == "query position" && e.dims.T > 1
	wrong := make([][]bool, len(axes))
	for a := range axes {
		wrong[a] = make([]bool, axes[a].N)
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
	var in, on []string
	var tests []func(index []int, d model.Dims) bool
	switch count {
	case diagonal:
		in = append(in, "on the diagonal")
		tests = append(tests, func(index []int, d model.Dims) bool { return index[3] == d.P+index[2] })
	case hidden:
		in = append(in, "at the places that the mask hides")
		tests = append(tests, func(index []int, d model.Dims) bool { return index[3] > d.P+index[2] })
	}
	rows, keys := false, false
	var further []fit.Axis
	var seen []string
	room, first := len(e.got), true
	for a, axis := range axes {
		var indices []int
		for j, some := range wrong[a] {
			if some {
				indices = append(indices, j)
			}
		}
		if axis.N < 2 || 2*len(indices) > axis.N {
			continue
		}
		if ofKeys := axis.One == "key position" && axes[len(axes)-1].One == "key position"; ofKeys && allKeys {
			continue
		} else if ofKeys {
			keys = true
		}
		name := axis.Some(indices)
		if (axis.Letter == "T" || axis.Letter == "S") && goesOn(indices, axis) {
			on := axis
			on.First += indices[0]
			further, seen = append(further, on), append(seen, name)
		}
		if first {
			name, first = "in "+name, false
		}
		in, on, room = append(in, name), append(on, name), room/axis.N*len(indices)
		if (axis.Letter == "T" || axis.Letter == "S") && goesOn(indices, axis) {
			on[len(on)-1] = fmt.Sprintf("from %s %d on", axis.One, axis.First+indices[0])
		}
		if e.sampled == nil || a >= 2 {
			tests, rows = append(tests, among(axis, a, indices)), rows || axis.Letter == "B" || axis.Letter == "T"
		}
	}
	if len(in) == 0 || 4*count < room && !allKeys {
		return nil
	}
	return &part{text: strings.Join(in, ", "), on: strings.Join(on, ", "), rows: rows, keys: keys, further: further, seen: seen, in: func(index []int, d model.Dims) bool {
		return !slices.ContainsFunc(tests, func(test func([]int, model.Dims) bool) bool { return !test(index, d) })
	}}
}

// goesOn reports whether indices of an axis are all up to its last.
func goesOn(indices []int, x fit.Axis) bool {
	last := indices[len(indices)-1]
	return last == x.N-1 && last-indices[0] == len(indices)-1
}

// among returns a test of the index along x, the a-th axis, of a place. Positions are counted from the first of
// the run, and those up to the last of a step go on after it.
func among(x fit.Axis, a int, indices []int) func(index []int, d model.Dims) bool {
	positions := strings.HasSuffix(x.One, "position")
	further := positions && goesOn(indices, x)
	first := indices[0] + x.First
	return func(index []int, d model.Dims) bool {
		j := index[a]
		if !positions {
			return slices.Contains(indices, j)
		}
		if x.One != "key position" {
			j += d.P
		}
		return further && j >= first || slices.Contains(indices, j-x.First)
	}
}
