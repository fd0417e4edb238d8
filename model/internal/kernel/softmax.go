package kernel

import "math"

// Softmax writes softmax(src/temperature) to dst, which has the same length and
// may be src. The maximum is taken off first, so no finite input overflows;
// exponentials are taken and added up in float64. -Inf has probability exactly
// 0. A NaN, a +Inf or nothing but -Inf makes every value NaN.
func Softmax(dst, src []float32, temperature float64) {
	top := float32(math.Inf(-1))
	for _, v := range src {
		if v > top {
			top = v
		}
	}
	dst = dst[:len(src)]
	var sum float64
	for i, v := range src {
		e := math.Exp((float64(v) - float64(top)) / temperature)
		dst[i] = float32(e)
		sum += e
	}
	scale := 1 / sum
	for i, e := range dst {
		dst[i] = float32(float64(e) * scale)
	}
}
