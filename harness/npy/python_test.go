package npy

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"checkpoint12/harness"
)

// TestPython reads what scripts/tests/test_readers.py has made: no file that numpy
// refuses is taken, no values but numpy's are read, and whole files are taken.
func TestPython(t *testing.T) {
	lines := pythonLines(t, "CHECKPOINT12_NUMPY")
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

// TestPythonArchives reads the .npz or .safetensors files that scripts/tests/test_readers.py has made:
// no array is read otherwise than by Python, none is taken that numpy refuses, and those
// of whole files are taken.
func TestPythonArchives(t *testing.T) {
	dir, taken := t.TempDir(), 0
	for line := range bytes.Lines(pythonLines(t, "CHECKPOINT12_ARCHIVES")) {
		var python struct {
			File        []byte
			Safetensors bool
			Whole       bool
			Packing     bool // is damaged: Go goes by the directory, Python by each file's header too
			Arrays      map[string]struct {
				Shape  []int
				Values []byte
			}
		}
		if err := json.Unmarshal(line, &python); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "a.npz")
		if python.Safetensors {
			path = filepath.Join(dir, "a.safetensors")
		}
		if err := os.WriteFile(path, python.File, 0o666); err != nil {
			t.Fatal(err)
		}
		archive, err := OpenArchive(path)
		if err != nil {
			if python.Whole {
				t.Errorf("%q: %v", python.File, err)
			}
			continue
		}
		for _, name := range archive.Names() {
			a, err := readMember(archive, name)
			want, ok := python.Arrays[name]
			switch {
			case err != nil && python.Whole:
				t.Errorf("%q: %s: %v", python.File, name, err)
			case err == nil && !ok && python.Packing:
			case err == nil && !ok:
				t.Errorf("%q: %s: taken, which Python refuses", python.File, name)
			case err == nil && (!slices.Equal(a.Shape, want.Shape) || !sameValues(bytesOf(a), want.Values, a.F32 != nil)):
				t.Errorf("%q: %s: read as %v %v, and by Python as %v %x", python.File, name, a.Shape, bytesOf(a), want.Shape, want.Values)
			case err == nil:
				taken++
			}
		}
	}
	if taken < 1200 {
		t.Errorf("only %d arrays were taken", taken)
	}
}

// readMember returns the array of that name in an archive.
func readMember(a *Archive, name string) (harness.Tensor, error) {
	f, err := a.Open(name)
	if err != nil {
		return harness.Tensor{}, err
	}
	defer f.Close()
	return f.Tensor()
}

// pythonLines returns what a test in Python has written, by the variable that names it.
func pythonLines(t *testing.T, variable string) []byte {
	path := os.Getenv(variable)
	if path == "" {
		t.Skip("scripts/tests/test_readers.py runs this")
	}
	lines, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return lines
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
