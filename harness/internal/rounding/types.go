package rounding

import "math"

// A Type is one of those with fewer bits than float32.
type Type struct {
	Name  string // in words
	Round Rounding
}

// Types are those that engines keep values in, the smallest set of numbers first.
var Types = []Type{
	{"8-bit integers", integers}, {"fp8 (e4m3)", E4M3.Round}, {"fp8 (e5m2)", E5M2.Round},
	{"bfloat16", BFloat16}, {"float16", Float16},
}

// integers keeps the integers of 8 bits.
func integers(dst, src []float32) {
	for i, v := range src {
		dst[i] = float32(max(-128, min(127, math.RoundToEven(float64(v)))))
	}
}

// A Float8 is a floating-point type of 8 bits.
type Float8 struct {
	mantissa int     // bits of it that are stored
	least    int     // the exponent of the smallest normal number
	Most     float64 // the largest number; others are saturated
}

// The two types of 8 bits that processors have.
var E4M3, E5M2 = Float8{3, -6, 448}, Float8{2, -14, 57344}

// Unit returns the distance of neighbours at a magnitude.
func (f Float8) Unit(x float64) float64 {
	e := f.least
	if x != 0 {
		_, e = math.Frexp(x)
	}
	return math.Ldexp(1, max(e-1, f.least)-f.mantissa)
}

// Nearest rounds to nearest, ties to even.
func (f Float8) Nearest(x float64) float64 {
	u := f.Unit(x)
	return max(-f.Most, min(f.Most, math.RoundToEven(x/u)*u))
}

// Round is a Rounding.
func (f Float8) Round(dst, src []float32) {
	for i, v := range src {
		dst[i] = float32(f.Nearest(float64(v)))
	}
}

// Holding returns those of types in which all values are. An infinity and NaN are in each.
func Holding(types []Type, x []float32) (left []Type) {
	var mem [1 << 10]float32
	for _, t := range types {
		holds := true
		for lo := 0; lo < len(x) && holds; lo += len(mem) {
			block := x[lo:min(lo+len(mem), len(x))]
			for i, v := range t.Round.In(mem[:len(block)], block) {
				holds = holds && (v == block[i] || block[i]-block[i] != 0)
			}
		}
		if holds {
			left = append(left, t)
		}
	}
	return left
}
