// Program kernels writes model/internal/kernel's assembly for AVX2 and FMA:
//
//	cd .ci/kernels && go run . -out ../../model/internal/kernel/avx2_amd64.s -stubs ../../model/internal/kernel/avx2_amd64.go -pkg kernel
package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// block is how many products of a dot product are added up from zero, in eight lanes.
const block = 64

func main() {
	for rows := 1; rows <= 6; rows++ {
		tile(rows)
	}
	pack()
	stream(1, 8)
	stream(1, 1)
	stream(2, 4)
	stream(2, 1)
	mask := masks()
	for rows := 1; rows <= 3; rows++ {
		dot(rows, 4, mask)
		dot(rows, 1, mask)
	}
	gelu()
	exps()
	Generate()
}

// stride loads a parameter that counts values, as bytes.
func stride(name string) Register {
	r := Load(Param(name), GP64())
	SHLQ(U8(2), r)
	return r
}

// rowsOf returns the address of each of n rows, a stride apart.
func rowsOf(base, step Register, n int) []Mem {
	rows := make([]Mem, n)
	odd := map[int]Register{1: step}
	for i := range rows {
		rows[i] = Mem{Base: base}
		if i == 0 {
			continue
		}
		scale, o := 1, i
		for o%2 == 0 && scale < 8 {
			scale, o = 2*scale, o/2
		}
		if odd[o] == nil {
			r := GP64()
			IMUL3Q(U32(o), step, r)
			odd[o] = r
		}
		rows[i].Index, rows[i].Scale = odd[o], uint8(scale)
	}
	return rows
}

