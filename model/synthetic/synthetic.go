// Package synthetic makes models by formula, in place of weights.
package synthetic

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/edsrzf/mmap-go"

	"checkpoint12/model"
	"checkpoint12/model/atomicfile"
	"checkpoint12/model/hub"
	"checkpoint12/model/internal/kernel"
	"checkpoint12/model/memory"
	"checkpoint12/model/parallel"
	"checkpoint12/model/regularfile"
	"checkpoint12/model/safetensors"
)

// formula is a synthetic model, as reference/float64/synthetic.py defines it.
type formula struct {
	name   string
	sha256 string // of model.safetensors; the three languages agree on it
	seed   uint64

	layers, heads, embd, positions int

	own map[string]affine // by weight name without "h.N.", besides common

	spike      int     // the channel that is pushed out of the residual stream
	wteSpike   affine  // its column of wte
	residSpike float32 // added to its h.0.mlp.c_proj.bias
	lnSpike    float32 // times its gain in ln_1 and ln_2
	lnFSpike   float32 // its gain in ln_f
}

// affine maps a number f in [-1,1) to f·scale + shift, as [kernel.Uniform] does.
type affine struct{ scale, shift float32 }

const vocab = 50257

// common are the weights that are the same in all formulas.
var common = map[string]affine{
	"wte.weight": {0.2, 0.015625}, "wpe.weight": {0.125, 0},
	"ln_1.weight": {0.5, 1}, "ln_1.bias": {0.25, 0},
	"attn.c_attn.bias": {0.375, 0}, "attn.c_proj.bias": {0.125, 0},
	"ln_2.weight": {0.5, 1}, "ln_2.bias": {0.25, 0},
	"mlp.c_fc.bias": {0.375, 0}, "mlp.c_proj.bias": {0.125, 0}, "ln_f.bias": {0.25, 0},
}

var formulas = []*formula{
	{
		name:   "synthetic-tiny",
		sha256: "5947dd6366616495d019a07768c058466103a5d6e9a2a0865bd2757f9e4713e8",
		seed:   99, layers: 3, heads: 4, embd: 80, positions: 48,
		own: map[string]affine{
			"attn.c_attn.weight": {0.35, 0}, "attn.c_proj.weight": {0.125, 0},
			"mlp.c_fc.weight": {0.31, 0}, "mlp.c_proj.weight": {0.07, 0}, "ln_f.weight": {1, 3},
		},
		spike: 53, wteSpike: affine{0.0078125, -0.5}, residSpike: 16, lnSpike: 0.0625, lnFSpike: 10.097,
	},
	{
		name:   "synthetic-medium",
		sha256: "bb30de32faeb48dc58cabd440c8a13214a1a0509153d2cc721c25a0478d99644",
		seed:   5, layers: 24, heads: 16, embd: 1024, positions: 1024,
		own: map[string]affine{
			"attn.c_attn.weight": {0.098, 0}, "attn.c_proj.weight": {0.035, 0},
			"mlp.c_fc.weight": {0.087, 0}, "mlp.c_proj.weight": {0.02, 0}, "ln_f.weight": {0.25, 0.5},
		},
		spike: 909, wteSpike: affine{0.001953125, -0.2}, residSpike: 128, lnSpike: 0.0625, lnFSpike: 10.097,
	},
}

// Names lists the models that are made by formula.
func Names() []string {
	var names []string
	for _, s := range formulas {
		names = append(names, s.name)
	}
	return names
}

// SHA256 returns the SHA-256 of a model's safetensors, or "".
func SHA256(name string) string {
	s, err := find(name)
	if err != nil {
		return ""
	}
	return s.sha256
}

func find(name string) (*formula, error) {
	i := slices.IndexFunc(formulas, func(s *formula) bool { return s.name == name })
	if i < 0 {
		return nil, fmt.Errorf("%.80q is not a synthetic model: those are %s", name, strings.Join(Names(), ", "))
	}
	return formulas[i], nil
}

// config returns the bytes of config.json.
func (s *formula) config() []byte {
	return fmt.Appendf(nil, `{
  "activation_function": "gelu_new",
  "bos_token_id": %[1]d,
  "eos_token_id": %[1]d,
  "layer_norm_epsilon": 1e-05,
  "model_type": "gpt2",
  "n_ctx": %[2]d,
  "n_embd": %[3]d,
  "n_head": %[4]d,
  "n_inner": null,
  "n_layer": %[5]d,
  "n_positions": %[2]d,
  "tie_word_embeddings": true,
  "vocab_size": %[6]d
}
`, vocab-1, s.positions, s.embd, s.heads, s.layers, vocab)
}

// tensors lists the tensors in the order of the file.
func (s *formula) tensors() []safetensors.Info {
	cfg := model.Config{
		Vocab: vocab, Positions: s.positions, Embd: s.embd, Layers: s.layers, Heads: s.heads, Inner: 4 * s.embd,
	}
	var list []safetensors.Info
	for name, shape := range cfg.Weights() {
		if !strings.HasPrefix(name, "lm_head.") { // which is tied
			list = append(list, safetensors.Info{Name: name, Shape: shape})
		}
	}
	return list
}

