package weights

import (
	"iter"
	"math"
	"math/bits"
	"slices"

	"checkpoint12/harness/internal/rounding"
)

// A grid is the levels that the values of a group may have.
type grid struct {
	step        float64 // 0: there is one level only, or they are uneven
	low, high   int     // the lowest and the highest level, counted from 0
	levels      int
	distinct    int  // levels that a value has
	offset      bool // 0 is not on it
	uneven      []float32
	code        *code   // the type whose values they are, times scale
	scale       float64 // of that
	least, most float64
	moved       float64 // how far a level may have been moved, relative
}

// A code is a type of few values, which are its levels times a scale.
type code struct {
	name   string
	bits   int
	values []float64 // ascending
}

// codes are the types of 4 bits that weights are kept in, as their specifications and
// bitsandbytes have them, and fp8.
var codes = func() []*code {
	both := func(positive ...float64) (all []float64) {
		for _, v := range slices.Backward(positive) {
			all = append(all, -v)
		}
		return append(append(all, 0), positive...)
	}
	var fp8 []float64
	for e := -6; e <= 8; e++ {
		for k := range 8 {
			if v := math.Ldexp(1+float64(k)/8, e); v <= rounding.E4M3.Most {
				fp8 = append(fp8, v)
			}
		}
	}
	for k := 7; k > 0; k-- {
		fp8 = slices.Insert(fp8, 0, math.Ldexp(float64(k), -9))
	}
	return []*code{
		{"nf4", 4, []float64{-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
			-0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634,
			0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1}},
		{"e2m1", 4, both(0.5, 1, 1.5, 2, 3, 4, 6)},
		{"bitsandbytes", 4, both(0.0625/12, 2.0/12, 3.0/12, 4.0/12, 6.0/12, 8.0/12, 1)},
		{"e4m3", 8, both(fp8...)},
	}
}()

// gridsOf yields grids of a group's values, which have the given levels, nil if those are more
// than maxLevels; the likeliest first. alone says that it is a whole tensor, row or column.
func gridsOf(all, x []float32, alone bool, after narrowing) iter.Seq[grid] {
	return func(yield func(grid) bool) {
		if all == nil {
			if after.name == "" {
				wideGrids(x, yield)
			}
			return
		}
		if after.name == "" {
			if g, ok := evenGrid(all); ok && !yield(g) {
				return
			}
		} else if g, ok := narrowGrid(all, after.relative); ok && !yield(g) {
			return
		}
		for _, c := range codes {
			if g, ok := c.grid(all, after.relative); ok && (c.bits < 8 || alone && after.name == "") && !yield(g) {
				return
			}
		}
		if after.name != "" || !wideGrids(x, yield) {
			return
		}
		if n := len(x); len(all) <= 16 && n >= 4*len(all) || alone && n >= 4*maxLevels {
			yield(grid{least: float64(all[0]), most: float64(all[len(all)-1]), levels: len(all), uneven: all})
		}
	}
}

