package kernel

import (
	"math"

	"github.com/tphakala/simd/f32"
)

// Add writes a + b to dst; the three have the same length.
func Add(dst, a, b []float32) { f32.Add(dst, a, b) }

// Dot returns the sum of a[i]·b[i].
func Dot(a, b []float32) float32 { return f32.DotProduct(a, b) }

// AddScaled adds factor·x to dst.
func AddScaled(dst []float32, factor float32, x []float32) { f32.AddScaled(dst, factor, x) }

// LayerNorm writes (x - mean)/sqrt(variance + eps)·gain + bias for each row of
// x [rows, len(gain)] to y, with the biased variance (divided by the width). It is
// the float64 result rounded once.
func LayerNorm(p *Pool, y, x, gain, bias []float32, eps float64) {
	p.norm = normTask{y: y, x: x, gain: gain, bias: bias, eps: eps}
	p.Do(&p.norm, len(x)/len(gain), 4*len(x))
	p.norm = normTask{}
}

type normTask struct {
	y, x, gain, bias []float32
	eps              float64
}

func (t *normTask) Part(i, _ int) {
	n := len(t.gain)
	x, y := t.x[i*n:(i+1)*n], t.y[i*n:(i+1)*n]
	var sum float64
	for _, v := range x {
		sum += float64(v)
	}
	mean := sum / float64(n)
	var squares float64
	for _, v := range x {
		d := float64(v) - mean
		squares += d * d
	}
	scale := 1 / math.Sqrt(squares/float64(n)+t.eps)
	gain, bias := t.gain[:len(x)], t.bias[:len(x)]
	for j, v := range x {
		y[j] = float32((float64(v)-mean)*scale*float64(gain[j]) + float64(bias[j]))
	}
}

// geluChunk is the number of values of one part of a GELU task.
const geluChunk = 2048

// GELU writes the tanh form of the Gaussian error linear unit (arXiv:1606.08415),
// 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))), of each value of x to y. It is
// computed in float64 as x/(1 + exp(-2u)), which does not cancel at negative x,
// and rounded once.
func GELU(p *Pool, y, x []float32) {
	p.gelu = geluTask{y: y, x: x}
	p.Do(&p.gelu, (len(x)+geluChunk-1)/geluChunk, 16*len(x))
	p.gelu = geluTask{}
}

type geluTask struct{ y, x []float32 }

func (t *geluTask) Part(i, _ int) {
	const c = 2 * 0.79788456080286535587989211986876 // 2·√(2/π)
	lo := i * geluChunk
	hi := min(lo+geluChunk, len(t.x))
	y := t.y[lo:hi]
	for j, f := range t.x[lo:hi] {
		v := float64(f)
		y[j] = float32(v / (1 + math.Exp(-c*(v+0.044715*v*v*v))))
	}
}

// Argmax returns the index of the largest value of x, the lowest of a tie, or -1
// when x is empty or holds a NaN: a model that computes NaN has chosen nothing.
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
// may be src itself. Each value is within 1.2e-7 of the float64 result, relative
// to it, or within 1e-44, where float32 has no more digits. -Inf has probability
// 0. Where there is no distribution (a NaN, a +Inf,
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