// kind returns a weight's name without its layer: the key of the table.
func kind(weight string) string {
	if rest, ok := strings.CutPrefix(weight, "h."); ok {
		_, kind, _ := strings.Cut(rest, ".")
		return kind
	}
	return weight
}

// fill writes elements first, first+1, … of t to dst, as little-endian float32.
func (s *formula) fill(dst []byte, t safetensors.Info, first int) {
	v, ok := safetensors.View(dst)
	if !ok { // this machine keeps numbers otherwise
		v = make([]float32, len(dst)/4)
		defer binary.Encode(dst, binary.LittleEndian, v)
	}
	kind, key := kind(t.Name), s.key(t.Name)
	a, ok := s.own[kind]
	if !ok {
		a = common[kind]
	}
	kernel.Uniform(v, key, first, a.scale, a.shift)
	// What differs from the table differs in a few places, or in a small tensor.
	switch kind {
	case "wte.weight":
		for i := (s.spike - first%s.embd + s.embd) % s.embd; i < len(v); i += s.embd {
			kernel.Uniform(v[i:i+1], key, first+i, s.wteSpike.scale, s.wteSpike.shift)
		}
	case "ln_f.weight": // of both signs, so that a token does not predict itself
		for i := range v {
			if kernel.SplitMix(key, first+i)&1 == 1 {
				v[i] = -v[i]
			}
		}
	}
	if i := s.spike - first; i >= 0 && i < len(v) && len(t.Shape) == 1 {
		switch {
		case kind == "ln_f.weight":
			v[i] = s.lnFSpike
		case kind == "ln_1.weight" || kind == "ln_2.weight":
			v[i] *= s.lnSpike
		case t.Name == "h.0.mlp.c_proj.bias":
			v[i] += s.residSpike
		}
	}
}

// key separates the tensors' sequences: FNV-1a of the name, and the seed.
func (s *formula) key(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64() ^ s.seed
}

const (
	chunk = 1 << 16 // elements made in one call of fill
	batch = 1 << 22 // elements written at a time, 16 MiB
)

// Open makes a model in memory, which Close gives back; Medium takes 1.42 GB.
func Open(name string) (*model.Model, error) {
	s, err := find(name)
	if err != nil {
		return nil, err
	}
	cfg, err := model.ParseConfig(s.config())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	header := safetensors.Header(s.tensors())
	size := len(header)
	for _, t := range s.tensors() {
		size += 4 * t.Size()
	}
	// Mapped: in Go's heap it would double what the collector lets pile up.
	data, err := mmap.MapRegion(nil, size, mmap.COPY, mmap.ANON, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: memory for %d MB of weights: %w", name, size/1e6, err)
	}
	memory.LargePages(data)
	at := copy(data, header)
	for _, t := range s.tensors() {
		end := at + 4*t.Size()
		s.make(data[at:end], t, 0)
		at = end
	}
	m, err := model.FromBytes(name, cfg, data, data.Unmap)
	if err != nil {
		return nil, errors.Join(err, data.Unmap())
	}
	return m, nil
}

// make is fill on all cores.
func (s *formula) make(dst []byte, t safetensors.Info, first int) {
	parts := slices.Collect(slices.Chunk(dst, 4*chunk))
	parallel.For(len(parts), func(i int) { s.fill(parts[i], t, first+i*chunk) })
}

// stream writes the file's bytes to w, a batch at a time.
func (s *formula) stream(ctx context.Context, w io.Writer) error {
	if _, err := w.Write(safetensors.Header(s.tensors())); err != nil {
		return err
	}
	buf := make([]byte, 4*batch)
	for _, t := range s.tensors() {
		for first := 0; first < t.Size(); first += batch {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			part := buf[:4*min(batch, t.Size()-first)]
			s.make(part, t, first)
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
	}
	return nil
}

// Write writes a synthetic model into a folder, made if need be; the weights are there
// whole or not at all. A folder that holds another model is refused.
func Write(ctx context.Context, name, dir string) error {
	s, err := find(name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make folder for %s: %w", name, err)
	}
	config, weights := filepath.Join(dir, "config.json"), filepath.Join(dir, "model.safetensors")
	old, err := regularfile.Read(config, hub.MaxConfig)
	isThere := err == nil
	switch {
	case isThere && !bytes.Equal(old, s.config()):
		return fmt.Errorf("%s is another model's: choose another folder for %s", config, name)
	case !isThere && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read what is there for %s: %w", name, err)
	}
	if _, err := os.Lstat(weights); err == nil && !isThere {
		return fmt.Errorf("%s is there without a config.json that says it is %s: choose another folder",
			weights, name)
	}
	f, err := atomicfile.Create(weights)
	if err != nil {
		return err
	}
	defer f.Discard()
	hash := sha256.New()
	if err := s.stream(ctx, io.MultiWriter(f, hash)); err != nil {
		return err
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != s.sha256 {
		return fmt.Errorf("sha-256 of %s is %s, want %s: the formula does not give its bytes on this machine",
			name, got, s.sha256)
	}
	if !isThere { // before the weights, so that what a crash leaves is seen to be of this model
		if err := atomicfile.WriteFile(config, s.config()); err != nil {
			return err
		}
	}
	return f.Commit()
}
