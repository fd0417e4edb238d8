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

// Compare compares the candidate with its goldens and replays it, without weights
// if there is no model. Of several goldens the first that has anything in common
// with the candidate stands for all, but for the places at which it is the
// outlier.
func Compare(ctx context.Context, c Comparison, o Options) (*Result, error) {
	if c.Model != nil {
		var goldens []harness.Source
		for _, g := range c.Goldens {
			goldens = append(goldens, g.Source)
		}
		if err := checkModel(c.Model, c.Candidate, goldens...); err != nil {
			return nil, err
		}
	}
	r := &Result{}
	var golden harness.Source
	var err error
	switch {
	case len(c.Goldens) == 0:
		r.Report, err = WithoutGolden(ctx, c.Schedule, c.Model, c.Candidate, o)
	case len(c.Goldens) == 1:
		golden = c.Goldens[0].Source
		r.Report, err = harness.Compare(c.Schedule, golden, c.Candidate, o.CompareOptions)
	default:
		if err = r.compareEngines(c, o.CompareOptions); err == nil {
			golden = r.Engines[0].Source
		}
	}
	if err == nil && golden != nil && c.Model != nil {
		err = addReplay(ctx, c.Schedule, c.Model, golden, c.Candidate, r.Report, o)
	}
	if err != nil {
		return nil, err
	}
	var found *Contradictions
	if c.Model == nil {
		found, err = FindContradictions(ctx, c.Schedule, golden, c.Candidate, o.Progress)
	} else {
		found, err = ContradictionsOf(c.Model, r.Replayed, c.Candidate)
	}
	if err != nil {
		return nil, err
	}
	r.Violations, r.Checked = found.Violations, found.Checked
	if golden != nil {
		r.Tokens, err = CertifyTokens(r.Report, golden, c.Candidate)
	}
	return r, err
}

// compareEngines compares the candidate with each engine's golden. Engines that
// have nothing in common with the candidate are left out, unless that goes for
// all.
func (r *Result) compareEngines(c Comparison, o harness.CompareOptions) error {
	var nothing error
	for _, g := range c.Goldens {
		var err error
		g.Report, err = harness.Compare(c.Schedule, g.Source, c.Candidate, o)
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
