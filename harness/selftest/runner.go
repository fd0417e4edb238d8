package selftest

import (
	"context"
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/model"
)

// runner makes runs of the model and judges them by goldens. It serves one
// goroutine; several runners share the goldens.
type runner struct {
	model    *model.Model
	schedule *harness.Schedule
	cases    map[string]*golden
}

// effect is what a fault does to the output of its stage.
type effect int

const (
	silent    effect = iota // the fault changes nothing at the place
	identical               // it gives the right output, bit for bit
	within                  // it stays within the tolerance that goldens are judged by
	moved                   // it does not
)

// result is what the harness finds in a run.
type result struct {
	effects      []effect // of the injections
	introduced   []harness.Place
	explanations []harness.Explanation
	tensors      int // that were replayed
	unknown      int // of these, undecided
}

// inject makes a run with faults in it and judges it.
func (r *runner) inject(ctx context.Context, f faultRun) (result, error) {
	g, effects := r.cases[f[0].name], make([]effect, len(f))
	planter := faults.Planter{Model: r.model, Plant: func(at harness.Place, c *faults.Context) []float32 {
		i := slices.IndexFunc(f, func(in injection) bool { return in.at == at })
		if i < 0 {
			return nil
		}
		out := f[i].Output(c)
		if out != nil {
			effects[i] = r.effect(at.Stage, c.Right(), out)
		}
		return out
	}}
	run := g.run(steps)
	run.Threads = 1
	run.Tap = (&gpt2.Override{Value: planter.Value}).Tap
	if !slices.ContainsFunc(f, func(in injection) bool { return isHead(in.at.Stage) }) {
		leaveOutHead(&run)
	}
	rec, err := gpt2.Record(ctx, r.model, run)
	if err != nil {
		return result{}, fmt.Errorf("%s: %w", f, err)
	}
	found, err := r.judge(ctx, g, rec)
	if err != nil {
		return result{}, fmt.Errorf("%s: %w", f, err)
	}
	found.effects = effects
	return found, nil
}

// effect measures how far a fault moves a stage from its right output.
func (r *runner) effect(stage string, right, wrong []float32) effect {
	if slices.EqualFunc(right, wrong, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
		return identical
	}
	st, _ := r.schedule.Stage(stage)
	st.IDs = false
	shape := []int{len(right)}
	row, err := harness.CompareTensor(st, harness.Tensor{Shape: shape, F32: right}, harness.Tensor{Shape: shape, F32: wrong}, 0)
	if err == nil && row.Status == harness.Pass {
		return within
	}
	return moved
}

// leaveOutHead leaves the stages after ln_f out of a run.
func leaveOutHead(run *gpt2.Run) {
	run.Temperatures = []float64{}
	run.Match = func(_ int, stage string) bool { return !isHead(stage) }
}

// isHead reports whether the stage comes after ln_f: those are as wide as the
// vocabulary, or chosen from it, and are recorded only where they are judged.
func isHead(stage string) bool {
	switch s, _ := model.ParseStage(stage); s.Word {
	case "logits", "logits_last", "next_token", "probs_t":
		return true
	}
	return false
}

// judge compares a run with the golden, replays and explains it, as the compare
// command does.
func (r *runner) judge(ctx context.Context, g *golden, candidate harness.Source) (result, error) {
	c := diagnose.Comparison{Schedule: r.schedule, Model: r.model, Goldens: []diagnose.EngineResult{{Source: g}}, Candidate: candidate}
	c.Match = func(step int, stage string) bool { // what was not recorded is not missing
		_, ok := candidate.Shape(step, stage)
		return ok
	}
	report, err := diagnose.Compare(ctx, c)
	if err != nil {
		return result{}, err
	}
	found := result{explanations: report.Explanations, tensors: len(report.Replayed)}
	for _, in := range report.Introduced {
		found.introduced = append(found.introduced, harness.Place{Step: in.Step, Stage: in.Stage})
	}
	for _, row := range report.Replayed {
		if row.Verdict == harness.ReplayUnknown {
			found.unknown++
		}
	}
	return found, nil
}
