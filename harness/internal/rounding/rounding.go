// Package rounding rounds float32 values to the types with fewer bits that engines compute in.
package rounding

import (
	"math"

	"github.com/tphakala/simd/f16"
)

// A Rounding keeps fewer bits of values; nil keeps all. dst may be src.
type Rounding func(dst, src []float32)

// BFloat16 keeps 8 significant bits and TF32 keeps 11, as NVIDIA's tensor cores
// read float32: rounded to nearest, ties to even. Infinities and NaN stay.
var (
	BFloat16 = Rounding(func(dst, src []float32) {
		for i, v := range src {
			dst[i] = nearest(v, 16)
		}
	})
	TF32 = Rounding(func(dst, src []float32) {
		for i, v := range src {
			dst[i] = nearest(v, 13)
		}
	})
)

// Of returns x after the rounding; x itself where there is none.
func (r Rounding) Of(x []float32) []float32 {
	if r == nil {
		return x
	}
	return r.In(make([]float32, len(x)), x)
}

// In is Of with memory for the result.
func (r Rounding) In(scratch, x []float32) []float32 {
	if r == nil {
		return x
	}
	r(scratch, x)
	return scratch
}

// nearest drops low bits of the mantissa of v, which stays if it is not finite. It is fast
// where the compiler knows how many.
func nearest(v float32, drop uint) float32 {
	bits := math.Float32bits(v)
	if bits&0x7f800000 == 0x7f800000 {
		return v
	}
	return math.Float32frombits((bits + 1<<(drop-1) - 1 + bits>>drop&1) &^ (1<<drop - 1))
}

// TF32Cut is TF32 where the low bits are dropped without rounding.
func TF32Cut(dst, src []float32) {
	for i, v := range src {
		dst[i] = math.Float32frombits(math.Float32bits(v) &^ (1<<13 - 1))
	}
}

// Float16 keeps what IEEE's half precision holds: 11 significant bits above
// 2^-14, multiples of 2^-24 below, infinity from 65520 on.
func Float16(dst, src []float32) {
	const normal, large, drop = 127 - 14, 127 + 15, 13 // exponents, as float32 has them, that need no more
	for i, v := range src {
		b := math.Float32bits(v)
		if e := b >> 23 & 0xff; normal <= e && e < large {
			dst[i] = nearest(v, drop)
		} else {
			dst[i] = f16.ToFloat32(f16.FromFloat32(v))
		}
	}
}

// Holds reports whether every value is unchanged by the rounding.
func (r Rounding) Holds(x []float32) bool {
	rounded := r.Of(x)
	for i, v := range x {
		if v == v && rounded[i] != v {
			return false
		}
	}
	return true
}
