package diagnose

import (
	"context"
	"fmt"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// SingleStep runs a model with a golden's values forced on it: each stage is
// computed from the golden's inputs to it, judged by the golden's output within
// the rounding bound, and then overwritten with that output, which the next stage
// reads. So no error flows on, and a stage of the model is introduced only if its
// own computation is wrong. A stage that the golden lacks stays as the model
// computes it, and is of one span with those that read it.
//
// The explanations are of the first stage that is introduced, and of those that bounds
// accept by their cause. temperatures are those of the stages probs_t*. tap, if set, is
// called with each live buffer first.
func SingleStep(
	ctx context.Context, m *model.Model, golden harness.Source, prompt int, temperatures []float64, tap model.Tap,
	bounds *harness.Bounds,
) ([]harness.Replayed, []harness.Explanation, error) {
	s := gpt2.Schedule(m.Config().Layers, temperatures)
	r := &goldenReplayer{Replayer: gpt2.NewReplayer(m, golden, gpt2.Float32)}
	run, err := replay.NewRun(s, golden, r, replay.Options{Prompt: prompt, Bounds: bounds})
	if err != nil {
		return nil, nil, err
	}
	rerun, err := fedAs(golden, prompt)
	if err != nil {
		return nil, nil, err
	}
	var rows []harness.Replayed
	var wrong []wrongStage // outputs to be explained
	o := gpt2.Override{Before: tap, Value: func(at harness.Place, live harness.Tensor) (harness.Tensor, error) {
		if _, ok := golden.Shape(at.Step, at.Stage); !ok {
			return harness.Tensor{}, nil
		}
		row, err := run.Against(at, live)
		if err != nil {
			return harness.Tensor{}, err
		}
		rows = append(rows, row)
		asked := slices.ContainsFunc(row.Span, func(stage string) bool {
			return bounds.AskCause(harness.Place{Step: at.Step, Stage: stage})
		})
		if row.Verdict == harness.ReplayIntroduced && (len(wrong) == 0 || asked) {
			live.Shape, live.F32, live.I64 = slices.Clone(live.Shape), slices.Clone(live.F32), slices.Clone(live.I64)
			wrong = append(wrong, wrongStage{withStage{golden, at, live}, row})
		}
		want, err := run.Input(at.Step, at.Stage)
		return want.Tensor, err
	}}
	rerun.Temperatures, rerun.Tap = temperatures, o.Tap
	if _, err := gpt2.RecordTrace(ctx, m, rerun); err != nil {
		return nil, nil, err
	}
	if o.Err != nil {
		return rows, nil, o.Err
	}
	var causes []harness.Explanation
	for i := range wrong {
		found, err := r.explain(ctx, m, run, &wrong[i])
		if err != nil {
			return nil, nil, err
		}
		for _, cause := range found {
			causes = append(causes, cause.Explanation)
		}
	}
	return rows, causes, nil
}

// explain finds the causes of an output of the model that is introduced.
func (r *goldenReplayer) explain(ctx context.Context, m *model.Model, run *replay.Run, w *wrongStage) ([]faults.Cause, error) {
	r.at = harness.Place{}
	right, err := run.Right(w.at.Step, w.at.Stage)
	if err != nil {
		return nil, err
	}
	// The model's own function of the stage may be what is wrong.
	var except []faults.Kind
	if right.Allowed = (harness.Tolerance{}); replay.Measure(w.at, w.tensor, right).Verdict == harness.ReplayClean {
		except = append(except, faults.Precision) // gives the same wrong values with a few bits less
		r.at = w.at
		if r.want, err = w.Source.Tensor(w.at.Step, w.at.Stage); err != nil {
			return nil, err
		}
	}
	return faults.Explain(ctx, m, &w.withStage, run, []harness.Replayed{w.row}, except...)
}

// A wrongStage is the golden with an output of the model that is introduced, and its row.
type wrongStage struct {
	withStage
	row harness.Replayed
}

// fedAs returns a run of a model that is fed what the golden was, and records nothing.
func fedAs(golden harness.Source, prompt int) (gpt2.Run, error) {
	tokens := golden.Tokens()
	if tokens == nil || len(golden.Steps()) == 0 {
		return gpt2.Run{}, fmt.Errorf("%s: no tokens, or nothing to force", golden.Name())
	}
	last := min(harness.LastStep(golden), len(tokens[0])-prompt)
	r := gpt2.Run{New: last + 1, Match: func(int, string) bool { return false }}
	for _, row := range tokens {
		r.Tokens, r.Feed = append(r.Tokens, row[:prompt]), append(r.Feed, row[prompt:prompt+last])
	}
	return r, nil
}

// A goldenReplayer is a Replayer but for one stage, if any, of which it gives the golden's
// value.
type goldenReplayer struct {
	replay.Replayer
	at   harness.Place
	want harness.Tensor // nothing at first
}

// Replay computes a stage, in the shape of the golden's value where it gives that.
func (r *goldenReplayer) Replay(step int, stage string, in replay.Inputs) (replay.Value, error) {
	v, err := r.Replayer.Replay(step, stage, in)
	if err == nil && r.at == (harness.Place{Step: step, Stage: stage}) && slices.Equal(v.Shape, r.want.Shape) {
		v.Tensor = r.want
	}
	return v, err
}

// A withStage is a source with another tensor at one place.
type withStage struct {
	harness.Source
	at     harness.Place
	tensor harness.Tensor
}

// Shape returns the shape of what Tensor returns.
func (r *withStage) Shape(step int, stage string) ([]int, bool) {
	if r.at == (harness.Place{Step: step, Stage: stage}) {
		return r.tensor.Shape, true
	}
	return r.Source.Shape(step, stage)
}

// Tensor returns the other tensor at its place.
func (r *withStage) Tensor(step int, stage string) (harness.Tensor, error) {
	if r.at == (harness.Place{Step: step, Stage: stage}) {
		return r.tensor, nil
	}
	return r.Source.Tensor(step, stage)
}

// OwnError returns a sentence on the stage of a row with a golden's values forced
// on its inputs, or "" if that was not tried.
func OwnError(r *harness.Report, row *harness.Row) string {
	i := slices.IndexFunc(r.Replayed, func(p harness.Replayed) bool { return p.Place == row.Place })
	if i < 0 {
		return ""
	}
	const forced = "with a golden's values forced on its inputs it "
	switch p := &r.Replayed[i]; {
	case row.Origin == harness.OriginIntroduced && p.Tolerance.Abs > 0:
		return fmt.Sprintf("%sis off by %.3g times the rounding bound: its own computation is wrong", forced, p.Share())
	case row.Origin == harness.OriginIntroduced:
		return forced + "is not equal: its own computation is wrong"
	case row.Origin == harness.OriginInherited:
		return forced + "is correct: the error came in with its inputs"
	case row.Origin == harness.OriginUnknown:
		return forced + "cannot be judged: " + p.Why
	}
	return ""
}
