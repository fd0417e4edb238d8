package kernel

import (
	"math"

	"github.com/tphakala/simd/f32"
	"golang.org/x/sys/cpu"

	"checkpoint12/model/activation"
)

var best = func() level {
	switch x := cpu.X86; {
	case !x.HasAVX2 || !x.HasFMA:
		return portable
	case !x.HasAVX512F || !x.HasAVX512DQ || !x.HasAVX512VL:
		return avx2
	}
	return avx512
}()

// vectors are the kernels that there are for vectors of more than one length. Their results are
// the same.
type vectors struct {
	cols    int // columns of a tile and of a panel
	tiles   []tileKernel
	pack    func(panels *float32, size int, w *float32, ldw, k, n int)
	streams []streamKernels
	dots    []dotKernel // of four rows of a matrix
	lanes   int         // of gelu and exps
}

// tileKernel writes the product of some rows of x, turned, and a panel, plus what is there from, to y.
type tileKernel func(y *float32, ldy int, from *float32, ldfrom int, x, panel *float32, k int, next *float32, ldn int)

// tileHeight returns of how many rows each of as few tiles as possible is, but for the last.
func tileHeight(rows int) int {
	most := len(vectorsOf[kernels].tiles) - 1
	tiles := (rows + most - 1) / most
	return (rows + tiles - 1) / tiles
}

// streamKernels are the kernels for so many rows, of so many products and of one.
type streamKernels struct {
	step      int
	many, one func(sums *float32, lds int, x *float32, ldx int, w *float32, ldw, n int)
}

// mostLanes is the largest number of lanes of gelu and exps.
const mostLanes = 8

var vectorsOf = [avx512 + 1]vectors{
	avx2: {
		cols:    16,
		tiles:   []tileKernel{1: tile1x16, tile2x16, tile3x16, tile4x16, tile5x16, tile6x16},
		pack:    pack16,
		streams: []streamKernels{1: {8, stream1x8, stream1x1}, {4, stream2x4, stream2x1}, {4, stream3x4, stream3x1}},
		dots:    []dotKernel{1: dot1x4, dot2x4, dot3x4},
		lanes:   4,
	},
	avx512: {
		cols: 32,
		tiles: []tileKernel{
			1: tile1x32, tile2x32, tile3x32, tile4x32, tile5x32, tile6x32,
			tile7x32, tile8x32, tile9x32, tile10x32, tile11x32, tile12x32,
		},
		pack:    pack32,
		streams: []streamKernels{1: {8, stream1x8, stream1x1}, {4, stream2x4wide, stream2x1wide}, {4, stream3x4wide, stream3x1wide}, {4, stream4x4wide, stream4x1wide}},
		dots:    []dotKernel{1: dot1x4, dot2x4wide, dot3x4wide, dot4x4wide, dot5x4wide, dot6x4wide},
		lanes:   8,
	},
}

// dotKernel adds the products of some rows of x and of w, of k values each, to y.
type dotKernel func(y *float32, ldy int, x *float32, ldx int, w *float32, ldw, k int)

// dots1 are the kernels of one row of a matrix.
var dots1 = []dotKernel{1: dot1x1, dot2x1, dot3x1}

// dotsOf returns the kernels for the next rows of a matrix, of which some are left, and how many
// those are.
func dotsOf(left int) ([]dotKernel, int) {
	if left < 4 {
		return dots1, 1
	}
	return vectorsOf[kernels].dots, 4
}

// dots is an OutIn product in parts of headRows outputs, whose rows of the matrix stay in the
// second cache while rows of x pass, some at a time, which stay in the first.
func (t *mulTask) dots(i int) {
	lo := i * headRows
	hi := min(lo+headRows, t.out)
	for r := range t.rows {
		t.start(t.y[r*t.out+lo:], lo, hi)
	}
	most := len(vectorsOf[kernels].dots) - 1
	for r := 0; r < t.rows; r += most {
		for j := lo; j < hi; {
			kernels, n := dotsOf(hi - j)
			t.dot(kernels, r, min(r+most, t.rows), j)
			j += n
		}
	}
}

// dot is dots of rows r to end of x and as many rows of the matrix, from row j on, as the kernels take.
func (t *mulTask) dot(kernels []dotKernel, r, end, j int) {
	for r < end {
		m := together(end-r, len(kernels)-1)
		kernels[m](&t.y[r*t.out+j], t.out, &t.x[r*t.in], t.in, &t.data[j*t.in], t.in, t.in)
		r += m
	}
}

// together returns how many of some rows pass a kernel for up to most next.
func together(left, most int) int {
	if left == most+1 {
		return (left + 1) / 2
	}
	return min(most, left)
}

// noBias is the bias of a part of a product without one.
var noBias [panelCols]float32

