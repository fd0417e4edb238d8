// Package verify runs the twelve checkpoints of the Go model against goldens and
// published figures, or those of another engine, which a command runs, against goldens.
//
// [Open] finds a model and its goldens; [Suite.Check] runs one checkpoint and returns
// findings; [Suite.Verify] runs all twelve and returns a report. A divergence is a
// finding. An error says why a checkpoint could not be run: bad input, no weights, or a
// golden that is damaged or bound to other weights.
package verify

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/report/ci"
)

// NotChecked is the verdict of a checkpoint without a golden or a figure, and of a run in which
// nothing failed but a case could not be judged.
const NotChecked = "not checked"

// Report is the result of Verify. Its JSON is the contract's, and a little more.
type Report struct {
	Schema      int                `json:"schema"`
	Verdict     string             `json:"verdict"`  // "pass", "fail" or, of a run with [Report.Err] alone, "not checked"
	Compared    int                `json:"compared"` // stages compared and assertions made, of all checkpoints
	Model       string             `json:"model"`
	Checkpoints []CheckpointReport `json:"checkpoints"` // 1 to 12
	First       *Finding           `json:"first_failure"`
	Failures    []Finding          `json:"failures"` // in the order of the checkpoints
	Figures     []FigureReport     `json:"figures"`
	Texts       []TextReport       `json:"texts"`
	Runs        []RunReport        `json:"runs"`
	Quorums     []CaseQuorum       `json:"quorums"`         // of the cases with goldens of several engines
	Graft       *Graft             `json:"graft,omitempty"` // the proof of the first failure

	*EngineReport // nil of the Go model

	Accepted int `json:"accepted,omitempty"` // checks that fail and are passed over, by --bounds

	all     []CheckpointReport // from CheckWeights on
	judged  []*harness.Report  // of the Go model by each golden, of an engine by all
	bounds  *harness.Bounds    // by which it was judged
	figures []Finding          // of figures
	tests   []ci.Test          // of the checkpoints, and of an engine's runs
	seconds float64
}

// CheckpointReport is one checkpoint's part of a Report.
type CheckpointReport struct {
	Checkpoint int    `json:"checkpoint"`
	Verdict    string `json:"verdict"` // "pass", "fail", "not checked"
	Compared   int    `json:"compared"`
	Worst      *Worst `json:"worst"`
	Command    string `json:"command,omitempty"` // of one not checked: it makes the goldens that are missing

	lines []line
	why   string // it is not checked, though something was compared
}

// Worst is the place of a checkpoint's largest share of the tolerance.
type Worst struct {
	Case   string        `json:"case"`
	Engine string        `json:"engine"`
	Step   int           `json:"step"`
	Stage  string        `json:"stage"`
	Share  harness.Float `json:"share"` // the error as a fraction of its tolerance

	Nonfinite string `json:"nonfinite,omitempty"` // the value, if it is a NaN or an infinity that should be none
}

// FigureReport sums up the findings of one kind of figure from one source.
type FigureReport struct {
	Figure   string `json:"figure"` // the kind, such as logits
	Source   string `json:"source"`
	Verdict  string `json:"verdict"`  // "pass" or "fail"
	Compared int    `json:"compared"` // number of figures
	Worst    *Worst `json:"worst"`
}

// TextReport is the text generated from one row of one case.
type TextReport struct {
	Case   string `json:"case"`
	Row    int    `json:"row"`
	Tokens []int  `json:"tokens"`
	Text   string `json:"text"`
}

// CaseQuorum is the comparison of a case's goldens with each other.
type CaseQuorum struct {
	Case string `json:"case"`
	*diagnose.Quorum
}

// RunReport is the comparison of one case with one engine's golden.
type RunReport struct {
	Model  string `json:"model"`
	Case   string `json:"case"`
	Engine string `json:"engine"`
	*harness.Report
}

// Verify opens a model and runs all twelve checkpoints, as [Suite.Verify] does.
func Verify(ctx context.Context, o Options) (r *Report, err error) {
	s, err := Open(o)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	err = s.Model.Guard(func() (err error) {
		r, err = s.Verify(ctx)
		return err
	})
	return r, err
}

