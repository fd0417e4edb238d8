package faults

import (
	"context"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/fit"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
	"checkpoint12/model/parallel"
)

// A Cause is an explanation of an introduced row, with the means to test it on
// other rows.
type Cause struct {
	harness.Explanation

	// Values returns, for each stage that the cause sits in and that the candidate
	// lacks, the values it would have there; a nil Bound is that of the correct
	// stage. It is nil for a cause in no such stage.
	Values func() map[harness.Place]replay.Value

	// Or are causes in other stages, which the row itself cannot tell from this
	// one.
	Or []Cause

	// Twins are other causes that hold of the same rows: see WithTwins.
	Twins []Cause

	made    match // which it is
	factor  *factor
	numbers int    // that were read off a row
	event   bool   // it may begin at any step
	in      string // the part that it is in, at the row's step; "" for all
	alone   string // the Text without Twins; "" where there are none

	rounding float64 // what it may do to a value of the row

	last    int             // step of the run
	refutes map[string]bool // hypotheses on the stage at other steps, by relation, that fail here
}

// Explain finds the causes of the introduced rows. It returns, in the order of
// the rows and for each the best first, either
//
//   - the known faults that reproduce the engine's output, with the fraction of
//     the error that is gone when the fault stands in the place of the correct
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
// is tried first on the next. Once as many rows of a kind as mostSearches says have been
// searched in vain, the others are only held against what was found: the time that an
// unknown fault takes does not grow with the number of layers and steps. The
// result depends on the rows alone, not on time or threads. Faults of a kind in
// except are not tried.
func Explain(
	ctx context.Context, m *model.Model, candidate harness.Source,
	run *replay.Run, rows []harness.Replayed, except ...Kind,
) ([]Cause, error) {
	causes, err := NewExplainer(m, candidate, except...).Explain(ctx, run, rows, rows)
	var firsts []*Cause
	for i := range causes {
		if i == 0 || causes[i].Step != causes[i-1].Step || causes[i].Stage != causes[i-1].Stage {
			firsts = append(firsts, &causes[i])
		}
	}
	AcrossSteps(firsts)
	return causes, err
}

// An Explainer explains rows of one candidate as Explain does, and knows what it found before.
type Explainer struct {
	candidateRun
	groups map[string]*rowGroup

	// Steps of more positions than long are not searched; where says what was in their place.
	// 0 is any number.
	long  int
	where string
}

// NewExplainer returns an Explainer that tries faults of any kind but those in except.
func NewExplainer(m *model.Model, candidate harness.Source, except ...Kind) *Explainer {
	run := candidateRun{model: m, candidate: candidate, except: except, recoverer: new(fit.Recoverer)}
	return &Explainer{candidateRun: run, groups: map[string]*rowGroup{}}
}

// Learn takes over what another Explainer has found in a part of the same run, which the words
// name. Steps of more than so many positions are only held against that from then on.
func (x *Explainer) Learn(from *Explainer, positions int, words string) {
	x.long, x.where = positions, words
	for kind, g := range from.groups {
		x.groups[kind] = &rowGroup{Explainer: x, found: g.found, hypotheses: g.hypotheses, vain: g.vain, fitted: g.fitted, twinned: g.twinned}
	}
}

// isLong reports whether a row is of a step that is not searched.
func (x *Explainer) isLong(e *wrongRow) bool { return x.long > 0 && e.dims.T > x.long && e.some == e }

