package gpt2

import (
	"fmt"
	"math"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/align"
	"checkpoint12/harness/internal/names"
	"checkpoint12/model"
)

// axes is one row of the table of layouts: the axes of some stages, by the
// contract's letters, and the other layouts in which engines have them.
type axes struct {
	stages string // pattern as names.Match takes it
	own    string
	others []string
}

// stream is the layouts of the residual stream and whatever is of its shape:
// sequence first, or channels before positions.
var stream = []string{"T B C", "B C T"}

// layouts is the table of layouts: the first row that matches a stage is its
// own. It lists what engines do, not every order there could be: that the axes
// of a head and of the heads change places, say, is a fault (heads interleaved)
// and no layout. A batch of one may lack its axis everywhere, and rows of a
// batch may follow one another in the axis after it.
var layouts = []axes{
	{"wpe", "T C", []string{"B T C", "C T"}},
	{"h.*.attn.c_attn", "B T (3 H D)", []string{"B T 3 H D", "3 B T (H D)", "3 B H T D", "T B (3 H D)", "B (3 H D) T"}},
	{"h.*.attn.[qkv]", "B H T D", []string{"B T H D", "B T (H D)", "B H D T", "T B H D", "T B (H D)"}},
	{"h.*.attn.cache_[kv]", "B H S D", []string{"B S H D", "B S (H D)", "B H D S", "S B H D", "S B (H D)"}},
	{"h.*.attn.scores", "B H T S", []string{"B T H S", "B H S T"}},
	{"h.*.attn.probs", "B H T S", []string{"B T H S", "B H S T"}},
	{"h.*.attn.context", "B T (H D)", []string{"B T H D", "B H T D", "T B (H D)", "T B H D", "B (H D) T"}},
	{"h.*.mlp.c_fc", "B T F", []string{"T B F", "B F T"}},
	{"h.*.mlp.act", "B T F", []string{"T B F", "B F T"}},
	{"logits", "B T V", []string{"T B V", "B V T"}},
	{"logits_last", "B V", []string{"V B"}},
	{"next_token", "B", nil},
	{"probs_t*", "B V", []string{"V B"}},
	{"*", "B T C", stream},
}

// axesOf is the row for a stage.
func axesOf(stage string) axes {
	for _, a := range layouts {
		if names.Match(a.stages, stage) {
			return a
		}
	}
	panic("gpt2: stage " + stage + " has no row in the table of layouts")
}

// View is the candidate in the contract's layouts and conventions; its Notes say
// what was read how. golden and cfg help to tell how long each axis is and may
// be nil; without cfg a manifest's config serves.
func View(s *harness.Schedule, golden, candidate harness.Source, cfg *model.Config) (*align.View, error) {
	for _, src := range []harness.Source{golden, candidate} {
		if cfg != nil || src == nil || src.Manifest() == nil {
			continue
		}
		if c, err := model.ParseConfig(src.Manifest().Model.Config); err == nil {
			cfg = &c
		}
	}
	return align.NewView(s, candidate, align.ViewOptions{
		Golden: golden, Batch: "B", Varying: []string{"T", "S"},
		Sizes: func(step int) align.Sizes { return sizes(cfg, step, golden, candidate) },
	})
}

// sizes is what config, tokens and manifests say of the lengths of the axes.
func sizes(cfg *model.Config, step int, sources ...harness.Source) align.Sizes {
	s := align.Sizes{}
	if cfg != nil {
		s["C"], s["H"], s["D"], s["F"], s["V"] = cfg.Embd, cfg.Heads, cfg.Embd/cfg.Heads, cfg.Inner, cfg.Vocab
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

// MappedSchedule is a schedule with as many layers and temperatures more as the
// names in the folder at dir, which a mapping joins to stages, ask for.
func MappedSchedule(s *harness.Schedule, m *align.Mapping, dir string) (*harness.Schedule, error) {
	names, err := align.MappedStages(dir, m)
	if err != nil {
		return nil, err
	}
	for _, st := range s.Stages() {
		names = append(names, st.Name)
	}
	return scheduleOf(1, []float64{}, names), nil
}
