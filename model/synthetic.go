package model

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"
)

// A synthetic model is a formula in place of weights that nobody may ship; so
// Go, numpy and Rust make the same file. reference/float64/synthetic.py defines
// it and says why it is as it is; what follows is the same in Go.
type synthetic struct {
	name   string
	sha256 string // of model.safetensors; the three languages agree on it
	seed   uint64

	layers, heads, embd, positions int

	table map[string]affine // by weight name without "h.N."

	spike      int     // the channel that is pushed out of the residual stream
	wteSpike   affine  // its column of wte
	residSpike float32 // added to its h.0.mlp.c_proj.bias
	lnSpike    float32 // times its gain in ln_1 and ln_2
	lnFSpike   float32 // its gain in ln_f
}

// affine maps f in [-1,1) to f·scale + shift.
type affine struct{ scale, shift float32 }

const syntheticVocab = EndOfTextID + 1

var synthetics = []*synthetic{
	{
		name:   "synthetic-tiny",
		sha256: "5947dd6366616495d019a07768c058466103a5d6e9a2a0865bd2757f9e4713e8",
		seed:   99, layers: 3, heads: 4, embd: 80, positions: 48,
		table: map[string]affine{
			"wte.weight": {0.2, 0.015625}, "wpe.weight": {0.125, 0},
			"ln_1.weight": {0.5, 1}, "ln_1.bias": {0.25, 0},
			"attn.c_attn.weight": {0.35, 0}, "attn.c_attn.bias": {0.375, 0},
			"attn.c_proj.weight": {0.125, 0}, "attn.c_proj.bias": {0.125, 0},
			"ln_2.weight": {0.5, 1}, "ln_2.bias": {0.25, 0},
			"mlp.c_fc.weight": {0.31, 0}, "mlp.c_fc.bias": {0.375, 0},
			"mlp.c_proj.weight": {0.07, 0}, "mlp.c_proj.bias": {0.125, 0},
			"ln_f.weight": {1, 3}, "ln_f.bias": {0.25, 0},
		},
		spike: 53, wteSpike: affine{0.0078125, -0.5}, residSpike: 16, lnSpike: 0.0625, lnFSpike: 10.097,
	},
	{
		name:   "synthetic-medium",
		sha256: "bb30de32faeb48dc58cabd440c8a13214a1a0509153d2cc721c25a0478d99644",
		seed:   5, layers: 24, heads: 16, embd: 1024, positions: 1024,
		table: map[string]affine{
			"wte.weight": {0.2, 0.015625}, "wpe.weight": {0.125, 0},
			"ln_1.weight": {0.5, 1}, "ln_1.bias": {0.25, 0},
			"attn.c_attn.weight": {0.098, 0}, "attn.c_attn.bias": {0.375, 0},
			"attn.c_proj.weight": {0.035, 0}, "attn.c_proj.bias": {0.125, 0},
			"ln_2.weight": {0.5, 1}, "ln_2.bias": {0.25, 0},
			"mlp.c_fc.weight": {0.087, 0}, "mlp.c_fc.bias": {0.375, 0},
			"mlp.c_proj.weight": {0.02, 0}, "mlp.c_proj.bias": {0.125, 0},
			"ln_f.weight": {0.25, 0.5}, "ln_f.bias": {0.25, 0},
		},
		spike: 909, wteSpike: affine{0.001953125, -0.2}, residSpike: 128, lnSpike: 0.0625, lnFSpike: 10.097,
	},
}

// SyntheticNames lists the models that are made by formula.
func SyntheticNames() []string {
	var names []string
	for _, s := range synthetics {
		names = append(names, s.name)
	}
	return names
}

// SyntheticSHA256 returns the SHA-256, in hexadecimal, that model.safetensors
// of a synthetic model must have in whatever language it was made; "" for any
// other name.
func SyntheticSHA256(name string) string {
	s, err := findSynthetic(name)
	if err != nil {
		return ""
	}
	return s.sha256
}

func findSynthetic(name string) (*synthetic, error) {
	i := slices.IndexFunc(synthetics, func(s *synthetic) bool { return s.name == name })
	if i < 0 {
		return nil, fmt.Errorf("%.80q is no synthetic model: there are %s", name, strings.Join(SyntheticNames(), ", "))
	}
	return synthetics[i], nil
}

