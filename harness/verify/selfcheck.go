package verify

import (
	"cmp"
	"math"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
	"checkpoint12/model/parallel"
)

// selfChecks are the self-check's stages, by kind, and their assertions.
var selfChecks = map[string]struct {
	checkpoint int
	what       string
}{
	"h.*.attn.cache_k": {3, "own k and v, bit for bit"},
	"h.*.attn.cache_v": {3, "own k and v, bit for bit"},
	"h.*.attn.scores":  {12, "cache retrieved: scores are q*cache_k/sqrt(D)"},
	"h.*.attn.context": {12, "cache retrieved: context is probs*cache_v"},
	"logits_last":      {9, "own last row of logits, bit for bit"},
	"next_token":       {10, "argmax of own logits_last"},
	"probs_t*":         {11, "softmax of own logits_last in float64"},
}

// forSelfCheck reports whether the self-check looks at a stage, or reads it.
func forSelfCheck(stage string) bool { return stage == "logits" || !model.NeedsWeights(stage) }

// selfCheck replays stages from the run's own inputs, without weights; retrieval from the
// cache on the first and the last decode step.
func (s *Suite) selfCheck(c *Case, t *gpt2.Trace) ([]Finding, error) {
	replayer := gpt2.NewReplayer(model.WithoutWeights(s.Model.Config()), nil, gpt2.Float32)
	run, err := replay.NewRun(s.schedule, t, replayer, replay.Options{Prompt: len(c.Tokens[0]), Bounds: s.o.Bounds})
	if err != nil {
		return nil, err
	}
	places := s.schedule.Places(t, func(step int, stage string) bool {
		name, _ := model.ParseStage(stage)
		check, asked := selfChecks[name.Kind()]
		return asked && (check.checkpoint != CheckpointCount || step > 0 && (step == 1 || step == c.New-1))
	})
	found, errs := make([]Finding, len(places)), make([]error, len(places))
	parallel.For(len(places), func(i int) { found[i], errs[i] = s.selfCheckAt(c, t, run, places[i]) })
	if err := cmp.Or(errs...); err != nil {
		return nil, err
	}
	return found, nil
}

// selfCheckAt is selfCheck of one place.
func (s *Suite) selfCheckAt(c *Case, t *gpt2.Trace, run *replay.Run, at harness.Place) (f Finding, err error) {
	name, _ := model.ParseStage(at.Stage)
	got, err := t.Tensor(at.Step, at.Stage)
	if err != nil {
		return f, err
	}
	check := selfChecks[name.Kind()]
	f = Finding{
		Checkpoint: check.checkpoint, Case: c.Name, Engine: Self, Step: at.Step, Stage: at.Stage,
		What: check.what, Elements: got.Elements(),
	}
	if name.Temperature > 0 {
		logits, err := t.Tensor(at.Step, "logits_last")
		if err != nil {
			return f, err
		}
		allowed := gpt2.ToleranceOf(at.Stage).Abs
		if t, ok := s.o.Bounds.Tolerance(at, false); ok {
			allowed = max(allowed, t.At(gpt2.MaxDifference(got.F32, nil)))
		}
		f = f.softmax(got, logits, name.Temperature, allowed)
	} else if right, err := run.Right(at.Step, at.Stage); err != nil {
		f = f.failing("%v", err)
	} else {
		f = f.replayed(replay.Measure(at, got, right))
	}
	if f.Failed {
		f.Closer = s.closer(c, nil)
	}
	return f, nil
}

// replayed judges a stage by what follows from its inputs.
func (f Finding) replayed(row harness.Replayed) Finding {
	if share := row.Share(); !math.IsNaN(share) {
		f.Share = harness.Float(share)
	}
	switch {
	case row.Verdict != harness.ReplayIntroduced:
		return f
	case row.Worst == nil:
		return f.failing("%s", row.Why)
	}
	f.Nonfinite = nonfinite(row.Worst.Got)
	return f.failing("%d of %s wrong; worst at %v: got %v, want %v",
		row.Mismatched, words.Count(row.Elements, "value"), row.Worst.Index,
		float32(row.Worst.Got), float32(row.Worst.Want))
}

// softmax judges probabilities [B,V] by the softmax of logits/t, within what is allowed.
func (f Finding) softmax(probs, logits harness.Tensor, t, allowed float64) Finding {
	worst, at := gpt2.SoftmaxError(probs.F32, logits.F32, probs.Shape[1], t)
	f.Share = harness.Float(worst / allowed)
	if !(worst <= allowed) {
		f.Nonfinite = nonfinite(harness.Float(worst))
		f = f.failing("off by %.3g at %v, %g allowed", worst, shapes.Index(at, probs.Shape), allowed)
	}
	return f
}