// Explain finds the causes of the introduced ones of some rows; run is the replay that judged
// all of them.
func (x *Explainer) Explain(ctx context.Context, run *replay.Run, all, some []harness.Replayed) ([]Cause, error) {
	again := x.run != nil && x.run != run
	x.run, x.judged = run, all
	var groups []*rowGroup
	for i, row := range some {
		if row.Verdict != harness.ReplayIntroduced {
			continue
		}
		kind := spanKind(row.Span)
		g := x.groups[kind]
		if g == nil {
			g = &rowGroup{Explainer: x}
			x.groups[kind] = g
		}
		if !slices.Contains(groups, g) {
			groups, g.rows = append(groups, g), nil
			if again { // other values may show what those before did not
				g.vain = [2]int{}
			}
		}
		g.rows = append(g.rows, i)
	}
	causes := make([][]Cause, len(some))
	parallel.For(len(groups), func(i int) {
		if failed := guarded(func() { groups[i].explain(ctx, some, causes) }); failed != "" {
			for _, row := range groups[i].rows {
				at := some[row]
				causes[row] = []Cause{{Explanation: harness.Explanation{Step: at.Step, Stage: at.Stage, Text: failed}}}
			}
		}
	})
	return slices.Concat(causes...), ctx.Err()
}

// guarded calls an explanation and returns "", or where a mistake in this program ends it what is said
// in its place: what is wrong of a dump does not depend on why. Lost memory is no such mistake.
func guarded(explain func()) (failed string) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if _, lost := p.(interface{ Addr() uintptr }); lost || p == parallel.ErrLost {
			panic(p)
		}
		var stack [64]uintptr
		frames, at, raised := runtime.CallersFrames(stack[:runtime.Callers(1, stack[:])]), runtime.Frame{}, false
		for more := true; more; {
			var f runtime.Frame
			f, more = frames.Next()
			if inRuntime := strings.HasPrefix(f.Function, "runtime."); inRuntime {
				raised = raised || f.Function == "runtime.gopanic" // of several the first is furthest down
			} else if raised {
				at, raised = f, false
			}
		}
		failed = fmt.Sprintf("no explanation: internal error at %s:%d, %v: please report it", filepath.Base(at.File), at.Line, p)
	}()
	explain()
	return ""
}

// spanKind returns a span without its layers: rows of one kind have the same stages.
func spanKind(span []string) string {
	kinds := make([]string, len(span))
	for i, stage := range span {
		kinds[i] = wordOf(stage)
	}
	return strings.Join(kinds, " ")
}

// A rowGroup is the rows of one kind, by step and layer.
type rowGroup struct {
	*Explainer
	rows  []int   // indices of those to explain
	since int     // the first step that has one
	found []Fault // those that explained one of them
	vain  [2]int  // searches in vain at steps without and with a past

	// fitted is how many rows were searched, by such steps, of which hypotheses hold and no fault of
	// the catalogue is the cause: as many as mostSearches are enough.
	fitted [2]int

	// twinned is how many rows that a fault of the catalogue explains were searched for others
	// that give the same, by such steps.
	twinned [2]int

	hypotheses []hypothesis // each of which holds of one of them

	ranks map[string]string // what lowRank says, by stage
}

// maxSearches is the number of rows of a kind that are searched in vain, of steps without
// and with a past each, since some faults show in one of the two alone. Three rows are
// as many layers, not all of which may have the fault; a row that is judged by several
// layers at once shows that of any, and the search takes the longer.
const maxSearches = 3

// mostSearches returns maxSearches, or 1 for a span of several layers.
func mostSearches(span []string) int {
	layers := map[int]bool{}
	for _, stage := range span {
		if name, ok := model.ParseStage(stage); ok && name.Layer >= 0 {
			layers[name.Layer] = true
		}
	}
	if len(layers) > 1 {
		return 1
	}
	return maxSearches
}

// An answer is what explains a row.
type answer struct {
	row    harness.Replayed
	causes []Cause         // the best first
	fits   map[int][]Cause // by hypotheses that hold; their causes go before the others
	tried  int             // hypotheses that were held against the row
	known  bool            // a fault of the catalogue, and no other, gives the output
}

