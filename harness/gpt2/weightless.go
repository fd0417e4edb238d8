package gpt2

import (
	"strings"

	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// weightless is a replayer of a model of which only the config is known.
type weightless struct {
	replayer
	heads bool // how many there are is known
}

// NewWeightless returns the Replayer of a GPT-2 of which only the config is
// known: it computes the stages that need no weights, and without Heads none of
// attention's. dtype is as in NewReplayer.
func NewWeightless(cfg model.Config, dtype string) replay.Replayer {
	heads := cfg.Heads > 0
	cfg.Heads = max(cfg.Heads, 1)
	return &weightless{replayer{m: model.Weightless(cfg), cfg: cfg, wide: dtype == "float64"}, heads}
}

// Reads is model.Reads; nil for a stage that cannot be computed.
func (r *weightless) Reads(stage string) []string {
	if model.NeedsWeights(stage) || !r.heads && strings.Contains(stage, ".attn.") {
		return nil
	}
	return r.replayer.Reads(stage)
}

// Shape is model.Shape; nil for a stage that cannot be computed.
func (r *weightless) Shape(stage string, f replay.StepDims) []int {
	if r.Reads(stage) == nil {
		return nil
	}
	return r.replayer.Shape(stage, f)
}
