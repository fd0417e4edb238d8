package diagnose

import (
	"context"
	"fmt"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// Options configure a diagnosis.
type Options struct {
	harness.CompareOptions

	// Progress, if set, is called after each stage that is replayed.
	Progress func(done, all int)
}

// Diagnose compares a candidate with a golden and replays each of its stages on
// its own inputs with the model's stage functions: the report then says which
// stages are themselves wrong, and why. If the two diverge before any stage of the
// candidate is wrong, the golden is replayed too. The schedule has all layers of
// the model. An error is one of harness.Compare, a ModelError, a GoldenError, or of
// a model that cannot compute.
func Diagnose(ctx context.Context, s *harness.Schedule, m *model.Model, golden, candidate harness.Source, o Options) (*harness.Report, error) {
	if err := checkModel(m, candidate, golden); err != nil {
		return nil, err
	}
	report, err := harness.Compare(s, golden, candidate, o.CompareOptions)
	if err != nil {
		return nil, err
	}
	return report, addReplay(ctx, s, m, golden, candidate, report, o)
}

// addReplay adds the replay to the report of a comparison, unless the golden is of
// other weights.
func addReplay(ctx context.Context, s *harness.Schedule, m *model.Model, golden, candidate harness.Source, report *harness.Report, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	weights := make(chan error, 1) // hashing them takes as long as replaying a few steps
	go func() {
		err := checkWeights(m, golden)
		if err != nil {
			cancel()
		}
		weights <- err
	}()
	err := replayed(ctx, s, m, golden, candidate, report, o)
	if e := <-weights; e != nil {
		return e
	}
	return err
}

// replayed adds the replay to the report of a comparison.
func replayed(ctx context.Context, s *harness.Schedule, m *model.Model, golden, candidate harness.Source, report *harness.Report, o Options) error {
	r := gpt2.NewReplayer(m, gpt2.DType(candidate))
	run, err := replay.NewRun(s, candidate, r, replay.Options{
		Golden: golden, Prompt: o.Prompt, Match: o.Match, Progress: o.Progress,
	})
	if err != nil {
		return err
	}
	rows, causes, err := judge(ctx, m, candidate, run)
	if err != nil {
		return err
	}
	report.AddReplay(rows, r.Reads)
	report.Explanations = append(report.Explanations, causes...)
	if goldenInDoubt(s, report) {
		report.GoldenReplayed, err = replayGolden(ctx, s, m, golden, o)
	}
	return err
}

// goldenInDoubt reports whether the two diverge before any stage of the candidate
// is wrong.
func goldenInDoubt(s *harness.Schedule, r *harness.Report) bool {
	if r.FirstDivergence == nil || len(r.Introduced) == 0 {
		return r.FirstDivergence != nil
	}
	first, wrong := *r.FirstDivergence, r.Introduced[0]
	i, _ := s.Index(first.Stage)
	j, _ := s.Index(wrong.Stage)
	return r.Row(first).Origin == harness.OriginInherited && (first.Step < wrong.Step || first.Step == wrong.Step && i < j)
}

// replayGolden judges a golden as a candidate is judged.
func replayGolden(ctx context.Context, s *harness.Schedule, m *model.Model, golden harness.Source, o Options) ([]harness.Replayed, error) {
	return replay.Judge(ctx, s, golden, gpt2.NewReplayer(m, gpt2.DType(golden)), replay.Options{Prompt: o.Prompt, Match: o.Match, Progress: o.Progress})
}

// judge replays every stage that the candidate has, and explains those whose own
// computation is wrong.
func judge(ctx context.Context, m *model.Model, candidate harness.Source, run *replay.Run) ([]harness.Replayed, []harness.Explanation, error) {
	rows, err := run.Judge(ctx)
	if err != nil {
		return nil, nil, err
	}
	causes, err := coverRows(run, rows, func(run *replay.Run, rows []harness.Replayed) ([]faults.Cause, error) {
		found, err := faults.Explain(ctx, m, candidate, run, rows)
		if err != nil {
			return nil, fmt.Errorf("explain: %w", err)
		}
		return found, nil
	})
	return rows, causes, err
}
