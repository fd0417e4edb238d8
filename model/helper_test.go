package model

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// micro is small, and no two of its dimensions are the same.
var micro = Config{Vocab: 37, Positions: 12, Embd: 12, Layers: 3, Heads: 2, Inner: 20, Eps: 1e-5}

// randomWeights draws every weight of a config, lm_head excepted. Gains stay
// around 1 and no bias is zero, so that nothing drops out of the result.
func randomWeights(cfg Config, seed uint64) map[string][]float32 {
	rng := rand.New(rand.NewPCG(seed, 1))
	all := map[string][]float32{}
	for name, shape := range cfg.weights() {
		if name == "lm_head.weight" {
			continue
		}
		n, fan := 1, shape[0]
		for _, d := range shape {
			n *= d
		}
		scale, shift := 1.5/math.Sqrt(float64(fan)), 0.0
		switch {
		case len(shape) == 1:
			scale = 0.3
			if name[len(name)-7:] == ".weight" {
				shift = 1
			}
		case name == "wte.weight" || name == "wpe.weight":
			scale = 1
		}
		w := make([]float32, n)
		for i := range w {
			w[i] = float32(rng.NormFloat64()*scale + shift)
		}
		all[name] = w
	}
	return all
}

// encodeF32 builds the bytes of a safetensors file.
func encodeF32(cfg Config, weights map[string][]float32) []byte {
	header := map[string]any{}
	var data []byte
	for name, shape := range cfg.weights() {
		w, ok := weights[name]
		if !ok {
			continue
		}
		start := len(data)
		for _, v := range w {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
		header[name] = map[string]any{"dtype": "F32", "shape": shape, "data_offsets": []int{start, len(data)}}
	}
	return assembleFile(header, data)
}

func assembleFile(header any, data []byte) []byte {
	h, err := json.Marshal(header)
	if err != nil {
		panic(err)
	}
	for len(h)%8 != 0 {
		h = append(h, ' ')
	}
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(h)))
	return append(append(file, h...), data...)
}

func randomModel(t testing.TB, cfg Config, seed uint64) *Model {
	t.Helper()
	m, err := FromBytes(fmt.Sprintf("random-%d", seed), cfg, encodeF32(cfg, randomWeights(cfg, seed)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// ids draws token ids.
func ids(cfg Config, n int, seed uint64) []int {
	rng := rand.New(rand.NewPCG(seed, 2))
	out := make([]int, n)
	for i := range out {
		out[i] = rng.IntN(cfg.Vocab)
	}
	return out
}
