package verify

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/report"
	"checkpoint12/model/parallel"
)

// An outcome holds what is kept of a case's run: not its tensors.
type outcome struct {
	findings []Finding        // of all checkpoints
	runs     []RunReport      // one for each golden
	quorum   *diagnose.Quorum // of the goldens with each other; nil of one alone
	rows     [][]int          // the tokens, prompt included

	// Of an engine:
	has      map[int]bool    // the checkpoints of which its dump has a stage
	report   *harness.Report // of its dump, by all goldens; nil if there was none to judge
	failure  *CaseError
	cannotDo bool
	notes    []string
	past     bool   // its cache is there at a step with a past, or it never has one
	choices  bool   // each choice of a case that is not padded is there
	early    string // in words, where whole steps are missing at the end
}

// run runs the case on the model's own choices and compares it with every golden and itself.
func (s *Suite) run(ctx context.Context, c *Case) (*outcome, error) {
	errs := make([]error, len(c.Goldens))
	parallel.For(len(errs), func(i int) { errs[i] = c.Goldens[i].open(s) })
	if err := cmp.Or(errs...); err != nil {
		return nil, err
	}
	run := gpt2.Run{Tokens: c.Tokens, New: c.New, Temperatures: s.temps, Tap: s.o.Tap}
	run.Match = func(step int, stage string) bool {
		return c.wanted(step, stage) || forSelfCheck(stage)
	}
	t, err := gpt2.RecordTrace(ctx, s.Model, run)
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", c.Name, err)
	}
	o := &outcome{rows: t.Tokens()}
	run.Match = c.wanted
	judged, err := s.compareAll(ctx, c, run, t, o)
	if err == nil {
		err = s.judgeGoldens(c, o)
	}
	if err == nil && s.o.Judged != nil && len(judged) > 0 {
		err = s.o.Judged(c.Name, asOne(judged, o.quorum))
	}
	if err != nil {
		return nil, err
	}
	self, err := s.selfCheck(c, t)
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", c.Name, err)
	}
	o.acceptSelf(s, self)
	text, err := s.endToEnd(ctx, c, t, append(self, o.findings...))
	if err != nil {
		return nil, err
	}
	self = slices.DeleteFunc(self, func(f Finding) bool { return f.Checkpoint == CheckpointCount })
	o.findings = slices.Concat(o.findings, self, text)
	return o, nil
}

// accepted returns why what fails at a place is passed over in each of the runs, or "".
func (o *outcome) accepted(s *Suite, at harness.Place) (why string) {
	st, _ := s.schedule.Stage(at.Stage)
	why = s.o.Bounds.Accepts(at, st.IDs)
	for _, r := range o.runs {
		why = cmp.Or(why, r.Accepted(at))
		if row := r.Row(at); row != nil && row.Status.Diverges() && row.Accepted == "" {
			return ""
		}
	}
	return why
}

// acceptSelf passes over what fails in the run itself at places that are accepted.
func (o *outcome) acceptSelf(s *Suite, found []Finding) {
	for i, f := range found {
		if f.Failed {
			found[i] = f.accept(o.accepted(s, harness.Place{Step: f.Step, Stage: f.Stage}))
		}
	}
}

