package selftest

import (
	"context"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/align"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// A runner makes runs of the model and judges them by goldens, on one goroutine.
type runner struct {
	model    *model.Model
	schedule *harness.Schedule
	cases    map[string]harness.Source

	precision gpt2.Precision
	bases     map[string]diagnose.Comparison // by case: what candidates are compared with
}

// An effect classes what a fault did to the output of its stage.
type effect int

const (
	silent    effect = iota // the fault changes nothing at the place
	identical               // it gives the correct output, bit for bit
	within                  // it stays within the tolerance that goldens are judged by
	moved                   // it does not
)

// A result is the harness's judgement of a run.
type result struct {
	effects      []effect  // of the injections
	moved        []float64 // by how many rounding bounds, in a precision other than float32
	introduced   []harness.Place
	explanations []harness.Explanation
	shares       map[harness.Place]float64 // of the rounding bounds, by what was replayed
	tensors      int                       // that were replayed
	unknown      int                       // of these, undecided
}

// make makes a trial's run and judges it by the golden of its case.
func (r *runner) make(ctx context.Context, t *trial) (result, error) {
	if t.golden != nil {
		return r.judge(ctx, t, t.golden)
	}
	g, effects := r.cases[t.name], make([]effect, len(t.planted))
	n, whole := steps, slices.ContainsFunc(t.planted, func(in injection) bool { return isHead(in.at.Stage) })
	if t.planted == nil {
		n, whole = min(g.Manifest().New, 3), t.name == wholeCase
		if whole {
			n = g.Manifest().New
		}
	}
	run := r.run(t.name, n, whole)
	run.Threads = t.threads
	r.inSteps(t, &run)
	wrong := make([][]float32, len(t.planted))
	planter := faults.Planter{Model: r.model, Cut: run.Cut, Mask: run.Mask, Tokens: run.Tokens, Schedule: r.schedule, Plant: func(at harness.Place, c *faults.Context) []float32 {
		i := slices.IndexFunc(t.planted, func(in injection) bool { return in.at == at })
		switch {
		case t.naive != nil && (whole || !isHead(at.Stage)):
			return t.naive.Output(c)
		case i < 0:
			return nil
		}
		out := t.planted[i].Output(c)
		if out != nil {
			wrong[i] = c.Full(out)
			effects[i] = max(effects[i], r.effect(at.Stage, c.Full(c.Right()), wrong[i]))
		}
		return out
	}}
	tf32 := !r.precision.IsFloat32() && r.precision.Stored == ""
	if tf32 {
		planter.Plant = faults.InTF32(planter.Plant)
	}
	for _, in := range t.planted {
		if in.NaNAt != "" {
			s, _ := model.ParseStage(in.at.Stage)
			s.Word = in.NaNAt
			planter.NaNAt = append(planter.NaNAt, s.String())
		}
	}
	planter.Stored = r.precision.Round
	if t.naive != nil || t.planted != nil || tf32 {
		run.Tap = (&gpt2.Override{Value: planter.Value}).Tap
	} else if !r.precision.IsFloat32() {
		run.Tap = r.precision.Tap
	}
	rec, err := gpt2.Record(ctx, r.model, run)
	if err != nil {
		return result{}, err
	}
	found, err := r.judge(ctx, t, rec)
	found.effects = effects
	if err == nil && !r.precision.IsFloat32() {
		found.moved, err = r.inBounds(t, rec, wrong, found.shares)
	}
	return found, err
}

// inBounds returns by how many rounding bounds each fault of a trial moves its stage, before
// the precision rounds it; in other steps, after that.
func (r *runner) inBounds(t *trial, rec *harness.Recorder, wrong [][]float32, shares map[harness.Place]float64) (all []float64, err error) {
	for i, in := range t.planted {
		if wrong[i] == nil || t.cutting != nil {
			all = append(all, shares[in.at])
			continue
		}
		shape, _ := rec.Shape(in.at.Step, in.at.Stage)
		x := harness.Tensor{Shape: shape, F32: wrong[i]}
		if st, _ := r.schedule.Stage(in.at.Stage); st.IDs { // an id has no bound, and is right where logits are the same
			moved := math.Inf(1)
			if in.ID == "tie_rule" {
				moved = 0
			}
			all = append(all, moved)
			continue
		}
		run, err := replay.NewRun(r.schedule, instead{rec, in.at, x}, gpt2.NewReplayer(r.model, nil, r.precision), replay.Options{})
		if err != nil {
			return nil, err
		}
		row, err := run.JudgeAt(in.at)
		if err != nil {
			return nil, err
		}
		all = append(all, row.Share())
	}
	return all, nil
}

// An instead is a recording with another tensor at a place.
type instead struct {
	*harness.Recorder
	at harness.Place
	x  harness.Tensor
}

// Tensor returns the other tensor at its place.
func (s instead) Tensor(step int, stage string) (harness.Tensor, error) {
	if (harness.Place{Step: step, Stage: stage}) == s.at {
		return s.x, nil
	}
	return s.Recorder.Tensor(step, stage)
}

// run returns n steps of a case, on its golden's tokens: whole, or without the stages
// after ln_f.
func (r *runner) run(name string, n int, whole bool) gpt2.Run {
	g := r.cases[name]
	run := gpt2.Run{Tokens: g.Manifest().Tokens, New: n, Temperatures: gpt2.Temperatures}
	prompt := len(run.Tokens[0])
	for _, row := range g.Tokens() {
		run.Feed = append(run.Feed, row[prompt:prompt+n-1])
	}
	if !whole {
		run.Temperatures = []float64{}
		run.Match = func(_ int, stage string) bool { return !isHead(stage) }
	}
	return run
}

// isHead reports whether a stage comes after ln_f. Those are large, and recorded only
// where they are judged.
func isHead(stage string) bool {
	s, _ := model.ParseStage(stage)
	return slices.Contains([]string{"logits", "logits_last", "next_token", "probs_t"}, s.Word)
}

// effect returns the effect of a fault by a stage's correct and wrong output.
func (r *runner) effect(stage string, right, wrong []float32) effect {
	if slices.EqualFunc(right, wrong, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
		return identical
	}
	st, _ := r.schedule.Stage(stage)
	st.IDs = false
	shape := []int{len(right)}
	want, got := harness.Tensor{Shape: shape, F32: right}, harness.Tensor{Shape: shape, F32: wrong}
	row, err := harness.CompareTensor(st, want, got, 0)
	if err == nil && row.Status == harness.Pass {
		return within
	}
	return moved
}

// base returns what candidates are compared with: the goldens of the cases, with the tolerances
// of the precision.
func (r *runner) base(ctx context.Context, cases []string) (c diagnose.Comparison, err error) {
	name := strings.Join(cases, " ")
	c, ok := r.bases[name]
	if ok {
		return c, nil
	}
	c = diagnose.Comparison{Schedule: r.schedule, Model: r.model, Precision: r.precision}
	for _, name := range cases {
		c.Goldens = append(c.Goldens, diagnose.EngineResult{Source: r.cases[name], Engine: diagnose.Reference})
	}
	if c, err = c.Widened(ctx); err == nil {
		r.bases[name] = c
	}
	return c, err
}

// judge compares a run, which may be cut into other steps or padded, with the goldens of its
// cases, as the compare command does.
func (r *runner) judge(ctx context.Context, t *trial, candidate harness.Source) (result, error) {
	cases := []string{t.name}
	if t.cutting != nil && t.cutting.padded {
		cases = paddedCases
	}
	c, err := r.base(ctx, cases)
	if err != nil {
		return result{}, err
	}
	c.Candidate, c.Goldens = candidate, slices.Clone(c.Goldens)
	c.Match = func(step int, stage string) bool { // what was not recorded is not missing
		_, ok := candidate.Shape(step, stage)
		return ok
	}
	if rec, ok := candidate.(*harness.Recorder); ok && t.cutting != nil {
		if _, err := c.View(ctx, folder{rec}, align.Hints{}, nil); err != nil {
			return result{}, err
		}
	}
	report, err := diagnose.Compare(ctx, c)
	if err != nil {
		return result{}, err
	}
	found := result{explanations: report.Explanations, tensors: len(report.Replayed), shares: map[harness.Place]float64{}}
	for _, in := range report.Introduced {
		found.introduced = append(found.introduced, harness.Place{Step: in.Step, Stage: in.Stage})
	}
	for _, row := range report.Replayed {
		found.shares[row.Place] = row.Share()
		if row.Verdict == harness.ReplayUnknown {
			found.unknown++
		}
	}
	return found, nil
}
