package gpt2

import (
	"fmt"
	"math"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/align"
	"checkpoint12/model"
)

// View returns the candidate in the layouts and conventions of [Schedule]; its
// Notes tell what was read how. golden, hints and cfg help to tell how long each
// axis is and may be nil; without cfg a manifest's config serves.
func View(s *harness.Schedule, golden, candidate harness.Source, hints align.Hints, cfg *model.Config) (*align.View, error) {
	if c, ok := manifestConfig(golden, candidate); ok && cfg == nil {
		cfg = &c
	}
	return align.NewView(s, candidate, align.ViewOptions{
		Golden: golden, Hints: hints, Batch: "B",
		Sizes: func(step int) align.Sizes { return stepSizes(cfg, step, golden, candidate) },
	})
}

// stepSizes returns what config, tokens and manifests tell of the lengths of axes
// at a step.
func stepSizes(cfg *model.Config, step int, sources ...harness.Source) align.Sizes {
	s := align.Sizes{}
	if cfg != nil {
		s = sizesOf(*cfg)
	}
	for _, src := range sources {
		if src == nil {
			continue
		}
		if t := src.Tokens(); len(t.Shape) == 2 {
			s["B"] = t.Shape[0]
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

// farBelow is what a masked score must be to be taken for -inf: no score that
// is computed comes near it.
const farBelow = -1e3

// underflow is how far below the largest score of its row a score has
// probability 0 in float32, whose smallest number is exp(-103.3).
const underflow = 104

// conformScores takes the large negative number that many engines put at masked
// places (transformers the lowest float32, picoGPT -1e10) for the contract's
// -inf, where the candidate's own probability is exactly 0: there it makes no
// difference. Without probabilities in the dump those that follow from the
// scores stand in for them.
func conformScores(stage string) func(candidate harness.Source, step int, t harness.Tensor) (harness.Tensor, string) {
	probs := strings.TrimSuffix(stage, "scores") + "probs"
	return func(candidate harness.Source, step int, t harness.Tensor) (harness.Tensor, string) {
		if len(t.Shape) != 4 || t.Shape[3] < t.Shape[2] {
			return t, ""
		}
		queries, keys := t.Shape[2], t.Shape[3]
		var own []float32
		whose := "their probabilities are exactly 0"
		if p, err := candidate.Tensor(step, probs); err == nil && len(p.F32) == len(t.F32) {
			own = p.F32
		} else {
			whose = "far enough below the others to have probability 0"
		}
		var out []float32
		least := 0.0
		for row := 0; row*keys < len(t.F32); row++ {
			seen := keys - queries + row%queries + 1 // j <= P + i
			x := t.F32[row*keys:][:keys]
			top := math.Inf(-1)
			for _, v := range x[:seen] {
				top = math.Max(top, float64(v))
			}
			for j := seen; j < keys; j++ {
				v := float64(x[j])
				if !(v <= farBelow) || math.IsInf(v, 0) {
					continue
				}
				if own != nil && own[row*keys+j] != 0 || own == nil && !(top-v > underflow) {
					continue
				}
				if out == nil {
					out = append(out, t.F32...)
				}
				out[row*keys+j] = float32(math.Inf(-1))
				least = min(least, v)
			}
		}
		if out == nil {
			return t, ""
		}
		return harness.Tensor{Shape: t.Shape, F32: out}, fmt.Sprintf("masked places hold %.3g, not -inf; %s: taken for -inf", least, whose)
	}
}
