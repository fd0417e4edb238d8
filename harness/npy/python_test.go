package npy

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"
)

// TestPython reads what scripts/tests/test_readers.py has made: no file that numpy
// refuses is taken, no values but numpy's are read, and whole files are taken.
func TestPython(t *testing.T) {
	path := os.Getenv("CHECKPOINT12_NUMPY")
	if path == "" {
		t.Skip("scripts/tests/test_readers.py runs this")
	}
	lines, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	taken := 0
	for line := range bytes.Lines(lines) {
		var numpy struct {
			File, Values []byte
			Whole, Taken bool
			Shape        []int
		}
		if err := json.Unmarshal(line, &numpy); err != nil {
			t.Fatal(err)
		}
		a, _, err := decodeBytes(numpy.File, true)
		switch {
		case err != nil && numpy.Whole:
			t.Errorf("%q: %v", numpy.File, err)
		case err == nil && !numpy.Taken:
			t.Errorf("%q: taken, which numpy refuses", numpy.File)
		case err == nil && (!slices.Equal(a.Shape, numpy.Shape) || !sameValues(bytesOf(a), numpy.Values, a.F32 != nil)):
			t.Errorf("%q: read as %v %v, and by numpy as %v %x", numpy.File, a.Shape, bytesOf(a), numpy.Shape, numpy.Values)
		case err == nil:
			taken++
		}
	}
	if taken < 600 {
		t.Errorf("only %d files were taken", taken)
	}
}

// sameValues reports whether two payloads hold the same values, whatever a NaN's bits.
func sameValues(a, b []byte, float bool) bool {
	if len(a) != len(b) || !float {
		return bytes.Equal(a, b)
	}
	for i := 0; i+4 <= len(a); i += 4 {
		isNaN := func(b []byte) bool { f := math.Float32frombits(binary.LittleEndian.Uint32(b)); return f != f }
		if !bytes.Equal(a[i:i+4], b[i:i+4]) && !(isNaN(a[i:]) && isNaN(b[i:])) {
			return false
		}
	}
	return true
}
