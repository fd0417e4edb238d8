package npy

import (
	"encoding/binary"
	"io"
	"math"
	"math/bits"
)

// bigEndian says whether this machine stores the other way than the files do.
var bigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

// readPayload reads the elements in one read, straight into the array where the
// file's type is the one in memory. The size has been checked.
func (a *Array) readPayload(r io.ReaderAt, info Info) error {
	a.Shape, a.Kind = info.Shape, info.Kind
	if a.Kind == Int64 {
		a.F32, a.I64 = a.F32[:0], resize(a.I64, info.Elems)
	} else {
		a.F32, a.I64 = resize(a.F32, info.Elems), a.I64[:0]
	}
	switch info.Dtype {
	case "<f4", ">f4":
		if err := readFull(r, bytesOf(a.F32), info.Offset); err != nil {
			return err
		}
		if (info.Dtype == ">f4") != bigEndian {
			swap32(a.F32)
		}
	case "<i8":
		if err := readFull(r, bytesOf(a.I64), info.Offset); err != nil {
			return err
		}
		if bigEndian {
			swap64(a.I64)
		}
	default:
		buf := make([]byte, int64(info.Elems)*dtypes[info.Dtype].size)
		if err := readFull(r, buf, info.Offset); err != nil {
			return err
		}
		a.convert(info.Dtype, buf)
	}
	return nil
}

// resize is a slice of n elements, in s's memory if they fit. It is never nil.
func resize[E any](s []E, n int) []E {
	if s != nil && cap(s) >= n {
		return s[:n]
	}
	return make([]E, n)
}

func swap32(s []float32) {
	for i, v := range s {
		s[i] = math.Float32frombits(bits.ReverseBytes32(math.Float32bits(v)))
	}
}

func swap64(s []int64) {
	for i, v := range s {
		s[i] = int64(bits.ReverseBytes64(uint64(v)))
	}
}

// convert fills the array from the bytes of a forgiven dtype. float64 is
// rounded to the nearest float32; the others are exact.
func (a *Array) convert(dtype string, buf []byte) {
	switch dtype {
	case "<f2":
		for i := range a.F32 {
			a.F32[i] = half(binary.LittleEndian.Uint16(buf[2*i:]))
		}
	case "<f8":
		for i := range a.F32 {
			a.F32[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(buf[8*i:])))
		}
	case "<i4":
		for i := range a.I64 {
			a.I64[i] = int64(int32(binary.LittleEndian.Uint32(buf[4*i:])))
		}
	}
}

// half widens an IEEE 754 binary16: 1 sign bit, 5 exponent bits with bias 15,
// 10 mantissa bits. Every binary16 is a float32.
func half(h uint16) float32 {
	sign, exp, man := uint32(h>>15)<<31, uint32(h>>10)&0x1f, uint32(h)&0x3ff
	switch exp {
	case 0x1f: // infinity, NaN
		return math.Float32frombits(sign | 0xff<<23 | man<<13)
	case 0: // zero, subnormal: man · 2⁻²⁴
		v := float32(man) * (1.0 / (1 << 24))
		return math.Float32frombits(sign | math.Float32bits(v))
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | man<<13)
}