// config returns the bytes of config.json.
func (s *synthetic) config() []byte {
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
`, EndOfTextID, s.positions, s.embd, s.heads, s.layers, syntheticVocab)
}

// synthTensor is one tensor of the file.
type synthTensor struct {
	name  string
	shape []int
	size  int // elements
}

// tensors lists the tensors in the order of the file.
func (s *synthetic) tensors() []synthTensor {
	cfg := Config{Vocab: syntheticVocab, Positions: s.positions, Embd: s.embd, Layers: s.layers, Heads: s.heads, Inner: 4 * s.embd}
	var list []synthTensor
	for name, shape := range cfg.weights() {
		if name == "lm_head.weight" {
			continue // tied
		}
		size := 1
		for _, d := range shape {
			size *= d
		}
		list = append(list, synthTensor{name, shape, size})
	}
	return list
}

// kind is a weight's name without its layer: the key of the table.
func (t synthTensor) kind() string {
	if rest, ok := strings.CutPrefix(t.name, "h."); ok {
		_, kind, _ := strings.Cut(rest, ".")
		return kind
	}
	return t.name
}

// fill writes elements first, first+1, … of tensor t to dst, 4 bytes each,
// little-endian.
func (s *synthetic) fill(dst []byte, t synthTensor, first int) {
	v, ok := alias(dst)
	if !ok { // this machine keeps numbers otherwise
		v = make([]float32, len(dst)/4)
		defer func() {
			for i, x := range v {
				binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(x))
			}
		}()
	}
	kind, key := t.kind(), s.key(t)
	a := s.table[kind]
	state := key + uint64(first)*golden
	for i := range v {
		state += golden
		v[i] = a.of(unit(mix(state)))
	}
	// What differs from the table differs in a few places, or in a small tensor.
	bits := func(i int) uint64 { return mix(key + uint64(first+i+1)*golden) }
	switch kind {
	case "wte.weight":
		for i := (s.spike - first%s.embd + s.embd) % s.embd; i < len(v); i += s.embd {
			v[i] = s.wteSpike.of(unit(bits(i)))
		}
	case "ln_f.weight": // of both signs, so that a token does not predict itself
		for i := range v {
			if bits(i)&1 == 1 {
				v[i] = -v[i]
			}
		}
	}
	if i := s.spike - first; i >= 0 && i < len(v) && len(t.shape) == 1 {
		switch {
		case kind == "ln_f.weight":
			v[i] = s.lnFSpike
		case kind == "ln_1.weight" || kind == "ln_2.weight":
			v[i] *= s.lnSpike
		case t.name == "h.0.mlp.c_proj.bias":
			v[i] += s.residSpike
		}
	}
}

const golden = 0x9e3779b97f4a7c15 // 2^64 over the golden ratio, splitmix64's step

// mix is splitmix64's finaliser (Steele, Lea and Flood, "Fast splittable
// pseudorandom number generators", 2014).
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// unit maps the upper 24 bits of h to [-1,1), exactly.
func unit(h uint64) float32 {
	return float32(int32(h>>40)-1<<23) * (1.0 / (1 << 23))
}

// of rounds twice, as numpy and Rust do: the conversion forbids the fused
// multiply-add that Go compiles to on arm64.
func (a affine) of(f float32) float32 { return float32(f*a.scale) + a.shift }

// key separates the tensors' sequences: FNV-1a of the name, and the seed.
func (s *synthetic) key(t synthTensor) uint64 {
	h := fnv.New64a()
	h.Write([]byte(t.name))
	return h.Sum64() ^ s.seed
}

// header returns the file's first bytes: the length of the JSON, and the JSON
// padded so that the values begin at a multiple of 8.
func (s *synthetic) header() []byte {
	b := make([]byte, 8, 1<<16)
	open, offset := byte('{'), 0
	for _, t := range s.tensors() {
		b = append(b, open)
		open = ','
		shape := strings.ReplaceAll(strings.Trim(fmt.Sprint(t.shape), "[]"), " ", ",")
		b = fmt.Appendf(b, `"%s":{"dtype":"F32","shape":[%s],"data_offsets":[%d,%d]}`,
			t.name, shape, offset, offset+4*t.size)
		offset += 4 * t.size
	}
	b = append(b, '}')
	for len(b)%8 != 0 {
		b = append(b, ' ')
	}
	binary.LittleEndian.PutUint64(b, uint64(len(b)-8))
	return b
}
