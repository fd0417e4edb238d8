package cli

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"checkpoint12/harness/npy"
	"checkpoint12/model"
	"checkpoint12/model/modeltest"
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

// differs reports whether a tensor is another than the golden's, by far more than any
// tolerance. What an engine may have at a masked place is not.
func differs(got, want *array) bool {
	if got.damaged || !slices.Equal(got.shape, want.shape) {
		return true
	}
	scale := 1.0
	for _, v := range want.values {
		if !math.IsInf(v, 0) {
			scale = max(scale, math.Abs(v))
		}
	}
	for i, v := range want.values {
		masked := math.IsInf(v, -1) && got.values[i] < -100
		if g := got.values[i]; g != v && !masked && !(math.Abs(g-v) < 0.1*scale) {
			return true
		}
	}
	return false
}

// hooks are the files that transformers' modules give, by what they are here.
var hooks = map[string]string{
	"wte.npy": "wte.npy", "wpe.npy": "wpe.npy", "embed.npy": "drop.npy", "h.0.ln_1.npy": "h.0.ln_1.npy",
	"h.0.attn.c_attn.npy": "h.0.attn.c_attn.npy", "h.0.attn.probs.npy": "h.0.attn.attn_dropout.npy",
	"h.0.attn.c_proj.npy": "h.0.attn.npy", "h.0.ln_2.npy": "h.0.ln_2.npy", "h.0.mlp.c_fc.npy": "h.0.mlp.c_fc.npy",
	"h.0.mlp.act.npy": "h.0.mlp.act.npy", "h.0.mlp.c_proj.npy": "h.0.mlp.npy", "h.0.resid_post.npy": "h.0.npy",
	"ln_f.npy": "ln_f.npy", "logits.npy": "lm_head.npy",
}