// explain puts the causes of the group's rows in their places. Of the hypotheses that hold of a
// row it takes the one that holds of most rows, of these the one with the fewest numbers: one
// that a later row refutes gives way to one that none does. So does a fault of the catalogue.
func (g *rowGroup) explain(ctx context.Context, rows []harness.Replayed, causes [][]Cause) {
	if len(g.rows) > 0 {
		g.since = rows[g.rows[0]].Step
	}
	for _, i := range g.rows {
		g.since = min(g.since, rows[i].Step)
	}
	answers := map[int]*answer{}
	for _, i := range g.rows {
		if ctx.Err() == nil {
			answers[i] = g.answer(rows[i])
		}
	}
	for _, i := range g.rows {
		x := answers[i]
		if x == nil {
			continue
		}
		if x.tried < len(g.hypotheses) && ctx.Err() == nil {
			if e, err := g.wrongRow(rows[i]); err == nil && e.right != nil {
				maps.Copy(x.fits, g.held(e, x.tried))
			}
		}
	}
	for _, i := range g.rows {
		if x := answers[i]; x != nil && x.isOpen() && ctx.Err() == nil {
			g.tryOthers(x, answers)
		}
	}
	g.readings(answers)
	s := g.choosing(answers)
	for i, x := range answers {
		causes[i] = s.causes(x)
	}
}

// answer explains a row by itself.
func (g *rowGroup) answer(row harness.Replayed) *answer {
	x := &answer{row: row, fits: map[int][]Cause{}, tried: math.MaxInt}
	e, err := g.wrongRow(row)
	if err != nil {
		text := "not explained: " + err.Error()
		x.causes = []Cause{{Explanation: harness.Explanation{Step: row.Step, Stage: row.Stage, Text: text}}}
		return x
	}
	if e.right == nil {
		x.causes = []Cause{{Explanation: g.shape(e)}}
		return x
	}
	matches := g.matches(e.some, g.found)
	vain, fitted := &g.vain[min(e.dims.P, 1)], &g.fitted[min(e.dims.P, 1)]
	if len(matches) == 0 && *fitted >= mostSearches(e.Span) {
		if x.fits, x.tried = g.held(e, 0), len(g.hypotheses); len(x.fits) > 0 {
			return x
		}
	}
	may := !g.isLong(e)
	search := may && len(matches) == 0 && *vain < mostSearches(e.Span)
	e.untried = may && len(matches) == 0 && !search
	for _, faults := range [][]Fault{catalogue, ofFamily(g.model.Config()), composites} {
		if search && len(matches) == 0 {
			matches = g.matches(e.some, faults)
			g.remember(matches)
		}
	}
	if len(matches) > 0 {
		x.causes = g.describe(e, matches)
		if !x.causes[0].Rest {
			x.known, x.tried = true, 0
			if twinned := &g.twinned[min(e.dims.P, 1)]; may && g.mayHaveTwins(e, matches) && *twinned < mostSearches(e.Span) {
				*twinned++
				x.fits, x.tried = g.fits(e, true), len(g.hypotheses)
			}
			return x
		}
	}
	if e.full != nil && e.base.Share <= 1 {
		x.causes = []Cause{{Explanation: harness.Explanation{Step: row.Step, Stage: row.Stage, Text: padsAlone}}}
		return x
	}
	x.fits = g.fits(e, search || len(matches) > 0)
	if x.tried = len(g.hypotheses); len(x.fits) > 0 {
		*fitted++
		return x
	}
	if len(x.causes) > 0 {
		return x
	}
	if search {
		*vain++
	}
	x.causes = g.unknown(e)
	return x
}

// unknown describes a row that has no cause.
func (g *rowGroup) unknown(e *wrongRow) []Cause {
	x := Cause{Explanation: g.pattern(e)}
	if g.isLong(e) {
		x.Text += "; looked for in " + g.where + " alone"
	}
	x.Or = g.inResidual(e, x.Explanation)
	return []Cause{x}
}

// remember keeps faults that explain a row, which rows to come are held against first.
func (g *rowGroup) remember(matches []match) {
	for _, m := range matches {
		if !m.fault.isAmong(g.found) {
			g.found = append(g.found, m.fault)
		}
	}
}
