package verify

import (
	"context"
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/model"
)

// outcome is the result of a case's run for checkpoints 1 to 11, without its
// tensors.
type outcome struct {
	findings []Finding
	reports  []*harness.Report // one for each golden
	quorum   *diagnose.Quorum  // of the goldens with each other; nil of one alone
	trace    *gpt2.Trace       // of the run on the model's own choices; its stages let go
	self     *selfCheck
}

// run runs the case on the model's own choices and compares it with every golden.
func (s *Suite) run(ctx context.Context, c *Case) (*outcome, error) {
	for _, g := range c.Goldens {
		if err := g.open(s.schedule); err != nil {
			return nil, err
		}
	}
	o := &outcome{self: newSelfCheck(s.Model.Config(), c.New)}
	run := gpt2.Run{Tokens: c.Tokens, New: c.New, Temperatures: s.temps, Match: c.wanted}
	run.Tap = func(stage string, shape []int, data []float32) {
		if s.tap != nil {
			s.tap(stage, shape, data)
		}
		o.self.tap(stage, shape, data)
	}
	var err error
	if o.trace, err = gpt2.RecordTrace(ctx, s.Model, run); err != nil {
		return nil, fmt.Errorf("case %s: %w", c.Name, err)
	}
	run.Tap = s.tap
	if err := s.compare(ctx, c, run, o); err != nil {
		return nil, err
	}
	if err := s.judgeGoldens(c, o); err != nil {
		return nil, err
	}
	for _, f := range o.self.findings {
		f.Case = c.Name
		if f.Failed {
			f.Closer = s.closer(c, nil)
		}
		if f.Checkpoint < CheckpointCount {
			o.findings = append(o.findings, f)
		}
	}
	o.trace.Recorder = nil
	return o, nil
}

// compare compares a run with each golden of the case. Where a golden was fed other
// tokens than the model chose, the run is made again on those, so that a near tie
// ends no comparison. Where one diverges, the model is run once more with that
// golden's values forced on it.
func (s *Suite) compare(ctx context.Context, c *Case, run gpt2.Run, o *outcome) error {
	traces := map[string]*gpt2.Trace{} // by the tokens fed
	var forced []harness.Replayed
	var causes []harness.Explanation
	for _, g := range c.Goldens {
		t, feed := o.trace, g.forcedTokens()
		if key := fmt.Sprint(feed); !isPrefix(feed, t.Rows, len(c.Tokens[0])) {
			if t = traces[key]; t == nil {
				run.Feed, run.New = feed, g.manifest.New
				var err error
				if t, err = gpt2.RecordTrace(ctx, s.Model, run); err != nil {
					return fmt.Errorf("case %s, fed as %s: %w", c.Name, g.Dir, err)
				}
				traces[key] = t
			}
		}
		r, err := harness.Compare(s.schedule, g.dump, t, harness.CompareOptions{RequireAll: true, Prompt: len(c.Tokens[0])})
		if err != nil {
			return &diagnose.GoldenError{Path: g.Dir, Err: err}
		}
		if r.FirstDivergence != nil {
			if forced == nil { // the stages that are wrong are the model's, whichever golden is forced on it
				if forced, causes, err = diagnose.SingleStep(ctx, s.Model, g.dump, len(c.Tokens[0]), s.tap); err != nil {
					return fmt.Errorf("force the values of %s: %w", g.Dir, err)
				}
			}
			r.AddReplay(forced, gpt2.NewReplayer(s.Model, nil).Reads)
			r.Explanations = append(r.Explanations, causes...)
		}
		found, err := s.findings(c, g, t, r)
		if err != nil {
			return err
		}
		o.reports, o.findings = append(o.reports, r), append(o.findings, found...)
	}
	return nil
}

// wanted reports whether any golden has the stage, or needs it to be judged.
func (c *Case) wanted(step int, stage string) bool {
	return slices.ContainsFunc(c.Goldens, func(g *Golden) bool {
		if g.has(step, stage) {
			return true
		}
		return stage == "logits_last" && slices.ContainsFunc(g.dump.Stages(step), func(st string) bool {
			s, _ := model.ParseStage(st)
			return s.Temperature > 0
		})
	})
}

