package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// ahead is how many bytes before they are read the rows of a matrix are asked for.
const ahead = 1024

// masks holds, at 4·n bytes from its end less 32, a mask of n of 8 lanes.
func masks() Mem {
	m := GLOBL("masks", RODATA|NOPTR)
	for i := range 16 {
		v := uint32(0)
		if i < 8 {
			v = 0xffffffff
		}
		DATA(4*i, U32(v))
	}
	return m
}

// dot writes y[r,c] += x[r,0:k]·w[c,0:k] for numbers of rows r and c: eight lanes,
// added up at the end of each block, and the blocks in float64.
func dot(rows, cols int, mask Mem) {
	TEXT(fmt.Sprintf("dot%dx%d", rows, cols), NOSPLIT, "func(y *float32, ldy int, x *float32, ldx int, w *float32, ldw int, k int)")
	Doc(fmt.Sprintf("dot%dx%d adds the products of %d rows of x and %d of w, of k values each, to y.", rows, cols, rows, cols))
	Pragma("noescape")
	yp, ldy := Load(Param("y"), GP64()), stride("ldy")
	xp, ldx := Load(Param("x"), GP64()), stride("ldx")
	wp, ldw := Load(Param("w"), GP64()), stride("ldw")
	k := Load(Param("k"), GP64())
	x, w, y := rowsOf(xp, ldx, rows), rowsOf(wp, ldw, cols), rowsOf(yp, ldy, rows)
	totals := AllocLocal(32 * rows)
	for r := range y {
		total := YMM()
		if cols == 1 {
			VCVTSS2SD(y[r], total.AsX(), total.AsX())
		} else {
			VCVTPS2PD(y[r], total)
		}
		VMOVUPD(total, totals.Offset(32*r))
	}
	next := GP64() // the rows of w after these
	LEAQ(Mem{Base: wp, Index: ldw, Scale: 4}, next)

	Label("block")
	TESTQ(k, k)
	JZ(LabelRef("done"))
	n := GP64()
	MOVQ(k, n)
	CMPQ(n, U32(block))
	JLE(LabelRef("within"))
	MOVQ(U32(block), n)
	Label("within")
	SUBQ(n, k)
	sums := make([][]VecVirtual, rows)
	for r := range sums {
		for range cols {
			v := YMM()
			VXORPS(v, v, v)
			sums[r] = append(sums[r], v)
		}
	}
	Label("lanes")
	CMPQ(n, U32(8))
	JL(LabelRef("rest"))
	xs := make([]VecVirtual, rows)
	for r := range xs {
		xs[r] = YMM()
		VMOVUPS(x[r], xs[r])
	}
	for c := range w {
		b := YMM()
		VMOVUPS(w[c], b)
		for r := range xs {
			VFMADD231PS(b, xs[r], sums[r][c])
		}
	}
	if cols > 1 {
		for _, at := range w {
			at.Base = next
			PREFETCHT0(at)
		}
		ADDQ(U32(32), next)
	}
	ADDQ(U32(32), xp)
	ADDQ(U32(32), wp)
	SUBQ(U32(8), n)
	JMP(LabelRef("lanes"))

	Label("rest")
	TESTQ(n, n)
	JZ(LabelRef("sum"))
	at, m := GP64(), YMM()
	LEAQ(mask, at)
	left := GP64()
	MOVQ(n, left)
	SHLQ(U8(2), left)
	SUBQ(left, at)
	VMOVUPS(Mem{Base: at, Disp: 32}, m)
	for c := range w {
		a, b := YMM(), YMM()
		VMASKMOVPS(w[c], m, b)
		for r := range x {
			VMASKMOVPS(x[r], m, a)
			VFMADD231PS(a, b, sums[r][c])
		}
	}
	ADDQ(left, xp)
	ADDQ(left, wp)

	Label("sum")
	for r, s := range sums {
		high := XMM()
		if cols == 1 {
			VHADDPS(s[0], s[0], s[0])
			VHADDPS(s[0], s[0], s[0])
			VEXTRACTF128(U8(1), s[0], high)
			VADDSS(high, s[0].AsX(), high)
			VCVTSS2SD(high, high, high)
			VADDSD(totals.Offset(32*r), high, high)
			VMOVSD(high, totals.Offset(32*r))
			continue
		}
		VHADDPS(s[1], s[0], s[0])
		VHADDPS(s[3], s[2], s[2])
		VHADDPS(s[2], s[0], s[0])
		VEXTRACTF128(U8(1), s[0], high)
		VADDPS(high, s[0].AsX(), high)
		VCVTPS2PD(high, s[0])
		VADDPD(totals.Offset(32*r), s[0], s[0])
		VMOVUPD(s[0], totals.Offset(32*r))
	}
	JMP(LabelRef("block"))
	Label("done")
	for r := range y {
		total := XMM()
		if cols == 1 {
			VCVTSD2SS(totals.Offset(32*r), total, total)
			VMOVSS(total, y[r])
		} else {
			VCVTPD2PSY(totals.Offset(32*r), total)
			VMOVUPS(total, y[r])
		}
	}
	VZEROUPPER()
	RET()
}

