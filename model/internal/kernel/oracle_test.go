package kernel

import (
	"math"
	"math/rand/v2"
)

// The naive twins: the textbook's formula, in float64, with nothing blocked or
// reordered.

func naiveMul(w *Matrix, x, bias []float32, rows int) []float64 {
	y := make([]float64, rows*w.out)
	for r := range rows {
		for j := range w.out {
			var s float64
			if bias != nil {
				s = float64(bias[j])
			}
			for i := range w.in {
				at := i*w.out + j
				if w.layout == OutIn {
					at = j*w.in + i
				}
				s += float64(x[r*w.in+i]) * float64(w.data[at])
			}
			y[r*w.out+j] = s
		}
	}
	return y
}

func naiveLayerNorm(x, gain, bias []float32, eps float64) []float64 {
	n := len(gain)
	y := make([]float64, len(x))
	for r := 0; r < len(x); r += n {
		var mean, variance float64
		for _, v := range x[r : r+n] {
			mean += float64(v) / float64(n)
		}
		for _, v := range x[r : r+n] {
			variance += math.Pow(float64(v)-mean, 2) / float64(n)
		}
		for i := range n {
			y[r+i] = (float64(x[r+i])-mean)/math.Sqrt(variance+eps)*float64(gain[i]) + float64(bias[i])
		}
	}
	return y
}

func naiveSoftmax(x []float32, temperature float64) []float64 {
	top, sum := math.Inf(-1), 0.0
	for _, v := range x {
		top = max(top, float64(v))
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = math.Exp((float64(v) - top) / temperature)
		sum += y[i]
	}
	for i := range y {
		y[i] /= sum
	}
	return y
}

func normal(rng *rand.Rand, n int, scale float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64() * scale)
	}
	return x
}
