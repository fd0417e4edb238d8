package gpt2

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/align"
	"checkpoint12/model"
)

// View returns the candidate in the layouts and conventions of [Schedule]. golden and
// cfg help to find the lengths of axes and may be nil; without cfg a manifest's config
// serves.
func View(s *harness.Schedule, golden, candidate harness.Source, hints align.Hints, cfg *model.Config) (*align.View, error) {
	if c, ok := manifestConfig(golden, candidate); ok && cfg == nil {
		cfg = &c
	}
	return align.NewView(s, candidate, align.ViewOptions{
		Golden: golden, Hints: hints, Batch: "B",
		Sizes: func(step int) align.Sizes { return stepSizes(cfg, step, golden, candidate) },
	})
}

// ViewGolden returns a golden as [View] does. Its own manifest or, where only the
// candidate has one, the candidate decides what its shapes leave open.
func ViewGolden(s *harness.Schedule, golden, candidate harness.Source, cfg *model.Config) (*align.View, error) {
	if golden.Manifest() != nil || candidate.Manifest() == nil {
		candidate = nil
	}
	return View(s, candidate, golden, align.Hints{}, cfg)
}

// stepSizes returns the lengths of axes at a step that config, tokens and manifests tell.
func stepSizes(cfg *model.Config, step int, sources ...harness.Source) align.Sizes {
	s := align.Sizes{}
	if cfg != nil {
		s = sizesOf(*cfg)
	}
	for _, src := range sources {
		if src == nil {
			continue
		}
		if rows := src.Tokens(); rows != nil {
			s["B"] = len(rows)
		}
		m := src.Manifest()
		if m == nil || len(m.Tokens) == 0 {
			continue
		}
		s["B"], s["T"], s["S"] = len(m.Tokens), len(m.Tokens[0]), len(m.Tokens[0])+step
		if step > 0 {
			s["T"] = 1
		}
	}
	return s
}

const (
	farBelow  = -1e3 // the largest masked score taken for -inf: none that is computed comes near it
	underflow = 104  // this far below its row's largest, a score has probability 0: float32 ends at exp(-103.3)
)

// convertScores replaces the large negative number that many engines have at masked
// places (transformers the lowest float32, picoGPT -1e10) by -inf where the
// candidate's probability is exactly 0. Without probabilities the scores imply them.
func convertScores(stage string) func(candidate harness.Source, step int, t harness.Tensor) (harness.Tensor, string) {
	probs := strings.TrimSuffix(stage, "scores") + "probs"
	return func(candidate harness.Source, step int, t harness.Tensor) (harness.Tensor, string) {
		if len(t.Shape) != 4 || t.Shape[3] < max(1, t.Shape[2]) {
			return t, ""
		}
		own, why := []float32(nil), "far enough below the others to have probability 0"
		if p, err := candidate.Tensor(step, probs); err == nil && len(p.F32) == len(t.F32) {
			own, why = p.F32, "their probabilities are exactly 0"
		}
		queries, keys := t.Shape[2], t.Shape[3]
		out, least := t.F32, 0.0
		for row := range len(t.F32) / keys {
			visible := keys - queries + row%queries + 1 // keys j <= P + i
			top := math.Inf(-1)
			for _, v := range t.F32[row*keys:][:visible] {
				top = math.Max(top, float64(v))
			}
			for at := row*keys + visible; at < (row+1)*keys; at++ {
				v := float64(t.F32[at])
				hidden := top-v > underflow
				if own != nil {
					hidden = own[at] == 0
				}
				if !hidden || !(v <= farBelow) || math.IsInf(v, 0) {
					continue
				}
				if least == 0 {
					out = slices.Clone(t.F32)
				}
				out[at], least = float32(math.Inf(-1)), min(least, v)
			}
		}
		if least == 0 {
			return t, ""
		}
		return harness.Tensor{Shape: t.Shape, F32: out}, fmt.Sprintf("masked places hold %.3g, not -inf; %s: read as -inf", least, why)
	}
}
