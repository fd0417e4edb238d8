package kernel

import "github.com/tphakala/simd/f32"

// Layout is the order of a matrix in memory, row after row.
type Layout int

const (
	// InOut is [in, out], as GPT-2's Conv1D layers keep it.
	InOut Layout = iota
	// OutIn is [out, in], as embeddings and linear layers keep it.
	OutIn
)

// Matrix is a weight matrix for products with rows from the left. It refers to
// the data it was made from, which it neither changes nor copies.
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
	// fewRows is the largest number of rows for which an InOut matrix is read in
	// the order of memory, since all the time goes into reading it; with more it
	// goes into multiplying, and a block of the matrix should stay in cache.
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
	t.Matrix, t.pool, t.rows = w, p, rows
	t.y, t.x, t.bias = y[:rows*w.out], x[:rows*w.in], bias
	blocks := (w.in + blockK - 1) / blockK
	work := rows * w.in * w.out
	switch {
	case w.layout == OutIn:
		t.do((*mulTask).transposed, (w.out+headRows-1)/headRows, work)
	case rows > fewRows:
		t.do((*mulTask).blocked, (w.out+blockN-1)/blockN, work)
	default:
		t.width = w.out
		for t.width > 2*blockN && blocks*(w.out/t.width) < 2*p.threads {
			t.width = (t.width/2 + blockN - 1) / blockN * blockN
		}
		t.split = (w.out + t.width - 1) / t.width
		t.sums = p.space(p.threads, blocks*rows*w.out)
		t.do((*mulTask).streamed, blocks*t.split, work)
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
	pool         *Pool
	y, x, bias   []float32
	rows         int
	part         func(t *mulTask, i, worker int)
	sums         []float32 // [blocks][rows][out], of streamed
	width, split int       // columns of one part of streamed, and how many parts make a row
}

func (t *mulTask) do(part func(t *mulTask, i, worker int), parts, work int) {
	t.part = part
	t.pool.Do(t, parts, work)
}

// Part implements Task.
func (t *mulTask) Part(i, worker int) { t.part(t, i, worker) }

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
func (t *mulTask) transposed(i, _ int) {
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

// blocked is an InOut product in parts of blockN columns: a block of the matrix
// stays in cache while all rows are multiplied with it.
func (t *mulTask) blocked(i, worker int) {
	lo := i * blockN
	hi := min(lo+blockN, t.out)
	sum := t.pool.space(worker, blockN)[:hi-lo]
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

// streamed is an InOut product in parts of blockK rows of the matrix, which lie
// one after the other in memory: a product with few rows is as fast as they are
// read. Each part leaves its sums in a place of its own.
func (t *mulTask) streamed(i, _ int) {
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
