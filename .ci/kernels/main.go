// Program kernels writes model/internal/kernel's assembly for AVX2 and FMA, and for AVX-512, or its package
// ceiling's:
//
//	cd .ci/kernels && go run . -pkg kernel -out ../../model/internal/kernel/vector_amd64.s -stubs ../../model/internal/kernel/vector_amd64.go
//	cd .ci/kernels && go run . -pkg ceiling -out ../../model/internal/kernel/ceiling/vector_amd64.s -stubs ../../model/internal/kernel/ceiling/vector_amd64.go
package main

import (
	"flag"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// block is how many products of a dot product are added up from zero, in eight lanes.
const block = 64

func main() {
	flag.Parse()
	if flag.Lookup("pkg").Value.String() == "ceiling" {
		fma(8)
		fma(16)
		for _, ahead := range []int{0, 512, 2048} {
			read(1, ahead)
			read(4, ahead)
		}
	} else {
		kernels()
	}
	Generate()
}

func kernels() {
	for _, lanes := range []int{8, 16} {
		for rows := 1; rows <= 3*lanes/4; rows++ { // twice as many registers
			tile(rows, lanes)
		}
		pack(lanes)
	}
	stream(1, 8, 8)
	stream(1, 1, 8)
	for rows := 2; rows <= 3; rows++ {
		stream(rows, 4, 8)
		stream(rows, 1, 8)
	}
	for rows := 2; rows <= 4; rows++ {
		stream(rows, 4, 16)
		stream(rows, 1, 16)
	}
	mask := masks()
	for rows := 1; rows <= 3; rows++ {
		dot(rows, 4, mask)
		dot(rows, 1, mask)
	}
	for rows := 1; rows <= 6; rows++ {
		wideDot(rows)
	}
	for _, lanes := range []int{4, 8} {
		gelu(lanes)
		exps(lanes)
	}
	sums("sum", "sum returns the sum of n values.", "func(x *float32, n int) float64", false)
	sums("squares", "squares returns the sum of the squares of n values less their mean.", "func(x *float32, n int, mean float64) float64", true)
	normalise()
	rescale()
	greatest()
	without()
	uniform()
}

// vector returns a vector of so many float32, 8 or 16.
func vector(lanes int) VecVirtual {
	if lanes == 16 {
		return ZMM()
	}
	return YMM()
}

// zeros returns a vector of zeros.
func zeros(lanes int) VecVirtual {
	v := vector(lanes)
	VXORPS(v, v, v)
	return v
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
