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
	{"rounded to fp8 (e4m3)", rounding.E4M3.Round},
	{"rounded to fp8 (e5m2)", rounding.E5M2.Round},
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
