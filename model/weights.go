package model

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/edsrzf/mmap-go"
	"github.com/tphakala/simd/f32"

	"checkpoint12/model/hub"
	"checkpoint12/model/internal/kernel"
	"checkpoint12/model/parallel"
	"checkpoint12/model/regularfile"
	"checkpoint12/model/safetensors"
)

// Model is a GPT-2, which serves any number of sessions at the same time.
type Model struct {
	name    string
	cfg     Config
	weights map[string]tensor // by name without "transformer."
	files   []file
	closed  atomic.Bool

	wte, wpe []float32      // [V,C], [n_positions,C]
	blocks   []block        // [n_layer]
	lnF      norm           // final LayerNorm
	head     *kernel.Matrix // [C,V]: lm_head, or wte
	headBias []float32      // [V], or nil

	sha256 func() (string, error) // of files, computed once

	applying  sync.Mutex   // held by Apply
	applyPool *kernel.Pool // what it runs on
}

// file is a weight file in memory.
type file struct {
	path    string // as errors name it
	data    []byte
	release func() error // gives data back; may be nil

	mapped *os.File    // nil: data is not a file's
	opened fs.FileInfo // mapped's when it was opened
}

// tensor is a weight, and the file it came from.
type tensor struct {
	safetensors.Tensor
	data []float32 // the values, nil until they are known to be wanted
	file string
}

// block is the weights of one layer.
type block struct {
	ln1, ln2                   norm
	attn, attnProj, fc, fcProj linear
}

type norm struct{ gain, bias []float32 } // [C]

type linear struct {
	weight *kernel.Matrix
	bias   []float32 // [out]
}

