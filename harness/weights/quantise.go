package weights

import (
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/rounding"
)

const (
	maxLevels = 256  // of a group, in 8 bits
	offGrid   = 0.05 // how far from its grid, in steps, a value may be by float32 rounding
	half      = 0.51 // how far from the model's, in steps, a value may be that is rounded to nearest
)

// leastEvidence is how many values must be on their grids, beside the two that any grid can
// be laid through.
const leastEvidence = 8

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
			if f := fit(g, rows, cols, want, got, after, false); f != nil {
				return f.scheme(g)
			}
		}
	}
	return nil
}

// A narrowing is the type that levels are in, and how far it may have moved them.
type narrowing struct {
	name     string
	relative float64
}

// afterwards returns the types that the levels may be in, float32 first.
func afterwards(got []float32) []narrowing {
	all := []narrowing{{}}
	switch {
	case rounding.BFloat16.Holds(got): // most of which float16 holds too
		all = append(all, narrowing{"bf16", 1.0 / (1 << 8)})
	case rounding.Rounding(rounding.Float16).Holds(got):
		all = append(all, narrowing{"f16", 1.0 / (1 << 11)})
	}
	return all
}

// A fitted is the grids of a weight's groups.
type fitted struct {
	least, most float64 // steps
	signed      int     // the largest level, counted from 0
	levels      int     // the most of a group, from the lowest to the highest
	offset      bool    // 0 is not on every grid
	uneven      bool    // the levels of some group are on no even grid
	fp8         bool
	after       narrowing
	evidence    int // values that would not be on a grid by chance

	wrong box     // values that are not the nearest
	worst float64 // in steps
}

