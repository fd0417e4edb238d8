package weights

import (
	"math"

	"checkpoint12/harness/internal/rounding"
)

// roundings are those that a weight may have gone through, by their names.
var roundings = []struct {
	name  string
	round rounding.Rounding
}{
	{"rounded to f16", rounding.Float16},
	{"rounded to bf16", rounding.BFloat16},
	{"rounded to tf32", rounding.TF32},
	{"rounded to fp8 (e4m3)", e4m3.rounding},
	{"rounded to fp8 (e5m2)", e5m2.rounding},
	{"cut off to bf16", cut(16)},
	{"cut off to tf32", rounding.TF32Cut},
}

// roundingOf returns the name of the rounding that makes got of want, or "".
func roundingOf(want, got []float32) string {
	const block = 4096
	mem := make([]float32, min(block, len(want)))
	for _, r := range roundings {
		same := true
		for lo := 0; lo < len(want) && same; lo += block {
			w := want[lo:min(lo+block, len(want))]
			same = sameValues(r.round.In(mem[:len(w)], w), got[lo:lo+len(w)])
		}
		if same {
			return r.name
		}
	}
	return ""
}

// cut drops low bits without rounding.
func cut(drop uint) rounding.Rounding {
	return func(dst, src []float32) {
		for i, v := range src {
			dst[i] = math.Float32frombits(math.Float32bits(v) &^ (1<<drop - 1))
		}
	}
}

// A smallFloat is a floating-point type of 8 bits.
type smallFloat struct {
	mantissa int     // bits of it that are stored
	least    int     // the exponent of the smallest normal number
	most     float64 // the largest number; others are saturated
}

var e4m3, e5m2 = smallFloat{3, -6, 448}, smallFloat{2, -14, 57344}

// unit returns the distance of neighbours at a magnitude.
func (f smallFloat) unit(x float64) float64 {
	e := f.least
	if x != 0 {
		_, e = math.Frexp(x)
	}
	return math.Ldexp(1, max(e-1, f.least)-f.mantissa)
}

// nearest rounds to nearest, ties to even.
func (f smallFloat) nearest(x float64) float64 {
	u := f.unit(x)
	return max(-f.most, min(f.most, math.RoundToEven(x/u)*u))
}

func (f smallFloat) rounding(dst, src []float32) {
	for i, v := range src {
		dst[i] = float32(f.nearest(float64(v)))
	}
}
