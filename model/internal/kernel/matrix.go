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
	// rowGap keeps the sums of rows out of each other's way in the first cache.
	rowGap = 80
	// tileRows and tileCols are the most rows and columns of y that a tile keeps in registers.
	tileRows, tileCols = 12, 32
	// passRows is the most rows that pass the panels of a block together: whole tiles,
	// whose sums and values of x stay in the second cache.
	passRows = 264
	// panelCols is the most columns of one part where panels are packed, whole panels.
	panelCols = 256
	// askRows and askCols are the share of the next block that a tile asks for, a row with every
	// eight products.
	askRows, askCols = blockK / 8, 64
	// headRows is the number of rows of an OutIn matrix in one part.
	headRows = 64
)

// Mul computes y = x·w + bias for the given number of rows: x is [rows, in],
// y is [rows, out], bias is [out] or nil.
//
// For an InOut matrix blocks of blockK products are each added up from zero, in order,
// and then the blocks' sums to the bias, in order. An OutIn product is a dot product:
// blocks in eight lanes each, added up in float64; or as the portable library has it.
func (w *Matrix) Mul(p *Pool, y, x, bias []float32, rows int) {
	t := &p.mul
	t.Matrix, t.rows = w, rows
	t.y, t.x, t.bias = y[:rows*w.out], x[:rows*w.in], bias
	blocks := (w.in + blockK - 1) / blockK
	work := rows * w.in * w.out
	switch {
	case w.layout == OutIn:
		t.part = (*mulTask).transposed
		if kernels > portable {
			t.part = (*mulTask).dots
		}
		p.Do(t, (w.out+headRows-1)/headRows, work)
	case rows > fewRows && kernels > portable:
		t.height = tileHeight(rows)
		t.part, t.turned, t.pool = (*mulTask).turn, p.space(rows*w.in), p
		p.Do(t, (rows+t.height-1)/t.height, rows*w.in)
		t.part, t.split = (*mulTask).panels, (w.out+panelCols-1)/panelCols
		if rest := t.split % p.threads; rest > 0 {
			t.split += p.threads - rest // as many parts for each thread
		}
		p.Do(t, t.split, work)
	case rows > fewRows:
		t.part, t.sums = (*mulTask).blocked, p.space(w.out)
		p.Do(t, (w.out+blockN-1)/blockN, work)
	default:
		t.width = w.out
		for t.width > 2*blockN && blocks*(w.out/t.width) < 2*p.threads {
			t.width = (t.width/2 + blockN - 1) / blockN * blockN
		}
		t.split = (w.out + t.width - 1) / t.width
		t.apart = w.out + rowGap
		t.part, t.sums = (*mulTask).streamed, p.space(blocks*rows*t.apart)
		p.Do(t, blocks*t.split, work)
		t.part = (*mulTask).gather
		p.Do(t, rows, rows*w.out*blocks/4)
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
	apart        int       // from one row of streamed's sums to the next
	width, split int       // columns of one part of streamed, and how many parts make a row of streamed or panels
	turned       []float32 // x, for tiles of panels
	height       int       // rows of a tile of panels, the last of which may have fewer
	pool         *Pool     // of scratch space for panels
}

// Part implements Task.
func (t *mulTask) Part(i int) { t.part(t, i) }

// start fills a row with the bias of columns lo to hi.
func (t *mulTask) start(row []float32, lo, hi int) {
	if row = row[:hi-lo]; t.bias == nil {
		clear(row)
	} else {
		copy(row, t.bias[lo:hi])
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
	for r := range t.rows {
		t.start(t.y[r*t.out+lo:], lo, hi)
	}
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

// gather adds the sums that streamed has left to the bias, for row r of y.
func (t *mulTask) gather(r int) {
	y := t.y[r*t.out:][:t.out]
	t.start(y, 0, t.out)
	for at := r * t.apart; at < len(t.sums); at += t.rows * t.apart {
		f32.Add(y, y, t.sums[at:at+t.out])
	}
}

// streamed is an InOut product in parts of blockK rows of the matrix, read in the
// order of memory. Each part leaves its sums in a place of its own.
func (t *mulTask) streamed(i int) {
	block, lo := i/t.split, i%t.split*t.width
	hi := min(lo+t.width, t.out)
	k0 := block * blockK
	k1 := min(k0+blockK, t.in)
	sums := t.sums[block*t.rows*t.apart:][:t.rows*t.apart]
	for r := range t.rows {
		clear(sums[r*t.apart+lo : r*t.apart+hi])
	}
	if kernels > portable {
		stream(sums[lo:], t.apart, t.x[k0:], t.in, t.data[k0*t.out+lo:], t.out, t.rows, k1-k0, hi-lo)
		return
	}
	for k := k0; k < k1; k++ {
		w := t.data[k*t.out+lo : k*t.out+hi]
		for r := range t.rows {
			f32.AddScaled(sums[r*t.apart+lo:r*t.apart+hi], t.x[r*t.in+k], w)
		}
	}
}