// tile writes y[r,0:16] += x[0:k,r]·panel[0:k,16] for a number of rows r. The rows of y are
// far apart, and are asked for before the sums are taken; and with every eight products eight
// lines of a row of what will be packed next.
func tile(n int) {
	TEXT(fmt.Sprintf("tile%d", n), NOSPLIT, "func(y *float32, ldy int, x, panel *float32, k int, next *float32, ldn int)")
	Doc(fmt.Sprintf("tile%d adds the product of x, k columns of %d values, and a panel of k rows of 16 to y, and asks for k/8 rows at next.", n, n))
	Pragma("noescape")
	yp, ldy := Load(Param("y"), GP64()), stride("ldy")
	next, ldn := Load(Param("next"), GP64()), stride("ldn")
	x, panel, k := Load(Param("x"), GP64()), Load(Param("panel"), GP64()), Load(Param("k"), GP64())
	for _, y := range rowsOf(yp, ldy, n) {
		PREFETCHT0(y)
		PREFETCHT0(y.Offset(60))
	}
	sums := make([][2]VecVirtual, n)
	for r := range sums {
		for c := range 2 {
			sums[r][c] = YMM()
			VXORPS(sums[r][c], sums[r][c], sums[r][c])
		}
	}
	one := func(i int) {
		w := [2]VecVirtual{YMM(), YMM()}
		for c := range w {
			VMOVUPS(Mem{Base: panel, Disp: 64*i + 32*c}, w[c])
		}
		b := YMM()
		for r := range sums {
			VBROADCASTSS(Mem{Base: x, Disp: 4 * (n*i + r)}, b)
			VFMADD231PS(w[0], b, sums[r][0])
			VFMADD231PS(w[1], b, sums[r][1])
		}
	}
	repeat("k", k, 8, func(i int) {
		PREFETCHT1(Mem{Base: next, Disp: 64 * i})
		one(i)
	}, func(ks int) {
		ADDQ(ldn, next)
		ADDQ(U32(64*ks), panel)
		ADDQ(U32(4*n*ks), x)
	})
	for r := range sums {
		for c := range 2 {
			at := Mem{Base: yp, Disp: 32 * c}
			VADDPS(at, sums[r][c], sums[r][c])
			VMOVUPS(sums[r][c], at)
		}
		if r < n-1 {
			ADDQ(ldy, yp)
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

// pack copies k rows of w to panels of 16 columns. The rows some way ahead are asked for
// meanwhile, as no processor guesses where the next row of a block begins.
func pack() {
	TEXT("pack", NOSPLIT, "func(panels *float32, size int, w *float32, ldw int, k int, n int)")
	Doc("pack copies k rows of w to n panels of 16 columns, which are size values apart.")
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
	a, b := YMM(), YMM()
	VMOVUPS(Mem{Base: src}, a)
	VMOVUPS(Mem{Base: src, Disp: 32}, b)
	PREFETCHT0(Mem{Base: src, Index: ldw, Scale: 8})
	VMOVUPS(a, Mem{Base: dst})
	VMOVUPS(b, Mem{Base: dst, Disp: 32})
	ADDQ(U32(64), src)
	ADDQ(size, dst)
	DECQ(left)
	JNZ(LabelRef("panel"))
	ADDQ(U32(64), to)
	ADDQ(ldw, wp)
	DECQ(k)
	JMP(LabelRef("row"))
	Label("done")
	VZEROUPPER()
	RET()
}

// stream writes sums[r,0:n] += x[r,0:k]·w[k,0:n], one product after the other, for
// a fixed number of rows and k.
func stream(rows, k int) {
	TEXT(fmt.Sprintf("stream%dx%d", rows, k), NOSPLIT, "func(sums *float32, lds int, x *float32, ldx int, w *float32, ldw int, n int)")
	Doc(fmt.Sprintf("stream%dx%d adds the product of x, %d by %d, and w, %d rows of n, to the sums.", rows, k, rows, k, k))
	Pragma("noescape")
	sp, lds := Load(Param("sums"), GP64()), stride("lds")
	xp, ldx := Load(Param("x"), GP64()), stride("ldx")
	wp, ldw := Load(Param("w"), GP64()), stride("ldw")
	n := Load(Param("n"), GP64())
	w, s := rowsOf(wp, ldw, k), rowsOf(sp, lds, rows)
	x := make([][]VecVirtual, rows)
	for r, from := range rowsOf(xp, ldx, rows) {
		for i := range k {
			v := YMM()
			VBROADCASTSS(from.Offset(4*i), v)
			x[r] = append(x[r], v)
		}
	}
	for _, size := range []int{16, 8, 1} {
		name := fmt.Sprintf("n%d", size)
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
					PREFETCHT0(w[i].Offset(ahead))
				}
			}
			for c := 0; c < size; c += 8 {
				sums := make([]VecVirtual, rows)
				for r := range sums {
					sums[r] = YMM()
					VMOVUPS(s[r].Offset(4*c), sums[r])
				}
				for i := range k {
					if rows == 1 {
						VFMADD231PS(w[i].Offset(4*c), x[0][i], sums[0])
						continue
					}
					b := YMM()
					VMOVUPS(w[i].Offset(4*c), b)
					for r := range sums {
						VFMADD231PS(b, x[r][i], sums[r])
					}
				}
				for r := range sums {
					VMOVUPS(sums[r], s[r].Offset(4*c))
				}
			}
		}
		ADDQ(U32(4*size), sp)
		ADDQ(U32(4*size), wp)
		SUBQ(U32(size), n)
		JMP(LabelRef(name))
		Label(name + "_done")
	}
	VZEROUPPER()
	RET()
}

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

// constants is a table of values that are there four times over.
type constants struct {
	table Mem
	size  int
}

func (c *constants) of(v float64) Mem {
	for range 4 {
		DATA(c.size, F64(v))
		c.size += 8
	}
	return c.table.Offset(c.size - 32)
}

// exponential returns code that makes p the exponential of z, which is between -least and
// least, with a relative error of some 2^-52; z and k are lost.
func (c *constants) exponential() func(z, k, p VecVirtual) {
	perLog, logHigh, logLow := c.of(math.Log2E), c.of(6.93147180369123816490e-01), c.of(1.90821492927058770002e-10)
	shift := c.of(1<<52 + 1023)
	const degree = 12
	var powers [degree + 1]Mem // 1/i!
	for i, f := 0, 1.0; i <= degree; i++ {
		powers[i] = c.of(1 / f)
		f *= float64(i + 1)
	}
	return func(z, k, p VecVirtual) {
		VMULPD(perLog, z, k)
		VROUNDPD(U8(0), k, k)
		VFNMADD231PD(logHigh, k, z)
		VFNMADD231PD(logLow, k, z)
		VMOVUPD(powers[degree], p)
		for i := degree - 1; i >= 0; i-- {
			VFMADD213PD(powers[i], z, p)
		}
		VADDPD(shift, k, k) // 2^k, by its exponent
		VPSLLQ(U8(52), k, k)
		VMULPD(k, p, p)
	}
}

