// Package modeltest makes small models of random weights for tests.
package modeltest

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"checkpoint12/model"
	"checkpoint12/model/safetensors"
)

// Micro is a config of which no two dimensions are the same.
var Micro = model.Config{Vocab: 37, Positions: 12, Embd: 12, Layers: 3, Heads: 2, Inner: 20, Eps: 1e-5}

// New returns a model of the weights that Weights draws.
func New(t testing.TB, cfg model.Config, seed uint64) *model.Model {
	t.Helper()
	return Of(t, cfg, Weights(cfg, seed))
}

// Of returns the model of the weights, by name.
func Of(t testing.TB, cfg model.Config, weights map[string][]float32) *model.Model {
	t.Helper()
	m, err := model.FromBytes("micro", cfg, Encode(cfg, weights), nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Write writes the model that New returns into a folder, made if need be.
func Write(dir string, cfg model.Config, seed uint64) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), cfg.JSON(), 0o666); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "model.safetensors"), Encode(cfg, Weights(cfg, seed)), 0o666)
}

// Weights draws every weight of a config, lm_head excepted. Gains stay around 1
// and no bias is zero, so that nothing drops out of the result.
func Weights(cfg model.Config, seed uint64) map[string][]float32 {
	rng := rand.New(rand.NewPCG(seed, 1))
	all := map[string][]float32{}
	for name, shape := range cfg.Weights() {
		scale, shift := 1.5/math.Sqrt(float64(shape[0])), 0.0
		switch {
		case strings.HasPrefix(name, "lm_head."):
			continue
		case len(shape) == 1:
			scale = 0.3
			if strings.HasSuffix(name, ".weight") {
				shift = 1
			}
		case name == "wte.weight" || name == "wpe.weight":
			scale = 1
		}
		w := make([]float32, safetensors.Info{Shape: shape}.Size())
		for i := range w {
			w[i] = float32(rng.NormFloat64()*scale + shift)
		}
		all[name] = w
	}
	return all
}

// Encode returns the bytes of a safetensors file with those of a config's weights
// that there are.
func Encode(cfg model.Config, weights map[string][]float32) []byte {
	var tensors []safetensors.Info
	var data []byte
	for name, shape := range cfg.Weights() {
		if w, ok := weights[name]; ok {
			tensors = append(tensors, safetensors.Info{Name: name, Shape: shape})
			for _, v := range w {
				data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
			}
		}
	}
	return append(safetensors.Header(tensors), data...)
}

// Tokens draws n token ids.
func Tokens(cfg model.Config, n int, seed uint64) []int {
	rng := rand.New(rand.NewPCG(seed, 2))
	ids := make([]int, n)
	for i := range ids {
		ids[i] = rng.IntN(cfg.Vocab)
	}
	return ids
}
