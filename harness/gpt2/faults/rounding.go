package faults

import "math"

// rounding is a way to keep fewer bits of a value; nil keeps all.
type rounding struct {
	into func(dst, src []float32) // dst may be src
}

var (
	// bfloat16 keeps 8 significant bits: rounded to nearest, ties to even.
	bfloat16 = &rounding{func(dst, src []float32) { keep(dst, src, 16) }}

	// tf32 keeps 11 significant bits, as NVIDIA's tensor cores read float32:
	// rounded to nearest, ties to even.
	tf32 = &rounding{func(dst, src []float32) { keep(dst, src, 13) }}

	// tf32Cut is tf32 where the low bits are dropped without rounding.
	tf32Cut = &rounding{func(dst, src []float32) {
		for i, v := range src {
			dst[i] = math.Float32frombits(math.Float32bits(v) &^ (1<<13 - 1))
		}
	}}

	// float16 keeps what IEEE's half precision holds: 11 significant bits above
	// 2^-14, multiples of 2^-24 below, infinity from 65520 on.
	float16 = &rounding{halve}
)

// of is x after the rounding; x itself where there is none.
func (r *rounding) of(x []float32) []float32 {
	if r == nil {
		return x
	}
	out := make([]float32, len(x))
	r.into(out, x)
	return out
}

// keep drops low bits of the mantissa, rounding to nearest, ties to even.
// Infinities and NaN stay.
func keep(dst, src []float32, drop uint) {
	half, mask := uint32(1)<<(drop-1)-1, uint32(math.MaxUint32)<<drop
	for i, v := range src {
		bits := math.Float32bits(v)
		if bits&0x7f800000 == 0x7f800000 {
			dst[i] = v
			continue
		}
		dst[i] = math.Float32frombits((bits + half + bits>>drop&1) & mask)
	}
}

// halve is float16's rounding.
func halve(dst, src []float32) {
	const (
		smallest = 0x38800000 // bits of 2^-14, the smallest normal number
		overflow = 0x477ff000 // bits of 65520, half-way to the number after the largest
	)
	for i, v := range src {
		bits := math.Float32bits(v)
		sign, size := bits&0x80000000, bits&0x7fffffff
		switch {
		case size > 0x7f800000: // NaN
		case size >= overflow:
			size = 0x7f800000
		case size < smallest:
			// float32 between 0.5 and 1 are multiples of 2^-24.
			shifted := math.Float32frombits(size) + 0.5
			size = math.Float32bits(shifted - 0.5)
		default:
			size = (size + 0xfff + size>>13&1) &^ 0x1fff
		}
		dst[i] = math.Float32frombits(sign | size)
	}
}
