package faults

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"checkpoint12/harness"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// Explain says of each introduced row why the engine's output is what it is. It
// returns, in the order of the rows and for each the best first, either
//
//   - the known faults whose variant gives what the engine gave, with the part of
//     the error that is gone when the variant stands in the place of the right
//     function. Several only if nothing at this place tells them apart; their
//     Text says so;
//   - or what the error looks like, under an id of a pattern (see the constants
//     Pattern...), or under the empty id where it looks like nothing.
//
// In a row whose span has several stages, the fault may sit in any of them; its
// Text says in which. rows may hold rows of any verdict; only the introduced ones
// are explained. run is the rerun of the candidate that judged them.
//
// Variants that cost many multiplications are all run on the first rows of a
// kind, and on the others only those that explained one of these; the result
// depends on the rows alone, not on time or threads.
func Explain(ctx context.Context, m *model.Model, candidate harness.Source, run *replay.Run, rows []harness.Replayed) ([]harness.Explanation, error) {
	s := &candidateRun{model: m, candidate: candidate, run: run}
	found := make([][]harness.Explanation, len(rows))
	groups := map[string]*rowGroup{}
	var order []*rowGroup
	for i, row := range rows {
		if row.Verdict != harness.ReplayIntroduced {
			continue
		}
		key := spanKind(row.Span)
		if groups[key] == nil {
			groups[key] = &rowGroup{candidateRun: s}
			order = append(order, groups[key])
		}
		groups[key].rows = append(groups[key].rows, i)
	}
	for _, group := range order {
		// The steps of one stage together: they read the same weights.
		slices.SortStableFunc(group.rows, func(a, b int) int { return strings.Compare(rows[a].Stage, rows[b].Stage) })
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, group := range order {
		g.Go(func() error {
			for _, i := range group.rows {
				if err := ctx.Err(); err != nil {
					return err
				}
				var err error
				if found[i], err = group.explain(rows[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(found...), nil
}

// spanKind is a span without its layers: rows of one kind have the same stages.
func spanKind(span []string) string {
	kinds := make([]string, len(span))
	for i, stage := range span {
		kinds[i] = kind(stage)
	}
	return strings.Join(kinds, " ")
}

// group is the rows of one kind, explained one after the other: what explained
// the first ones is tried first on the others.
type rowGroup struct {
	*candidateRun
	rows   []int
	causes []string // ids of the faults that explained a row
	kept   roundedMatrix
	spent  float64 // multiplications, on rows that were searched in full

	noisy   float64 // error as a part of the output where it was last found to be like noisyID
	noisyID string
	nearest match // of those that do not reproduce the row at work
}

const (
	// thorough is the part of the error from which on a variant is the cause
	// whatever is left. Where what is left is rounding, half is enough: then the
	// error itself was not much more than that. Between the two is a variant that
	// is right but for the few places, one of fifty at most, where a last bit of
	// float32 decides which way a value falls that is rounded to fewer bits.
	thorough, mostly, roughly = 0.999, 0.9, 0.5
	fallen                    = 50

	// heavy is from how many multiplications on a row is too dear to run every
	// variant on each of its kind, and budget how many multiplications are spent
	// on those of a kind that are searched in full: seconds for all kinds.
	heavy, budget = 1 << 20, 5e8

	// variants is about how many products all variants of a linear stage take.
	variants = 30
)

// explain explains one introduced row.
func (g *rowGroup) explain(row harness.Replayed) ([]harness.Explanation, error) {
	e, err := g.wrongRow(row)
	switch {
	case errors.Is(err, errShape):
		return []harness.Explanation{e.explainShape(g.candidateRun)}, nil
	case err != nil && e == nil:
		return []harness.Explanation{{Step: row.Step, Stage: row.Stage, Text: "not explained: " + err.Error()}}, nil
	case err != nil:
		return nil, err
	}
	g.nearest = match{}
	some := g.sample(e)
	cost := g.cost(some)
	full := cost < heavy || g.spent < budget
	if cost >= heavy && len(g.causes) > 0 {
		if best := g.try(some, g.known()); len(best) > 0 {
			return g.name(e, best), nil
		}
	}
	if full {
		if cost >= heavy {
			g.spent += variants * cost
		}
		best := g.try(some, catalogue)
		if len(best) == 0 {
			best = g.try(some, composites)
		}
		if len(best) > 0 {
			return g.name(e, best), nil
		}
	}
	return []harness.Explanation{g.pattern(e, full)}, nil
}

// known are the faults that explained a row of the group.
func (g *rowGroup) known() []Fault {
	var known []Fault
	for _, f := range slices.Concat(catalogue, composites) {
		if slices.Contains(g.causes, f.ID) {
			known = append(known, f)
		}
	}
	return known
}

// cost is about how many multiplications the row's right function takes.
func (g *rowGroup) cost(e *wrongRow) float64 {
	cfg, total := g.model.Config(), 0.0
	for _, stage := range e.Span {
		out, _ := model.Shape(cfg, stage, e.dims)
		n := float64(product(out))
		switch kind(stage) {
		case "attn.c_attn", "attn.c_proj", "mlp.c_fc", "logits":
			n *= float64(cfg.Embd)
		case "mlp.c_proj":
			n *= float64(cfg.Inner)
		case "attn.scores":
			n *= float64(cfg.Embd / cfg.Heads)
		case "attn.context":
			n *= float64(e.dims.P + e.dims.T)
		}
		total += n
	}
	return total
}

// match is what one fault makes of a row, at its best.
type match struct {
	fault    Fault
	stages   []string // where it sits, of the row's span
	variant  int
	left     distance // of the engine's output from the variant's
	explains float64
	from     int      // the first step at which it is made
	or       []string // single stages of the span where the fault leaves the same
}

// try runs faults on a row and returns those that reproduce it, the best first:
// the one with the least left, and those which nothing here tells from it.
func (g *rowGroup) try(e *wrongRow, faults []Fault) []match {
	var all []match
	for _, f := range faults {
		a, ok := g.best(e, f)
		switch {
		case !ok:
		case a.reproduces():
			all = append(all, a)
		case a.explains > g.nearest.explains:
			g.nearest = a
		}
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b match) int {
		switch {
		case a.left.less(b.left):
			return -1
		case b.left.less(a.left):
			return 1
		}
		return 0
	})
	best := all[0].left
	all = slices.DeleteFunc(all, func(a match) bool {
		return a.left.odd > best.odd || a.left.rms() > 1.5*best.rms()+unit*scale(e.got)
	})
	// Of equals the one that is made in its usual way is the likelier.
	slices.SortStableFunc(all, func(a, b match) int { return a.variant - b.variant })
	return all
}

// unit is half the distance between float32 numbers around 1.
const unit = 1.0 / (1 << 24)

// reproduces says whether the match is what the engine did.
func (a match) reproduces() bool {
	return a.left.odd == 0 && (a.explains >= thorough ||
		a.explains >= mostly && a.left.beyond <= a.left.n/fallen ||
		a.explains >= roughly && a.left.share <= 1)
}

// best is the fault at the place of the span, and in the variant, that leaves
// least of the row's error; false where it says nothing.
func (g *rowGroup) best(e *wrongRow, f Fault) (match, bool) {
	best, ok := match{fault: f}, false
	froms := []int{0}
	if len(e.Earlier) > 0 {
		froms = append(froms, e.Step) // the steps before may have been computed another way
	}
	for _, stages := range f.places(e.Span) {
		for _, from := range froms {
			s := g.hypothesis(e, f, stages, from)
			for variant := 0; variant == 0 || variant < s.most; variant++ {
				out := s.output(variant)
				if out == nil || between(out, e.right, nil).same() {
					continue
				}
				left := between(e.got, out, e.bound)
				switch {
				case !ok || left.less(best.left):
					best, ok = match{f, stages, variant, left, e.base.explains(left, e.noise), from, nil}, true
				case !best.left.less(left) && variant == best.variant && from == best.from && len(stages) == 1 && !slices.Contains(best.stages, stages[0]):
					best.or = append(best.or, stages[0])
				}
			}
		}
	}
	return best, ok
}
