package npy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/sbinet/npyio/npy"
	"pgregory.net/rapid"

	"checkpoint12/harness"
)

// file is a .npy file of a version with a header's text, padded as numpy pads,
// and a payload.
func file(major byte, text string, payload []byte) []byte {
	pre := []byte{0x93, 'N', 'U', 'M', 'P', 'Y', major, 0}
	n := 2
	if major > 1 {
		n = 4
	}
	for (len(pre)+n+len(text)+1)%64 != 0 {
		text += " "
	}
	text += "\n"
	if major > 1 {
		pre = binary.LittleEndian.AppendUint32(pre, uint32(len(text)))
	} else {
		pre = binary.LittleEndian.AppendUint16(pre, uint16(len(text)))
	}
	return append(append(pre, text...), payload...)
}

// le32 is float32 values in little-endian bytes.
func le32(v ...float32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

func decodeBytes(b []byte, foreign bool) (t harness.Tensor, note string, err error) {
	f := File{path: "path", file: bytes.NewReader(b)}
	if f.Info, err = readHeader(f.file, int64(len(b)), foreign, saveAs(f.path)); err == nil {
		t, err = f.Tensor()
	}
	return t, f.Note, err
}

// numpySave is np.save(f, np.arange(6, dtype='<f4').reshape(2, 3)) by numpy 2.
const numpySave = "\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }" +
	"                                                          \n" +
	"\x00\x00\x00\x00\x00\x00\x80\x3f\x00\x00\x00\x40\x00\x00\x40\x40\x00\x00\x80\x40\x00\x00\xa0\x40"

func TestReadsWhatIsLegal(t *testing.T) {
	six := le32(0, 1, 2, 3, 4, 5)
	want := harness.Tensor{Shape: []int{2, 3}, F32: []float32{0, 1, 2, 3, 4, 5}}
	for _, c := range []struct {
		reason string
		data   []byte
		want   harness.Tensor
	}{
		{"numpy's own bytes", []byte(numpySave), want},
		{"keys in another order", file(1, "{'shape': (2, 3), 'fortran_order': False, 'descr': '<f4'}", six), want},
		{"no blanks", file(1, "{'descr':'<f4','fortran_order':False,'shape':(2,3)}", six), want},
		{"many blanks", file(1, " { 'descr' :  '<f4' ,'fortran_order':\tFalse , 'shape' : ( 2 , 3 , ) , } ", six), want},
		{"Candle's spelling", file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,3,), }", six), want},
		{"double quotes", file(1, `{"descr": "<f4", "fortran_order": False, "shape": (2, 3), }`, six), want},
		{"version 2", file(2, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", six), want},
		{"version 3", file(3, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", six), want},
		{"a header longer than the first read", file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"+strings.Repeat(" ", 2000), six), want},
		{"one dimension", file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", six), harness.Tensor{Shape: []int{6}, F32: want.F32}},
		{"no dimension is one element", file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (), }", le32(7)), harness.Tensor{Shape: []int{}, F32: []float32{7}}},
		{"a dimension of zero is no element", file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 0), }", nil), harness.Tensor{Shape: []int{2, 0}, F32: []float32{}}},
		{"ids", file(1, "{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }", []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}),
			harness.Tensor{Shape: []int{1}, I64: []int64{-1}}},
	} {
		got, note, err := decodeBytes(c.data, false)
		if err != nil {
			t.Errorf("%s: %v", c.reason, err)
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" || note != "" {
			t.Errorf("%s: note %q, -want +got:\n%s", c.reason, note, diff)
		}
	}
}

func TestForeignConverts(t *testing.T) {
	text := func(dtype string) string {
		return "{'descr': '" + dtype + "', 'fortran_order': False, 'shape': (2,), }"
	}
	f8 := func(a, b float64) []byte {
		return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, math.Float64bits(a)), math.Float64bits(b))
	}
	for _, c := range []struct {
		reason string
		dtype  string
		data   []byte
		want   harness.Tensor
	}{
		{"half precision is widened exactly", "<f2", []byte{0x00, 0x3c, 0xff, 0x7b}, harness.Tensor{Shape: []int{2}, F32: []float32{1, 65504}}},
		{"the smallest subnormal half, and minus infinity", "<f2", []byte{0x01, 0x00, 0x00, 0xfc}, harness.Tensor{Shape: []int{2}, F32: []float32{0x1p-24, float32(math.Inf(-1))}}},
		{"double precision is rounded", "<f8", f8(0.1, math.Inf(1)), harness.Tensor{Shape: []int{2}, F32: []float32{0.1, float32(math.Inf(1))}}},
		{"what no float32 holds equals nothing, or masks", "<f8", f8(1e300, -1e300), harness.Tensor{Shape: []int{2}, F32: []float32{float32(math.NaN()), float32(math.Inf(-1))}}},
		{"the other byte order", ">f4", []byte{0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0}, harness.Tensor{Shape: []int{2}, F32: []float32{1, -2}}},
		{"short ids keep their sign", "<i4", []byte{0xff, 0xff, 0xff, 0xff, 0x50, 0xc4, 0, 0}, harness.Tensor{Shape: []int{2}, I64: []int64{-1, 50256}}},
	} {
		got, note, err := decodeBytes(file(1, text(c.dtype), c.data), true)
		if err != nil {
			t.Errorf("%s: %v", c.reason, err)
			continue
		}
		if diff := cmp.Diff(c.want, got, cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.reason, diff)
		}
		path := filepath.Join(t.TempDir(), "x.npy")
		if err := os.WriteFile(path, file(1, text(c.dtype), c.data), 0o666); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path, true)
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		f.Close()
		beyond := strings.Contains(c.reason, "no float32")
		if err != nil || strings.Contains(info.Note, "beyond float32") != beyond {
			t.Errorf("%s: note %q, %v", c.reason, info.Note, err)
		}
		if !strings.Contains(note, c.dtype) {
			t.Errorf("%s: note %q, want one that names %s", c.reason, note, c.dtype)
		}
	}
}

