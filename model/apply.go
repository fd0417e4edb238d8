package model

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/model/internal/kernel"
)

// Weightless returns a model of which only the config is known. Nothing but
// Apply works on it, and Apply only for stages that need no weights.
func Weightless(cfg Config) *Model {
	return &Model{cfg: cfg, sha256: func() (string, error) { return "", errWeightless }}
}

// NeedsWeights reports whether a stage is computed with weights.
func NeedsWeights(stage string) bool {
	s, _ := ParseStage(stage)
	return weighted[s.Kind()]
}

// weighted are the kinds of stages that are computed with weights: with those of
// their own names, and the logits with wte or lm_head.
var weighted = func() map[string]bool {
	kinds := map[string]bool{"logits": true}
	for name := range (Config{Layers: 1}).Weights() {
		if s, ok := ParseStage(strings.TrimSuffix(name, ".weight")); ok {
			kinds[s.Kind()] = true
		}
	}
	return kinds
}()

var errWeightless = errors.New("the model has no weights")

// Apply computes one stage on its own, by the function that the forward pass
// uses. in returns the values of an input that Reads names, in the shape that
// Shape gives it (nil if that has no values). The result is written to out, which
// has the stage's shape.
//
// It is safe for concurrent use. Inputs are not changed.
func (m *Model) Apply(stage string, d Dims, in func(name string) []float32, out []float32) error {
	if m.closed.Load() {
		return errClosed
	}
	p, err := find(m.cfg, stage)
	if err != nil {
		return err
	}
	if m.blocks == nil && NeedsWeights(stage) {
		return fmt.Errorf("stage %s: %w", stage, errWeightless)
	}
	if err := d.check(m.cfg); err != nil {
		return fmt.Errorf("stage %s: %w", stage, err)
	}
	c := call{Dims: d, m: m, temp: p.temp, out: out, prev: d.P, stride: d.P + d.T}
	if p.layer >= 0 && m.blocks != nil {
		c.block = &m.blocks[p.layer]
	}
	if want := p.shape.elements(m.cfg, d); len(out) != want {
		return fmt.Errorf("stage %s: room for %d values: want %d, %v", stage, len(out), want, p.shape.of(m.cfg, d))
	}
	for i, name := range p.inputs {
		x, shape := in(name), parseShape(Axes(name))
		if want := shape.elements(m.cfg, d); len(x) != want {
			return fmt.Errorf("stage %s reads %s: got %d values: want %d, %v", stage, name, len(x), want, shape.of(m.cfg, d))
		}
		// Ids and positions index tables.
		if name == "pos" && !isIndex(x[0], m.cfg.Positions-d.T+1) {
			return fmt.Errorf("stage %s: position %v with %d new ones: n_positions is %d", stage, x[0], d.T, m.cfg.Positions)
		}
		noToken := func(id float32) bool { return !isIndex(id, m.cfg.Vocab) }
		if name == "tokens" && slices.ContainsFunc(x, noToken) {
			return fmt.Errorf("stage %s: token id %v is outside the vocabulary of %d", stage, x[slices.IndexFunc(x, noToken)], m.cfg.Vocab)
		}
		c.in[i] = x
	}
	m.applying.Lock()
	defer m.applying.Unlock()
	if m.applyPool == nil {
		m.applyPool = kernel.NewPool(0)
	}
	c.pool = m.applyPool
	p.run(&c)
	return nil
}

// isIndex reports whether f is a whole number from 0 to n-1.
func isIndex(f float32, n int) bool {
	return f >= 0 && float64(f) < float64(n) && math.Trunc(float64(f)) == float64(f)
}
