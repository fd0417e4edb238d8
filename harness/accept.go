package harness

import (
	"maps"
	"slices"
	"strings"
)

// An acceptance is why a failure at a place is passed over.
type acceptance struct {
	rules     []int // by index, of Bounds
	inherited bool  // what is wrong came in with what these rules accept
}

// Accept passes over what the rules of Bounds accept, and judges again: stages whose own
// computation is wrong by the rule's fault, and those that only inherit from them, which a
// replay alone can tell. It comes after all that is to be judged was added.
func (r *Report) Accept() {
	if r.Bounds == nil {
		return
	}
	a := accepting{r, map[Place]*Row{}, map[Place]taint{}}
	r.accepted = map[Place]acceptance{}
	var all []Place
	for i := range r.Stages {
		if row := &r.Stages[i]; !row.OfGolden() {
			a.rows[row.Place] = row
			all = append(all, row.Place)
		}
	}
	for _, v := range r.Violations {
		all = append(all, v.Place)
	}
	for _, at := range append(all, r.Unusable...) {
		if rule, n := r.Bounds.first(at, a.rows[at] != nil && a.rows[at].IDs); rule.Accept && rule.Fault == "" {
			r.accepted[at] = acceptance{rules: []int{n}}
		}
	}
	for i := range r.Replayed {
		a.add(&r.Replayed[i])
	}
	r.Judge()
}

// AcceptAs passes over what another report on the same candidate does, and judges again.
func (r *Report) AcceptAs(o *Report) {
	r.Bounds, r.accepted = o.Bounds, o.accepted
	r.Judge()
}

// Accepted returns why a failure at a place of the candidate is passed over, or "".
func (r *Report) Accepted(at Place) string {
	var why []string
	for _, i := range r.accepted[at].rules {
		why = append(why, r.Bounds.Rules[i].Why)
	}
	return strings.Join(why, "; ")
}

// seen refuses a place that fails in the report on a row, unless it is accepted there.
func (m *merging) seen(r *Report, at Place) {
	if _, ok := r.accepted[at]; !ok {
		m.refused[at] = true
	}
}

// accepted returns what is accepted of the batch: what fails in no row of it but where it is
// accepted.
func (m *merging) accepted(reports []RowReport) map[Place]acceptance {
	all := map[Place]acceptance{}
	for _, x := range reports {
		for i := range x.Stages {
			if row := &x.Stages[i]; row.Status.Diverges() {
				m.seen(x.Report, row.Place)
			}
		}
		for _, in := range x.Introduced {
			m.seen(x.Report, Place{in.Step, in.Stage})
		}
		for _, v := range x.Violations {
			m.seen(x.Report, v.Place)
		}
		for at, a := range x.accepted {
			if old, ok := all[at]; !ok || old.inherited && !a.inherited {
				all[at] = a
			}
		}
	}
	maps.DeleteFunc(all, func(at Place, _ acceptance) bool { return m.refused[at] })
	return all
}

// Inherits reports whether what is wrong at a place, and accepted, only came in with what rules
// accept elsewhere.
func (r *Report) Inherits(p Place) bool { return r.accepted[p].inherited }

// acceptedPlaces returns the places at which a failure is passed over.
func (r *Report) acceptedPlaces() []Place {
	places := map[Place]bool{}
	for i := range r.Stages {
		places[r.Stages[i].Place] = places[r.Stages[i].Place] || r.Stages[i].Accepted != ""
	}
	for _, in := range r.Introduced {
		at := Place{in.Step, in.Stage}
		places[at] = places[at] || in.Accepted != ""
	}
	for _, v := range r.Violations {
		places[v.Place] = places[v.Place] || v.Accepted != ""
	}
	maps.DeleteFunc(places, func(_ Place, accepted bool) bool { return !accepted })
	return slices.Collect(maps.Keys(places))
}

// accepting follows what is wrong from stage to stage, in execution order.
type accepting struct {
	*Report
	rows   map[Place]*Row
	taints map[Place]taint
}

// A taint is where what may be wrong with a stage comes from.
type taint struct {
	rules []int // that accept it
	other bool  // it is not accepted
}

func (t taint) with(o taint) taint {
	t.other = t.other || o.other
	for _, n := range o.rules {
		if !slices.Contains(t.rules, n) {
			t.rules = append(slices.Clone(t.rules), n)
		}
	}
	return t
}

// add decides on the next place that was replayed.
func (a *accepting) add(p *Replayed) {
	var t taint
	for _, in := range p.Inputs {
		t = t.with(a.taints[in])
	}
	row := a.rows[p.Place]
	fails := row != nil && row.Status.Diverges()
	wrong := p.Verdict == ReplayIntroduced || p.Verdict == ReplayUnknown && (fails || row == nil)
	rule := a.ruleFor(p)
	switch {
	case rule >= 0:
		a.accepted[p.Place] = acceptance{rules: []int{rule}}
		if wrong || fails {
			t = t.with(taint{rules: []int{rule}})
		}
	case wrong:
		t.other = true
	case fails && len(t.rules) > 0 && !t.other && row.Origin == OriginInherited && row.Detail == "":
		a.accepted[p.Place] = acceptance{t.rules, true}
	case fails:
		t.other = true
	}
	a.taints[p.Place] = t
}

// ruleFor returns the rule that accepts a replayed place for itself, or -1. Of a span it may
// be that of the stages in which the cause sits.
func (a *accepting) ruleFor(p *Replayed) int {
	row := a.rows[p.Place]
	rule, n := a.Bounds.first(p.Place, p.IDs || row != nil && row.IDs)
	if rule.Accept && rule.Fault == "" {
		return n
	}
	if p.Verdict != ReplayIntroduced {
		return -1
	}
	for _, e := range a.Explanations {
		if e.Step != p.Step || e.Stage != p.Stage || e.Rest {
			continue
		}
		if rule.Accept && rule.Fault == e.Fault {
			return n
		}
		if n := a.ruleAt(e, e.At); n >= 0 {
			return n
		}
		for _, stage := range e.Or {
			if n := a.ruleAt(e, []string{stage}); n >= 0 {
				return n
			}
		}
	}
	return -1
}

// ruleAt returns the rule that accepts a cause in all of the stages, of several the last's;
// -1 if there is none.
func (a *accepting) ruleAt(e Explanation, stages []string) int {
	of := -1
	for _, stage := range stages {
		rule, n := a.Bounds.first(Place{e.Step, stage}, false)
		if !rule.Accept || rule.Fault != "" && rule.Fault != e.Fault {
			return -1
		}
		of = n
	}
	return of
}