// compareAll compares a run with each golden of the case. The run is made again on the
// tokens of a golden that was fed others, so that a near tie ends no comparison, and
// with a golden's values forced on it if it diverges.
func (s *Suite) compareAll(
	ctx context.Context, c *Case, run gpt2.Run, own *gpt2.Trace, o *outcome,
) (judged []diagnose.Judged, err error) {
	traces := map[string]*gpt2.Trace{} // by the tokens fed
	var forced []harness.Replayed
	var causes []harness.Explanation
	for _, g := range c.Goldens {
		t, feed := own, g.feed()
		for b, ids := range feed {
			if firstOther(own.Tokens()[b][g.prompt():], ids) >= 0 { // not what the model chose
				t = traces[fmt.Sprint(feed)]
			}
		}
		if t == nil {
			run.Feed, run.New = feed, g.manifest.New
			if t, err = gpt2.RecordTrace(ctx, s.Model, run); err != nil {
				return nil, fmt.Errorf("case %s, fed as %s: %w", c.Name, g.Dir, err)
			}
			traces[fmt.Sprint(feed)] = t
		}
		r, err := s.compare(g, t)
		if err != nil {
			return nil, err
		}
		if r.FirstDivergence != nil {
			if forced == nil { // the stages that are wrong are the model's, whichever golden is forced on it
				forced, causes, err = diagnose.SingleStep(ctx, s.Model, g.dump, len(c.Tokens[0]), s.temps, s.o.Tap, s.o.Bounds)
				if err != nil {
					return nil, fmt.Errorf("force the values of %s: %w", g.Dir, err)
				}
			}
			r.AddReplay(forced, gpt2.NewReplayer(s.Model, nil, gpt2.Float32).Reads)
			r.Explanations = append(r.Explanations, causes...)
		}
		r.Accept()
		found, err := s.findings(c, g, g.dump, t, r)
		if err != nil {
			return nil, err
		}
		o.runs, o.findings = append(o.runs, RunReport{s.Name, c.Name, g.Engine, r}), append(o.findings, found...)
		judged = append(judged, diagnose.Judged{
			Comparison: diagnose.Comparison{Schedule: s.schedule, Candidate: t, Precision: gpt2.Float32},
			Report:     r, Engines: []diagnose.EngineResult{{Engine: g.Engine, Source: g.dump, Report: r}},
		})
	}
	return judged, nil
}

// asOne returns the comparisons of a run with each golden as one result, first the one that
// fails or, if none does, the reference's.
func asOne(judged []diagnose.Judged, q *diagnose.Quorum) *diagnose.Result {
	first := max(0, slices.IndexFunc(judged, func(j diagnose.Judged) bool { return j.Engines[0].Engine == diagnose.Reference }))
	if i := slices.IndexFunc(judged, func(j diagnose.Judged) bool { return !j.Report.Passed() }); i >= 0 {
		first = i
	}
	main := judged[first]
	for i, j := range judged {
		if i != first {
			main.Engines = append(main.Engines, j.Engines[0])
		}
	}
	return &diagnose.Result{Report: main.Report, Engines: main.Engines, Quorum: q, Judged: []diagnose.Judged{main}}
}

// compare compares a run with a golden.
func (s *Suite) compare(g *Golden, t *gpt2.Trace) (*harness.Report, error) {
	r, err := harness.Compare(s.schedule, g.dump, t, harness.CompareOptions{RequireAll: true, Prompt: g.prompt(), Bounds: s.o.Bounds})
	if err != nil {
		return nil, &diagnose.GoldenError{Path: g.Dir, Err: err}
	}
	return r, nil
}

// wanted reports whether any golden wants the stage.
func (c *Case) wanted(step int, stage string) bool {
	return slices.ContainsFunc(c.Goldens, func(g *Golden) bool { return g.wants(step, stage) })
}

