package weights

import (
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/rounding"
)

const (
	maxLevels = 256  // of a group, in 8 bits; with more a grid is not read off them
	fewLevels = 4    // of a group, in 2 bits: what is beyond them may be so by far
	offGrid   = 0.05 // how far from its grid, in steps, a value may be by float32 rounding
	half      = 0.51 // how far from the model's, in steps, a value may be that is rounded to nearest
)

// leastEvidence is how many values must be on their grids, beside the two that any grid can
// be laid through. With few levels it is that each of many values is at the nearest one:
// fewEvidence of them count as one.
const leastEvidence, fewEvidence = 8, 16

// groupings returns the ways to share out a scale, the coarsest first. A list of values is
// one row.
func groupings(rows, cols int) (all []grouping) {
	all = append(all, grouping{by: "tensor", n: rows * cols, stride: 1})
	if rows > 1 {
		all = append(all, grouping{by: "column", n: rows, stride: cols}, grouping{by: "row", n: cols, stride: 1})
	}
	for size := 256; size >= 16; size /= 2 {
		if rows > size {
			all = append(all, grouping{by: "group, down the columns", n: size, stride: cols, groups: true})
		}
		if cols > size {
			all = append(all, grouping{by: "group, along the rows", n: size, stride: 1, groups: true})
		}
		if rows > 1 && cols%size != 0 && rows*cols%size == 0 {
			all = append(all, grouping{by: "group, in the order of memory", n: size, stride: 1, groups: true, flat: true})
		}
	}
	return all
}

// A grouping is a way to share out a scale: to n values each, stride apart.
type grouping struct {
	by           string
	n, stride    int
	groups, flat bool
}

// tile is the number of columns that are read at once.
const tile = 32

// each calls use with each group's values in both and the index of the first, until that is
// false, and reports whether it never was.
func (g grouping) each(rows, cols int, want, got []float32, use func(want, got []float32, first int) bool) bool {
	groups := func(want, got []float32, first int) bool { // one after the other in a line
		for at := 0; at < len(want); at += g.n {
			end := min(at+g.n, len(want))
			if !use(want[at:end], got[at:end], first+at*g.stride) {
				return false
			}
		}
		return true
	}
	switch {
	case g.flat || g.by == "tensor":
		return groups(want, got, 0)
	case g.stride == 1:
		for at := 0; at < len(want); at += cols {
			if !groups(want[at:at+cols], got[at:at+cols], at) {
				return false
			}
		}
		return true
	}
	w, x := make([]float32, tile*rows), make([]float32, tile*rows)
	for c0 := 0; c0 < cols; c0 += tile {
		n := min(tile, cols-c0)
		for r := range rows {
			for c := range n {
				w[c*rows+r], x[c*rows+r] = want[r*cols+c0+c], got[r*cols+c0+c]
			}
		}
		for c := range n {
			if !groups(w[c*rows:(c+1)*rows], x[c*rows:(c+1)*rows], c0+c) {
				return false
			}
		}
	}
	return true
}

// quantisation returns how want was quantised to give got, nil if it was not: in each
// group the values of got are few and lie on an even grid, each the nearest to want. One
// that is as far out as any may be the nearest that there was.
// The levels may have gone through a rounding of their own, if those are all on both sides
// of 0.
func quantisation(rows, cols int, want, got []float32) *harness.Scheme {
	for _, after := range afterwards(got) {
		for _, g := range groupings(rows, cols) {
			for _, scale := range scales {
				if f := fit(g, rows, cols, want, got, after, scale, false); f != nil {
					return f.scheme(g)
				}
				if after.name != "" {
					break // the steps are not known so well
				}
			}
		}
	}
	return nil
}

// A narrowing is the type that levels, or the steps between them, are in, and how far it may
// have moved them.
type narrowing struct {
	name     string
	relative float64
	tiny     float64 // half of its smallest number, if that is one of float16
	round    rounding.Rounding
}

// scales are the types that steps may have been rounded to after the levels were chosen.
var scales = []narrowing{{}, {"f16", 0x1p-11, 0x1p-25, rounding.Float16}, {"bf16", 0x1p-8, 0, rounding.BFloat16}}

// has reports whether the type has a step, as it is read off values of float32.
func (n narrowing) has(step float64) bool {
	x := []float32{float32(step)}
	return n.round == nil || step == 0 || math.Abs(float64(n.round.Of(x)[0])-step) <= 3e-6*step
}

// afterwards returns the types that the levels may be in, float32 first.
func afterwards(got []float32) []narrowing {
	all := []narrowing{{}}
	switch {
	case rounding.BFloat16.Holds(got): // most of which float16 holds too
		all = append(all, scales[2])
	case rounding.Rounding(rounding.Float16).Holds(got):
		all = append(all, scales[1])
	}
	return all
}