// least is where exponentials end that are kept in float32.
const least = 700

// gelu writes x/(1 + exp(-2√(2/π)(x + 0.044715x³))) in float64, rounded once, four values
// at a time.
func gelu() {
	c := constants{table: GLOBL("gelus", RODATA|NOPTR)}
	cubic, slope := c.of(0.044715), c.of(-2*0.79788456080286535587989211986876)
	lowest, highest, one := c.of(-least), c.of(least), c.of(1)
	exponential := c.exponential()

	TEXT("gelu", NOSPLIT, "func(y, x *float32, n int)")
	Doc("gelu is GELU's tanh form of n values, a multiple of four. Of infinities it may be wrong.")
	Pragma("noescape")
	yp, xp, n := Load(Param("y"), GP64()), Load(Param("x"), GP64()), Load(Param("n"), GP64())
	Label("four")
	CMPQ(n, U32(4))
	JL(LabelRef("done"))
	x, z, k, p := YMM(), YMM(), YMM(), YMM()
	VCVTPS2PD(Mem{Base: xp}, x)
	VMULPD(x, x, z)
	VMULPD(x, z, z)
	VMULPD(cubic, z, z)
	VADDPD(x, z, z)
	VMULPD(slope, z, z)
	VMAXPD(lowest, z, z)
	VMINPD(highest, z, z)
	exponential(z, k, p)
	VADDPD(one, p, p)
	VDIVPD(p, x, x)
	y := XMM()
	VCVTPD2PSY(x, y)
	VMOVUPS(y, Mem{Base: yp})
	ADDQ(U32(16), xp)
	ADDQ(U32(16), yp)
	SUBQ(U32(4), n)
	JMP(LabelRef("four"))
	Label("done")
	VZEROUPPER()
	RET()
}

// exps writes exp((x - top)/temperature) in float64, rounded once, and 0 below -least, and
// returns the sum of what was rounded, in four lanes.
func exps() {
	c := constants{table: GLOBL("exponentials", RODATA|NOPTR)}
	lowest := c.of(-least)
	exponential := c.exponential()

	TEXT("exps", NOSPLIT, "func(y, x *float32, n int, top, temperature float64, sums *[4]float64)")
	Doc("exps is exp((x-top)/temperature) of n values, a multiple of four, none above top, and adds them to sums.")
	Pragma("noescape")
	yp, xp, n := Load(Param("y"), GP64()), Load(Param("x"), GP64()), Load(Param("n"), GP64())
	sp := Load(Param("sums"), GP64())
	top, temperature, floor, sums := YMM(), YMM(), YMM(), YMM()
	for _, of := range []struct {
		name string
		to   VecVirtual
	}{{"top", top}, {"temperature", temperature}} {
		at, err := Param(of.name).Resolve()
		if err != nil {
			panic(err)
		}
		VBROADCASTSD(at.Addr, of.to)
	}
	VMOVUPD(lowest, floor)
	VMOVUPD(Mem{Base: sp}, sums)
	Label("four")
	CMPQ(n, U32(4))
	JL(LabelRef("done"))
	z, k, p, kept, y := YMM(), YMM(), YMM(), YMM(), XMM()
	VCVTPS2PD(Mem{Base: xp}, z)
	VSUBPD(top, z, z)
	VDIVPD(temperature, z, z)
	VCMPPD(U8(5), floor, z, kept) // not below, or a NaN
	VMAXPD(z, floor, z)           // a NaN stays
	exponential(z, k, p)
	VANDPD(kept, p, p)
	VADDPD(p, sums, sums)
	VCVTPD2PSY(p, y)
	VMOVUPS(y, Mem{Base: yp})
	ADDQ(U32(16), xp)
	ADDQ(U32(16), yp)
	SUBQ(U32(4), n)
	JMP(LabelRef("four"))
	Label("done")
	VMOVUPD(sums, Mem{Base: sp})
	VZEROUPPER()
	RET()
}
