package report

import "checkpoint12/harness"

// A Finding is what is wrong with stages of one family for the same causes.
type Finding struct {
	Stage    string // or the family of stages
	Extent   string // layers and steps
	Places   []harness.Place
	Together string   // the stages that were judged together with it, and what to dump next
	Causes   []string // as Explained
	Distance string   // how far the worst of them is from what is correct for its inputs
	Accepted string   // why it is passed over; "" if it is not
}

// Findings returns the stages whose own computation is wrong, as Write lists them.
func Findings(r *harness.Report) (all []Finding) {
	p := newPrinter(nil, r, Options{})
	for i := range r.Stages {
		p.rows[r.Stages[i].Place] = &r.Stages[i]
	}
	for _, g := range p.groupIntroduced() {
		f := Finding{Stage: nameOf(g.places), Extent: extent(g.places), Places: g.places, Accepted: g.why}
		if len(g.missing) > 0 {
			f.Together = p.span(g)
		}
		for i, e := range p.causes(g.places[0]) {
			e.Text = p.causeText(g.places, i)
			f.Causes = append(f.Causes, Explained(e))
		}
		if g.worst != nil {
			f.Distance = distance(g.worst)
		}
		all = append(all, f)
	}
	return all
}