// A fitted is the grids of a weight's groups.
type fitted struct {
	least, most float64 // steps, or scales of a type
	signed      int     // the largest level, counted from 0
	levels      int     // the most of a group, from the lowest to the highest
	offset      bool    // 0 is not on every grid
	uneven      bool    // the levels of some group are on no even grid
	in          *code   // the type whose values the levels are, if it is not whole numbers
	after       narrowing
	evidence    int // values that would not be on a grid by chance

	sq, sqWant float64 // of the differences, and of the model's values

	wrong box     // values that are not the nearest
	worst float64 // in steps
}

// fit returns the grids of the groups of got; nil if there are none or, unless anywhere,
// if a value is not the nearest to want.
func fit(g grouping, rows, cols int, want, got []float32, after, scale narrowing, anywhere bool) *fitted {
	f := &fitted{least: math.Inf(1), after: after}
	var l levels
	ok := g.each(rows, cols, want, got, func(w, x []float32, first int) bool {
		all := l.of(x)
		for gr := range gridsOf(all, x, !g.groups, after) {
			if !scale.has(gr.step) {
				continue
			}
			if gr.step > 0 {
				gr.moved += max(scale.relative, scale.tiny/gr.step)
			}
			if !anywhere && !gr.nearest(w, x) {
				continue
			}
			if gr.distinct = len(all); all == nil {
				gr.distinct = maxLevels
			}
			f.add(gr, len(x), anywhere)
			for i, v := range x {
				d := float64(v) - float64(w[i])
				f.sq, f.sqWant = f.sq+d*d, f.sqWant+float64(w[i])*float64(w[i])
				if off := gr.off(float64(w[i]), float64(v)); !gr.takes(off, w[i], v) {
					at := first + i*g.stride
					f.wrong.add(at/cols, at%cols)
					f.worst = max(f.worst, off)
				}
			}
			return true
		}
		return false
	})
	switch {
	case !ok, f.evidence < leastEvidence, math.IsInf(f.least, 1) && !f.uneven:
		return nil
	case f.levels <= fewLevels && f.sq >= f.sqWant: // no nearer than zeros
		return nil
	}
	return f
}

// levels collects the different values of a group.
type levels struct {
	keys  [4 * maxLevels]uint32
	turns [4 * maxLevels]uint32
	turn  uint32
	found []float32
}

// of returns the different values in ascending order; nil if there are more than maxLevels.
func (l *levels) of(x []float32) []float32 {
	l.turn++
	l.found = l.found[:0]
	for _, v := range x {
		bits := math.Float32bits(v + 0) // -0 is 0
		for at := bits * 2654435761 >> 22; ; at = (at + 1) % uint32(len(l.keys)) {
			if l.turns[at] != l.turn {
				if len(l.found) == maxLevels {
					return nil
				}
				l.turns[at], l.keys[at] = l.turn, bits
				l.found = append(l.found, v+0)
				break
			}
			if l.keys[at] == bits {
				break
			}
		}
	}
	slices.Sort(l.found)
	return l.found
}

// add adds the grid of a group of n values.
func (f *fitted) add(g grid, n int, anywhere bool) {
	f.uneven = f.uneven || g.uneven != nil
	f.levels = max(f.levels, g.levels)
	if g.distinct > 1 && g.distinct <= fewLevels && !anywhere {
		f.evidence += n / fewEvidence
	} else {
		f.evidence += max(0, g.distinct-2)
	}
	switch {
	case g.code != nil:
		if f.in == nil {
			f.least, f.most = g.scale, g.scale
		}
		f.in, f.least, f.most = g.code, min(f.least, g.scale), max(f.most, g.scale)
	case g.step > 0 && f.in == nil:
		f.least, f.most = min(f.least, g.step), max(f.most, g.step)
		f.offset = f.offset || g.offset
		f.signed = max(f.signed, -g.low, g.high)
	}
}

// scheme returns the quantisation.
func (f *fitted) scheme(g grouping) *harness.Scheme {
	s := &harness.Scheme{By: g.by, Least: harness.Float(f.least), Most: harness.Float(f.most), Offset: f.offset, Uneven: f.uneven, In: f.after.name}
	levels := max(2*f.signed, f.levels) // those of a sign, and 0
	if f.offset || f.uneven {
		levels = f.levels
	}
	for s.Bits = 1; 1<<s.Bits < levels; s.Bits++ {
	}
	switch {
	case f.in != nil:
		s.Bits, s.Float, s.Offset, s.Uneven = f.in.bits, f.in.name, false, false
	case f.uneven:
		s.Least, s.Most = 0, 0
	}
	if g.groups {
		s.Group = g.n
	}
	return s
}

// offGrid finds a weight that is quantised, but not everywhere to the nearest value.
func (w *weight) offGrid() (named, bool) {
	for _, g := range groupings(w.rows, w.cols) {
		f := fit(g, w.rows, w.cols, w.want, w.got, narrowing{}, narrowing{}, true)
		if f == nil || f.uneven || !near(w.want, w.got) {
			continue
		}
		s := f.scheme(g)
		text := fmt.Sprintf("%s; but %s more than half a step from the model's, up to %.3g steps, in %s",
			s, areOf(f.wrong.n, len(w.got)), f.worst, w.place(f.wrong))
		return named{text: text, scheme: s}, true
	}
	return named{}, false
}