// narrowGrid returns the grid, with 0 on it, of levels that were rounded afterwards. It is
// fitted from the smallest level on, which was moved least.
func narrowGrid(all []float32, relative float64) (g grid, ok bool) {
	g = grid{least: float64(all[0]), most: float64(all[len(all)-1]), moved: relative + scales[1].relative}
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

// evenGrid returns the even grid of levels.
func evenGrid(all []float32) (g grid, ok bool) {
	g.least, g.most, g.levels = float64(all[0]), float64(all[len(all)-1]), len(all)
	if len(all) == 1 {
		g.offset = all[0] != 0
		return g, true
	}
	gap := math.Inf(1)
	for i, v := range all[1:] {
		gap = min(gap, float64(v)-float64(all[i]))
	}
	most := 8.0 // parts of the gap
	if len(all) > 8 {
		most = maxLevels // which as many levels do not fit by chance
	}
	for parts := 1.0; parts <= most; parts++ {
		span := math.Round((g.most - g.least) / (gap / parts))
		if span >= maxLevels {
			break
		}
		if g.lay((g.most-g.least)/span, all) {
			return g, true
		}
	}
	return g, false
}

// lay lays a grid of a step through the lowest level, and reports whether all are on it.
func (g *grid) lay(step float64, all []float32) bool {
	on := func(v float64) bool { return math.Abs(v/step-math.Round(v/step)) <= offGrid }
	if slices.ContainsFunc(all, func(v float32) bool { return !on(float64(v) - g.least) }) {
		return false
	}
	g.step, g.levels = step, int(math.Round((g.most-g.least)/step))+1
	if g.offset = !on(g.least) || math.Abs(g.least/step) > float64(max(maxLevels, g.levels)); !g.offset {
		g.low, g.high = int(math.Round(g.least/step)), int(math.Round(g.most/step))
	}
	return true
}

// wideGrids yields the grids of 9 to 16 bits that values may be on: the largest of them, or
// the two ends, are the last levels, or the step is a power of 2. It reports whether to go on.
func wideGrids(x []float32, yield func(grid) bool) bool {
	if len(x) < leastEvidence+2 {
		return true
	}
	g := grid{least: float64(slices.Min(x)), most: float64(slices.Max(x))}
	size, exponent := max(-g.least, g.most), math.MaxInt // of the largest power of 2 that divides all
	for _, v := range x {
		if v != 0 {
			_, e := math.Frexp(float64(v))
			odd := uint32(math.Ldexp(math.Abs(float64(v)), 24-e)) // whole: float32 has 24 bits
			exponent = min(exponent, e-24+bits.TrailingZeros32(odd))
		}
	}
	var steps []float64
	for last := 256.0; last <= 1<<15; last *= 2 {
		steps = append(steps, size/(last-1), size/last, (g.most-g.least)/(2*last-1))
	}
	for _, step := range append(steps, math.Ldexp(1, exponent)) {
		if step > 0 && size/step < 1<<16+0.5 && g.lay(step, x) && !yield(g) {
			return false
		}
	}
	return true
}

// grid returns the grid whose levels are values of the type.
func (c *code) grid(all []float32, relative float64) (g grid, ok bool) {
	const least = 4 // levels
	if len(all) < least || len(all) > len(c.values) {
		return g, false
	}
	g = grid{least: float64(all[0]), most: float64(all[len(all)-1]), levels: len(c.values), code: c, moved: relative}
	size := max(-g.least, g.most)
	for _, v := range slices.Backward(c.values) {
		if v <= 0 || c.bits == 8 && v < rounding.E4M3.Most {
			break
		}
		g.scale = size / v
		if !slices.ContainsFunc(all, func(x float32) bool {
			return math.Abs(c.values[c.nearest(float64(x)/g.scale)]*g.scale-float64(x)) > (1e-5+2*relative)*math.Abs(float64(x))
		}) {
			return g, true
		}
	}
	return g, false
}

// nearest returns the index of the value that is nearest to x.
func (c *code) nearest(x float64) int {
	i, _ := slices.BinarySearch(c.values, x)
	if i == len(c.values) || i > 0 && x-c.values[i-1] < c.values[i]-x {
		i--
	}
	return i
}

// nearest reports whether each value is at the level nearest to the wanted one.
func (g *grid) nearest(want, got []float32) bool {
	for i, v := range got {
		if want[i] != v && !g.takes(g.off(float64(want[i]), float64(v)), want[i], v) {
			return false
		}
	}
	return true
}

// takes reports whether a value that is off by so many steps is the nearest that there is. One
// beyond the others may be off by more.
func (g *grid) takes(off float64, want, got float32) bool {
	w, v := float64(want), float64(got)
	return off <= half || (off <= 1+offGrid || g.levels <= fewLevels) && (v == g.least && w < v || v == g.most && w > v)
}

// off returns how far a value is from the model's, in steps there.
func (g *grid) off(want, got float64) float64 {
	moved := g.moved * math.Abs(got)
	if g.offset {
		moved = g.moved * (math.Abs(got-g.least) + math.Abs(g.least))
	}
	d := max(0, math.Abs(got-want)-moved)
	switch {
	case d <= 1e-6*math.Abs(got):
		return 0
	case g.code != nil:
		i := g.code.nearest(got / g.scale)
		return beyond(d/g.scale, g.code.values, i, want > got)
	case g.uneven != nil:
		i, _ := slices.BinarySearch(g.uneven, float32(got))
		return beyond(d, g.uneven, i, want > got)
	case g.step == 0:
		return d / (0.02 * max(math.Abs(got), math.Abs(want)))
	}
	return d / g.step
}

// beyond returns how far a distance is from level i up or down, as a part of the distance to
// the next; half where there is no next.
func beyond[F float32 | float64](d float64, levels []F, i int, up bool) float64 {
	if up {
		i++
	}
	if i <= 0 || i >= len(levels) {
		return 0.5
	}
	return d / (float64(levels[i]) - float64(levels[i-1]))
}
