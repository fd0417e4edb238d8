package diagnose

import (
	"context"
	"fmt"

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
func WithoutGolden(ctx context.Context, s *harness.Schedule, m *model.Model, candidate harness.Source, o Options) (*harness.Report, error) {
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
		row := p.Row
		st, _ := s.Stage(row.Stage)
		row.Checkpoint, row.Detail = st.Checkpoint, p.Why
		if row.GotShape == nil {
			row.GotShape, _ = candidate.Shape(row.Step, row.Stage)
		}
		if row.Shape == nil {
			row.Shape = row.GotShape
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
