package diagnose

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// Violation is a stage of a dump that contradicts the stages it is computed from.
// Neither weights nor a golden are needed to see it.
type Violation struct {
	harness.Place
	Rule   string `json:"rule"`   // what does not hold, in a few words
	Detail string `json:"detail"` // how many values are off, and the worst
}

// Contradictions are the places at which a dump contradicts itself.
type Contradictions struct {
	Checked    int // places that were judged
	Violations []Violation
}

// FindContradictions replays a candidate without weights: the stages that need
// none, from the candidate's own inputs to them. The golden, which may be nil,
// tells the dimensions of the model.
func FindContradictions(ctx context.Context, s *harness.Schedule, golden, candidate harness.Source, progress func(done, all int)) (*Contradictions, error) {
	sources := []harness.Source{candidate}
	if golden != nil {
		sources = []harness.Source{golden, candidate}
	}
	r := gpt2.NewWeightless(gpt2.ConfigOf(s, sources...), gpt2.DType(candidate))
	rows, err := replay.Judge(ctx, s, candidate, r, replay.Options{
		Golden: golden, Progress: progress, Match: func(_ int, stage string) bool { return !model.NeedsWeights(stage) },
	})
	if err != nil {
		return nil, err
	}
	return contradictionsOf(rows, candidate, r)
}

// ContradictionsOf picks from the replay of a candidate with a model what would
// be seen without one.
func ContradictionsOf(m *model.Model, rows []harness.Replayed, candidate harness.Source) (*Contradictions, error) {
	return contradictionsOf(rows, candidate, gpt2.NewWeightless(m.Config(), gpt2.DType(candidate)))
}

func contradictionsOf(rows []harness.Replayed, candidate harness.Source, r replay.Replayer) (*Contradictions, error) {
	c := &Contradictions{Violations: []Violation{}}
	for _, row := range rows {
		var rule string
		switch {
		case slices.ContainsFunc(row.Span, model.NeedsWeights) || row.Status == harness.Shape:
			continue
		case row.Verdict == harness.ReplayUnknown:
			var err error
			if row, rule, err = judgeByItself(row.Place, candidate, r); err != nil {
				return nil, err
			}
		default:
			rule = "does not follow from " + strings.Join(inputsOf(row.Span, r), " and ")
		}
		if rule == "" {
			continue
		}
		c.Checked++
		if row.Verdict == harness.ReplayIntroduced {
			c.Violations = append(c.Violations, Violation{row.Place, rule, fmt.Sprintf("%d of %d values, the worst at %v: got %v, want %v",
				row.Mismatched, row.Elements, row.Worst.Index, float32(row.Worst.Got), float32(row.Worst.Want))})
		}
	}
	return c, nil
}

// inputsOf lists what the stages of a span read that is not of the span.
func inputsOf(span []string, r replay.Replayer) []string {
	var inputs []string
	for _, stage := range span {
		for _, name := range r.Reads(stage) {
			if old, ok := strings.CutPrefix(name, "prev:"); ok {
				name = "the " + old + " before"
			}
			if !slices.Contains(span, name) && !slices.Contains(inputs, name) {
				inputs = append(inputs, name)
			}
		}
	}
	return inputs
}

// judgeByItself judges a stage whose inputs are not known by what must hold
// whatever they are: scores are -Inf where masked and finite elsewhere,
// probabilities are the softmax of their own logarithms. The rule is "" for
// other stages.
func judgeByItself(at harness.Place, candidate harness.Source, r replay.Replayer) (row harness.Replayed, rule string, err error) {
	name, _ := model.ParseStage(at.Stage)
	shape, _ := candidate.Shape(at.Step, at.Stage)
	attention := name.Word == "attn.scores" || name.Word == "attn.probs"
	if !(attention && len(shape) == 4 && shape[2] <= shape[3] || name.Word == "probs_t" && len(shape) == 2) {
		return row, "", nil
	}
	got, err := candidate.Tensor(at.Step, at.Stage)
	if err != nil {
		return row, "", err
	}
	temperature := name.Temperature
	if attention {
		temperature = 1
	}
	right := replay.Value{Tensor: harness.Tensor{Shape: shape, F32: slices.Clone(got.F32)}}
	for i, v := range got.F32 {
		switch {
		case attention && isMasked(i, shape):
			right.F32[i] = float32(math.Inf(-1))
		case name.Word == "attn.scores":
			right.F32[i] = min(max(v, -math.MaxFloat32), math.MaxFloat32)
		default:
			right.F32[i] = float32(math.Log(float64(v)) * temperature)
		}
	}
	if name.Word == "attn.scores" {
		return replay.Measure(at, got, right), "a masked place is not -Inf, or another is not finite", nil
	}
	right, err = r.Replay(at.Step, at.Stage, func(string) (replay.Value, bool) { return right, true })
	if err != nil {
		return row, "", nil // of another model's dimensions
	}
	return replay.Measure(at, got, right), "its rows are no probabilities that sum to 1 and are 0 where masked", nil
}

// isMasked reports whether place i of [B,H,T,S] is a key that comes after its query.
func isMasked(i int, shape []int) bool {
	T, S := shape[2], shape[3]
	return i%S > S-T+i/S%T
}
