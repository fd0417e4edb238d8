package gpt2

import (
	"strings"

	"checkpoint12/harness"
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

// ConfigOf returns the config of the model whose runs the sources are: the first
// manifest's or, where none has one, as much as the shapes of the stages tell.
func ConfigOf(s *harness.Schedule, sources ...harness.Source) model.Config {
	for _, src := range sources {
		if m := src.Manifest(); m != nil {
			if cfg, err := model.ParseConfig(m.Model.Config); err == nil {
				return cfg
			}
		}
	}
	seen := map[string]int{} // lengths of axes
	cfg := model.Config{Positions: 1 << 24}
	for _, st := range s.Stages() {
		if name, _ := model.ParseStage(st.Name); name.Layer >= cfg.Layers {
			cfg.Layers = name.Layer + 1
		}
		axes := strings.Fields(st.Axes)
		for _, src := range sources {
			for _, step := range src.Steps() {
				shape, _ := src.Shape(step, st.Name)
				for i := 0; len(shape) == len(axes) && i < len(axes); i++ {
					if seen[axes[i]] == 0 {
						seen[axes[i]] = shape[i]
					}
				}
			}
		}
	}
	cfg.Embd, cfg.Heads, cfg.Inner, cfg.Vocab = seen["C"], seen["H"], seen["F"], seen["V"]
	if cfg.Embd == 0 {
		cfg.Embd = seen["H"] * seen["D"]
	}
	return cfg
}