// Every half is compared with the definition of binary16.
func TestHalf(t *testing.T) {
	halves, floats := make([]byte, 2<<16), make([]float32, 1<<16)
	for h := range 1 << 16 {
		binary.LittleEndian.PutUint16(halves[2*h:], uint16(h))
	}
	convert(harness.Tensor{F32: floats}, "<f2", halves)
	for h := range 1 << 16 {
		sign, exp, man := 1.0, h>>10&0x1f, float64(h&0x3ff)
		if h>>15 == 1 {
			sign = -1
		}
		want := sign * math.Ldexp(1+man/1024, exp-15)
		switch {
		case exp == 0:
			want = sign * math.Ldexp(man/1024, -14)
		case exp == 31 && man == 0:
			want = math.Inf(int(sign))
		case exp == 31:
			want = math.NaN()
		}
		got := float64(floats[h])
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) || math.Signbit(got) != math.Signbit(want) && !math.IsNaN(want) {
			t.Fatalf("half(%#04x) = %v, want %v", h, got, want)
		}
	}
}

// What Write writes is read back, by Read and by npyio, and its payload is
// aligned.
func TestWriteRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := harness.Tensor{Shape: rapid.SliceOfN(rapid.IntRange(0, 5), 0, 5).Draw(t, "shape")}
		n := 1
		for _, d := range a.Shape {
			n *= d
		}
		if rapid.Bool().Draw(t, "ids") {
			a.I64 = rapid.SliceOfN(rapid.Int64(), n, n).Draw(t, "i64")
		} else {
			a.F32 = rapid.SliceOfN(rapid.Float32(), n, n).Draw(t, "f32")
		}
		var b bytes.Buffer
		if err := Write(&b, a); err != nil {
			t.Fatal(err)
		}
		size := map[bool]int{false: 4, true: 8}[a.IDs()]
		if off := b.Len() - n*size; off%64 != 0 {
			t.Fatalf("payload at byte %d", off)
		}
		got, _, err := decodeBytes(b.Bytes(), false)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(a, got); diff != "" {
			t.Fatalf("-written +read:\n%s", diff)
		}
		r, err := npy.NewReader(bytes.NewReader(b.Bytes()))
		if err != nil {
			t.Fatalf("npyio: %v", err)
		}
		if !slices.Equal(r.Header.Descr.Shape, a.Shape) {
			t.Fatalf("npyio reads shape %v of %v", r.Header.Descr.Shape, a.Shape)
		}
		if n == 0 {
			return
		}
		if a.IDs() {
			theirs := make([]int64, n)
			if err := r.Read(&theirs); err != nil || !slices.Equal(theirs, a.I64) {
				t.Fatalf("npyio reads %v of %v: %v", theirs, a.I64, err)
			}
		} else {
			theirs := make([]float32, n)
			if err := r.Read(&theirs); err != nil || !slices.Equal(theirs, a.F32) {
				t.Fatalf("npyio reads %v of %v: %v", theirs, a.F32, err)
			}
		}
	})
}

