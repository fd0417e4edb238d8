package kernel

import "math"

// LayerNorm writes (x - mean)/sqrt(variance + eps)·gain + bias for each row of
// x [rows, len(gain)] to y, with the biased variance (divided by the width, not
// by one less). Mean and variance are added up in float64 in two passes, so the
// result is the float64 result rounded once.
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