// fit returns the grids of the groups of got; nil if there are none or, unless anywhere,
// if a value is not the nearest to want.
func fit(g grouping, rows, cols int, want, got []float32, after narrowing, anywhere bool) *fitted {
	f := &fitted{least: math.Inf(1), after: after}
	var l levels
	ok := g.each(rows, cols, want, got, func(w, x []float32, first int) bool {
		all := l.of(x)
		if all == nil {
			return false
		}
		gr, ok := grid{}, false
		if after.name == "" {
			gr, ok = gridOf(all, len(x), !g.groups)
		} else {
			gr, ok = narrowGrid(all, after.relative)
		}
		if !ok {
			return false
		}
		gr.distinct = len(all)
		f.add(gr)
		for i, v := range x {
			if w[i] == v {
				continue
			}
			off := gr.off(float64(w[i]), float64(v))
			if off <= half || off <= 1+offGrid && (v == all[0] && w[i] < v || v == all[len(all)-1] && w[i] > v) {
				continue
			}
			if !anywhere {
				return false
			}
			at := first + i*g.stride
			f.wrong.add(at/cols, at%cols)
			f.worst = max(f.worst, off)
		}
		return true
	})
	if !ok || f.evidence < leastEvidence || math.IsInf(f.least, 1) && !f.uneven && !f.fp8 {
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

// A grid is the levels that the values of a group may have.
type grid struct {
	step        float64 // 0: there is one level only
	low, high   int     // the lowest and the highest level, counted from 0
	levels      int
	distinct    int  // levels that a value has
	offset      bool // 0 is not on it
	uneven      []float32
	fp8         bool
	scale       float64 // of fp8
	least, most float64
	relative    float64 // how far a level may have been moved
}

// narrowGrid returns the grid, with 0 on it, of levels that were rounded afterwards. It is
// fitted from the smallest level on, which was moved least.
func narrowGrid(all []float32, relative float64) (g grid, ok bool) {
	g = grid{least: float64(all[0]), most: float64(all[len(all)-1]), relative: relative}
	var sizes []float64
	for _, v := range all {
		if v != 0 {
			sizes = append(sizes, math.Abs(float64(v)))
		}
	}
	if slices.Sort(sizes); len(sizes) == 0 {
		return g, true
	}
	for parts := 1.0; parts <= 32; parts++ {
		step, kv, kk, n := sizes[0]/parts, 0.0, 0.0, 1.0
		fits := !slices.ContainsFunc(sizes, func(v float64) bool {
			k := math.Round(v / step)
			if k > maxLevels/2 || math.Abs(v-k*step) > offGrid*step+relative*v*(1+1/math.Sqrt(n)) {
				return true
			}
			kv, kk, n = kv+k*v, kk+k*k, n+1
			step = kv / kk
			return false
		})
		if fits {
			g.step, g.low, g.high = step, int(math.Round(g.least/step)), int(math.Round(g.most/step))
			g.levels = g.high - g.low + 1
			return g, true
		}
	}
	return g, false
}

// gridOf returns the grid of n values, which have the given levels. Many values may have
// few levels on no even grid; alone says that each is of a whole tensor, row or column.
func gridOf(all []float32, n int, alone bool) (g grid, ok bool) {
	g.least, g.most, g.levels = float64(all[0]), float64(all[len(all)-1]), len(all)
	if len(all) == 1 {
		g.offset = all[0] != 0
		return g, true
	}
	gap := math.Inf(1)
	for i, v := range all[1:] {
		gap = min(gap, float64(v)-float64(all[i]))
	}
	for parts := 1.0; parts <= 8; parts++ {
		step := gap / parts
		span := math.Round((g.most - g.least) / step)
		if span >= maxLevels {
			break
		}
		step = (g.most - g.least) / span
		on := func(v float64) bool { return math.Abs(v/step-math.Round(v/step)) <= offGrid }
		if slices.ContainsFunc(all, func(v float32) bool { return !on(float64(v) - g.least) }) {
			continue
		}
		g.step, g.levels = step, int(span)+1
		if g.offset = !on(g.least) || math.Abs(g.least/step) > maxLevels; !g.offset {
			g.low, g.high = int(math.Round(g.least/step)), int(math.Round(g.most/step))
		}
		return g, true
	}
	if g.scale = max(math.Abs(g.least), math.Abs(g.most)) / rounding.E4M3.Most; alone && g.scale > 0 &&
		!slices.ContainsFunc(all, func(v float32) bool {
			x := float64(v) / g.scale
			return math.Abs(rounding.E4M3.Nearest(x)-x) > 1e-5*math.Abs(x)
		}) {
		g.fp8 = true
		return g, true
	}
	g.uneven = all
	return g, len(all) <= 16 && n >= 4*len(all) || alone && n >= 4*maxLevels
}

// off returns how far a value is from the model's, in steps there.
func (g *grid) off(want, got float64) float64 {
	d := max(0, math.Abs(got-want)-g.relative*math.Abs(got))
	switch {
	case d <= 1e-6*math.Abs(got):
		return 0
	case g.fp8:
		return d / (g.scale * rounding.E4M3.Unit(max(math.Abs(got), math.Abs(want))/g.scale))
	case g.uneven != nil:
		i, _ := slices.BinarySearch(g.uneven, float32(got))
		if want > got {
			i++
		}
		if i <= 0 || i >= len(g.uneven) {
			return 0.5 // beyond the levels that there are
		}
		return d / (float64(g.uneven[i]) - float64(g.uneven[i-1]))
	case g.step == 0:
		return d / (0.02 * max(math.Abs(got), math.Abs(want)))
	}
	return d / g.step
}

func (f *fitted) add(g grid) {
	f.uneven, f.fp8 = f.uneven || g.uneven != nil, f.fp8 || g.fp8
	f.levels = max(f.levels, g.levels)
	f.evidence += max(0, g.distinct-2)
	switch {
	case g.fp8:
		f.least, f.most = min(f.least, g.scale), max(f.most, g.scale)
	case g.step > 0:
		f.least, f.most = min(f.least, g.step), max(f.most, g.step)
		f.offset = f.offset || g.offset
		f.signed = max(f.signed, -g.low, g.high)
	}
}

// scheme returns the quantisation.
func (f *fitted) scheme(g grouping) *harness.Scheme {
	s := &harness.Scheme{By: g.by, Least: harness.Float(f.least), Most: harness.Float(f.most), Offset: f.offset, Uneven: f.uneven, In: f.after.name}
	levels := 2 * f.signed // those of a sign, and 0
	if f.offset || f.uneven {
		levels = f.levels
	}
	for s.Bits = 1; 1<<s.Bits < levels; s.Bits++ {
	}
	if f.fp8 {
		s.Bits, s.Offset, s.Float = 8, false, "e4m3"
	}
	if g.groups {
		s.Group = g.n
	}
	if f.uneven {
		s.Least, s.Most = 0, 0
	}
	return s
}

// offGrid finds a weight that is quantised, but not everywhere to the nearest value.
func (w *weight) offGrid() (named, bool) {
	for _, g := range groupings(w.rows, w.cols) {
		f := fit(g, w.rows, w.cols, w.want, w.got, narrowing{}, true)
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