func TestWriteRefuses(t *testing.T) {
	for _, c := range []struct {
		reason string
		a      harness.Tensor
	}{
		{"less data than shape", harness.Tensor{Shape: []int{2}, F32: make([]float32, 1)}},
		{"more data than shape", harness.Tensor{Shape: []int{2}, F32: make([]float32, 3)}},
		{"a negative dimension", harness.Tensor{Shape: []int{-1, -2}, F32: make([]float32, 2)}},
		{"data of both kinds", harness.Tensor{Shape: []int{1}, F32: make([]float32, 1), I64: make([]int64, 1)}},
		{"a product that overflows", harness.Tensor{Shape: []int{1 << 32, 1 << 32}}},
		{"more dimensions than can be read", harness.Tensor{Shape: slices.Repeat([]int{1}, 65), F32: make([]float32, 1)}},
	} {
		var b bytes.Buffer
		if err := Write(&b, c.a); err == nil || b.Len() > 0 {
			t.Errorf("%s: error %v and %d bytes written", c.reason, err, b.Len())
		}
	}
}

func TestReadNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.npy")
	if err := os.WriteFile(bad, []byte("no"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{bad, filepath.Join(dir, "absent.npy"), dir} {
		if _, err := Open(path, true); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Open(%s): %v", path, err)
		}
	}
}

// npyio has a say: a header that it reads otherwise, or not at all, is refused.
func TestAgree(t *testing.T) {
	text := "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n"
	for _, c := range []struct {
		reason string
		d      dict
		want   string
	}{
		{"the same", dict{"<f4", false, []int{2, 3}}, ""},
		{"another shape", dict{"<f4", false, []int{3, 2}}, "npyio reads it as"},
		{"a dimension less", dict{"<f4", false, []int{6}}, "npyio reads it as"},
		{"another dtype", dict{"<i4", false, []int{2, 3}}, "npyio reads it as"},
		{"another order", dict{"<f4", true, []int{2, 3}}, "npyio reads it as"},
	} {
		if err := agree(text, c.d); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.reason, err, c.want)
		}
	}
	huge := strings.Replace(text, "2, 3", "99999999999999999999", 1)
	if err := agree(huge, dict{"<f4", false, []int{1}}); err == nil || !strings.Contains(err.Error(), "cannot read") {
		t.Errorf("what npyio cannot read: %v", err)
	}
}

// Parts of a file, of any dtype, are those of the whole, whatever is in the memory
// that they are read into.
func TestPart(t *testing.T) {
	var mem harness.Tensor
	rapid.Check(t, func(t *rapid.T) {
		dtype := rapid.SampledFrom(slices.DeleteFunc(slices.Sorted(maps.Keys(dtypes)), func(d string) bool { return d == bf16 })).Draw(t, "dtype")
		n := rapid.IntRange(0, 20).Draw(t, "n")
		payload := rapid.SliceOfN(rapid.Byte(), n*int(dtypes[dtype].size), n*int(dtypes[dtype].size)).Draw(t, "payload")
		b := file(1, fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%d,), }", dtype, n), payload)
		whole, _, err := decodeBytes(b, true)
		if err != nil {
			t.Fatal(err)
		}
		f := File{path: "path", file: bytes.NewReader(b)}
		if f.Info, err = readHeader(f.file, int64(len(b)), true, saveAs(f.path)); err != nil {
			t.Fatal(err)
		}
		lo := rapid.IntRange(0, n).Draw(t, "from")
		k := rapid.IntRange(0, n-lo).Draw(t, "elements")
		got, err := f.Part(lo, k, &mem)
		if err != nil {
			t.Fatal(err)
		}
		want, _ := whole.Part(lo, k, nil)
		if !bytes.Equal(bytesOf(got), bytesOf(want)) || got.IDs() != want.IDs() {
			t.Fatalf("%d from %d on: %v of %v", k, lo, got, whole)
		}
	})
}

// A sparse file that claims 16 GiB is refused before they are allocated.
func TestRefusesASparseFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sparse.npy")
	const n = 4 << 30
	head := header("<f4", []int{n})
	if err := os.WriteFile(path, head, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(len(head))+4*n); err != nil {
		t.Skipf("the file system has no sparse files: %v", err)
	}
	if _, err := Open(path, false); err == nil || !strings.Contains(err.Error(), "larger than 8 GiB") {
		t.Errorf("error %v", err)
	}
}
