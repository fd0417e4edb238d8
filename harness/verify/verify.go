package verify

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
)

// VerifyOptions says what to verify and by what.
type VerifyOptions = Options

// NotChecked is the verdict of a checkpoint that there was nothing to check by.
const NotChecked = "not checked"

// VerifyReport is what Verify found. Its JSON is the contract's, and a little more.
type VerifyReport struct {
	Schema      int                `json:"schema"`
	Verdict     string             `json:"verdict"`  // "pass" or "fail"
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

	before  []CheckpointReport // what no checkpoint names: the weights, the embeddings
	seconds float64
}

// CheckpointReport is one checkpoint's part of a VerifyReport.
type CheckpointReport struct {
	Checkpoint int    `json:"checkpoint"`
	Verdict    string `json:"verdict"` // "pass", "fail", "not checked"
	Compared   int    `json:"compared"`
	Worst      *Worst `json:"worst"`
	Command    string `json:"command,omitempty"` // of one not checked: what would make what is missing

	lines []line
}

// Worst is where a checkpoint came nearest to its bound, or went furthest past it.
type Worst struct {
	Case   string        `json:"case"`
	Engine string        `json:"engine"`
	Step   int           `json:"step"`
	Stage  string        `json:"stage"`
	Share  harness.Float `json:"share"` // the error as a part of its bound
}

// TextReport is what one row of one case generated.
type TextReport struct {
	Case   string `json:"case"`
	Row    int    `json:"row"`
	Tokens []int  `json:"tokens"`
	Text   string `json:"text"`
}

// CaseQuorum is what the goldens of a case say of each other.
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

// NothingCheckedError says that a model has neither goldens nor figures.
type NothingCheckedError struct {
	Model   string // as reports name it
	Command string // what would make goldens
}

// Error is one line that ends with the command.
func (e *NothingCheckedError) Error() string {
	return fmt.Sprintf("%s: nothing to check by: no goldens and no published figures; to make goldens: %s", e.Model, e.Command)
}

// Verify runs all twelve checkpoints of a model. A divergence is in the report;
// an error means that something could not be said: no such model, a golden that
// cannot be used, nothing to check by.
func Verify(ctx context.Context, o VerifyOptions) (*VerifyReport, error) {
	s, err := Open(o)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Verify(ctx)
}

// Verify is Verify of a suite.
func (s *Suite) Verify(ctx context.Context) (*VerifyReport, error) {
	begin := time.Now()
	r := &VerifyReport{
		Schema: 1, Verdict: harness.VerdictPass, Model: s.Name,
		Failures: []Finding{}, Figures: []FigureReport{}, Texts: []TextReport{}, Runs: []RunReport{}, Quorums: []CaseQuorum{},
	}
	for n := Weights; n <= CheckpointCount; n++ {
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
			r.addFigure(f)
		}
		if n < 1 {
			r.before = append(r.before, c)
		} else {
			r.Checkpoints = append(r.Checkpoints, c)
		}
	}
	if r.First = s.first(r.Failures); r.First != nil {
		r.Verdict = harness.VerdictFail
	}
	if r.Compared == 0 || r.unchecked() == CheckpointCount {
		return nil, &NothingCheckedError{s.Name, s.MakeGoldens()}
	}
	var err error
	if r.Graft, err = s.prove(ctx, r.First); err != nil {
		return nil, err
	}
	for _, c := range s.Cases {
		if c.stages.quorum != nil {
			r.Quorums = append(r.Quorums, CaseQuorum{c.Name, c.stages.quorum})
		}
		for i, rep := range c.stages.reports {
			r.Runs = append(r.Runs, RunReport{s.Name, c.Name, c.Goldens[i].Engine, rep})
		}
		texts, err := s.Text(c.stages.trace.Rows)
		if err != nil {
			continue // checkpoint 12 has failed with it
		}
		for b, text := range texts {
			r.Texts = append(r.Texts, TextReport{c.Name, b, c.stages.trace.Rows[b], text})
		}
	}
	r.seconds = time.Since(begin).Seconds()
	return r, nil
}

// Failed says whether a divergence was found.
func (r *VerifyReport) Failed() bool { return r.Verdict == harness.VerdictFail }

// unchecked counts the checkpoints that were not checked.
func (r *VerifyReport) unchecked() (n int) {
	for _, c := range r.Checkpoints {
		if c.Verdict == NotChecked {
			n++
		}
	}
	return n
}

// line is one checkpoint's findings with one engine.
type line struct {
	engine           string
	compared, values int
	failed           int
	worst            *Worst
	certified, ties  int    // checkpoint 10: tokens by their margins
	why              string // of a line on which nothing was compared: the manifest's reason
}

// summarize makes one checkpoint's report of its findings. Where all there is
// comes from the model itself, it is "not checked": no golden and no figure has
// been seen.
func (s *Suite) summarize(n int, found []Finding) CheckpointReport {
	c := CheckpointReport{Checkpoint: n, Verdict: harness.VerdictPass}
	if n == Weights {
		return s.summarizeWeights(found)
	}
	failed, others := false, false
	for _, engine := range s.engines() {
		l := line{engine: engine}
		for _, f := range found {
			if f.Engine == engine {
				l.add(f)
			}
		}
		if l.compared == 0 {
			if engine == Self || engine == Figures {
				continue
			}
			l.why = s.leftOut(engine, n)
		}
		c.Compared += l.compared
		failed = failed || l.failed > 0
		others = others || l.compared > 0 && engine != Self
		c.Worst = worse(c.Worst, l.worst)
		c.lines = append(c.lines, l)
	}
	switch {
	case failed:
		c.Verdict = harness.VerdictFail
	case !others && (n < CheckpointCount || c.Compared == 0):
		c.Verdict, c.Command, c.Compared, c.Worst = NotChecked, s.MakeGoldens(), 0, nil
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
	switch {
	case f.Checkpoint != 10 || f.Engine == Self:
	case f.Note == diagnose.Certified:
		l.certified++
	case strings.HasPrefix(f.Note, diagnose.NearTie):
		l.ties++
	}
	l.worst = worse(l.worst, &Worst{f.Case, f.Engine, f.Step, f.Stage, f.Share})
}

// worse is the one with the larger share, the first of equals.
func worse(a, b *Worst) *Worst {
	if a == nil || b != nil && (b.Share > a.Share || math.IsNaN(float64(b.Share))) {
		return b
	}
	return a
}

// engines lists whose goldens there are, in the order in which cases name them,
// then what needs none.
func (s *Suite) engines() []string {
	var names []string
	seen := map[string]bool{}
	for _, c := range s.Cases {
		for _, g := range c.Goldens {
			if !seen[g.Engine] {
				seen[g.Engine] = true
				names = append(names, g.Engine)
			}
		}
	}
	return append(names, Figures, Self)
}

// leftOut is why none of an engine's goldens has a stage of the checkpoint.
func (s *Suite) leftOut(engine string, n int) string {
	for _, c := range s.Cases {
		for _, g := range c.Goldens {
			if why := g.leftOut(n, s.schedule); g.Engine == engine && why != "" {
				return why
			}
		}
	}
	return "its goldens have none of " + Describe(n).Stages
}

// MakeGoldens is the command that makes goldens of the model.
func (s *Suite) MakeGoldens() string {
	return "python3 scripts/regenerate_goldens.py --model " + s.argument
}
