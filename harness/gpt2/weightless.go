package gpt2

import (
	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// weightless is a replayer of a model of which only the config is known.
type weightless struct{ replayer }

// NewWeightless returns the Replayer of a GPT-2 of which only the config is
// known: it computes the stages that need no weights. dtype is as in NewReplayer.
func NewWeightless(cfg model.Config, dtype string) replay.Replayer {
	return &weightless{replayer{m: model.Weightless(cfg), cfg: cfg, wide: dtype == "float64"}}
}

// Reads is model.Reads; nil for a stage that needs weights.
func (r *weightless) Reads(stage string) []string {
	if model.NeedsWeights(stage) {
		return nil
	}
	return r.replayer.Reads(stage)
}
