package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// eights does many(4·i) for four values at a time, two for i of 0 and 1, and then one for
// each value that is left. Pointers advance.
func eights(n Register, pointers []Register, many func(i int), one func()) {
	loop := func(name string, size int, body func()) {
		Label(name)
		CMPQ(n, U32(uint32(size)))
		JL(LabelRef(name + "_done"))
		body()
		for _, p := range pointers {
			ADDQ(U32(uint32(4*size)), p)
		}
		SUBQ(U32(uint32(size)), n)
		JMP(LabelRef(name))
		Label(name + "_done")
	}
	loop("eight", 8, func() { many(0); many(1) })
	loop("one", 1, one)
}

// total leaves the sum of two vectors of four float64, and of one, in the last.
func total(a, b, one VecVirtual) {
	high := XMM()
	VADDPD(a, b, b)
	VEXTRACTF128(U8(1), b, high)
	VADDPD(high, b.AsX(), b.AsX())
	VHADDPD(b.AsX(), b.AsX(), b.AsX())
	VADDSD(b.AsX(), one.AsX(), one.AsX())
}

// float64Param loads a parameter into each place of a vector, as long as one of so many float32.
func float64Param(name string, lanes int) VecVirtual {
	at, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	v := vector(lanes)
	VBROADCASTSD(at.Addr, v)
	return v
}

