package kernel

import "math"

// geluChunk is the number of values of one part of a GELU task.
const geluChunk = 2048

// GELU writes the tanh form of the Gaussian error linear unit (gelu_new in
// Hugging Face's names), 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))), of each
// value of x to y. It is computed in float64 as x/(1 + exp(-2u)), which is the
// same function without the cancellation at negative x, and rounded once.
//
// Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv:1606.08415.
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
