package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// tile writes y[r,0:cols] = from[r,0:cols] + x[0:k,r]·panel[0:k,cols] for a number of rows r and
// two vectors of columns. The rows of y are far apart, and are asked for before the sums are
// taken; and with every eight products four lines of a row of what will be packed next.
func tile(n, lanes int) {
	cols := 2 * lanes
	TEXT(fmt.Sprintf("tile%dx%d", n, cols), NOSPLIT, "func(y *float32, ldy int, from *float32, ldfrom int, x, panel *float32, k int, next *float32, ldn int)")
	Doc(fmt.Sprintf("tile%dx%d writes the product of x, k columns of %d values, and a panel of k rows of %d, plus from, to y, and asks for 64 columns of k/8 rows at next.", n, cols, n, cols))
	Pragma("noescape")
	yp, ldy := Load(Param("y"), GP64()), stride("ldy")
	from, ldfrom := Load(Param("from"), GP64()), stride("ldfrom")
	next, ldn := Load(Param("next"), GP64()), stride("ldn")
	x, panel, k := Load(Param("x"), GP64()), Load(Param("panel"), GP64()), Load(Param("k"), GP64())
	for _, y := range rowsOf(yp, ldy, n) {
		for at := 0; at < 4*cols; at += 64 {
			PREFETCHT0(y.Offset(at))
		}
		PREFETCHT0(y.Offset(4*cols - 4))
	}
	sums := make([][2]VecVirtual, n)
	for r := range sums {
		for c := range 2 {
			sums[r][c] = zeros(lanes)
		}
	}
	one := func(i int) {
		w := [2]VecVirtual{vector(lanes), vector(lanes)}
		for c := range w {
			VMOVUPS(Mem{Base: panel, Disp: 4 * (cols*i + lanes*c)}, w[c])
		}
		b := vector(lanes)
		for r := range sums {
			VBROADCASTSS(Mem{Base: x, Disp: 4 * (n*i + r)}, b)
			VFMADD231PS(w[0], b, sums[r][0])
			VFMADD231PS(w[1], b, sums[r][1])
		}
	}
	repeat("k", k, 8, func(i int) {
		if i%2 == 0 {
			PREFETCHT1(Mem{Base: next, Disp: 32 * i})
		}
		one(i)
	}, func(ks int) {
		ADDQ(ldn, next)
		ADDQ(U32(4*cols*ks), panel)
		ADDQ(U32(4*n*ks), x)
	})
	for r := range sums {
		for c := range 2 {
			VADDPS(Mem{Base: from, Disp: 4 * lanes * c}, sums[r][c], sums[r][c])
			VMOVUPS(sums[r][c], Mem{Base: yp, Disp: 4 * lanes * c})
		}
		if r < n-1 {
			ADDQ(ldy, yp)
			ADDQ(ldfrom, from)
		}
	}
	VZEROUPPER()
	RET()
}

// repeat does one(i) count times, unrolled, with advance after each round.
func repeat(name string, count Register, unroll int, one func(i int), advance func(n int)) {
	Label(name + "_many")
	CMPQ(count, U32(unroll))
	JL(LabelRef(name + "_rest"))
	for i := range unroll {
		one(i)
	}
	advance(unroll)
	SUBQ(U32(unroll), count)
	JMP(LabelRef(name + "_many"))
	Label(name + "_rest")
	TESTQ(count, count)
	JZ(LabelRef(name + "_done"))
	one(0)
	advance(1)
	DECQ(count)
	JMP(LabelRef(name + "_rest"))
	Label(name + "_done")
}

