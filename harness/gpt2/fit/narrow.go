package fit

import (
	"fmt"
	"math"
	"slices"
)

// A narrow is a type of few bits of mantissa.
type narrow struct {
	text        string
	bits        int
	least, most float64 // the smallest normal number, and the largest
}

// float8s are the types of 8 bits.
var float8s = []narrow{
	{"float8 (e5m2), 2 bits of mantissa", 2, 0x1p-14, 57344},
	{"float8 (e4m3), 3 bits of mantissa", 3, 0x1p-6, 448},
}

// narrows are those that are looked at, the fewest values first.
var narrows = func() []narrow {
	all := slices.Clone(float8s)
	for bits := 1; bits < 7; bits++ {
		all = append(all, narrow{fmt.Sprintf("%d bits of mantissa, fewer than bfloat16's 7", bits), bits, 0, math.Inf(1)})
	}
	return all
}()

// round returns the nearest value of the type.
func (n narrow) round(v float64) float64 {
	if v == 0 || v-v != 0 {
		return v
	}
	_, e := math.Frexp(max(math.Abs(v), n.least))
	step := math.Ldexp(1, e-1-n.bits)
	return max(-n.most, min(math.RoundToEven(v/step)*step, n.most))
}

// nearest is round, of a value that rounding may have moved over the middle between two.
func (n narrow) nearest(v, got float64) float64 {
	all := []float64{n.round(v), n.round(v * (1 - 1e-6)), n.round(v * (1 + 1e-6))}
	return slices.MinFunc(all, func(a, b float64) int { return int(math.Copysign(1, math.Abs(a-got)-math.Abs(b-got))) })
}

// hypothesis returns that of an output rounded to the type.
func (n narrow) hypothesis() Hypothesis {
	text := "the output is rounded to " + n.text + ": keep it in float32"
	return Hypothesis{ID: PatternLevels, Text: text, Output: func(s *Stage) []float32 {
		out := slices.Clone(s.Correct())
		for i, v := range out {
			if len(s.Seen) == len(out) {
				out[i] = float32(n.nearest(float64(v), float64(s.Seen[i])))
			} else {
				out[i] = float32(n.round(float64(v)))
			}
		}
		return out
	}}
}

// narrowed proposes the output rounded to the narrowest type that gives it.
func (p *values) narrowed() []Hypothesis {
	for _, n := range narrows {
		if len(p.wrong) >= leastSteps && p.holds(func(i int) float64 { return n.nearest(float64(p.Right[i]), float64(p.Got[i])) }) {
			return []Hypothesis{n.hypothesis()}
		}
	}
	return nil
}

// narrowCaches proposes caches of a type of 8 bits.
func narrowCaches(*Row) (all []Hypothesis) {
	for _, n := range float8s {
		h := n.hypothesis()
		h.Stages = []string{"h.*.attn.cache_k", "h.*.attn.cache_v"}
		all = append(all, h)
	}
	return all
}

func init() { blind["attn.cache_k"] = append(blind["attn.cache_k"], narrowCaches) }

// MantissaBits returns how many bits of mantissa values have at most, of normal numbers.
func MantissaBits(x []float32) (most int) {
	for _, v := range x {
		m := math.Float32bits(v) & (1<<23 - 1)
		for n := 23; n > most; n-- {
			if m&(1<<(23-n)) != 0 {
				most = n
			}
		}
	}
	return most
}
