package kernel

import "math"

// Argmax returns the index of the largest value of x, the lowest index of a
// tie. It returns -1 when x is empty or holds a NaN, which has no order: a
// model that computes NaN has chosen nothing, and token 0 would hide that.
func Argmax(x []float32) int {
	best := -1
	max := float32(math.Inf(-1))
	for i, v := range x {
		if v > max || best < 0 {
			best, max = i, v
		}
		if v != v {
			return -1
		}
	}
	return best
}

// Softmax writes softmax(src/temperature) to dst, which has the same length and
// may be src itself. The maximum is taken off first, so no finite input
// overflows; exponentials are taken and added up in float64 and rounded twice,
// so each value is within 1.2e-7 of the float64 result, relative to it (or
// within 1e-44, where float32 has no more digits).
//
// -Inf has probability 0. Where there is no distribution (a NaN, a +Inf,
// nothing but -Inf, or a temperature that is not positive) every value is NaN.
func Softmax(dst, src []float32, temperature float64) {
	top := math.Inf(-1)
	if !(temperature > 0) {
		top = math.NaN()
	}
	for _, v := range src {
		if float64(v) > top {
			top = float64(v)
		}
	}
	dst = dst[:len(src)]
	var sum float64
	for i, v := range src {
		e := math.Exp((float64(v) - top) / temperature) // 1 at the maximum
		dst[i] = float32(e)
		sum += e
	}
	scale := 1 / sum
	for i, e := range dst {
		dst[i] = float32(float64(e) * scale)
	}
}