// sums writes the sum of x - mean, or of its squares, to be a function's result.
func sums(name, doc, signature string, squared bool) {
	TEXT(name, NOSPLIT, signature)
	Doc(doc)
	Pragma("noescape")
	x, n := Load(Param("x"), GP64()), Load(Param("n"), GP64())
	var mean VecVirtual
	if squared {
		mean = float64Param("mean", 8)
	}
	var all [3]VecVirtual
	for i := range all {
		all[i] = YMM()
		VXORPD(all[i], all[i], all[i])
	}
	eights(n, []Register{x}, func(i int) {
		v := YMM()
		VCVTPS2PD(Mem{Base: x, Disp: 16 * i}, v)
		if squared {
			VSUBPD(mean, v, v)
			VFMADD231PD(v, v, all[i])
		} else {
			VADDPD(v, all[i], all[i])
		}
	}, func() {
		v := XMM()
		VXORPD(v, v, v)
		VCVTSS2SD(Mem{Base: x}, v, v)
		if squared {
			VSUBSD(mean.AsX(), v, v)
			VFMADD231SD(v, v, all[2].AsX())
		} else {
			VADDSD(v, all[2].AsX(), all[2].AsX())
		}
	})
	total(all[0], all[1], all[2])
	Store(all[2].AsX(), ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// normalise writes (x - mean)·scale·gain + bias in float64, rounded once.
func normalise() {
	TEXT("normalise", NOSPLIT, "func(y, x, gain, bias *float32, n int, mean, scale float64)")
	Doc("normalise is (x - mean)·scale·gain + bias of n values, rounded once from float64.")
	Pragma("noescape")
	y, x := Load(Param("y"), GP64()), Load(Param("x"), GP64())
	gain, bias, n := Load(Param("gain"), GP64()), Load(Param("bias"), GP64()), Load(Param("n"), GP64())
	mean, scale := float64Param("mean", 8), float64Param("scale", 8)
	eights(n, []Register{y, x, gain, bias}, func(i int) {
		v, g, b := YMM(), YMM(), YMM()
		VCVTPS2PD(Mem{Base: x, Disp: 16 * i}, v)
		VCVTPS2PD(Mem{Base: gain, Disp: 16 * i}, g)
		VCVTPS2PD(Mem{Base: bias, Disp: 16 * i}, b)
		VSUBPD(mean, v, v)
		VMULPD(scale, v, v)
		VFMADD231PD(g, v, b)
		r := XMM()
		VCVTPD2PSY(b, r)
		VMOVUPS(r, Mem{Base: y, Disp: 16 * i})
	}, func() {
		v, g, b := XMM(), XMM(), XMM()
		for _, load := range []struct {
			from Register
			to   VecVirtual
		}{{x, v}, {gain, g}, {bias, b}} {
			VXORPD(load.to, load.to, load.to)
			VCVTSS2SD(Mem{Base: load.from}, load.to, load.to)
		}
		VSUBSD(mean.AsX(), v, v)
		VMULSD(scale.AsX(), v, v)
		VFMADD231SD(g, v, b)
		VCVTSD2SS(b, b, b)
		VMOVSS(b, Mem{Base: y})
	})
	VZEROUPPER()
	RET()
}

// rescale writes y·scale in float64, rounded once.
func rescale() {
	TEXT("rescale", NOSPLIT, "func(y *float32, n int, scale float64)")
	Doc("rescale multiplies n values by scale, rounded once from float64.")
	Pragma("noescape")
	y, n := Load(Param("y"), GP64()), Load(Param("n"), GP64())
	scale := float64Param("scale", 8)
	eights(n, []Register{y}, func(i int) {
		v, r := YMM(), XMM()
		VCVTPS2PD(Mem{Base: y, Disp: 16 * i}, v)
		VMULPD(scale, v, v)
		VCVTPD2PSY(v, r)
		VMOVUPS(r, Mem{Base: y, Disp: 16 * i})
	}, func() {
		v := XMM()
		VXORPD(v, v, v)
		VCVTSS2SD(Mem{Base: y}, v, v)
		VMULSD(scale.AsX(), v, v)
		VCVTSD2SS(v, v, v)
		VMOVSS(v, Mem{Base: y})
	})
	VZEROUPPER()
	RET()
}

// greatest returns the largest of n values that are no NaN, or -Inf.
func greatest() {
	low := GLOBL("lowest", RODATA|NOPTR)
	DATA(0, U32(math.Float32bits(float32(math.Inf(-1)))))
	TEXT("greatest", NOSPLIT, "func(x *float32, n int) float32")
	Doc("greatest returns the largest of n values that are no NaN, or -Inf.")
	Pragma("noescape")
	x, n := Load(Param("x"), GP64()), Load(Param("n"), GP64())
	var most [3]VecVirtual // of four, four and one
	for i := range most {
		most[i] = XMM()
		VBROADCASTSS(low, most[i])
	}
	eights(n, []Register{x}, func(i int) {
		v := XMM()
		VMOVUPS(Mem{Base: x, Disp: 16 * i}, v)
		VMAXPS(most[i], v, most[i]) // the second of two, one of which is a NaN
	}, func() {
		v := XMM()
		VMOVSS(Mem{Base: x}, v)
		VMAXSS(most[2], v, most[2])
	})
	other := XMM()
	VMAXPS(most[0], most[1], most[0])
	VPERMILPS(U8(0b1110), most[0], other)
	VMAXPS(most[0], other, most[0])
	VPERMILPS(U8(0b0001), most[0], other)
	VMAXSS(most[0], other, most[0])
	VMAXSS(most[0], most[2], most[0])
	Store(most[0], ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// without returns how many of n values come before those at the end that have certain bits:
// eight at a time from the end on, and then one.
func without() {
	TEXT("without", NOSPLIT, "func(x *float32, n int, bits uint32) int")
	Doc("without returns how many of n values come before those at the end that have these bits.")
	Pragma("noescape")
	x, n := Load(Param("x"), GP64()), Load(Param("n"), GP64())
	bits, value, same := Load(Param("bits"), GP32()), YMM(), GP32()
	VMOVD(bits, value.AsX())
	VPBROADCASTD(value.AsX(), value)
	Label("eight")
	CMPQ(n, U32(8))
	JL(LabelRef("one"))
	v := YMM()
	VPCMPEQD(Mem{Base: x, Index: n, Scale: 4, Disp: -32}, value, v)
	VMOVMSKPS(v, same)
	CMPL(same, U32(255))
	JNE(LabelRef("one"))
	SUBQ(U32(8), n)
	JMP(LabelRef("eight"))
	Label("one")
	TESTQ(n, n)
	JZ(LabelRef("done"))
	CMPL(bits, Mem{Base: x, Index: n, Scale: 4, Disp: -4})
	JNE(LabelRef("done"))
	DECQ(n)
	JMP(LabelRef("one"))
	Label("done")
	Store(n, ReturnIndex(0))
	VZEROUPPER()
	RET()
}
