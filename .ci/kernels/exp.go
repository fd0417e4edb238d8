package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

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
// least, with a relative error of some 2^-37, a small part of float32's rounding; z and k are
// lost. It is Taylor's series within half of a logarithm of 2, whose first term left out is
// (ln 2/2)^10/10!.
func (c *constants) exponential() func(z, k, p VecVirtual) {
	perLog, logHigh, logLow := c.of(math.Log2E), c.of(6.93147180369123816490e-01), c.of(1.90821492927058770002e-10)
	shift := c.of(1<<52 + 1023)
	const degree = 9
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
	top, temperature, floor, sums := float64Param("top"), float64Param("temperature"), YMM(), YMM()
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