// panels is an InOut product in split parts of whole tiles' columns. A block of blockK rows of
// the matrix is copied to panels, which stay in the second cache, the panel at work in the
// first, while up to passRows rows of x pass. Their sums lie side by side, as rows of y may be
// so far apart that they push each other out of a cache; only the last block's go to y.
func (t *mulTask) panels(i int) {
	all := (t.out + tileCols - 1) / tileCols
	lo, hi := i*all/t.split*tileCols, min((i+1)*all/t.split*tileCols, t.out)
	width := (hi - lo + tileCols - 1) / tileCols * tileCols
	isWhole := width == hi-lo // or the last tile's columns go beyond the bias and y
	scratch, v := t.pool.take(), &vectorsOf[kernels]
	packed, sums := scratch[:blockK*width], scratch[blockK*width:]
	bias := noBias[:]
	if t.bias != nil {
		bias = t.bias[lo:]
	}
	for first := 0; first < t.rows; first += passRows {
		end := min(first+passRows, t.rows)
		for r := first; r < end && !isWhole; r++ {
			t.start(sums[(r-first)*width:], lo, hi)
		}
		for k0 := 0; k0 < t.in; k0 += blockK {
			n := min(blockK, t.in-k0)
			panelsOf(packed, t.data[k0*t.out+lo:], t.out, n, hi-lo)
			tiles := (width / v.cols) * ((end - first + t.height - 1) / t.height)
			asks := asks{mulTask: t, k: k0 + blockK, column: lo, across: width / askCols, tiles: tiles}
			from, y := rows{sums, width}, rows{sums, width}
			if isWhole && k0 == 0 {
				from = rows{bias, 0}
			}
			if isWhole && k0+n == t.in {
				y = rows{t.y[first*t.out+lo:], t.out}
			}
			for j := 0; j < hi-lo; j += v.cols {
				panel := &packed[j*n]
				for r := first; r < end; r += t.height {
					m := min(t.height, end-r)
					next, ldn := asks.next(panel)
					v.tiles[m](y.at(r-first, j), y.apart, from.at(r-first, j), from.apart, &t.turned[t.rows*k0+r*n], panel, n, next, ldn)
				}
			}
		}
		for r := first; r < end && !isWhole; r++ {
			copy(t.y[r*t.out+lo:r*t.out+hi], sums[(r-first)*width:])
		}
	}
	t.pool.give(scratch)
}

// rows are rows of values, each so many after the one before.
type rows struct {
	values []float32
	apart  int
}

// at returns where column j of row r is.
func (r rows) at(row, j int) *float32 { return &r.values[row*r.apart+j] }

// asks is what the tiles of a block ask for of the next one, a share each, for it to be near when
// it is packed.
type asks struct {
	*mulTask
	k, column     int // where the next block begins
	across, tiles int // shares that lie side by side, and tiles of the block
	done, tile    int // shares asked for, and tiles so far
}

// next returns where the next tile's share begins, and how far its rows are apart. It is what is
// near anyway for those of the tiles that ask for nothing.
func (a *asks) next(near *float32) (*float32, int) {
	all, tile := blockK/askRows*a.across, a.tile
	if a.tile++; a.done == all || tile*all < a.done*a.tiles {
		return near, 0
	}
	at := (a.k+a.done/a.across*askRows)*a.out + a.column + a.done%a.across*askCols
	if a.done++; at >= len(a.data) {
		return near, 0
	}
	return &a.data[at], a.out
}

// turn copies tile i's rows of x to where the tile reads them: first the rows' first
// values, then their second; a block of all tiles after the other.
func (t *mulTask) turn(i int) {
	r := i * t.height
	m := min(t.height, t.rows-r)
	for first := 0; first < m; first += rowsTurned { // which are read to their ends, as processors guess
		for k0 := 0; k0 < t.in; k0 += blockK {
			n := min(blockK, t.in-k0)
			turn(t.turned[t.rows*k0+r*n:][:m*n], t.x[r*t.in+k0:], t.in, m, first)
		}
	}
}

// rowsTurned is the number of rows whose values turn writes together.
const rowsTurned = 4

// turn copies the first values of the next of m rows of x, ldx apart, from row r on, to their
// places in to, where those of all m rows lie side by side, then their second values and so on.
func turn(to, x []float32, ldx, m, r int) {
	n := len(to) / m
	if r+rowsTurned <= m {
		a, b, c, d := x[r*ldx:][:n], x[(r+1)*ldx:][:n], x[(r+2)*ldx:][:n], x[(r+3)*ldx:][:n]
		for k := range a {
			four := (*[4]float32)(to[k*m+r:])
			four[0], four[1], four[2], four[3] = a[k], b[k], c[k], d[k]
		}
		return
	}
	for ; r < m; r++ {
		for k, v := range x[r*ldx:][:n] {
			to[k*m+r] = v
		}
	}
}

