package cli

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// array is a tensor of a dump, and how it is written: transposed, then with dimensions
// merged, split, added or taken away.
type array struct {
	shape   []int
	values  []float64
	perm    []int
	reshape func(shape []int) []int
	descr   string // numpy's name of the type in the file
	damaged bool   // the file ends early
}

func (a *array) clone() *array {
	c := *a
	c.values, c.perm = slices.Clone(a.values), slices.Clone(a.perm)
	return &c
}

// resize makes an axis so much longer, with zeros, or shorter.
func (a *array) resize(axis, by int) {
	inner := 1
	for _, n := range a.shape[axis:] {
		inner *= n
	}
	was := inner
	a.shape = slices.Clone(a.shape)
	n := a.shape[axis]
	a.shape[axis] = max(1, n+by)
	inner = inner / n * a.shape[axis]
	var values []float64
	for part := range slices.Chunk(a.values, was) {
		values = append(values, append(part[:min(inner, was):min(inner, was)], make([]float64, max(0, inner-was))...)...)
	}
	a.values = values
}

// wrecker takes a dump apart by a program of random bytes.
type wrecker struct {
	program []byte
	files   map[string]*array // by path
	tokens  *array
}

// next returns the next number of the program, below n.
func (w *wrecker) next(n int) int {
	if len(w.program) == 0 || n < 1 {
		return 0
	}
	b := int(w.program[0])
	w.program = w.program[1:]
	if n > 256 && len(w.program) > 0 {
		b, w.program = b<<8|int(w.program[0]), w.program[1:]
	}
	return b % n
}

// step does one thing to one file.
func (w *wrecker) step() {
	paths := slices.Sorted(maps.Keys(w.files))
	path := paths[w.next(len(paths))]
	a := w.files[path]
	other := w.files[paths[w.next(len(paths))]]
	switch w.next(17) {
	case 0: // axes in another order
		for i := range a.perm {
			j := i + w.next(len(a.perm)-i)
			a.perm[i], a.perm[j] = a.perm[j], a.perm[i]
		}
	case 1: // two merged
		at := w.next(len(a.shape))
		a.reshape = func(s []int) []int {
			if at+1 >= len(s) {
				return s
			}
			return slices.Concat(s[:at], []int{s[at] * s[at+1]}, s[at+2:])
		}
	case 2: // one split
		at, by := w.next(len(a.shape)), 2+w.next(3)
		a.reshape = func(s []int) []int {
			if s[at]%by != 0 {
				return s
			}
			return slices.Concat(s[:at], []int{by, s[at] / by}, s[at+1:])
		}
	case 3: // one more
		at := w.next(len(a.shape) + 1)
		a.reshape = func(s []int) []int { return slices.Insert(slices.Clone(s), at, 1) }
	case 4: // fewer
		a.reshape = func(s []int) []int {
			return slices.DeleteFunc(slices.Clone(s), func(n int) bool { return n == 1 })
		}
	case 5: // another type
		a.descr = []string{"<f2", "<f4", ">f4", "<f8", "<i4", "<i8"}[w.next(6)]
	case 6, 7: // another value
		i := w.next(len(a.values))
		v := a.values[i]
		a.values[i] = []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e300, 0, -v, v + 1, v * 1.5, v + 1e-3, -3.4e38}[w.next(10)]
	case 8: // dropped
		delete(w.files, path)
	case 9: // moved
		*a, *other = *other, *a
	case 10: // added
		w.files[[]string{"step_00/unknown.npy", "step_07/wte.npy", "more/wte.npy", "weights.npy", path + ".npy"}[w.next(5)]] = other
	case 11:
		a.damaged = true
	case 12: // another token
		w.tokens.values[w.next(len(w.tokens.values))]++
	case 13: // tokens as numpy's accidents have them
		w.tokens.descr = []string{"<i4", "<i8", "<f4"}[w.next(3)]
		w.tokens.reshape = func(s []int) []int { return s[1:] }
	case 14: // all of it
		by, add := []float64{0, 1, -1, 1.5}[w.next(4)], float64(w.next(3)-1)
		for i := range a.values {
			a.values[i] = a.values[i]*by + add
		}
	case 15: // rotated: each value in its neighbour's place
		by := w.next(len(a.values))
		a.values = slices.Concat(a.values[by:], a.values[:by])
	case 16: // longer or shorter along an axis
		a.resize(w.next(len(a.shape)), w.next(5)-2)
	}
}

// folder is a dump on the disk, without a manifest, of which only what changes is written.
type folder struct {
	dir   string
	files map[string]string // by path
}

func (f *folder) write(files map[string]*array) error {
	for path := range f.files {
		if files[path] == nil {
			if err := os.Remove(filepath.Join(f.dir, path)); err != nil {
				return err
			}
			delete(f.files, path)
		}
	}
	for path, a := range files {
		content := string(a.file())
		if f.files[path] == content {
			continue
		}
		f.files[path] = content
		path = filepath.Join(f.dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// file returns the bytes of the .npy file.
func (a *array) file() []byte {
	shape := make([]int, len(a.shape))
	for i, p := range a.perm {
		shape[i] = a.shape[p]
	}
	var payload []byte
	index := make([]int, len(shape))
	for range a.values {
		at := make([]int, len(shape))
		for i, p := range a.perm {
			at[p] = index[i]
		}
		from := 0
		for i, n := range a.shape {
			from = from*n + at[i]
		}
		payload = appendValue(payload, a.descr, a.values[from])
		for i := len(index) - 1; i >= 0; i-- {
			if index[i]++; index[i] < shape[i] {
				break
			}
			index[i] = 0
		}
	}
	if a.reshape != nil {
		shape = a.reshape(shape)
	}
	tuple := strings.NewReplacer("[", "(", "]", ",)", " ", ", ").Replace(fmt.Sprint(shape))
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %s, }", a.descr, strings.Replace(tuple, "(,)", "()", 1))
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
	b := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8))
	b = append(append(b, header...), payload...)
	if a.damaged {
		b = b[:len(b)-1]
	}
	return b
}

// appendValue appends a value in a type of numpy's.
func appendValue(b []byte, descr string, v float64) []byte {
	switch bits := math.Float32bits(float32(v)); descr {
	case "<f2":
		e := max(0, min(31, int(bits>>23&0xff)-112)) // below the smallest normal number it is 0
		half := uint16(bits>>16&0x8000) | uint16(e)<<10
		if e > 0 {
			half |= uint16(bits >> 13 & 0x3ff)
		}
		return binary.LittleEndian.AppendUint16(b, half)
	case "<f4":
		return binary.LittleEndian.AppendUint32(b, bits)
	case ">f4":
		return binary.BigEndian.AppendUint32(b, bits)
	case "<i4":
		return binary.LittleEndian.AppendUint32(b, uint32(int32(v)))
	case "<i8":
		return binary.LittleEndian.AppendUint64(b, uint64(int64(v)))
	}
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
}
