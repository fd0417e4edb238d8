package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// splitmix64's step and the two factors of its finaliser (Steele, Lea and Flood, "Fast splittable
// pseudorandom number generators", 2014).
const (
	golden  = uint64(0x9e3779b97f4a7c15)
	factor1 = uint64(0xbf58476d1ce4e5b9)
	factor2 = uint64(0x94d049bb133111eb)
)

// uniform writes eight numbers of splitmix64 at a time: the upper 24 bits of each as a float32
// in [-1,1), scaled and shifted, which rounds twice.
func uniform() {
	steps, eight := GLOBL("steps", RODATA|NOPTR), uint64(0)
	for i := range 8 {
		eight += golden
		DATA(8*i, U64(eight))
	}
	numbers := GLOBL("splitmix", RODATA|NOPTR)
	size := 0
	four := func(v uint64) Mem { // in each lane of four
		at := numbers.Offset(size)
		for range 4 {
			DATA(size, U64(v))
			size += 8
		}
		return at
	}
	in := []Mem{four(factor1), four(factor1 >> 32), four(factor2), four(factor2 >> 32), four(eight), four(1<<23<<32 | 1<<23)}

	TEXT("uniform", NOSPLIT, "func(y *float32, n int, state uint64, scale, shift float32)")
	Doc("uniform writes n of splitmix64's numbers after a state, a multiple of eight, scaled from [-1,1) and shifted.")
	Pragma("noescape")
	y, n := Load(Param("y"), GP64()), Load(Param("n"), GP64())
	var k [6]VecVirtual
	for i, at := range in {
		k[i] = YMM()
		VMOVUPS(at, k[i])
	}
	f1, f1High, f2, f2High, step, half := k[0], k[1], k[2], k[3], k[4], k[5]
	broadcast := func(name string, load func(ops ...Op)) VecVirtual {
		at, err := Param(name).Resolve()
		if err != nil {
			panic(err)
		}
		v := YMM()
		load(at.Addr, v)
		return v
	}
	scale, shift := broadcast("scale", VBROADCASTSS), broadcast("shift", VBROADCASTSS)
	small := YMM() // 2^-23
	one, bits := GP32(), XMM()
	MOVL(U32(0x34000000), one)
	VMOVD(one, bits)
	VBROADCASTSS(bits, small)
	state := [2]VecVirtual{broadcast("state", VPBROADCASTQ), YMM()}
	VPADDQ(steps.Offset(32), state[0], state[1])
	VPADDQ(steps, state[0], state[0])

	z, t, u := [2]VecVirtual{YMM(), YMM()}, YMM(), YMM()
	fold := func(z VecVirtual, by uint8) {
		VPSRLQ(U8(by), z, t)
		VPXOR(t, z, z)
	}
	times := func(z, f, high VecVirtual) { // the lower half of the product
		VPSRLQ(U8(32), z, t)
		VPMULUDQ(f, t, t)
		VPMULUDQ(high, z, u)
		VPADDQ(u, t, t)
		VPSLLQ(U8(32), t, t)
		VPMULUDQ(f, z, z)
		VPADDQ(t, z, z)
	}
	Label("eight")
	CMPQ(n, U32(8))
	JL(LabelRef("done"))
	for i := range z {
		VMOVAPS(state[i], z[i])
		VPADDQ(step, state[i], state[i])
		fold(z[i], 30)
		times(z[i], f1, f1High)
		fold(z[i], 27)
		times(z[i], f2, f2High)
		fold(z[i], 31)
		VPSRLQ(U8(40), z[i], z[i])
	}
	v := YMM()
	VSHUFPS(U8(0x88), z[1], z[0], v)
	VPERMQ(U8(0xd8), v, v)
	VPSUBD(half, v, v)
	VCVTDQ2PS(v, v)
	VMULPS(small, v, v)
	VMULPS(scale, v, v)
	VADDPS(shift, v, v)
	VMOVUPS(v, Mem{Base: y})
	ADDQ(U32(32), y)
	SUBQ(U32(8), n)
	JMP(LabelRef("eight"))
	Label("done")
	VZEROUPPER()
	RET()
}
