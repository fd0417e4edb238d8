package diagnose

import (
	"context"
	"fmt"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/replay"
)

// replayer returns the Replayer of a source that the model is to judge.
func (c Comparison) replayer(src harness.Source) replay.Replayer {
	return gpt2.NewReplayer(c.Model, gpt2.DType(src))
}

func (c Comparison) replayOptions(golden harness.Source) replay.Options {
	return replay.Options{Golden: golden, Prompt: c.Prompt, Match: c.Match, Progress: c.Progress}
}

// addReplay adds the replay to a comparison with a golden, unless that was made
// from other weights.
func (c Comparison) addReplay(ctx context.Context, golden harness.Source, report *harness.Report) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	weights := make(chan error, 1) // hashing them takes as long as replaying a few steps
	go func() {
		err := checkWeights(c.Model, golden)
		if err != nil {
			cancel()
		}
		weights <- err
	}()
	err := c.judge(ctx, golden, report)
	if err == nil && goldenInDoubt(c.Schedule, report) {
		report.GoldenReplayed, err = replay.Judge(ctx, c.Schedule, golden, c.replayer(golden), c.replayOptions(nil))
	}
	if e := <-weights; e != nil {
		return e
	}
	return err
}

// judge replays every stage that the candidate has, explains those whose own
// computation is wrong, and adds both to the report.
func (c Comparison) judge(ctx context.Context, golden harness.Source, report *harness.Report) error {
	r := c.replayer(c.Candidate)
	run, err := replay.NewRun(c.Schedule, c.Candidate, r, c.replayOptions(golden))
	if err != nil {
		return err
	}
	rows, err := run.Judge(ctx)
	if err != nil {
		return err
	}
	causes, err := coverRows(run, rows, func(run *replay.Run, rows []harness.Replayed) ([]faults.Cause, error) {
		found, err := faults.Explain(ctx, c.Model, c.Candidate, run, rows)
		if err != nil {
			return nil, fmt.Errorf("explain: %w", err)
		}
		return found, nil
	})
	report.AddReplay(rows, r.Reads)
	report.Explanations = append(report.Explanations, causes...)
	return err
}

// goldenInDoubt reports whether the candidate diverges from the golden before any
// stage of its own is wrong.
func goldenInDoubt(s *harness.Schedule, r *harness.Report) bool {
	if r.FirstDivergence == nil || len(r.Introduced) == 0 {
		return r.FirstDivergence != nil
	}
	first, wrong := *r.FirstDivergence, r.Introduced[0]
	i, _ := s.Index(first.Stage)
	j, _ := s.Index(wrong.Stage)
	return r.Row(first).Origin == harness.OriginInherited && (first.Step < wrong.Step || first.Step == wrong.Step && i < j)
}
