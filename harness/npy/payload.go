package npy

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unsafe"

	"github.com/tphakala/simd/f16"

	"checkpoint12/harness"
	"checkpoint12/model/memory"
)

// bigEndian reports whether this machine stores the other way than the files do.
var bigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

// readPayload reads n elements from flat index i on in one read, straight into the
// tensor where the file's type is the one in memory. The size has been checked.
func readPayload(r io.ReaderAt, info Info, i, n int, mem *harness.Tensor) (t harness.Tensor, err error) {
	if info.DType == "int64" {
		mem.I64, err = resize(mem.I64, n)
		t.I64 = mem.I64
	} else {
		mem.F32, err = resize(mem.F32, n)
		t.F32 = mem.F32
	}
	if err != nil {
		return t, err
	}
	size := int(dtypes[info.stored].size)
	direct := info.stored == "<f4" || info.stored == ">f4" || info.stored == "<i8"
	buf := bytesOf(t)
	if !direct {
		buf = make([]byte, n*size)
	}
	if err := readFull(r, buf, info.offset+int64(i*size)); err != nil {
		return harness.Tensor{}, err
	}
	switch {
	case !direct:
		convert(t, info.stored, buf)
	case (info.stored[0] == '>') != bigEndian:
		swap(buf, size)
	}
	return t, nil
}

// resize returns a slice of n elements, in s's memory if they fit, and an error if there
// is no memory for them.
func resize[E any](s []E, n int) ([]E, error) {
	if s != nil && cap(s) >= n {
		return s[:n], nil
	}
	if err := memory.Room(n * int(unsafe.Sizeof(*new(E)))); err != nil {
		return nil, err
	}
	return make([]E, n), nil
}

// bytesOf returns the memory of a tensor's elements.
func bytesOf(t harness.Tensor) []byte {
	switch {
	case t.Elements() == 0:
		return nil
	case t.IDs():
		return unsafe.Slice((*byte)(unsafe.Pointer(&t.I64[0])), 8*len(t.I64))
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&t.F32[0])), 4*len(t.F32))
}

// swap reverses the bytes of each element of that size.
func swap(b []byte, size int) {
	for i := 0; i < len(b); i += size {
		slices.Reverse(b[i : i+size])
	}
}

// convert fills the tensor from the bytes of a forgiven dtype. float64 is narrowed; the
// others are exact.
func convert(t harness.Tensor, dtype string, buf []byte) {
	switch dtype {
	case "<f2":
		for i := range t.F32 {
			t.F32[i] = f16.ToFloat32(binary.LittleEndian.Uint16(buf[2*i:]))
		}
	case "<f8":
		for i := range t.F32 {
			t.F32[i] = narrow(math.Float64frombits(binary.LittleEndian.Uint64(buf[8*i:])))
		}
	case bf16:
		for i := range t.F32 {
			t.F32[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(buf[2*i:])) << 16)
		}
	case "<i4":
		for i := range t.I64 {
			t.I64[i] = int64(int32(binary.LittleEndian.Uint32(buf[4*i:])))
		}
	}
}

// narrow rounds to the nearest float32. A finite number beyond those is NaN, which equals
// nothing, or if it is negative -Inf, since it may be what masks a score.
func narrow(x float64) float32 {
	y := float32(x)
	if math.IsInf(float64(y), 1) && !math.IsInf(x, 1) {
		return float32(math.NaN())
	}
	return y
}

// exceeds reports whether a file of float64 has a finite number beyond float32.
func exceeds(r io.ReaderAt, info Info) (bool, error) {
	in, b := bufio.NewReader(io.NewSectionReader(r, info.offset, 8*int64(info.elems))), make([]byte, 8)
	for range info.elems {
		if _, err := io.ReadFull(in, b); err != nil {
			return false, fmt.Errorf("read the values: %w", err)
		}
		x := math.Float64frombits(binary.LittleEndian.Uint64(b))
		if y := float64(narrow(x)); y-y != 0 && x-x == 0 {
			return true, nil
		}
	}
	return false, nil
}

// Write writes t as numpy would: version 1, C order, little-endian, payload
// aligned to 64 bytes. It refuses a tensor whose data is not its shape.
func Write(w io.Writer, t harness.Tensor) error {
	if err := t.Check(); err != nil {
		return err
	}
	if len(t.Shape) > maxDims {
		return fmt.Errorf("more than %d dimensions", maxDims)
	}
	descr := "<f4"
	if t.IDs() {
		descr = "<i8"
	}
	if _, err := w.Write(header(descr, t.Shape)); err != nil {
		return err
	}
	b := bytesOf(t)
	if bigEndian {
		b = slices.Clone(b)
		swap(b, int(dtypes[descr].size))
	}
	_, err := w.Write(b)
	return err
}

// header spells a version 1 header as numpy does, blanks and all: the payload
// starts at a multiple of 64 bytes, for vector instructions on a mapped file.
func header(descr string, shape []int) []byte {
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %v, }", descr, tuple(shape))
	pad := 64 - (len(magic)+4+len(text)+1)%64
	return version1(text + strings.Repeat(" ", pad) + "\n")
}

// version1 puts what comes before a header's text before it.
func version1(text string) []byte {
	b := append([]byte(magic), 1, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(text)))
	return append(b, text...)
}
