// Package modeltest makes small models of random weights for tests.
package modeltest

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"checkpoint12/model"
	"checkpoint12/model/synthetic"
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

// Weights draws the weights of a config, as synthetic.RandomWeights does.
func Weights(cfg model.Config, seed uint64) map[string][]float32 {
	return synthetic.RandomWeights(cfg, seed)
}

// Encode returns the bytes of a safetensors file, as synthetic.Encode does.
func Encode(cfg model.Config, weights map[string][]float32) []byte {
	return synthetic.Encode(cfg, weights)
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
