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

// View returns the candidate, whose steps are as cut says, in the layouts and conventions
// of [Schedule]. golden and cfg help to find the lengths of axes and may be nil; without
// cfg a manifest's config serves.
func View(
	s *harness.Schedule, golden, candidate harness.Source, cut harness.Cut, hints align.Hints, cfg *model.Config,
) (*align.View, error) {
	if c, ok := manifestConfig(golden, candidate); ok && cfg == nil {
		cfg = &c
	}
	return align.NewView(s, candidate, align.ViewOptions{
		Golden: golden, Hints: hints, Batch: "B", Fixed: fixedAxes,
		Sizes: func(step int) align.Sizes {
			sizes := stepSizes(cfg, step, golden, candidate)
			if span, ok := cut.At(step); ok {
				sizes["T"], sizes["S"] = span.T, span.End()
			}
			return sizes
		},
	})
}

// ViewGolden returns a golden as [View] does. Its own manifest or, where only the
// candidate has one, the candidate decides what its shapes leave open.
func ViewGolden(
	s *harness.Schedule, golden, candidate harness.Source, cut harness.Cut, hints align.Hints, cfg *model.Config,
) (*align.View, error) {
	if golden.Manifest() != nil || candidate.Manifest() == nil {
		candidate = nil
	}
	return View(s, candidate, golden, cut, hints, cfg)
}

// ViewBatch returns a candidate as [View] does, of which no golden is of the same batch.
// wpe may have a batch's axis: with padding the rows have other positions.
func ViewBatch(
	s *harness.Schedule, candidate harness.Source, cut harness.Cut, hints align.Hints, cfg *model.Config,
) (*align.View, error) {
	if rows := len(candidate.Tokens()); rows > 1 && slices.ContainsFunc(candidate.Steps(), func(step int) bool {
		shape, ok := candidate.Shape(step, "wpe")
		return ok && len(shape) == 3 && shape[0] == rows
	}) {
		stages := s.Stages()
		if i, ok := s.Index("wpe"); ok {
			stages[i].Axes, stages[i].Layouts = "B T C", nil
		}
		var err error
		if s, err = harness.NewSchedule(stages); err != nil {
			return nil, err
		}
	}
	return View(s, nil, candidate, cut, hints, cfg)
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
func convertScores(stage string) func(harness.Source, int, []int, int, []float32) ([]float32, string, error) {
	probs := strings.TrimSuffix(stage, "scores") + "probs"
	return func(candidate harness.Source, step int, shape []int, row int, values []float32) ([]float32, string, error) {
		if len(shape) != 4 || shape[3] < max(1, shape[2]) {
			return values, "", nil
		}
		queries, keys, mask := shape[2], shape[3], harness.MaskOf(candidate)
		out, own, asked, least := values, []float32(nil), false, float32(0)
		for r := 0; r < len(values); r += keys {
			visible := keys - queries + (row+r/keys)%queries + 1 // keys j <= P + i
			var ones []int
			if b := (row + r/keys) / (shape[1] * queries); b < len(mask) && keys <= len(mask[b]) {
				ones = mask[b]
			}
			first, top := visible, float32(math.Inf(-1))
			if ones == nil {
				top = slices.Max(values[r : r+visible])
			} else {
				first = 0 // keys at padding may come before the others
				for i, v := range values[r : r+visible] {
					if ones[i] != 0 {
						top = max(top, v)
					}
				}
			}
			for i := r + first; i < r+keys; i++ {
				if i < r+visible && ones[i-r] != 0 {
					continue
				}
				v := values[i]
				if !(v <= farBelow) || math.IsInf(float64(v), 0) {
					continue
				}
				if !asked {
					var err error
					own, err = rowsOf(candidate, harness.Place{Step: step, Stage: probs}, shape, row*keys, len(values))
					if err != nil {
						return values, "", err
					}
					asked = true
				}
				if own != nil && own[i] != 0 || own == nil && !(top-v > underflow) {
					continue
				}
				if least == 0 {
					out = slices.Clone(values)
				}
				out[i], least = float32(math.Inf(-1)), min(least, v)
			}
		}
		if least == 0 {
			return values, "", nil
		}
		why := "far enough below the others to have probability 0"
		if own != nil {
			why = "their probabilities are exactly 0"
		}
		return out, fmt.Sprintf("masked places hold %.3g, not -inf; %s: read as -inf", least, why), nil
	}
}

// rowsOf returns n elements from flat index i on of a place that has the shape; nil if it
// has not.
func rowsOf(src harness.Source, p harness.Place, shape []int, i, n int) ([]float32, error) {
	if own, _ := src.Shape(p.Step, p.Stage); !slices.Equal(own, shape) {
		return nil, nil
	}
	parts, err := harness.Open(src, p.Step, p.Stage)
	if err != nil {
		return nil, err
	}
	defer parts.Close()
	t, err := parts.Part(i, n, new(harness.Tensor))
	return t.F32, err
}
