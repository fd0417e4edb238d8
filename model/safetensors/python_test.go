package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"
)

// TestPython reads what scripts/tests/test_readers.py has made: no file that the Python
// package refuses is taken, no tensors but its are read, and whole files are taken.
func TestPython(t *testing.T) {
	path := os.Getenv("CHECKPOINT12_SAFETENSORS")
	if path == "" {
		t.Skip("scripts/tests/test_readers.py runs this")
	}
	lines, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	taken := 0
	for line := range bytes.Lines(lines) {
		var python struct {
			File         []byte
			Whole, Taken bool
			Tensors      map[string]struct {
				DType  string
				Shape  []int
				Values []byte
			}
		}
		if err := json.Unmarshal(line, &python); err != nil {
			t.Fatal(err)
		}
		tensors, err := Parse(python.File)
		if err != nil {
			if python.Whole {
				t.Errorf("%q: %v", python.File, err)
			}
			continue
		}
		taken++
		if !python.Taken || len(tensors) != len(python.Tensors) {
			t.Errorf("%q: %d tensors, and %d in Python (taken: %v)", python.File, len(tensors), len(python.Tensors), python.Taken)
			continue
		}
		for name, got := range tensors {
			want, ok := python.Tensors[name]
			values, err := got.Floats()
			if err != nil {
				values = nil // of another type
			}
			if !ok || !slices.Equal(got.Shape, want.Shape) || !slices.EqualFunc(values, floats(want.Values), same) {
				t.Errorf("%q: %q is %v %v, and in Python %+v", python.File, name, got.Shape, values, want)
			}
		}
	}
	if taken < 600 {
		t.Errorf("only %d files were taken", taken)
	}
}

func same(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) || a != a && b != b }

func floats(b []byte) []float32 {
	f := make([]float32, len(b)/4)
	binary.Decode(b, binary.LittleEndian, f)
	return f
}
