package kernel

import "github.com/tphakala/simd/f32"

// Layout says how a matrix lies in memory, row after row.
type Layout int

const (
	// InOut is [in, out], as GPT-2's Conv1D layers keep it.
	InOut Layout = iota
	// OutIn is [out, in], as embeddings and linear layers keep it.
	OutIn
)

// Matrix is a weight matrix made ready for products with rows from the left.
// It refers to the data it was made from and never writes there.
type Matrix struct {
	in, out int
	layout  Layout
	data    []float32
}

// Pack makes a Matrix of data, in·out values in the given layout.
func Pack(data []float32, in, out int, layout Layout) *Matrix {
	if len(data) != in*out {
		panic("kernel.Pack: data does not have in*out values")
	}
	return &Matrix{in: in, out: out, layout: layout, data: data}
}

// In is the width of the rows that are multiplied, Out that of the results.
func (w *Matrix) In() int  { return w.in }
func (w *Matrix) Out() int { return w.out }

const (
	blockK = 128 // values of the inner dimension added up before they join the sum
	tileN  = 512 // columns of one task
)

// Mul computes y = x·w + bias for the given number of rows: x is [rows, in],
// y is [rows, out], bias is [out] or nil.
//
// InOut sums blocks of blockK products, each from zero, and adds the blocks'
// sums to the bias in order; OutIn is one dot product an output.
func (w *Matrix) Mul(p *Pool, y, x, bias []float32, rows int) {
	t := &p.mul
	*t = mulTask{pool: p, w: w, y: y[:rows*w.out], x: x[:rows*w.in], bias: bias, rows: rows}
	t.tile = tileN
	if w.layout == OutIn {
		t.tile = 256
	}
	parts := (w.out + t.tile - 1) / t.tile
	p.Do(t, parts, rows*w.in*w.out)
	*t = mulTask{}
}

type mulTask struct {
	pool       *Pool
	w          *Matrix
	y, x, bias []float32
	rows, tile int
}

func (t *mulTask) Part(i, worker int) {
	lo := i * t.tile
	hi := min(lo+t.tile, t.w.out)
	if t.w.layout == OutIn {
		t.dots(lo, hi)
	} else {
		t.sums(lo, hi, t.pool.space(worker, t.tile)[:hi-lo])
	}
}

// dots fills columns lo to hi of an OutIn product.
func (t *mulTask) dots(lo, hi int) {
	in, out := t.w.in, t.w.out
	for j := lo; j < hi; j++ {
		w := t.w.data[j*in : (j+1)*in]
		for r := range t.rows {
			s := f32.DotProduct(w, t.x[r*in:(r+1)*in])
			if t.bias != nil {
				s += t.bias[j]
			}
			t.y[r*out+j] = s
		}
	}
}

// sums fills columns lo to hi of an InOut product.
func (t *mulTask) sums(lo, hi int, acc []float32) {
	in, out := t.w.in, t.w.out
	for r := range t.rows {
		y := t.y[r*out+lo : r*out+hi]
		if t.bias != nil {
			copy(y, t.bias[lo:hi])
		} else {
			clear(y)
		}
	}
	for k0 := 0; k0 < in; k0 += blockK {
		k1 := min(k0+blockK, in)
		for r := range t.rows {
			clear(acc)
			x := t.x[r*in : (r+1)*in]
			for k := k0; k < k1; k++ {
				f32.AddScaled(acc, x[k], t.w.data[k*out+lo:k*out+hi])
			}
			y := t.y[r*out+lo : r*out+hi]
			f32.Add(y, y, acc)
		}
	}
}