// isPrefix reports whether the rows, after the prompt, begin with the tokens to feed.
func isPrefix(feed, rows [][]int, prompt int) bool {
	for b, f := range feed {
		if len(rows[b]) < prompt+len(f) || !slices.Equal(f, rows[b][prompt:prompt+len(f)]) {
			return false
		}
	}
	return true
}

// findings turns the rows of a comparison into findings.
func (s *Suite) findings(c *Case, g *Golden, t *gpt2.Trace, r *harness.Report) ([]Finding, error) {
	var found []Finding
	for i := range r.Stages {
		row := &r.Stages[i]
		if row.Status == harness.Skipped {
			continue
		}
		f := Finding{
			Checkpoint: row.Checkpoint, Case: c.Name, Engine: g.Engine, Step: row.Step, Stage: row.Stage,
			Elements: row.Elements, Share: harness.Float(row.Share()), Failed: row.Status != harness.Pass,
		}
		if row.Stage == "next_token" {
			margin, err := diagnose.Certainty(g.dump, t, row.Step)
			if err != nil {
				return nil, &diagnose.GoldenError{Path: g.Dir, Err: err}
			}
			f.Note = margin
		}
		if f.Failed {
			f.Detail, f.Own, f.Cause = detail(row), diagnose.OwnError(r, row), causeOf(r, row)
			if row.Status == harness.Missing {
				f.Share = harness.Float(math.Inf(1))
			}
			if p := s.begin(r, row); p != row.Place {
				st, _ := s.schedule.Stage(p.Stage)
				f.Begin = fmt.Sprintf("%s, %s", p, Info(st.Checkpoint))
			}
			f.Closer = s.closer(c, g)
		}
		found = append(found, f)
	}
	return found, nil
}

// begin returns where the run that has a failed row begins to diverge: at the first
// divergence or, if that one inherits, at a stage before it that the golden lacks
// and that was computed wrong.
func (s *Suite) begin(r *harness.Report, row *harness.Row) harness.Place {
	first := row.Place
	if r.FirstDivergence != nil {
		first = *r.FirstDivergence
	}
	if len(r.Introduced) > 0 && r.Row(first).Origin == harness.OriginInherited {
		wrong := harness.Place{Step: r.Introduced[0].Step, Stage: r.Introduced[0].Stage}
		i, _ := s.schedule.Index(wrong.Stage)
		j, _ := s.schedule.Index(first.Stage)
		if wrong.Step < first.Step || wrong.Step == first.Step && i < j {
			return wrong
		}
	}
	return first
}

// causeOf returns the known fault that explains a row; "" if none does. A stage
// that is wrong at several steps was explained at the first of them.
func causeOf(r *harness.Report, row *harness.Row) string {
	for _, e := range r.Explanations {
		if e.Stage == row.Stage && row.Origin == harness.OriginIntroduced && e.Fault != "" && e.Explains > 0 {
			return fmt.Sprintf("%s: explains %.1f%%: %s", e.Fault, 100*float64(e.Explains), e.Text)
		}
	}
	return ""
}

// detail returns how a row failed.
func detail(row *harness.Row) string {
	switch row.Status {
	case harness.Missing:
		return "missing: the golden has it, the model ended before it"
	case harness.Shape:
		return fmt.Sprintf("shape %v, want %v", row.GotShape, row.Shape)
	}
	if row.Worst == nil || row.Mismatched == 0 {
		return row.Detail
	}
	d := fmt.Sprintf("%d of %d values are off; worst at %v: got %v, want %v\n  difference %.3g absolute, %.3g of the largest value; ",
		row.Mismatched, row.Elements, row.Worst.Index, row.Worst.Got, row.Worst.Want, float64(row.MaxAbs), float64(row.MaxRel))
	switch t := row.Tolerance; {
	case t.Abs == 0 && t.Rel == 0:
		d += "none allowed"
	case t.Rel == 0:
		d += fmt.Sprintf("%.3g allowed", row.Bound)
	default:
		d += fmt.Sprintf("%.3g allowed, %.3g + %.3g*max|want|", row.Bound, t.Abs, t.Rel)
	}
	if row.Tolerance.Reason != "" {
		d += ": " + row.Tolerance.Reason
	}
	if row.Detail != "" {
		d += "\n  " + row.Detail
	}
	return d
}