// pack copies k rows of w to panels of two vectors of columns. The rows some way ahead are asked
// for meanwhile, as no processor guesses where the next row of a block begins.
func pack(lanes int) {
	cols := 2 * lanes
	TEXT(fmt.Sprintf("pack%d", cols), NOSPLIT, "func(panels *float32, size int, w *float32, ldw int, k int, n int)")
	Doc(fmt.Sprintf("pack%d copies k rows of w to n panels of %d columns, which are size values apart.", cols, cols))
	Pragma("noescape")
	to, size := Load(Param("panels"), GP64()), stride("size")
	wp, ldw := Load(Param("w"), GP64()), stride("ldw")
	k, n := Load(Param("k"), GP64()), Load(Param("n"), GP64())
	Label("row")
	TESTQ(k, k)
	JZ(LabelRef("done"))
	dst, src, left := GP64(), GP64(), GP64()
	MOVQ(to, dst)
	MOVQ(wp, src)
	MOVQ(n, left)
	Label("panel")
	a, b := vector(lanes), vector(lanes)
	VMOVUPS(Mem{Base: src}, a)
	VMOVUPS(Mem{Base: src, Disp: 4 * lanes}, b)
	for at := 0; at < 4*cols; at += 64 {
		PREFETCHT0(Mem{Base: src, Index: ldw, Scale: 8, Disp: at})
	}
	VMOVUPS(a, Mem{Base: dst})
	VMOVUPS(b, Mem{Base: dst, Disp: 4 * lanes})
	ADDQ(U32(uint32(4*cols)), src)
	ADDQ(size, dst)
	DECQ(left)
	JNZ(LabelRef("panel"))
	ADDQ(U32(uint32(4*cols)), to)
	ADDQ(ldw, wp)
	DECQ(k)
	JMP(LabelRef("row"))
	Label("done")
	VZEROUPPER()
	RET()
}

// stream writes sums[r,0:n] += x[r,0:k]·w[k,0:n], one product after the other, for
// a fixed number of rows and k, in vectors of at most so many lanes.
func stream(rows, k, lanes int) {
	name := fmt.Sprintf("stream%dx%d", rows, k)
	if lanes > 8 {
		name += "wide"
	}
	TEXT(name, NOSPLIT, "func(sums *float32, lds int, x *float32, ldx int, w *float32, ldw int, n int)")
	Doc(fmt.Sprintf("%s adds the product of x, %d by %d, and w, %d rows of n, to the sums.", name, rows, k, k))
	Pragma("noescape")
	sp, lds := Load(Param("sums"), GP64()), stride("lds")
	xp, ldx := Load(Param("x"), GP64()), stride("ldx")
	wp, ldw := Load(Param("w"), GP64()), stride("ldw")
	n := Load(Param("n"), GP64())
	w, s := rowsOf(wp, ldw, k), rowsOf(sp, lds, rows)
	next := GP64() // the rows of w after these
	if rows > 1 {
		MOVQ(ldw, next)
		IMUL3Q(U32(uint32(k)), next, next)
		ADDQ(wp, next)
	}
	x := make([][]VecVirtual, rows)
	for r, from := range rowsOf(xp, ldx, rows) {
		for i := range k {
			v := vector(lanes)
			VBROADCASTSS(from.Offset(4*i), v)
			x[r] = append(x[r], v)
		}
	}
	for _, size := range []int{16, 8, 1} {
		name := fmt.Sprintf("n%d", size)
		width := min(lanes, size)
		in := func(v VecVirtual) Op { // a vector of the width at hand
			if width == 8 {
				return v.AsY()
			}
			return v
		}
		Label(name)
		CMPQ(n, U32(size))
		JL(LabelRef(name + "_done"))
		switch size {
		case 1:
			v, b := XMM(), XMM()
			for r := range x {
				VMOVSS(s[r], v)
				for i := range k {
					VMOVSS(w[i], b)
					VFMADD231SS(b, x[r][i].AsX(), v)
				}
				VMOVSS(v, s[r])
			}
		default:
			if size == 16 {
				for i := range k {
					at := w[i].Offset(ahead)
					if rows > 1 {
						at = w[i]
						at.Base = next
					}
					PREFETCHT0(at)
				}
			}
			for c := 0; c < size; c += width {
				sums := make([]VecVirtual, rows)
				for r := range sums {
					sums[r] = vector(width)
					VMOVUPS(s[r].Offset(4*c), sums[r])
				}
				for i := range k {
					if rows == 1 {
						VFMADD231PS(w[i].Offset(4*c), in(x[0][i]), sums[0])
						continue
					}
					b := vector(width)
					VMOVUPS(w[i].Offset(4*c), b)
					for r := range sums {
						VFMADD231PS(b, in(x[r][i]), sums[r])
					}
				}
				for r := range sums {
					VMOVUPS(sums[r], s[r].Offset(4*c))
				}
			}
		}
		ADDQ(U32(4*size), sp)
		ADDQ(U32(4*size), wp)
		if rows > 1 {
			ADDQ(U32(4*size), next)
		}
		SUBQ(U32(size), n)
		JMP(LabelRef(name))
		Label(name + "_done")
	}
	VZEROUPPER()
	RET()
}
