package kernel

import (
	"math"

	"checkpoint12/model/activation"
)

// LayerNorm writes (x - mean)/sqrt(variance + eps)·gain + bias for each row of
// x [rows, len(gain)] to y, with the biased variance, rounded once from float64.
func LayerNorm(p *Pool, y, x, gain, bias []float32, eps float64) {
	p.norm = normTask{y: y, x: x, gain: gain, bias: bias, eps: eps}
	p.Do(&p.norm, len(x)/len(gain), 4*len(x))
	p.norm = normTask{}
}

type normTask struct {
	y, x, gain, bias []float32
	eps              float64
}

func (t *normTask) Part(i int) {
	n := len(t.gain)
	x, y := t.x[i*n:(i+1)*n], t.y[i*n:(i+1)*n]
	if kernels > portable {
		layerNorm(y, x, t.gain, t.bias, t.eps)
		return
	}
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

// eachChunk is the number of values of one part of Activate.
const eachChunk = 2048

// Activate writes f of each value of x, computed in float64, to y.
func Activate(p *Pool, y, x []float32, f *activation.Function) {
	p.each = eachTask{y: y, x: x, f: f.Of, gelu: kernels > portable && f == activation.Released}
	p.Do(&p.each, (len(x)+eachChunk-1)/eachChunk, 16*len(x))
	p.each = eachTask{}
}

type eachTask struct {
	y, x []float32
	f    func(float64) float64
	gelu bool // f has a kernel
}

func (t *eachTask) Part(i int) {
	lo := i * eachChunk
	hi := min(lo+eachChunk, len(t.x))
	y := t.y[lo:hi]
	if t.gelu {
		gelus(y, t.x[lo:hi])
		return
	}
	for j, v := range t.x[lo:hi] {
		y[j] = float32(t.f(float64(v)))
	}
}

// Argmax returns the lowest index of the largest value, or -1 for none or a NaN.
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
// to it, or within 1e-44. Where there is no distribution (a NaN, a +Inf, nothing but
// -Inf, or a temperature that is not positive) every value is NaN.
func Softmax(dst, src []float32, temperature float64) {
	if !(temperature > 0) {
		temperature = math.NaN()
	}
	dst = dst[:len(src)]
	seen := max(before(src, float32(math.Inf(-1))), min(1, len(src))) // what is masked at the end has no share
	masked := dst[seen:]
	softmax(dst[:seen], src[:seen], temperature)
	clear(masked)
	for i := 0; i < len(masked) && dst[0] != dst[0]; i++ {
		masked[i] = dst[0]
	}
}

// before returns how many places of a row come before those at its end that have a value, to the bit.
func before(row []float32, value float32) int {
	bits, n := math.Float32bits(value), len(row)
	if kernels > portable && n > 0 {
		return without(&row[0], n, bits)
	}
	for n > 0 && math.Float32bits(row[n-1]) == bits {
		n--
	}
	return n
}

// softmax is Softmax of a temperature above 0 or NaN.
func softmax(dst, src []float32, temperature float64) {
	if kernels > portable && len(src) > 0 {
		softmaxes(dst, src, temperature)
		return
	}
	top := math.Inf(-1)
	for _, v := range src {
		top = max(top, float64(v))
	}
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
