package npy

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"
)

func TestRefusesWhatIsNot(t *testing.T) {
	const good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
	six := le32(0, 1, 2, 3, 4, 5)
	shape := func(s string) []byte {
		return file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': "+s+", }", six)
	}
	dtype := func(s string) []byte {
		return file(1, "{'descr': '"+s+"', 'fortran_order': False, 'shape': (2, 3), }", make([]byte, 48))
	}
	length := func(major byte, n uint32) []byte { // a header that claims n bytes
		b := binary.LittleEndian.AppendUint32([]byte{0x93, 'N', 'U', 'M', 'P', 'Y', major, 0}, n)
		return append(b, good...)
	}
	for _, c := range []struct {
		reason string
		data   []byte
		want   string // in the error
	}{
		{"an empty file", nil, "not a .npy file"},
		{"the magic alone", []byte("\x93NUMPY"), "not a .npy file"},
		{"a zip archive", []byte("PK\x03\x04 and more than ten bytes"), "not a .npy file"},
		{"a version from the future", file(4, good, six), "version 4.0"},
		{"version 0", file(0, good, six), "version 0.0"},
		{"version 2 cut in its length", []byte("\x93NUMPY\x02\x00\x01\x00"), "ends inside its header"},
		{"header length 0", append([]byte("\x93NUMPY\x01\x00\x00\x00"), six...), "newline"},
		{"header cut short", []byte(numpySave)[:40], "ends inside its header"},
		{"header longer than the limit", length(2, 1<<20), "more than 65536 are not read"},
		{"header of 4 GiB", length(3, math.MaxUint32), "more than 65536 are not read"},
		{"no newline at the header's end", bytes.Replace([]byte(numpySave), []byte(" \n"), []byte("  "), 1), "newline"},
		{"no dict", file(1, "", six), "in braces"},
		{"dict without its brace", file(1, good[1:], six), "in braces"},
		{"dict without its end", file(1, good[:len(good)-1], six), "in braces"},
		{"something after the dict", file(1, good+" 1", six), "in braces"},
		{"two dicts", file(1, good+good, six), "key and its value"},
		{"a key missing", file(1, "{'descr': '<f4', 'shape': (2, 3), }", six), `"fortran_order" is missing`},
		{"a key twice", file(1, "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", six), `"descr" twice`},
		{"an unknown key", file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'x': 1}", six), `x is "1": want descr`},
		{"a key that is no string", file(1, "{1: 2}", six), "key and its value"},
		{"a string without end", file(1, "{'descr", six), "in braces"},
		{"an escape in a string", file(1, `{'descr': '\x3cf4', 'fortran_order': False, 'shape': (2, 3), }`, six), "key and its value"},
		{"two commas", file(1, "{'descr': '<f4',, 'fortran_order': False, 'shape': (2, 3), }", six), "key and its value"},
		{"a comma missing", file(1, "{'descr': '<f4' 'fortran_order': False, 'shape': (2, 3), }", six), "key and its value"},
		{"an order that is neither", file(1, "{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3), }", six), "True or False"},
		{"Fortran order, with the call that mends it", file(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", six), `np.save("path", np.ascontiguousarray(a))`},
		{"shape (6) is a number in Python", shape("(6)"), "is a number, not a tuple"},
		{"shape without parentheses", shape("6"), "shape, a tuple"},
		{"shape as a list", shape("[2, 3]"), "shape, a tuple"},
		{"shape without its end", shape("(2, 3"), "key and its value"},
		{"shape without a comma", shape("(2 3)"), "not a tuple"},
		{"shape of a comma", shape("(,)"), "is not a dimension"},
		{"a negative dimension", shape("(-2, -3)"), "is not a dimension"},
		{"a dimension with a sign", shape("(+2, 3)"), "is not a dimension"},
		{"a dimension with a leading zero", shape("(02, 3)"), "is not a dimension"},
		{"a fraction", shape("(2.0, 3)"), "is not a dimension"},
		{"a dimension of Python 2", shape("(2L, 3L)"), "is not a dimension"},
		{"a dimension beyond int64", shape("(99999999999999999999,)"), "is not a dimension"},
		{"a product beyond int64", shape("(4294967296, 4294967296)"), "overflow"},
		{"a product beyond int64 behind a zero", shape("(0, 4294967296, 4294967296)"), "overflow"},
		{"more dimensions than numpy has", shape("(" + strings.Repeat("1,", 65) + ")"), "more than 64 dimensions"},
		{"a shape of 4 TiB on 24 bytes", shape("(1099511627776,)"), "file has"},
		{"one byte less", []byte(numpySave)[:len(numpySave)-1], "file has 151 bytes, but shape (2, 3) of <f4 needs 152"},
		{"one byte more", append([]byte(numpySave), 0), "file has 153 bytes"},
		{"no payload", []byte(numpySave)[:128], "file has 128 bytes"},
		{"float64, with the call that mends it", dtype("<f8"), `np.save("path", a.astype('<f4'))`},
		{"big-endian float32", dtype(">f4"), "a.astype('<f4')"},
		{"native order is not said in a file", dtype("=f4"), "a.astype('<f4')"},
		{"int32", dtype("<i4"), "a.astype('<i8')"},
		{"unsigned ids", dtype("<u8"), "a.astype('<i8')"},
		{"booleans", dtype("|b1"), "a.astype('<i8')"},
		{"bfloat16 as numpy saves it", dtype("|V2"), "a.astype('<f4')"},
		{"objects, which are pickles", dtype("|O"), `dtype "|O"`},
		{"no dtype", dtype(""), `dtype ""`},
		{"a structured dtype", file(1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3), }", six), "structured dtype"},
	} {
		if c.reason == "" {
			t.Error("a row without a reason")
		}
		a, _, err := decodeBytes(c.data, false)
		if err == nil {
			t.Errorf("%s: read as %v %v", c.reason, a.Shape, a.DType())
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %q does not say %q", c.reason, err, c.want)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %q is not one line", c.reason, err)
		}
		// What foreign mode forgives is a dtype and nothing else.
		if _, _, err := decodeBytes(c.data, true); err == nil && !strings.Contains(c.reason, "float64") &&
			!strings.Contains(c.reason, "big-endian") && !strings.Contains(c.reason, "int32") {
			t.Errorf("%s: forgiven in foreign mode", c.reason)
		}
	}
}
