package faults

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"checkpoint12/harness"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// Cause is an explanation of an introduced row, with the means to test it on
// other rows.
type Cause struct {
	harness.Explanation

	// Values returns, for each stage that the cause sits in and that the candidate
	// lacks, the values it would have there; a nil Bound is that of the right
	// stage. It is nil for a cause in no such stage.
	Values func() map[harness.Place]replay.Value

	// Or are causes in other stages, which the row itself cannot tell from this
	// one.
	Or []Cause
}

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
// result depends on the rows alone, not on time or threads. Faults of a kind in
// except are not tried.
func Explain(ctx context.Context, m *model.Model, candidate harness.Source, run *replay.Run, rows []harness.Replayed, except ...Kind) ([]Cause, error) {
	c := &candidateRun{model: m, candidate: candidate, run: run, except: except}
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
		g.Go(func() error {
			for _, i := range group.rows {
				if err := ctx.Err(); err != nil {
					return err
				}
				causes[i] = group.explain(rows[i])
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(causes...), nil
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

// maxSearches is how many rows of a kind are searched in vain, of the prompt's step and
// of the later ones each, since some faults show in one of the two alone. Three rows are
// as many layers, not all of which may have the fault.
const maxSearches = 3

func (g *rowGroup) explain(row harness.Replayed) []Cause {
	e, err := g.wrongRow(row)
	if err != nil {
		return []Cause{{Explanation: harness.Explanation{Step: row.Step, Stage: row.Stage, Text: "not explained: " + err.Error()}}}
	}
	if e.right == nil {
		return []Cause{{Explanation: g.shape(e)}}
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
		return g.describe(e, matches)
	}
	if search {
		*vain++
	}
	unknown := Cause{Explanation: g.pattern(e, search)}
	unknown.Or = g.inResidual(e, unknown.Explanation)
	return []Cause{unknown}
}

// remember keeps faults that explain a row, to try them on the rows to come.
func (g *rowGroup) remember(matches []match) {
	for _, m := range matches {
		if !m.fault.isAmong(g.found) {
			g.found = append(g.found, m.fault)
		}
	}
}

// secondFault is how many times what rounding may do another fault leaves at least.
const secondFault = 3

// describe words the matches that reproduce a row.
func (g *rowGroup) describe(e *wrongRow, matches []match) []Cause {
	var ids []string
	for _, m := range matches {
		ids = append(ids, m.fault.ID)
	}
	var all []Cause
	for i, m := range matches {
		rest := ""
		others := slices.Delete(slices.Clone(ids), i, i+1)
		if len(others) > 0 {
			rest += fmt.Sprintf(" (which cannot be told from %s here)", strings.Join(others, ", "))
		}
		flips := m.fault.Kind == Precision && m.leavesFlips()
		if e.bound != nil && m.left.Share > secondFault && !flips {
			left := fmt.Sprintf("%.2g times the rounding bound", m.left.Share)
			if math.IsInf(m.left.Share, 1) {
				left = "where rounding changes nothing"
			}
			rest += " (what is left is " + left + ": look for a second fault once this one is fixed)"
		}
		x := g.cause(e, m, rest)
		for _, stage := range m.or {
			other := m
			other.stages = []string{stage}
			x.Or = append(x.Or, g.cause(e, other, rest))
		}
		if len(m.or) > 0 {
			x.Text += fmt.Sprintf(" (in %s it would give the same)", strings.Join(m.or, " or "))
		}
		all = append(all, x)
	}
	return all
}

// cause is a fault in the match's stages.
func (g *rowGroup) cause(e *wrongRow, m match, rest string) Cause {
	text := m.fault.Text + rest
	if m.from > 0 {
		text += " (from this step on: what earlier steps put into the cache is correct)"
	}
	if len(e.Span) > 1 {
		text = "in " + strings.Join(m.stages, ", ") + ": " + text
	}
	x := Cause{Explanation: harness.Explanation{
		Step: e.Step, Stage: e.Stage, Fault: m.fault.ID, Explains: harness.Float(m.explains), Text: text, At: m.stages,
	}}
	missing := slices.DeleteFunc(slices.Clone(m.stages), func(stage string) bool {
		_, there := g.candidate.Shape(e.Step, stage)
		return there
	})
	if len(missing) > 0 {
		x.Values = func() map[harness.Place]replay.Value {
			_, made := g.output(e, m)
			return made
		}
	}
	return x
}
