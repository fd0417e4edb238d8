package diagnose

import (
	"context"
	"fmt"

	"checkpoint12/harness"
)

// withoutGolden judges a candidate without a golden: each of its stages is replayed
// on its own inputs. The report's rows are the replays, with the rounding bounds
// for tolerances. An error wraps harness.ErrNothingCompared if no stage could be
// judged.
func (c Comparison) withoutGolden(ctx context.Context) (*harness.Report, error) {
	name := c.Candidate.Name()
	report := &harness.Report{
		Schema: 1, Introduced: []harness.Introduced{}, Explanations: []harness.Explanation{},
		Golden: "the replay by " + c.Model.Name(), Candidate: name,
		Notes: []string{name + ": no golden was compared: each stage is judged by its own inputs alone, and nothing says that another engine gives the same"},
	}
	if err := c.judge(ctx, nil, report); err != nil {
		return nil, err
	}
	why := "it has no stage"
	for _, p := range report.Replayed {
		row := p.Row
		st, _ := c.Schedule.Stage(row.Stage)
		row.Checkpoint, row.Detail = st.Checkpoint, p.Why
		if row.GotShape == nil {
			row.GotShape, _ = c.Candidate.Shape(row.Step, row.Stage)
		}
		if row.Shape == nil {
			row.Shape = row.GotShape
		}
		if row.Status == harness.Skipped {
			why = p.Why
		}
		report.Stages = append(report.Stages, row)
	}
	report.AddReplay(report.Replayed, c.replayer(c.Candidate).Reads)
	if report.Compared == 0 {
		return nil, fmt.Errorf("%w: %s: no stage could be replayed: %s", harness.ErrNothingCompared, name, why)
	}
	return report, nil
}
