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
	cut         bool    // values are cut off toward 0, not rounded
}

// float8s are the types of 8 bits.
var float8s = []narrow{
	{"float8 (e5m2), 2 bits of mantissa", 2, 0x1p-14, 57344, false},
	{"float8 (e4m3), 3 bits of mantissa", 3, 0x1p-6, 448, false},
}

// float16s are those of 16.
var float16s = []narrow{
	{"bfloat16, 7 bits of mantissa", 7, 0, math.Inf(1), false},
	{"float16, 10 bits of mantissa", 10, 0x1p-14, 65504, false},
}

// narrows are those that are looked at where no value has more than so many bits of mantissa.
func narrows(bits int) (all []narrow) {
	for _, n := range slices.Concat(float8s, float16s) {
		if n.bits >= bits {
			all = append(all, n)
		}
	}
	text := fmt.Sprintf("%d bits of mantissa, %d significant bits", bits, bits+1)
	if bits < 7 {
		text = fmt.Sprintf("%d bits of mantissa, fewer than bfloat16's 7", bits)
	}
	return append(all, narrow{text, bits, 0, math.Inf(1), false}, narrow{text, bits, 0, math.Inf(1), true})
}

// round returns the nearest value of the type, or the next toward 0.
func (n narrow) round(v float64) float64 {
	if v == 0 || v-v != 0 {
		return v
	}
	_, e := math.Frexp(max(math.Abs(v), n.least))
	step, round := math.Ldexp(1, e-1-n.bits), math.RoundToEven
	if n.cut {
		round = math.Trunc
	}
	return max(-n.most, min(round(v/step)*step, n.most))
}

// nearest is round, of a value that rounding may have moved over the bound between two, among values
// of a root mean square.
func (n narrow) nearest(v, got, size float64) float64 {
	off := (math.Abs(v) + size) / (1 << 20)
	all := []float64{n.round(v), n.round(v - off), n.round(v + off)}
	return slices.MinFunc(all, func(a, b float64) int { return int(math.Copysign(1, math.Abs(a-got)-math.Abs(b-got))) })
}

// hypothesis returns that of an output rounded to the type.
func (n narrow) hypothesis() Hypothesis {
	text := "the output is rounded to " + n.text + ": keep it in float32"
	if n.cut {
		text = "the output is cut off, toward 0, to " + n.text + ": round it, or keep it in float32"
	}
	return Hypothesis{ID: PatternLevels, Text: text, Output: func(s *Stage) []float32 {
		out := slices.Clone(s.Correct())
		size := rootMeanSquare(out)
		for i, v := range out {
			if len(s.Seen) == len(out) {
				out[i] = float32(n.nearest(float64(v), float64(s.Seen[i]), size))
			} else {
				out[i] = float32(n.round(float64(v)))
			}
		}
		return out
	}}
}

// narrowed proposes the output rounded to the narrowest type that gives it.
func (p *values) narrowed() []Hypothesis {
	const spared = 4 // bits that are 0 by chance, or of which float32's rounding is not told
	var got []float32
	for _, i := range p.at {
		got = append(got, p.Got[i])
	}
	bits := MantissaBits(got)
	if bits < 1 || bits > 23-spared || len(p.wrong) < leastSteps {
		return nil
	}
	size := rootMeanSquare(p.Right)
	for _, n := range narrows(bits) {
		if p.holds(func(i int) float64 { return n.nearest(float64(p.Right[i]), float64(p.Got[i]), size) }) {
			return []Hypothesis{n.hypothesis()}
		}
	}
	return nil
}

// rootMeanSquare returns that of the finite values.
func rootMeanSquare(x []float32) float64 {
	sum, n := 0.0, 0
	for _, v := range x {
		if finite(v) {
			sum, n = sum+float64(v)*float64(v), n+1
		}
	}
	return math.Sqrt(sum / float64(max(n, 1)))
}

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