// Verify runs all twelve checkpoints. It returns an error, and no report, if a golden
// cannot be used or there is nothing to check by.
func (s *Suite) Verify(ctx context.Context) (*Report, error) {
	begin := time.Now()
	r := &Report{
		Schema: 1, Verdict: harness.VerdictPass, Model: s.Name,
		Failures: []Finding{}, Figures: []FigureReport{}, Texts: []TextReport{},
		Runs: []RunReport{}, Quorums: []CaseQuorum{},
	}
	if len(s.Cases) == 0 && s.o.Engine != nil {
		return nil, s.noGoldens()
	}
	for n := CheckWeights; n <= CheckpointCount; n++ {
		found, err := s.Check(ctx, n)
		if err != nil {
			return nil, err
		}
		c := s.summarize(n, found)
		r.Compared += c.Compared
		for _, f := range found {
			if f.Failed {
				r.Failures = append(r.Failures, f)
			}
			if f.Accepted != "" {
				r.Accepted++
			}
			r.addFigure(f)
		}
		r.all = append(r.all, c)
		r.tests = append(r.tests, s.tests(c, found)...)
	}
	r.Checkpoints = r.all[1-CheckWeights:]
	if r.First = s.first(r.Failures); r.First != nil {
		r.Verdict = harness.VerdictFail
	} else if s.o.Engine == nil && (r.Compared == 0 || r.unchecked() == CheckpointCount) {
		return nil, s.noGoldens()
	}
	var err error
	if s.o.Engine != nil {
		if r.EngineReport, err = s.engineReport(r); err != nil {
			return nil, err
		}
		r.tests = append(r.tests, s.runTests()...)
	}
	if err := s.checkBounds(r); err != nil {
		return nil, err
	}
	if r.Graft, err = s.prove(ctx, r.First); err != nil {
		return nil, err
	}
	for _, c := range s.Cases {
		if c.outcome.quorum != nil {
			r.Quorums = append(r.Quorums, CaseQuorum{c.Name, c.outcome.quorum})
		}
		r.Runs = append(r.Runs, c.outcome.runs...)
		for b, row := range c.outcome.rows {
			if text, err := s.tokenizer.Decode(row); err == nil { // else checkpoint 12 has failed with it
				r.Texts = append(r.Texts, TextReport{c.Name, b, row, text})
			}
		}
	}
	r.seconds = time.Since(begin).Seconds()
	return r, nil
}

// checkBounds returns an error for a rule of which no case compared a stage. A case that could
// not be judged might have.
func (s *Suite) checkBounds(r *Report) error {
	r.bounds = s.o.Bounds
	for _, c := range s.Cases {
		if c.outcome.report != nil {
			r.judged = append(r.judged, c.outcome.report)
			continue
		}
		for _, run := range c.outcome.runs {
			r.judged = append(r.judged, run.Report)
		}
	}
	if r.Err() != nil {
		return nil
	}
	return r.bounds.CheckUsed(r.judged...)
}

func (s *Suite) noGoldens() error {
	return fmt.Errorf("%s: there are no goldens and no published figures of it; to make goldens: %s",
		s.Name, s.MakeGoldens())
}

// addFigure counts a finding if it is of a figure.
func (r *Report) addFigure(f Finding) {
	if f.Figure == "" {
		return
	}
	r.figures = append(r.figures, f)
	kind, _, _ := strings.Cut(f.Figure, ".")
	i := slices.IndexFunc(r.Figures, func(g FigureReport) bool { return g.Figure == kind && g.Source == f.Source })
	if i < 0 {
		i = len(r.Figures)
		r.Figures = append(r.Figures, FigureReport{Figure: kind, Source: f.Source, Verdict: harness.VerdictPass})
	}
	g := &r.Figures[i]
	g.Compared++
	if f.Failed {
		g.Verdict = harness.VerdictFail
	}
	g.Worst = worse(g.Worst, f)
}

// Failed reports whether a divergence was found.
func (r *Report) Failed() bool { return r.First != nil }

// unchecked counts the checkpoints that were not checked.
func (r *Report) unchecked() (n int) {
	for _, c := range r.Checkpoints {
		if c.Verdict == NotChecked {
			n++
		}
	}
	return n
}

// line is one checkpoint's findings with one engine.
type line struct {
	engine                  string
	compared, values        int
	failed                  int
	failing                 []string // of a line for all engines of which some pass: those that do not
	engines, comparing      int      // of a line for all engines: how many they are, and which have anything to compare
	worst                   *Worst
	accepted                int
	tokens, certified, ties int    // checkpoint 10: with a margin, and by it certain, or a near tie
	why                     string // of a line on which nothing was compared: the manifest's reason
}

