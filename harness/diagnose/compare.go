package diagnose

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/model"
)

// Comparison is a candidate and what there is to judge it by: a model, goldens, or
// both.
type Comparison struct {
	Schedule  *harness.Schedule
	Model     *model.Model   // nil: only what needs no weights is replayed
	Goldens   []EngineResult // of one case, by engine; their Reports are not read
	Candidate harness.Source
	harness.CompareOptions

	// Progress, if set, is called with how many stages of all are replayed.
	Progress func(done, all int)
}

// Result is what is wrong with a candidate. Its JSON is the report of the compare
// command.
type Result struct {
	*harness.Report
	Violations []Violation `json:"violations"`
	Tokens     *Tokens     `json:"tokens,omitempty"` // how certain they are; nil without a golden
	Quorum     *Quorum     `json:"quorum,omitempty"` // what several goldens say of each other

	Checked int            `json:"-"` // places judged for Violations
	Engines []EngineResult `json:"-"` // of Quorum
}

// Compare compares the candidate with its goldens. Of several the first that has
// anything in common with the candidate stands for all, but for the places at
// which it is the outlier.
//
// With a model each stage of the candidate is replayed on its own inputs, so that
// the report has the stages whose own computation is wrong, and why; where the
// candidate diverges from the golden before any of them, the golden is replayed
// too. Without a model the stages that need no weights are replayed for Violations.
// Without a golden the replay alone is the report.
//
// An error is what harness.Compare gives, a ModelError, a GoldenError, or a model
// that cannot compute.
func Compare(ctx context.Context, c Comparison) (*Result, error) {
	r := &Result{}
	var golden harness.Source
	err := c.checkModel()
	switch {
	case err != nil:
	case len(c.Goldens) == 0:
		r.Report, err = c.withoutGolden(ctx)
	case len(c.Goldens) == 1:
		golden = c.Goldens[0].Source
		r.Report, err = harness.Compare(c.Schedule, golden, c.Candidate, c.CompareOptions)
	default:
		if err = r.compareEngines(c); err == nil {
			golden = r.Engines[0].Source
		}
	}
	if err == nil && golden != nil && c.Model != nil {
		err = c.addReplay(ctx, golden, r.Report)
	}
	if err == nil {
		err = r.findViolations(ctx, c, golden)
	}
	if err == nil && golden != nil {
		r.Tokens, err = CertifyTokens(r.Report, golden, c.Candidate)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// compareEngines compares the candidate with each engine's golden. Engines that
// have nothing in common with the candidate are left out, unless that goes for
// all.
func (r *Result) compareEngines(c Comparison) error {
	var nothing error
	for _, g := range c.Goldens {
		var err error
		g.Report, err = harness.Compare(c.Schedule, g.Source, c.Candidate, c.CompareOptions)
		switch {
		case err == nil:
			r.Engines = append(r.Engines, g)
		case !errors.Is(err, harness.ErrNothingCompared):
			return err
		case nothing == nil:
			nothing = err
		}
	}
	if len(r.Engines) == 0 {
		return nothing
	}
	var err error
	if r.Quorum, err = NewQuorum(c.Schedule, r.Engines); err != nil {
		return err
	}
	first := r.Engines[0]
	r.Report = r.Quorum.report(r.Engines)
	r.Golden = fmt.Sprintf("%s (%s)", filepath.Dir(first.Source.Name()), strings.Join(r.Quorum.Engines, ", "))
	return nil
}