// findings turns the rows of a comparison with g, as golden is a view of, into findings.
func (s *Suite) findings(c *Case, g *Golden, golden, t harness.Source, r *harness.Report) ([]Finding, error) {
	var found []Finding
	for i := range r.Stages {
		row := &r.Stages[i]
		if !row.Status.Compared() && !(r.RequireAll && (row.Status == harness.Missing || s.o.Engine != nil)) {
			continue // the Go model was fed as each golden was
		}
		f := Finding{
			Checkpoint: row.Checkpoint, Case: c.Name, Engine: g.Engine, Step: row.Step, Stage: row.Stage,
			Elements: row.Elements, Share: harness.Float(row.Share()), Failed: row.Status != harness.Pass,
		}
		if row.Stage == "next_token" && c.parts == nil {
			var err error
			if f.Note, err = diagnose.Certainty(golden, t, row.Step); err != nil {
				return nil, &diagnose.GoldenError{Path: g.Dir, Err: err}
			}
		}
		if f.Failed {
			f.Detail, f.Own, f.Cause, f.Closer = detail(row), s.own(r, row), causeOf(r, row), s.closer(c, g)
			if row.Status == harness.Nonfinite && row.Worst != nil {
				f.Nonfinite = nonfinite(row.Worst.Got)
			}
			if row.Status == harness.Missing {
				f.Share = harness.Float(math.Inf(1))
			}
			if p := s.begin(r, row); p != row.Place {
				st, _ := s.schedule.Stage(p.Stage)
				f.Begin = fmt.Sprintf("%s, %s", p, Info(st.Checkpoint))
			}
		}
		found = append(found, f.acceptAt(r, row.Place))
	}
	return found, nil
}

// own returns a sentence on whether the stage of a row is correct for its own inputs, or "".
func (s *Suite) own(r *harness.Report, row *harness.Row) string {
	switch {
	case s.o.Engine == nil:
		return diagnose.OwnError(r, row)
	case r.IsOtherPoint(row.Place):
		return "it " + report.Wrongly(true)
	case row.Origin == harness.OriginIntroduced:
		return "replayed on its own inputs it comes out otherwise: its own computation is wrong"
	case row.Origin == harness.OriginInherited:
		return "replayed on its own inputs it is correct: the error came in with them"
	}
	return ""
}

// begin returns where a run with a failed row begins to diverge: at the first divergence
// or, if that is inherited, at an introduced one before it that the golden lacks.
func (s *Suite) begin(r *harness.Report, row *harness.Row) harness.Place {
	first := row.Place
	if r.FirstDivergence != nil {
		first = *r.FirstDivergence
	}
	if len(r.Introduced) > 0 && r.Row(first).Origin == harness.OriginInherited {
		wrong := harness.Place{Step: r.Introduced[0].Step, Stage: r.Introduced[0].Stage}
		if s.schedule.Compare(wrong, first) < 0 {
			return wrong
		}
	}
	return first
}

// causeOf returns the known fault that explains a row, at the first of its steps, or "".
func causeOf(r *harness.Report, row *harness.Row) string {
	for _, e := range r.Explanations {
		if e.Stage == row.Stage && row.Origin == harness.OriginIntroduced && e.Fault != "" && e.Explains > 0 {
			return report.Explained(e)
		}
	}
	return ""
}

// detail returns how a row failed.
func detail(row *harness.Row) string {
	_, d, _ := strings.Cut(row.String(), ": ")
	if row.Mismatched > 0 && row.Status != harness.Nonfinite {
		d += fmt.Sprintf("; difference %.3g absolute, %.3g of the largest value",
			float64(row.MaxAbs), float64(row.MaxRel))
	}
	return d
}

// judgeGoldens compares a case's goldens with each other, and marks failures that one of
// them is to blame for.
func (s *Suite) judgeGoldens(c *Case, o *outcome) error {
	if len(c.Goldens) < 2 {
		return nil
	}
	var engines []diagnose.EngineResult
	for i, g := range c.Goldens {
		engines = append(engines, diagnose.EngineResult{Engine: g.Engine, Source: g.dump, Report: o.runs[i].Report})
	}
	var err error
	if o.quorum, err = diagnose.NewQuorum(s.schedule, engines); err != nil {
		return fmt.Errorf("case %s: compare its goldens: %w", c.Name, err)
	}
	for i := range o.findings {
		f := &o.findings[i]
		if out := o.quorum.Outvoted(f.Engine, harness.Place{Step: f.Step, Stage: f.Stage}); f.Failed && out != nil {
			f.Outlier, f.Note, f.Cause = true, out.String(), ""
		}
	}
	return nil
}