// summarize sums up the findings of one checkpoint. It is "not checked" if all of them
// are the model's own.
func (s *Suite) summarize(n int, found []Finding) CheckpointReport {
	c := CheckpointReport{Checkpoint: n, Verdict: harness.VerdictPass}
	failed, others := false, false
	for _, engine := range s.engines() {
		l := line{engine: engine}
		for _, f := range found {
			if f.Engine == engine {
				l.add(f)
				c.Worst = worse(c.Worst, f)
			}
		}
		if l.compared == 0 {
			if l.why = s.notCompared(engine, n, s.Cases); l.why == "" {
				continue
			}
		}
		c.Compared += l.compared
		failed = failed || l.failed > 0
		others = others || l.compared > 0 && engine != Self
		c.lines = append(c.lines, l)
	}
	switch {
	case failed:
		c.Verdict = harness.VerdictFail
	case (c.Compared > 0 || n == CheckpointCount) && s.tooShort(n) != "":
		c.Verdict, c.Compared, c.Worst, c.why = NotChecked, 0, nil, s.tooShort(n)
	case !others && (n < CheckpointCount || c.Compared == 0):
		c.Verdict, c.Compared, c.Worst = NotChecked, 0, nil
		if n > 0 && s.o.Engine == nil {
			c.Command = s.MakeGoldens()
		}
	}
	return c
}

// add counts a finding.
func (l *line) add(f Finding) {
	l.compared++
	l.values += f.Elements
	if f.Failed {
		l.failed++
	}
	if f.Accepted != "" {
		l.accepted++
	}
	if f.Stage == "next_token" && f.Note != "" {
		l.tokens++
		if f.Note == diagnose.Certified {
			l.certified++
		} else if strings.HasPrefix(f.Note, diagnose.NearTie) {
			l.ties++
		}
	}
	l.worst = worse(l.worst, f)
}

// worse returns the place of a finding if its share is larger, else w.
func worse(w *Worst, f Finding) *Worst {
	if w == nil || f.Share > w.Share || math.IsNaN(float64(f.Share)) {
		return &Worst{f.Case, f.Engine, f.Step, f.Stage, f.Share, f.Nonfinite}
	}
	return w
}

// engines returns the engines of the goldens, in the order of the cases, Figures and Self.
func (s *Suite) engines() []string {
	var names []string
	for _, c := range s.Cases {
		for _, g := range c.Goldens {
			if !slices.Contains(names, g.Engine) {
				names = append(names, g.Engine)
			}
		}
	}
	return append(names, Figures, Self)
}

// notCompared returns why nothing of some cases was compared with an engine, if it could have
// been: that the engine to judge dumps nothing of it or, of their manifests, the reason for all
// steps, else for some.
func (s *Suite) notCompared(engine string, n int, cases []*Case) string {
	switch {
	case n == CheckWeights && engine == Figures:
		return s.WeightsUnknown()
	case n == CheckWeights || engine == Figures || engine == Self:
		return ""
	case s.o.Engine != nil && slices.ContainsFunc(cases, func(c *Case) bool {
		return c.outcome != nil && c.outcome.report != nil && c.outcome.report.Cost != nil
	}):
		return "a run on the weights as loaded stands in for the goldens"
	case n == CheckpointCount && s.o.Engine != nil:
		return "no dump shows each choice: next_token, logits_last or logits does"
	case s.o.Engine != nil && !slices.ContainsFunc(cases, func(c *Case) bool { return c.outcome != nil && c.outcome.has[n] }):
		return "the engine dumps none of " + Info(n).Stages
	}
	reason := ""
	for _, c := range cases {
		for _, g := range c.Goldens {
			for _, l := range g.manifest.LeftOut {
				of := func(st harness.Stage) bool { return st.Checkpoint == n && names.Match(l.Stages, st.Name) }
				if g.Engine != engine || !slices.ContainsFunc(s.schedule.Stages(), of) {
					continue
				}
				if l.Steps == "all" {
					return l.Reason
				}
				reason = cmp.Or(reason, l.Reason)
			}
		}
	}
	if s.o.Engine != nil {
		return cmp.Or(reason, "its goldens and the dumps share none of "+Info(n).Stages)
	}
	return cmp.Or(reason, "its goldens have none of "+Info(n).Stages)
}

// MakeGoldens returns the command that makes goldens of the model.
func (s *Suite) MakeGoldens() string {
	command := "python3 scripts/regenerate_goldens.py --model " + words.Shell(words.Path(s.o.Model))
	if c := s.Model.Config(); c.Vocab < s.tokenizer.Size() || c.Positions < 11 { // the script's prompts do not fit
		prompt := []int{1 % c.Vocab, 2 % c.Vocab, 3 % c.Vocab}[:min(3, c.Positions)]
		command += fmt.Sprintf(" --case own%s --new %d",
			flags("--tokens", [][]int{prompt}), min(10, c.Positions-len(prompt)+1))
	}
	return command
}
