package model

import (
	"fmt"
	"maps"
	"slices"
)

// With returns the model with other weights in the place of its own, by name without
// "transformer."; lm_head.weight may be one that it has only as wte. They are live memory.
// The result has m's name and hash, and serves until m is closed.
func (m *Model) With(weights map[string][]float32) (*Model, error) {
	if m.closed.Load() {
		return nil, errClosed
	}
	other := &Model{name: m.name, cfg: m.cfg, weights: maps.Clone(m.weights), sha256: m.sha256}
	for name, shape := range m.cfg.Weights() {
		data, ok := weights[name]
		if !ok {
			continue
		}
		n := 1
		for _, d := range shape {
			n *= d
		}
		if len(data) != n {
			return nil, fmt.Errorf("weight %q has %d values: shape %v has %d", name, len(data), shape, n)
		}
		t := other.weights[name]
		t.Shape, t.data = slices.Clone(shape), data
		other.weights[name] = t
	}
	other.assemble()
	return other, nil
}

// WeightShape returns the shape that a weight has by the config; ok is false for a name
// that is no weight's.
func (c Config) WeightShape(name string) (shape []int, ok bool) {
	for n, s := range c.Weights() {
		if n == name {
			return s, true
		}
	}
	return nil, false
}

// IsMaskBuffer reports whether a name, without "transformer.", is that of a causal mask,
// which older files carry among the weights.
func IsMaskBuffer(name string) bool { return maskBuffer.MatchString(name) }
