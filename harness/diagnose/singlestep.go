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
// computed from the golden's own inputs to it, judged by the golden's output
// within what rounding may do to two right engines, and then overwritten with
// that output, which the next stage reads. So no error flows on, and what is
// introduced is the stages of the model whose own computation is wrong. What the
// golden lacks is left as the model computes it, and judged as one with what
// reads it.
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
	f := &forcing{golden: golden, run: run, tap: tap}
	session, err := m.NewSession(model.SessionOptions{
		Batch: B, Length: prompt + last, Temperatures: temperatures, Tap: f.force,
	})
	if err != nil {
		return nil, err
	}
	for step := range last + 1 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		from, to := 0, prompt
		if step > 0 {
			from, to = prompt+step-1, prompt+step
		}
		var ids []int
		for b := range B {
			for _, id := range tokens.I64[b*L+from : b*L+to] {
				ids = append(ids, int(id))
			}
		}
		f.step = step
		if _, err := session.Step(ids); err != nil {
			return nil, fmt.Errorf("step %d: %w", step, err)
		}
		if f.err != nil {
			return nil, f.err
		}
	}
	return f.rows, nil
}

// forcing is a tap that judges each stage and puts the golden's value in its
// place.
type forcing struct {
	golden harness.Source
	run    *replay.Run
	tap    model.Tap
	step   int
	rows   []harness.Replayed
	err    error
}

func (f *forcing) force(stage string, shape []int, data []float32) {
	if f.tap != nil {
		f.tap(stage, shape, data)
	}
	at := harness.Place{Step: f.step, Stage: stage}
	if _, ok := f.golden.Shape(f.step, stage); !ok || f.err != nil {
		return
	}
	want, err := f.run.Input(f.step, stage)
	if err != nil {
		f.err = err
		return
	}
	got := harness.Tensor{Shape: slices.Clone(shape), F32: slices.Clone(data)}
	if want.IDs() {
		got.I64, got.F32 = make([]int64, len(data)), nil
		for i, id := range data {
			got.I64[i] = int64(id)
		}
	}
	row, err := f.run.Against(at, got)
	if err != nil {
		f.err = err
		return
	}
	f.rows = append(f.rows, row)
	if want.Elements() != len(data) {
		return
	}
	for i := range data {
		data[i] = float32(want.At(i))
	}
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

// ownError says what the stage of a row does with a golden's values forced on its
// inputs; "" if that was not tried.
func OwnError(r *harness.Report, row *harness.Row) string {
	i := slices.IndexFunc(r.Replayed, func(p harness.Replayed) bool { return p.Place == row.Place() })
	if i < 0 {
		return ""
	}
	switch p := &r.Replayed[i]; row.Origin {
	case harness.OriginIntroduced:
		if p.Bound > 0 {
			return fmt.Sprintf("with a golden's values forced on its inputs it is off by %.3g times what rounding does: its own computation is wrong", float64(p.Share))
		}
		return "with a golden's values forced on its inputs it is not the same: its own computation is wrong"
	case harness.OriginInherited:
		return "with a golden's values forced on its inputs it is right: what is wrong came in"
	case harness.OriginUnknown:
		return "with a golden's values forced on its inputs it cannot be judged: " + p.Why
	}
	return ""
}
