package npy

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
)

// align is where a payload may start: a multiple of 64 bytes, as numpy writes
// it, so that a mapped file can be used by vector instructions.
const align = 64

// Write writes a as numpy would: version 1, C order, little-endian, payload
// aligned to 64 bytes. It refuses an array whose data is not its shape.
func Write(w io.Writer, a Array) error {
	if i := slices.IndexFunc(a.Shape, func(d int) bool { return d < 0 }); i >= 0 {
		return fmt.Errorf("shape %v has a negative dimension", tuple(a.Shape))
	}
	elems, err := product(a.Shape)
	if err != nil {
		return err
	}
	descr, n, other := "<f4", len(a.F32), len(a.I64)
	if a.Kind == Int64 {
		descr, n, other = "<i8", other, n
	}
	if int64(n) != elems || other != 0 || len(a.Shape) > maxDims {
		return fmt.Errorf("shape %v of %s does not go with %d elements (and %d of the other kind)", tuple(a.Shape), a.Kind, n, other)
	}
	if _, err := w.Write(header(descr, a.Shape)); err != nil {
		return err
	}
	_, err = w.Write(payload(a))
	return err
}

// payload is the array's elements in the file's byte order.
func payload(a Array) []byte {
	if bigEndian {
		a.F32, a.I64 = slices.Clone(a.F32), slices.Clone(a.I64)
		swap32(a.F32)
		swap64(a.I64)
	}
	if a.Kind == Int64 {
		return bytesOf(a.I64)
	}
	return bytesOf(a.F32)
}

// header spells a version 1 header as numpy does, blanks and all.
func header(descr string, shape []int) []byte {
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %v, }", descr, tuple(shape))
	pad := align - (len(magic)+4+len(text)+1)%align
	return version1(text + strings.Repeat(" ", pad) + "\n")
}

// version1 puts what comes before a header's text before it.
func version1(text string) []byte {
	b := append([]byte(magic), 1, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(text)))
	return append(b, text...)
}
