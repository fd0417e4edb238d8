package npy

import (
	"bytes"
	"slices"
	"testing"
)

// FuzzDecode asks of any bytes that decode neither panics nor takes an array
// whose elements are not the file's, and that what it takes is written and read
// again the same.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(numpySave), false)
	f.Add(file(2, "{'shape': (), 'fortran_order': False, 'descr': '<i8'}", make([]byte, 8)), false)
	f.Add(file(3, `{"descr": "<f2", "fortran_order": False, "shape": (0, 3)}`, nil), true)
	f.Add(file(1, "{'descr': '>f4', 'fortran_order': True, 'shape': (4294967296, 4294967296)}", nil), true)
	f.Fuzz(func(t *testing.T, b []byte, foreign bool) {
		a, note, err := decodeBytes(b, foreign)
		if err != nil {
			return
		}
		n := len(a.F32) + len(a.I64)
		if a.Check() != nil {
			t.Fatalf("shape %v of %d elements", a.Shape, n)
		}
		if n*2 > len(b) {
			t.Fatalf("%d elements from %d bytes", n, len(b))
		}
		if !foreign && note != "" {
			t.Fatalf("converted without being asked: %s", note)
		}
		var out bytes.Buffer
		if err := Write(&out, a); err != nil {
			t.Fatal(err)
		}
		c, _, err := decodeBytes(out.Bytes(), false)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(a.Shape, c.Shape) || !bytes.Equal(bytesOf(a), bytesOf(c)) {
			t.Fatalf("%v is read again as %v", a.Shape, c.Shape)
		}
	})
}