// FuzzCompare takes a correct dump apart in any way: axes, types, values, names, files.
// compare may find it correct only if it is, and ends with a verdict or one error.
func FuzzCompare(f *testing.F) {
	weights, golden := filepath.Join(f.TempDir(), "micro"), filepath.Join(f.TempDir(), "golden")
	cfg := model.Config{Vocab: 11, Positions: 12, Embd: 12, Layers: 1, Heads: 2, Inner: 20, Eps: 1e-5}
	if err := modeltest.Write(weights, cfg, 1); err != nil {
		f.Fatal(err)
	}
	if status, _, stderr := run("dump", "--model", weights, "--tokens", "3,1,4,1,5", "--new", "2", "--temperatures", "2", "--out", golden); status != 0 {
		f.Fatal(stderr)
	}
	right := map[string]*array{}
	err := fs.WalkDir(os.DirFS(golden), ".", func(path string, d fs.DirEntry, err error) error {
		if filepath.Ext(path) != ".npy" {
			return err
		}
		x, _, err := npy.Read(filepath.Join(golden, path), false)
		a := &array{shape: x.Shape, descr: "<f4"}
		for _, v := range x.F32 {
			a.values = append(a.values, float64(v))
		}
		for _, v := range x.I64 {
			a.values, a.descr = append(a.values, float64(v)), "<i8"
		}
		for i := range x.Shape {
			a.perm = append(a.perm, i)
		}
		right[path] = a
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	tokens := right["tokens.npy"]
	delete(right, "tokens.npy")
	wild := folder{filepath.Join(f.TempDir(), "wild"), map[string]string{}}
	f.Add([]byte{}, false, false)
	f.Add([]byte{}, false, true)
	for i := range 7 {
		f.Add([]byte{0, 0, 12, byte(i)}, true, false)
		f.Add([]byte{byte(11 + 14*(i%2)), 0, 16, byte(i % 3), byte(i)}, false, true) // of lm_head
	}
	for op := range 17 {
		f.Add([]byte{byte(3 * op), 2, byte(op), 1, 2, 3}, op%2 == 0, op%4 > 1)
	}
	f.Fuzz(func(t *testing.T, program []byte, all, mapped bool) {
		w := &wrecker{program: program, files: map[string]*array{}, tokens: tokens.clone()}
		for path, a := range right {
			if _, ok := hooks[filepath.Base(path)]; ok || !mapped {
				w.files[path] = a.clone()
			}
		}
		for len(w.program) > 0 && len(w.files) > 1 {
			w.step()
		}
		files := map[string]*array{"tokens.npy": w.tokens}
		for path, a := range w.files {
			if hook, ok := hooks[filepath.Base(path)]; ok && mapped {
				path = filepath.Join(filepath.Dir(path), hook)
			}
			files[path] = a
		}
		if err := wild.write(files); err != nil {
			t.Fatal(err)
		}
		fed := func(a *array) []float64 { return a.values[:len(a.values)-1] }
		sameTokens := slices.Equal(fed(w.tokens), fed(tokens))
		different, missing := "", ""
		for path, want := range right {
			if got, ok := w.files[path]; !ok {
				missing = path + " is missing"
			} else if differs(got, want) {
				different = path + " differs"
			}
		}
		if !sameTokens { // then what follows from them is not compared
			different, missing = "", "other tokens were fed"
		}
		compare := func(golden, candidate, wrong string, more ...string) {
			args := append([]string{"compare", "--golden", golden, "--candidate", candidate}, more...)
			status, stdout, stderr := run(args...)
			if status < StatusPass || status > StatusError || status == StatusError && stderr == "" {
				t.Errorf("%q: exit status %d: %s", args, status, stderr)
			}
			if (status == StatusPass) != (wrong == "") && (wrong != "" || len(program) == 0) {
				t.Errorf("%q: exit status %d, and wrong is %q:\n%s%s", args, status, wrong, stdout, stderr)
			}
		}
		if mapped {
			compare(golden, wild.dir, different, "--map", "transformers")
			compare(golden, wild.dir, different, "--map", "transformers", "--model", weights)
			return
		}
		if all {
			compare(golden, wild.dir, cmp.Or(different, missing), "--require-all")
			compare(golden, wild.dir, cmp.Or(different, missing), "--require-all", "--model", weights)
		} else {
			compare(golden, wild.dir, different)
			compare(golden, wild.dir, different, "--model", weights)
		}
		compare(wild.dir, golden, different)
	})
}

// FuzzLists asks that dump refuses a list of tokens, of temperatures or of patterns, or
// does what it says.
func FuzzLists(f *testing.F) {
	weights := filepath.Join(f.TempDir(), "micro")
	cfg := model.Config{Vocab: 50, Positions: 12, Embd: 4, Layers: 1, Heads: 2, Inner: 4, Eps: 1e-5}
	if err := modeltest.Write(weights, cfg, 1); err != nil {
		f.Fatal(err)
	}
	f.Add("1,2,3", "", "0.5,1", "*")
	f.Add(" 1 , 49", "4", "1e-9", "h.0.*")
	f.Add("1,,2", "+4", "1,1.0", "")
	f.Add("0x1", "-0", "NaN,Inf", "../*")
	f.Add("99999999999999999999", "1_0", "1e400", "[a")
	f.Fuzz(func(t *testing.T, tokens, feed, temperatures, pattern string) {
		out := filepath.Join(t.TempDir(), "out")
		args := []string{"dump", "--model", weights, "--tokens", tokens, "--new", "2", "--stages", pattern, "--out", out}
		if feed != "" {
			args = append(args, "--feed", feed)
		}
		if temperatures != "" {
			args = append(args, "--temperatures", temperatures)
		}
		status, _, stderr := run(args...)
		if status == StatusError {
			if _, err := os.Stat(out); stderr == "" || err == nil {
				t.Errorf("%q: refused with %q, and %v", args, stderr, err)
			}
			return
		}
		x, _, err := npy.Read(filepath.Join(out, "tokens.npy"), false)
		if status != StatusPass || err != nil {
			t.Fatalf("%q: exit status %d, %v: %s", args, status, err, stderr)
		}
		var want []string
		for _, list := range []string{tokens, feed} {
			for id := range strings.SplitSeq(list, ",") {
				if n, err := strconv.Atoi(strings.TrimSpace(id)); list != "" && err == nil {
					want = append(want, strconv.Itoa(n))
				}
			}
		}
		if got := strings.Fields(strings.Trim(fmt.Sprint(x.I64), "[]")); !slices.Equal(got[:len(want)], want) {
			t.Errorf("--tokens %q --feed %q: fed %q, want %q first", tokens, feed, got, want)
		}
	})
}
