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

// Question is a candidate and what there is to judge it by: a model, goldens, or
// both.
type Question struct {
	Schedule  *harness.Schedule
	Model     *model.Model   // nil: only what needs no weights is replayed
	Goldens   []EngineResult // of one case, by engine; their Reports are not read
	Candidate harness.Source
}

// Answer is what is wrong with a candidate. Its JSON is the report of the compare
// command.
type Answer struct {
	*harness.Report
	Violations []Violation `json:"violations"`
	Tokens     *Tokens     `json:"tokens,omitempty"` // how certain they are; nil without a golden
	Quorum     *Quorum     `json:"quorum,omitempty"` // what several goldens say of each other

	Checked int            `json:"-"` // places judged for Violations
	Engines []EngineResult `json:"-"` // of Quorum
}

// Compare compares the candidate with its goldens and replays it, without weights
// if there is no model. Of several goldens the first that has anything in common
// with the candidate stands for all, but for the places at which it is the
// outlier.
func Compare(ctx context.Context, q Question, o DiagnoseOptions) (*Answer, error) {
	if q.Model != nil {
		var goldens []harness.Source
		for _, g := range q.Goldens {
			goldens = append(goldens, g.Source)
		}
		if err := checkModel(q.Model, q.Candidate, goldens...); err != nil {
			return nil, err
		}
	}
	a := &Answer{}
	var golden harness.Source
	var err error
	switch {
	case len(q.Goldens) == 0:
		a.Report, err = WithoutGolden(ctx, q.Schedule, q.Model, q.Candidate, o)
	case len(q.Goldens) == 1:
		golden = q.Goldens[0].Source
		a.Report, err = harness.Compare(q.Schedule, golden, q.Candidate, o.CompareOptions)
	default:
		if err = a.compareEngines(q, o.CompareOptions); err == nil {
			golden = a.Engines[0].Source
		}
	}
	if err == nil && golden != nil && q.Model != nil {
		err = addReplay(ctx, q.Schedule, q.Model, golden, q.Candidate, a.Report, o)
	}
	if err != nil {
		return nil, err
	}
	var c *Contradictions
	if q.Model == nil {
		c, err = FindContradictions(ctx, q.Schedule, golden, q.Candidate, o.Progress)
	} else {
		c, err = ContradictionsOf(q.Model, a.Replayed, q.Candidate)
	}
	if err != nil {
		return nil, err
	}
	a.Violations, a.Checked = c.Violations, c.Checked
	if golden != nil {
		a.Tokens, err = CertifyTokens(a.Report, golden, q.Candidate)
	}
	return a, err
}

// compareEngines compares the candidate with each engine's golden. Engines that
// have nothing in common with the candidate are left out, unless that goes for
// all.
func (a *Answer) compareEngines(q Question, o harness.CompareOptions) error {
	var nothing error
	for _, g := range q.Goldens {
		var err error
		g.Report, err = harness.Compare(q.Schedule, g.Source, q.Candidate, o)
		switch {
		case err == nil:
			a.Engines = append(a.Engines, g)
		case !errors.Is(err, harness.ErrNothingCompared):
			return err
		case nothing == nil:
			nothing = err
		}
	}
	if len(a.Engines) == 0 {
		return nothing
	}
	var err error
	if a.Quorum, err = NewQuorum(q.Schedule, a.Engines); err != nil {
		return err
	}
	first := a.Engines[0]
	a.Report = a.Quorum.report(a.Engines)
	a.Golden = fmt.Sprintf("%s (%s)", filepath.Dir(first.Source.Name()), strings.Join(a.Quorum.Engines, ", "))
	return nil
}