// panelsOf copies n rows of a matrix, ldw apart, to panels, the last filled up with zeros.
func panelsOf(panels, w []float32, ldw, n, columns int) {
	v := &vectorsOf[kernels]
	whole := columns / v.cols
	if whole > 0 {
		v.pack(&panels[0], n*v.cols, &w[0], ldw, n, whole)
	}
	from := whole * v.cols
	if from == columns {
		return
	}
	last := panels[n*from:]
	clear(last[:n*v.cols])
	for k := range n {
		copy(last[k*v.cols:], w[k*ldw+from:k*ldw+columns])
	}
}

// edge is a tile of m rows, ldy apart, and fewer columns than a tile has, by way of scratch.
func edge(scratch, y []float32, ldy, columns, m int, x, panel *float32, n int) {
	v := &vectorsOf[kernels]
	for r := range m {
		copy(scratch[r*v.cols:], y[r*ldy:][:columns])
	}
	v.tiles[m](&scratch[0], v.cols, &scratch[0], v.cols, x, panel, n, panel, 0)
	for r := range m {
		copy(y[r*ldy:][:columns], scratch[r*v.cols:])
	}
}

// streamSums is the number of sums that stay in the first cache while all of a block's rows pass
// some of their columns.
const streamSums = 2048

// stream adds the products of x [rows,n] and n rows of a matrix to the sums [rows,columns]. Rows
// of each are lds, ldx and ldw apart.
func stream(sums []float32, lds int, x []float32, ldx int, w []float32, ldw int, rows, n, columns int) {
	kernels := vectorsOf[kernels].streams
	rowsAtOnce := len(kernels) - 1
	step, most := kernels[min(rows, rowsAtOnce)].step, streamSums/rows&^15
	if rows == 1 {
		most = columns
	}
	for c := 0; c < columns; c += most {
		width := min(most, columns-c)
		for k := 0; k < n; k += step {
			for r := 0; r < rows; {
				m := together(rows-r, rowsAtOnce)
				s := &kernels[m]
				if k+step <= n {
					s.many(&sums[r*lds+c], lds, &x[r*ldx+k], ldx, &w[k*ldw+c], ldw, width)
				} else {
					for k := k; k < min(k+step, n); k++ {
						s.one(&sums[r*lds+c], lds, &x[r*ldx+k], ldx, &w[k*ldw+c], ldw, width)
					}
				}
				r += m
			}
		}
	}
}

// gelu is the kernel for n values, a multiple of the vectors' lanes. Unlike one in a table it
// keeps nothing from the stack.
func gelu(y, x *float32, n int) {
	if kernels == avx512 {
		gelu8(y, x, n)
	} else {
		gelu4(y, x, n)
	}
}

// exps is likewise that of exponentials.
func exps(y, x *float32, n int, top, temperature float64, sums *[4]float64) {
	if kernels == avx512 {
		exps8(y, x, n, top, temperature, sums)
	} else {
		exps4(y, x, n, top, temperature, sums)
	}
}

// gelus is activation.Released of each value of x.
func gelus(y, x []float32) {
	y = y[:len(x)]
	v := &vectorsOf[kernels]
	n := len(x) / v.lanes * v.lanes
	if n > 0 {
		gelu(&y[0], &x[0], n)
	}
	if n < len(x) {
		var last [mostLanes]float32
		copy(last[:], x[n:])
		gelu(&last[0], &last[0], v.lanes)
		copy(y[n:], last[:])
	}
	if all := f32.Sum(y); all-all == 0 {
		return
	}
	for i, v := range y {
		if v-v != 0 {
			y[i] = float32(activation.Released.Of(float64(x[i])))
		}
	}
}

// layerNorm is LayerNorm of one row.
func layerNorm(y, x, gain, bias []float32, eps float64) {
	n := len(x)
	mean := sum(&x[0], n) / float64(n)
	scale := 1 / math.Sqrt(squares(&x[0], n, mean)/float64(n)+eps)
	normalise(&y[0], &x[0], &gain[0], &bias[0], n, mean, scale)
}

// softmaxes is softmax of one value or more.
func softmaxes(dst, src []float32, temperature float64) {
	top := greatest(&src[0], len(src))
	sum := exponentials(dst, src, float64(top), temperature)
	rescale(&dst[0], len(dst), 1/sum)
}

// exponentials writes exp((src - top)/temperature) to dst and returns its sum.
func exponentials(dst, src []float32, top, temperature float64) float64 {
	var sums [4]float64
	v := &vectorsOf[kernels]
	n := len(src) / v.lanes * v.lanes
	if n > 0 {
		exps(&dst[0], &src[0], n, top, temperature, &sums)
	}
	if n < len(src) {
		var last [mostLanes]float32
		for i := copy(last[:], src[n:]); i < len(last); i++ {
			last[i] = float32(math.Inf(-1))
		}
		exps(&last[0], &last[0], v.lanes, top, temperature, &sums)
		copy(dst[n:], last[:])
	}
	return sums[0] + sums[1] + (sums[2] + sums[3])
}
