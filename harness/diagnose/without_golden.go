package diagnose

import (
	"context"
	"fmt"
	"math"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// WithoutGolden judges a candidate without a golden: each of its stages is
// replayed on its own inputs. The report's rows are the replays, each bound the
// rounding of its stage. Nothing in it shows that the candidate agrees with
// another engine. An error wraps harness.ErrNothingCompared where no stage could
// be judged.
func WithoutGolden(ctx context.Context, s *harness.Schedule, m *model.Model, candidate harness.Source, o DiagnoseOptions) (*harness.Report, error) {
	if err := checkModel(m, candidate); err != nil {
		return nil, err
	}
	r := gpt2.NewReplayer(m, gpt2.DType(candidate))
	run, err := replay.NewRun(s, candidate, r, replay.Options{Prompt: o.Prompt, Match: o.Match, Progress: o.Progress})
	if err != nil {
		return nil, err
	}
	rows, causes, err := judge(ctx, m, candidate, run)
	if err != nil {
		return nil, err
	}
	report := &harness.Report{
		Schema: 1, Introduced: []harness.Introduced{}, Explanations: append([]harness.Explanation{}, causes...),
		Golden: "the replay by " + m.Name(), Candidate: candidate.Name(),
		Notes: []string{candidate.Name() + ": no golden was compared: each stage is judged by its own inputs alone, and nothing says that another engine gives the same"},
	}
	why := "it has no stage"
	for _, p := range rows {
		row, err := replayRow(s, candidate, r, run, p)
		if err != nil {
			return nil, err
		}
		if row.Status == harness.Skipped {
			why = p.Why
		}
		report.Stages = append(report.Stages, row)
	}
	report.AddReplay(rows, r.Reads)
	if report.Compared == 0 {
		return nil, fmt.Errorf("%w: %s: no stage could be replayed: %s", harness.ErrNothingCompared, candidate.Name(), why)
	}
	return report, nil
}

// replayRow returns a replay as a row of a comparison with the replayed value.
func replayRow(s *harness.Schedule, candidate harness.Source, r replay.Replayer, run *replay.Run, p harness.Replayed) (harness.Row, error) {
	nan := harness.Float(math.NaN())
	st, _ := s.Stage(p.Stage)
	shape, _ := candidate.Shape(p.Step, p.Stage)
	row := harness.Row{
		Step: p.Step, Stage: p.Stage, Shape: shape, GotShape: shape, Status: p.Status, Checkpoint: st.Checkpoint,
		MaxAbs: nan, MaxRel: nan, RMS: nan, Cosine: nan, Mismatched: p.Mismatched, Elements: p.Elements, Worst: p.Worst,
		Tolerance: harness.Tolerance{Abs: float64(p.Bound), Reason: "what rounding may do in this stage on the candidate's inputs"},
		Scale:     math.NaN(), Bound: float64(p.Bound), Detail: p.Why,
	}
	if dims, ok := run.Dims(p.Step); ok && p.Status == harness.Shape {
		row.Shape = r.Shape(p.Stage, dims)
	}
	if math.IsNaN(row.Tolerance.Abs) || math.IsInf(row.Tolerance.Abs, 0) {
		row.Tolerance.Abs, row.Bound = 0, math.Inf(1) // JSON has no such number
	}
	if !row.Status.Compared() || row.Status == harness.Shape {
		return row, nil
	}
	got, err := candidate.Tensor(p.Step, p.Stage)
	if err != nil {
		return row, err
	}
	want := got // to within rounding
	if p.Status == harness.Fail || p.Status == harness.Nonfinite {
		right, err := run.Right(p.Step, p.Stage)
		if err != nil {
			return row, err
		}
		want = right.Tensor
	}
	measured, err := harness.CompareTensor(st, want, got, 0)
	if err != nil {
		return row, err
	}
	row.MaxAbs, row.Scale = p.MaxAbs, measured.Scale
	switch {
	case p.MaxAbs == 0:
		row.MaxRel, row.RMS, row.Cosine = 0, 0, 1
	case row.Status == harness.Pass:
		row.MaxRel = p.MaxAbs / harness.Float(measured.Scale)
	default:
		row.MaxRel, row.RMS, row.Cosine = p.MaxAbs/harness.Float(measured.Scale), measured.RMS, measured.Cosine
	}
	return row, nil
}
