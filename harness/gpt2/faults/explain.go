package faults

import (
	"context"
	"errors"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"checkpoint12/harness"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// Explain finds the causes of the introduced rows. It returns, in the order of
// the rows and for each the best first, either
//
//   - the known faults that reproduce the engine's output, with the fraction of
//     the error that is gone when the fault stands in the place of the right
//     function. There are several only if nothing at this place tells them apart;
//     their Text says so;
//   - or what the error looks like, under an id of a pattern (see the constants
//     Pattern...), or under the empty id where it looks like nothing.
//
// In a row whose span has several stages, the fault may sit in any of them; its
// Text names the stage. rows may hold rows of any verdict. run is the replay of
// the candidate that judged them.
//
// Rows of one kind are explained one after the other, and a fault found in one
// is tried first on the next. Once maxSearches rows of a kind have been searched
// in vain, the others are only held against what was found: the time that an
// unknown fault takes does not grow with the number of layers and steps. The
// result depends on the rows alone, not on time or threads.
func Explain(ctx context.Context, m *model.Model, candidate harness.Source, run *replay.Run, rows []harness.Replayed) ([]Cause, error) {
	c := &candidateRun{model: m, candidate: candidate, run: run}
	groups := map[string]*rowGroup{}
	for i, row := range rows {
		if row.Verdict != harness.ReplayIntroduced {
			continue
		}
		kind := spanKind(row.Span)
		if groups[kind] == nil {
			groups[kind] = &rowGroup{candidateRun: c}
		}
		groups[kind].rows = append(groups[kind].rows, i)
	}
	causes := make([][]Cause, len(rows))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, group := range groups {
		g.Go(func() (err error) {
			for _, i := range group.rows {
				if err = ctx.Err(); err != nil {
					return err
				}
				if causes[i], err = group.explain(rows[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var all []Cause
	for _, c := range causes {
		all = append(all, c...)
	}
	return all, nil
}

// spanKind is a span without its layers: rows of one kind have the same stages.
func spanKind(span []string) string {
	kinds := make([]string, len(span))
	for i, stage := range span {
		kinds[i] = kind(stage)
	}
	return strings.Join(kinds, " ")
}

// rowGroup is the rows of one kind, by step and layer.
type rowGroup struct {
	*candidateRun
	rows  []int   // indices of the rows to explain
	found []Fault // those that explained one of them
	vain  [2]int  // searches in vain at step 0 and at later ones
}

// maxSearches is how many rows of a kind are searched in vain, of the prompt's
// step and of the later ones each, since there are faults that show in one of the
// two alone. Three rows are as many layers, not all of which may have the fault.
const maxSearches = 3

// explain explains one introduced row.
func (g *rowGroup) explain(row harness.Replayed) ([]Cause, error) {
	e, err := g.wrongRow(row)
	switch {
	case errors.Is(err, errShape):
		return []Cause{{Explanation: e.explainShape(g.candidateRun)}}, nil
	case err != nil && e == nil:
		return []Cause{{Explanation: harness.Explanation{Step: row.Step, Stage: row.Stage, Text: "not explained: " + err.Error()}}}, nil
	case err != nil:
		return nil, err
	}
	matches := g.try(e.some, g.found)
	vain := &g.vain[min(row.Step, 1)]
	search := len(matches) == 0 && *vain < maxSearches
	for _, faults := range [][]Fault{catalogue, composites} {
		if search && len(matches) == 0 {
			matches = g.try(e.some, faults)
			g.remember(matches)
		}
	}
	if len(matches) > 0 {
		return g.describe(e, matches), nil
	}
	if search {
		*vain++
	}
	unknown := Cause{Explanation: g.pattern(e, search)}
	unknown.Or = g.inResidual(e, unknown.Explanation)
	return []Cause{unknown}, nil
}

// remember keeps faults that explain a row, to try them on the rows to come.
func (g *rowGroup) remember(matches []match) {
	for _, m := range matches {
		if !m.fault.isAmong(g.found) {
			g.found = append(g.found, m.fault)
		}
	}
}
