package kernel

import (
	"math"

	"github.com/tphakala/simd/f32"
)

// Layout is the order of a matrix in memory, row after row.
type Layout int

const (
	// InOut is [in, out], as GPT-2's Conv1D layers keep it.
	InOut Layout = iota
	// OutIn is [out, in], as embeddings and linear layers keep it.
	OutIn
)

// Matrix is a weight matrix for products with rows from the left. It shares its data.
type Matrix struct {
	in, out int
	layout  Layout
	data    []float32
}

// NewMatrix returns the matrix of data, in·out values in the given layout.
func NewMatrix(data []float32, in, out int, layout Layout) *Matrix {
	if len(data) != in*out {
		panic("kernel.NewMatrix: data does not have in*out values")
	}
	return &Matrix{in: in, out: out, layout: layout, data: data}
}

const (
	// blockK is the number of products that are added up before their sum joins
	// the others: float32 sums of thousands lose less when taken in two levels.
	blockK = 128
	// blockN is the number of columns of a block of an InOut matrix, which stays
	// in a core's second-level cache (blockK·blockN·4 bytes) while all rows pass.
	blockN = 512
	// fewRows is the most rows for which an InOut matrix is read in the order of memory.
	fewRows = 16
	// headRows is the number of rows of an OutIn matrix in one part.
	headRows = 256
)

// Mul computes y = x·w + bias for the given number of rows: x is [rows, in],
// y is [rows, out], bias is [out] or nil.
//
// An InOut product adds up blocks of blockK products, each from zero and in
// order, and then adds the blocks' sums to the bias in order. An OutIn product
// is one dot product a value.
func (w *Matrix) Mul(p *Pool, y, x, bias []float32, rows int) {
	t := &p.mul
	t.Matrix, t.rows = w, rows
	t.y, t.x, t.bias = y[:rows*w.out], x[:rows*w.in], bias
	blocks := (w.in + blockK - 1) / blockK
	work := rows * w.in * w.out
	switch {
	case w.layout == OutIn:
		t.part = (*mulTask).transposed
		p.Do(t, (w.out+headRows-1)/headRows, work)
	case rows > fewRows:
		t.part, t.sums = (*mulTask).blocked, p.space(w.out)
		p.Do(t, (w.out+blockN-1)/blockN, work)
	default:
		t.width = w.out
		for t.width > 2*blockN && blocks*(w.out/t.width) < 2*p.threads {
			t.width = (t.width/2 + blockN - 1) / blockN * blockN
		}
		t.split = (w.out + t.width - 1) / t.width
		t.part, t.sums = (*mulTask).streamed, p.space(blocks*rows*w.out)
		p.Do(t, blocks*t.split, work)
		t.start(0, w.out)
		for b := range blocks {
			f32.Add(t.y, t.y, t.sums[b*rows*w.out:][:rows*w.out])
		}
	}
	*t = mulTask{}
}

// mulTask is a product at work.
type mulTask struct {
	*Matrix
	y, x, bias   []float32
	rows         int
	part         func(t *mulTask, i int)
	sums         []float32 // [out] of blocked, [blocks][rows][out] of streamed
	width, split int       // columns of one part of streamed, and how many parts make a row
}

// Part implements Task.
func (t *mulTask) Part(i int) { t.part(t, i) }

// start fills columns lo to hi of y with the bias.
func (t *mulTask) start(lo, hi int) {
	for r := range t.rows {
		y := t.y[r*t.out+lo : r*t.out+hi]
		if t.bias == nil {
			clear(y)
		} else {
			copy(y, t.bias[lo:hi])
		}
	}
}

// transposed is an OutIn product in parts of headRows outputs.
func (t *mulTask) transposed(i int) {
	for j := i * headRows; j < min((i+1)*headRows, t.out); j++ {
		w := t.data[j*t.in : (j+1)*t.in]
		for r := range t.rows {
			s := f32.DotProduct(w, t.x[r*t.in:(r+1)*t.in])
			if t.bias != nil {
				s += t.bias[j]
			}
			t.y[r*t.out+j] = s
		}
	}
}

// blocked is an InOut product in parts of blockN columns.
func (t *mulTask) blocked(i int) {
	lo := i * blockN
	hi := min(lo+blockN, t.out)
	sum := t.sums[lo:hi]
	t.start(lo, hi)
	for k0 := 0; k0 < t.in; k0 += blockK {
		k1 := min(k0+blockK, t.in)
		for r := range t.rows {
			clear(sum)
			for k, x := range t.x[r*t.in+k0 : r*t.in+k1] {
				at := (k0+k)*t.out + lo
				f32.AddScaled(sum, x, t.data[at:at+len(sum)])
			}
			y := t.y[r*t.out+lo : r*t.out+hi]
			f32.Add(y, y, sum)
		}
	}
}

// streamed is an InOut product in parts of blockK rows of the matrix, read in the
// order of memory. Each part leaves its sums in a place of its own.
func (t *mulTask) streamed(i int) {
	block, lo := i/t.split, i%t.split*t.width
	hi := min(lo+t.width, t.out)
	k0 := block * blockK
	k1 := min(k0+blockK, t.in)
	sums := t.sums[block*t.rows*t.out:][:t.rows*t.out]
	for r := range t.rows {
		clear(sums[r*t.out+lo : r*t.out+hi])
	}
	for k := k0; k < k1; k++ {
		w := t.data[k*t.out+lo : k*t.out+hi]
		for r := range t.rows {
			f32.AddScaled(sums[r*t.out+lo:r*t.out+hi], t.x[r*t.in+k], w)
		}
	}
}

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

// eachChunk is the number of values of one part of an Each task.
const eachChunk = 2048

// Each writes f of each value of x, computed in float64, to y.
func Each(p *Pool, y, x []float32, f func(float64) float64) {
	p.each = eachTask{y: y, x: x, f: f}
	p.Do(&p.each, (len(x)+eachChunk-1)/eachChunk, 16*len(x))
	p.each = eachTask{}
}

type eachTask struct {
	y, x []float32
	f    func(float64) float64
}

func (t *eachTask) Part(i int) {
	lo := i * eachChunk
	hi := min(lo+eachChunk, len(t.x))
	y := t.y[lo:hi]
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
