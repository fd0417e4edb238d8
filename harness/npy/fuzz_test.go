package npy

import (
	"bytes"
	"slices"
	"testing"
)

// FuzzDecode asks of any bytes that Decode neither panics nor takes an array
// whose elements are not the file's, and that what it takes is written and read
// again the same.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(numpySave), false)
	f.Add(file(2, "{'shape': (), 'fortran_order': False, 'descr': '<i8'}", make([]byte, 8)), false)
	f.Add(file(3, `{"descr": "<f2", "fortran_order": False, "shape": (0, 3)}`, nil), true)
	f.Add(file(1, "{'descr': '>f4', 'fortran_order': True, 'shape': (4294967296, 4294967296)}", nil), true)
	f.Fuzz(func(t *testing.T, b []byte, foreign bool) {
		a, notes, err := Decode(bytes.NewReader(b), int64(len(b)), foreign)
		if err != nil {
			return
		}
		n := len(a.F32) + len(a.I64)
		if p, err := product(a.Shape); err != nil || p != int64(n) {
			t.Fatalf("shape %v of %d elements", a.Shape, n)
		}
		if n*2 > len(b) {
			t.Fatalf("%d elements from %d bytes", n, len(b))
		}
		if !foreign && len(notes) > 0 {
			t.Fatalf("converted without being asked: %v", notes)
		}
		var out bytes.Buffer
		if err := Write(&out, a); err != nil {
			t.Fatal(err)
		}
		c, _, err := Decode(bytes.NewReader(out.Bytes()), int64(out.Len()), false)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(a.Shape, c.Shape) || !bytes.Equal(payload(a), payload(c)) {
			t.Fatalf("%v is read again as %v", a.Shape, c.Shape)
		}
	})
}
