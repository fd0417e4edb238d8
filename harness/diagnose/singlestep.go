package diagnose

import (
	"context"
	"fmt"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
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
// tap, if set, is called with each live buffer first.
func SingleStep(ctx context.Context, m *model.Model, golden harness.Source, prompt int, tap model.Tap) ([]harness.Replayed, error) {
	temperatures := temperaturesOf(golden)
	s := gpt2.Schedule(m.Config().Layers, temperatures)
	r := gpt2.NewReplayer(m, gpt2.DType(golden))
	run, err := replay.NewRun(s, golden, r, replay.Options{Prompt: prompt})
	if err != nil {
		return nil, err
	}
	tokens, steps := golden.Tokens(), golden.Steps()
	if tokens.Shape == nil || len(steps) == 0 {
		return nil, fmt.Errorf("%s: no tokens, or nothing to force", golden.Name())
	}
	B, L := tokens.Shape[0], tokens.Shape[1]
	last := min(steps[len(steps)-1], L-prompt)
	forced := gpt2.Run{New: last + 1, Temperatures: temperatures, Match: func(int, string) bool { return false }}
	for b := range B {
		var row []int
		for _, id := range tokens.I64[b*L:][:prompt+last] {
			row = append(row, int(id))
		}
		forced.Tokens, forced.Feed = append(forced.Tokens, row[:prompt]), append(forced.Feed, row[prompt:])
	}
	var rows []harness.Replayed
	o := gpt2.Override{Before: tap, Value: func(at harness.Place, live harness.Tensor) (harness.Tensor, error) {
		if _, ok := golden.Shape(at.Step, at.Stage); !ok {
			return harness.Tensor{}, nil
		}
		row, err := run.Against(at, live)
		if err != nil {
			return harness.Tensor{}, err
		}
		rows = append(rows, row)
		want, err := run.Input(at.Step, at.Stage)
		return want.Tensor, err
	}}
	forced.Tap = o.Tap
	if _, err := gpt2.RecordTrace(ctx, m, forced); err != nil {
		return nil, err
	}
	return rows, o.Err
}

// temperaturesOf lists the temperatures of a source's stages probs_t*.
func temperaturesOf(src harness.Source) []float64 {
	all := []float64{} // not nil, which would stand for Temperatures
	for _, step := range src.Steps() {
		for _, stage := range src.Stages(step) {
			if s, _ := model.ParseStage(stage); s.Temperature > 0 && !slices.Contains(all, s.Temperature) {
				all = append(all, s.Temperature)
			}
		}
	}
	return all
}

// OwnError returns a sentence on the stage of a row with a golden's values forced
// on its inputs, or "" if that was not tried.
func OwnError(r *harness.Report, row *harness.Row) string {
	i := slices.IndexFunc(r.Replayed, func(p harness.Replayed) bool { return p.Place == row.Place })
	if i < 0 {
		return ""
	}
	switch p := &r.Replayed[i]; row.Origin {
	case harness.OriginIntroduced:
		if p.Bound > 0 {
			return fmt.Sprintf("with a golden's values forced on its inputs it is off by %.3g times the rounding bound: its own computation is wrong", float64(p.Share))
		}
		return "with a golden's values forced on its inputs it is not the same: its own computation is wrong"
	case harness.OriginInherited:
		return "with a golden's values forced on its inputs it is right: what is wrong came in"
	case harness.OriginUnknown:
		return "with a golden's values forced on its inputs it cannot be judged: " + p.Why
	}
	return ""
}