// wideDot is dot for four rows of w by vectors of sixteen lanes, of which eight are one row's and
// eight another's: the same sums in the same order.
func wideDot(rows int) {
	TEXT(fmt.Sprintf("dot%dx4wide", rows), NOSPLIT, "func(y *float32, ldy int, x *float32, ldx int, w *float32, ldw int, k int)")
	Doc(fmt.Sprintf("dot%dx4wide adds the products of %d rows of x and 4 of w, of k values each, to y.", rows, rows))
	Pragma("noescape")
	yp, ldy := Load(Param("y"), GP64()), stride("ldy")
	xp, ldx := Load(Param("x"), GP64()), stride("ldx")
	wp, ldw := Load(Param("w"), GP64()), stride("ldw")
	k := Load(Param("k"), GP64())
	x, w, y := rowsOf(xp, ldx, rows), rowsOf(wp, ldw, 4), rowsOf(yp, ldy, rows)
	totals := AllocLocal(32 * rows)
	for r := range y {
		total := YMM()
		VCVTPS2PD(y[r], total)
		VMOVUPD(total, totals.Offset(32*r))
	}
	next := GP64() // the rows of w after these
	LEAQ(Mem{Base: wp, Index: ldw, Scale: 4}, next)

	Label("block")
	TESTQ(k, k)
	JZ(LabelRef("done"))
	n := GP64()
	MOVQ(k, n)
	CMPQ(n, U32(block))
	JLE(LabelRef("within"))
	MOVQ(U32(block), n)
	Label("within")
	SUBQ(n, k)
	sums := make([][2]VecVirtual, rows)
	for r := range sums {
		sums[r] = [2]VecVirtual{zeros(16), zeros(16)}
	}
	Label("lanes")
	CMPQ(n, U32(8))
	JL(LabelRef("rest"))
	pairs := [2]VecVirtual{ZMM(), ZMM()}
	for i, pair := range pairs {
		VMOVUPS(w[2*i], pair.AsY())
		VINSERTF32X8(U8(1), w[2*i+1], pair, pair)
	}
	for r := range x {
		both := ZMM()
		VBROADCASTF32X8(x[r], both)
		for i, pair := range pairs {
			VFMADD231PS(pair, both, sums[r][i])
		}
	}
	for _, at := range w {
		at.Base = next
		PREFETCHT0(at)
	}
	for _, p := range []Register{next, xp, wp} {
		ADDQ(U32(32), p)
	}
	SUBQ(U32(8), n)
	JMP(LabelRef("lanes"))

	Label("rest")
	TESTQ(n, n)
	JZ(LabelRef("sum"))
	left, bits, m, half := GP64(), GP32(), K(), YMM()
	MOVL(U32(0xff), bits)
	BZHIL(n.As32(), bits, bits) // as many ones as there are values
	KMOVW(bits, m)
	MOVQ(n, left)
	SHLQ(U8(2), left)
	for i, pair := range pairs {
		VMOVUPS_Z(w[2*i], m, pair.AsY())
		VMOVUPS_Z(w[2*i+1], m, half)
		VINSERTF32X8(U8(1), half, pair, pair)
	}
	for r := range x {
		both := ZMM()
		VMOVUPS_Z(x[r], m, both.AsY())
		VSHUFF64X2(U8(0b01000100), both, both, both)
		for i, pair := range pairs {
			VFMADD231PS(pair, both, sums[r][i])
		}
	}
	ADDQ(left, xp)
	ADDQ(left, wp)

	Label("sum")
	// As VHADDPS, which there is not for sixteen lanes: neighbours' sums of two vectors.
	neighbours := func(a, b, to VecVirtual) {
		odd := ZMM()
		VSHUFPS(U8(0b11011101), b, a, odd)
		VSHUFPS(U8(0b10001000), b, a, to)
		VADDPS(odd, to, to)
	}
	for r, s := range sums {
		neighbours(s[0], s[1], s[0])
		neighbours(s[0], s[0], s[0]) // rows 0 and 2, twice, then 1 and 3
		other, odd, all := ZMM(), XMM(), YMM()
		VSHUFF32X4(U8(0b10110001), s[0], s[0], other)
		VADDPS(other, s[0], s[0])
		VEXTRACTF32X4(U8(2), s[0], odd)
		VUNPCKLPS(odd, s[0].AsX(), odd)
		VCVTPS2PD(odd, all)
		VADDPD(totals.Offset(32*r), all, all)
		VMOVUPD(all, totals.Offset(32*r))
	}
	JMP(LabelRef("block"))
	Label("done")
	for r := range y {
		total := XMM()
		VCVTPD2PSY(totals.Offset(32*r), total)
		VMOVUPS(total, y[r])
	}
	VZEROUPPER()
	RET()
}
