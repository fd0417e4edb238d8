package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// constants is a table of values that are there for all lanes of a vector.
type constants struct {
	table       Mem
	size, lanes int
}

func (c *constants) of(v float64) Mem {
	first := c.size
	for range c.lanes {
		DATA(c.size, F64(v))
		c.size += 8
	}
	return c.table.Offset(first)
}

// constantsOf returns an empty table for so many lanes, of this name.
func constantsOf(name string, lanes int) constants {
	return constants{table: GLOBL(fmt.Sprintf("%s%d", name, lanes), RODATA|NOPTR), lanes: lanes}
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
		if c.lanes == 8 {
			VRNDSCALEPD(U8(0), k, k)
		} else {
			VROUNDPD(U8(0), k, k)
		}
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

// gelu writes x/(1 + exp(-2√(2/π)(x + 0.044715x³))) in float64, rounded once, so many values
// at a time.
func gelu(lanes int) {
	c := constantsOf("gelus", lanes)
	cubic, slope := c.of(0.044715), c.of(-2*0.79788456080286535587989211986876)
	lowest, highest, one := c.of(-least), c.of(least), c.of(1)
	exponential := c.exponential()

	name := fmt.Sprintf("gelu%d", lanes)
	TEXT(name, NOSPLIT, "func(y, x *float32, n int)")
	Doc(fmt.Sprintf("%s is GELU's tanh form of n values, a multiple of %d. Of infinities it may be wrong.", name, lanes))
	Pragma("noescape")
	yp, xp, n := Load(Param("y"), GP64()), Load(Param("x"), GP64()), Load(Param("n"), GP64())
	Label("some")
	CMPQ(n, U32(uint32(lanes)))
	JL(LabelRef("done"))
	x, z, k, p := vector(2*lanes), vector(2*lanes), vector(2*lanes), vector(2*lanes)
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
	store(x, yp)
	ADDQ(U32(uint32(4*lanes)), xp)
	ADDQ(U32(uint32(4*lanes)), yp)
	SUBQ(U32(uint32(lanes)), n)
	JMP(LabelRef("some"))
	Label("done")
	VZEROUPPER()
	RET()
}

// store rounds a vector of float64 to float32 and writes it.
func store(v VecVirtual, to Register) {
	if v.Size() == 64 {
		y := YMM()
		VCVTPD2PS(v, y)
		VMOVUPS(y, Mem{Base: to})
		return
	}
	y := XMM()
	VCVTPD2PSY(v, y)
	VMOVUPS(y, Mem{Base: to})
}

// exps writes exp((x - top)/temperature) in float64, rounded once, and 0 below -least, and
// returns the sum of what was rounded, in four lanes.
func exps(lanes int) {
	c := constantsOf("exponentials", lanes)
	lowest := c.of(-least)
	exponential := c.exponential()

	name := fmt.Sprintf("exps%d", lanes)
	TEXT(name, NOSPLIT, "func(y, x *float32, n int, top, temperature float64, sums *[4]float64)")
	Doc(fmt.Sprintf("%s is exp((x-top)/temperature) of n values, a multiple of %d, none above top, and adds them to sums.", name, lanes))
	Pragma("noescape")
	yp, xp, n := Load(Param("y"), GP64()), Load(Param("x"), GP64()), Load(Param("n"), GP64())
	sp := Load(Param("sums"), GP64())
	width := 2 * lanes
	top, temperature, floor, sums := float64Param("top", width), float64Param("temperature", width), vector(width), YMM()
	VMOVUPD(lowest, floor)
	VMOVUPD(Mem{Base: sp}, sums)
	Label("some")
	CMPQ(n, U32(uint32(lanes)))
	JL(LabelRef("done"))
	z, k, p := vector(width), vector(width), vector(width)
	VCVTPS2PD(Mem{Base: xp}, z)
	VSUBPD(top, z, z)
	VDIVPD(temperature, z, z)
	if lanes == 8 {
		kept, high := K(), YMM()
		VCMPPD(U8(5), floor, z, kept) // not below, or a NaN
		VMAXPD(z, floor, z)           // a NaN stays
		exponential(z, k, p)
		VMOVAPD_Z(p, kept, p)
		VEXTRACTF64X4(U8(1), p, high)
		VADDPD(p.AsY(), sums, sums)
		VADDPD(high, sums, sums)
	} else {
		kept := YMM()
		VCMPPD(U8(5), floor, z, kept)
		VMAXPD(z, floor, z)
		exponential(z, k, p)
		VANDPD(kept, p, p)
		VADDPD(p, sums, sums)
	}
	store(p, yp)
	ADDQ(U32(uint32(4*lanes)), xp)
	ADDQ(U32(uint32(4*lanes)), yp)
	SUBQ(U32(uint32(lanes)), n)
	JMP(LabelRef("some"))
	Label("done")
	VMOVUPD(sums, Mem{Base: sp})
	VZEROUPPER()
	RET()
}