// Open reads the model in a folder in Hugging Face's layout. The weight files are
// mapped into memory, not copied, and must not change until Close.
func Open(name, dir string) (*Model, error) {
	cfg, err := ReadConfig(filepath.Join(dir, "config.json"))
	if err != nil {
		return nil, err
	}
	names, err := hub.WeightFiles(dir)
	if err != nil {
		return nil, err
	}
	m := &Model{name: name, cfg: cfg}
	for _, n := range names {
		f, err := mapFile(filepath.Join(dir, n))
		if err != nil {
			m.Close()
			return nil, err
		}
		m.files = append(m.files, f)
	}
	if err := m.Guard(m.load); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// FromBytes makes a model of a safetensors file; Close calls release, unless nil.
func FromBytes(name string, cfg Config, data []byte, release func() error) (*Model, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	m := &Model{name: name, cfg: cfg, files: []file{{path: name, data: data, release: release}}}
	if err := m.load(); err != nil {
		return nil, err
	}
	return m, nil
}

// Name returns the name that the model was opened with.
func (m *Model) Name() string { return m.name }

// Config returns the model's config.
func (m *Model) Config() Config { return m.cfg }

// Weight returns a weight by its name without "transformer.": live memory that must
// not be written to, valid until Close. Those of lm_head may not be there.
func (m *Model) Weight(name string) (data []float32, shape []int, ok bool) {
	t, ok := m.weights[name]
	return t.data, slices.Clone(t.Shape), ok
}

var errClosed = errors.New("the model was closed")

// Close gives the files back. Nothing of the model must be used any more.
func (m *Model) Close() error {
	if m.closed.Swap(true) {
		return nil
	}
	var errs []error
	for i := range m.files {
		if m.files[i].release != nil {
			errs = append(errs, m.files[i].release())
		}
		if m.files[i].mapped != nil {
			errs = append(errs, m.files[i].mapped.Close())
		}
		m.files[i].data = nil
	}
	m.weights, m.wte, m.wpe, m.blocks, m.head, m.headBias = nil, nil, nil, nil, nil, nil
	return errors.Join(errs...)
}

func mapFile(path string) (file, error) {
	f, size, err := regularfile.Open(path)
	if err != nil {
		return file{}, fmt.Errorf("open weights: %w", err)
	}
	if size < 8 {
		f.Close()
		return file{}, fmt.Errorf("%s: not a safetensors file (%d bytes)", path, size)
	}
	opened, err := f.Stat()
	if err == nil {
		var m mmap.MMap
		if m, err = mmap.Map(f, mmap.RDONLY, 0); err == nil {
			return file{path, m, m.Unmap, f, opened}, nil
		}
	}
	f.Close()
	return file{}, fmt.Errorf("map %s: %w", path, err)
}

// Guard calls f, which uses the model, and returns its error or, if a weight file has
// changed since Open, one that names it. Of a nil Model it only calls f.
func (m *Model) Guard(f func() error) error {
	var err error
	lost := parallel.Protect(func() { err = f() })
	if m != nil {
		for _, f := range m.files {
			if f.mapped == nil {
				continue
			}
			now, e := f.mapped.Stat()
			if e != nil || now.Size() != f.opened.Size() || !now.ModTime().Equal(f.opened.ModTime()) {
				return fmt.Errorf("%s: changed while it was in use: run again when it is whole", f.path)
			}
		}
	}
	return cmp.Or(lost, err)
}

// maskBuffer matches the causal masks that older files carry among the weights.
var maskBuffer = regexp.MustCompile(`^h\.\d+\.attn\.(bias|masked_bias)$`)

// load parses the files, checks every weight and sets up the layers.
func (m *Model) load() error {
	m.weights = map[string]tensor{}
	for _, f := range m.files {
		tensors, err := safetensors.Parse(f.data)
		if err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
		for key, t := range tensors {
			name := strings.TrimPrefix(key, "transformer.")
			if maskBuffer.MatchString(name) {
				continue
			}
			if other, dup := m.weights[name]; dup {
				return fmt.Errorf("%s: weight %q is there twice (also in %s)", f.path, name, other.file)
			}
			m.weights[name] = tensor{Tensor: t, file: f.path}
		}
	}
	for name, shape := range m.cfg.Weights() {
		t, ok := m.weights[name]
		switch {
		case !ok && name == "lm_head.weight" && m.cfg.Tying == Untied:
			return fmt.Errorf("%s: weight %q is missing: tie_word_embeddings is false in config.json", m.files[0].path, name)
		case !ok && strings.HasPrefix(name, "lm_head."):
			continue // tied to wte, without a bias
		case !ok:
			return fmt.Errorf("%s: weight %q is missing", m.files[0].path, name)
		case !slices.Equal(t.Shape, shape):
			return fmt.Errorf("%s: weight %q has shape %v: config.json asks for %v", t.file, name, t.Shape, shape)
		}
		var err error
		if t.data, err = t.Floats(); err != nil {
			return fmt.Errorf("%s: weight %q: %w", t.file, name, err)
		}
		m.weights[name] = t
	}
	for _, name := range slices.Sorted(maps.Keys(m.weights)) {
		if t := m.weights[name]; t.data == nil {
			return fmt.Errorf("%s: weight %q does not belong to a GPT-2 of %d layers", t.file, name, m.cfg.Layers)
		}
	}
	if err := m.checkFinite(); err != nil {
		return err
	}
	if head, ok := m.weights["lm_head.weight"]; ok && m.cfg.Tying == Tied && !slices.Equal(head.data, m.weights["wte.weight"].data) {
		return fmt.Errorf("%s: weight %q is not wte.weight, and tie_word_embeddings is true in config.json: "+
			"engines differ in which they take; make it false for lm_head.weight, or leave that out", head.file, "lm_head.weight")
	}
	m.assemble()
	m.sha256 = sync.OnceValues(m.computeSHA256)
	return nil
}

// Weights yields every weight in the order of use; those of lm_head may be absent.
func (c Config) Weights() iter.Seq2[string, []int] {
	C, F, V := c.Embd, c.Inner, c.Vocab
	return func(yield func(string, []int) bool) {
		ok := yield("wte.weight", []int{V, C}) && yield("wpe.weight", []int{c.Positions, C})
		for n := 0; ok && n < c.Layers; n++ {
			h := fmt.Sprintf("h.%d.", n)
			ok = yield(h+"ln_1.weight", []int{C}) && yield(h+"ln_1.bias", []int{C}) &&
				yield(h+"attn.c_attn.weight", []int{C, 3 * C}) && yield(h+"attn.c_attn.bias", []int{3 * C}) &&
				yield(h+"attn.c_proj.weight", []int{C, C}) && yield(h+"attn.c_proj.bias", []int{C}) &&
				yield(h+"ln_2.weight", []int{C}) && yield(h+"ln_2.bias", []int{C}) &&
				yield(h+"mlp.c_fc.weight", []int{C, F}) && yield(h+"mlp.c_fc.bias", []int{F}) &&
				yield(h+"mlp.c_proj.weight", []int{F, C}) && yield(h+"mlp.c_proj.bias", []int{C})
		}
		_ = ok && yield("ln_f.weight", []int{C}) && yield("ln_f.bias", []int{C}) &&
			yield("lm_head.weight", []int{V, C}) && yield("lm_head.bias", []int{V})
	}
}

// assemble points the layers at their weights.
func (m *Model) assemble() {
	c := m.cfg
	at := func(name string) []float32 { return m.weights[name].data }
	normAt := func(name string) norm { return norm{at(name + ".weight"), at(name + ".bias")} }
	linearAt := func(name string, in, out int) linear {
		return linear{kernel.NewMatrix(at(name+".weight"), in, out, kernel.InOut), at(name + ".bias")}
	}
	m.wte, m.wpe, m.lnF = at("wte.weight"), at("wpe.weight"), normAt("ln_f")
	m.blocks = make([]block, c.Layers)
	for n := range m.blocks {
		h := fmt.Sprintf("h.%d.", n)
		m.blocks[n] = block{
			ln1: normAt(h + "ln_1"), ln2: normAt(h + "ln_2"),
			attn:     linearAt(h+"attn.c_attn", c.Embd, 3*c.Embd),
			attnProj: linearAt(h+"attn.c_proj", c.Embd, c.Embd),
			fc:       linearAt(h+"mlp.c_fc", c.Embd, c.Inner),
			fcProj:   linearAt(h+"mlp.c_proj", c.Inner, c.Embd),
		}
	}
	head := m.wte
	m.headBias = at("lm_head.bias")
	if w, ok := m.weights["lm_head.weight"]; ok {
		head = w.data
	}
	m.head = kernel.NewMatrix(head, c.Embd, c.Vocab, kernel.OutIn)
}

// checkFinite returns an error for the first weight that is not finite.
func (m *Model) checkFinite() error {
	names := slices.Sorted(maps.Keys(m.weights))
	bad := make([]int, len(names))
	parallel.For(len(names), func(i int) { bad[i] = firstNotFinite(m.weights[names[i]].data) })
	for i, at := range bad {
		if t := m.weights[names[i]]; at >= 0 {
			return fmt.Errorf("%s: weight %q is %v at element %d", t.file, names[i], t.data[at], at)
		}
	}
	return nil
}

// firstNotFinite returns the index of the first NaN or infinity, or -1.
func firstNotFinite(x []float32) int {
	for from := 0; from < len(x); from += 4096 {
		some := x[from:min(from+4096, len(x))]
		if sum := f32.Sum(some); sum-sum == 0 { // to which every one of them would have come through
			continue
		}
		if i := slices.IndexFunc(some, func(v float32) bool { return v-v != 0 }); i >= 0 {
			return from + i
		}
	}
	return -1
}

// WeightsSHA256 returns the SHA-256 of the safetensors file in hexadecimal; of
// several files that of the lines "sha256  name", sorted, each ended by a line
// feed. It is computed at the first call.
func (m *Model) WeightsSHA256() (string, error) { return m.sha256() }

func (m *Model) computeSHA256() (string, error) {
	if m.closed.Load() {
		return "", errClosed
	}
	var sum string
	err := parallel.Protect(func() {
		sum, _ = m.combine(func(f file) (string, bool) { return fmt.Sprintf("%x", sha256.Sum256(f.data)), true })
	})
	return sum, err
}

// HubSHA256 returns the hash under which the Hugging Face hub's cache keeps the
// weights; ok is false for a model that is not in such a cache. The weights are not
// read, and are not the hub's if their WeightsSHA256 differs.
func (m *Model) HubSHA256() (sum string, ok bool) {
	return m.combine(func(f file) (string, bool) {
		named, ok := hub.NamedHash(filepath.Clean(f.path))
		return named, ok && len(named) == 2*sha256.Size
	})
}

// combine returns the hash of the model from those of its files, if all have one.
func (m *Model) combine(hash func(file) (string, bool)) (string, bool) {
	var lines []string
	for _, f := range m.files {
		sum, ok := hash(f)
		switch {
		case !ok:
			return "", false
		case len(m.files) == 1:
			return sum, true
		}
		lines = append(lines, fmt.Sprintf("%s  %s\n", sum, filepath.Base(f.path)))
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "")))
	return hex.EncodeToString(sum[:]), len(lines) > 0
}

// WeightsSize returns the size of all weight files in bytes.
func (m *Model) WeightsSize() int64 {
	var n int64
	for _, f := range m.files {
		n += int64(len(f.data))
	}
	return n
}
