package kernel

import (
	"math"

	"golang.org/x/sys/cpu"

	"checkpoint12/model/activation"
)

var hasAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasFMA

// tileCols is the number of columns of y that a tile keeps in registers, of tileRows rows.
const tileCols = 16

var (
	tiles = [tileRows + 1]func(y *float32, ldy int, x, panel *float32, k int, next *float32, ldn int){
		1: tile1, tile2, tile3, tile4, tile5, tile6,
	}
	dots4 = [4]func(y *float32, ldy int, x *float32, ldx int, w *float32, ldw, k int){1: dot1x4, dot2x4, dot3x4}
	dots1 = [4]func(y *float32, ldy int, x *float32, ldx int, w *float32, ldw, k int){1: dot1x1, dot2x1, dot3x1}
)

// dots is an OutIn product in parts of headRows outputs: for four rows of the matrix
// at a time, which stay in the first cache, up to three rows of x at a time.
func (t *mulTask) dots(i int) {
	lo := i * headRows
	hi := min(lo+headRows, t.out)
	t.start(lo, hi)
	for j := lo; j < hi; {
		n, kernels := 4, &dots4
		if hi-j < 4 {
			n, kernels = 1, &dots1
		}
		for r := 0; r < t.rows; {
			m := min(3, t.rows-r)
			if t.rows-r == 4 {
				m = 2
			}
			kernels[m](&t.y[r*t.out+j], t.out, &t.x[r*t.in], t.in, &t.data[j*t.in], t.in, t.in)
			r += m
		}
		j += n
	}
}

// panels is an InOut product in parts of panelCols columns. A block of blockK rows of
// the matrix is copied to panels of tileCols columns, which stay in the second cache,
// the panel at work in the first, while all rows of x pass.
func (t *mulTask) panels(i int) {
	lo := i * panelCols
	hi := min(lo+panelCols, t.out)
	t.start(lo, hi)
	packed := <-t.free
	for k0 := 0; k0 < t.in; k0 += blockK {
		n := min(blockK, t.in-k0)
		t.pack(packed, k0, n, lo, hi)
		for j := lo; j < hi; j += tileCols {
			panel := &packed[(j-lo)*n]
			next, ldn := panel, 0
			if at := (k0+blockK+j-lo)*t.out + lo; at < len(t.data) {
				next, ldn = &t.data[at], t.out // a share of the next block, for the first tile to ask for
			}
			for r := 0; r < t.rows; r += t.height {
				m := min(t.height, t.rows-r)
				x, y := &t.turned[r*t.in+k0*m], t.y[r*t.out+j:]
				if hi-j >= tileCols {
					tiles[m](&y[0], t.out, x, panel, n, next, ldn)
				} else {
					t.edge(packed[panelCols*blockK:], y, hi-j, m, x, panel, n)
				}
				next, ldn = panel, 0
			}
		}
	}
	t.free <- packed
}

// turn copies tile i's rows of x to where the tile reads them: first the rows' first
// values, then their second.
func (t *mulTask) turn(i int) {
	r := i * t.height
	m := min(t.height, t.rows-r)
	to := t.turned[r*t.in : (r+m)*t.in]
	for j := range m {
		for k, v := range t.x[(r+j)*t.in : (r+j+1)*t.in] {
			to[k*m+j] = v
		}
	}
}

// pack copies columns lo to hi of n rows of the matrix, from k0, to panels, the last
// filled up with zeros.
func (t *mulTask) pack(packed []float32, k0, n, lo, hi int) {
	whole := (hi - lo) / tileCols
	if whole > 0 {
		pack(&packed[0], n*tileCols, &t.data[k0*t.out+lo], t.out, n, whole)
	}
	from := lo + whole*tileCols
	if from == hi {
		return
	}
	last := packed[whole*n*tileCols:]
	clear(last[:n*tileCols])
	for k := range n {
		copy(last[k*tileCols:], t.data[(k0+k)*t.out+from:(k0+k)*t.out+hi])
	}
}

// edge is a tile of m rows and fewer columns than a tile has, by way of scratch.
func (t *mulTask) edge(scratch, y []float32, columns, m int, x, panel *float32, n int) {
	for r := range m {
		copy(scratch[r*tileCols:], y[r*t.out:][:columns])
	}
	tiles[m](&scratch[0], tileCols, x, panel, n, panel, 0)
	for r := range m {
		copy(y[r*t.out:][:columns], scratch[r*tileCols:])
	}
}

// stream adds the products of rows k0 to k1 of the matrix and columns lo to hi to sums.
func (t *mulTask) stream(sums []float32, k0, k1, lo, hi int) {
	for r := 0; r < t.rows; {
		m, step, many, one := 1, 8, stream1x8, stream1x1
		if t.rows-r > 1 {
			m, step, many, one = 2, 4, stream2x4, stream2x1
		}
		k := k0
		for ; k+step <= k1; k += step {
			many(&sums[r*t.out+lo], t.out, &t.x[r*t.in+k], t.in, &t.data[k*t.out+lo], t.out, hi-lo)
		}
		for ; k < k1; k++ {
			one(&sums[r*t.out+lo], t.out, &t.x[r*t.in+k], t.in, &t.data[k*t.out+lo], t.out, hi-lo)
		}
		r += m
	}
}

// gelus is activation.Released of each value of x.
func gelus(y, x []float32) {
	n := len(x) &^ 3
	if n > 0 {
		gelu(&y[0], &x[0], n)
	}
	if n < len(x) {
		var last [4]float32
		copy(last[:], x[n:])
		gelu(&last[0], &last[0], 4)
		copy(y[n:len(x)], last[:])
	}
	for i, v := range y[:len(x)] {
		if v-v != 0 {
			y[i] = float32(activation.Released.Of(float64(x[i])))
		}
	}
}

// exponentials writes exp((src - top)/temperature) to dst and returns its sum.
func exponentials(dst, src []float32, top, temperature float64) float64 {
	var sums [4]float64
	n := len(src) &^ 3
	if n > 0 {
		exps(&dst[0], &src[0], n, top, temperature, &sums)
	}
	if n < len(src) {
		low := float32(math.Inf(-1))
		last := [4]float32{low, low, low, low}
		copy(last[:], src[n:])
		exps(&last[0], &last[0], 4, top, temperature, &sums)
		copy(dst[n:], last[:len(src)-n])
	}
	return sums[0] + sums[1] + (sums[2] + sums[3])
}
