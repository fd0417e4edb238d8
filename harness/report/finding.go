package report

import (
	"fmt"
	"strings"

	"checkpoint12/harness"
)

// A Finding is a stage whose own computation is wrong, in all layers and at all steps at which it is
// for the same causes.
type Finding struct {
	Name     string          // the stage's or, where the layers differ, the family's
	First    harness.Place   // of those that are wrong
	Places   []harness.Place // all of them
	Extent   string          // their layers and steps, in words
	Together string          // which stages it was judged together with; "" of one alone
	Causes   []Cause
	Distance string // how far it is from what its inputs give; "" if that is not known
	Accepted string // why it is passed over; "" if it is not

	OtherPoint bool // it is only dumped at another point than the schedule's
}

// Title says what is wrong, and where.
func (f Finding) Title() string {
	return fmt.Sprintf("%s %s: %s", f.Name, Wrongly(f.OtherPoint), f.Extent)
}

// A Cause of what is wrong. The Text begins with the Fault where that is known.
type Cause struct{ Fault, Text string }

// Findings returns what is wrong by itself, in order of first sight.
func Findings(r *harness.Report) []Finding { return newPrinter(nil, r, Options{}).findings() }

func (p *printer) findings() (all []Finding) {
	for _, g := range p.groupIntroduced() {
		f := Finding{Name: nameOf(g.places), First: g.places[0], Places: g.places, Extent: extent(g.places), Accepted: g.why}
		f.OtherPoint = p.IsOtherPoint(g.places[0])
		if len(g.missing) > 0 {
			f.Together = p.span(g)
		}
		for i, e := range p.causes(g.places[0]) {
			e.Text = p.causeText(g.places, i)
			f.Causes = append(f.Causes, Cause{e.Fault, Explained(e)})
		}
		if g.worst != nil {
			f.Distance = distance(g.worst)
		}
		all = append(all, f)
	}
	return all
}

// WriteVerdict writes the first lines of what Write does.
func WriteVerdict(w *Writer, r *harness.Report, o Options) { newPrinter(w, r, o).writeVerdict() }

// WriteMap writes the error by layer and stage, at the prompt and the worst step after it;
// of a model without layers nothing.
func WriteMap(w *Writer, r *harness.Report, o Options) { newPrinter(w, r, o).writeMaps() }

// AsText returns what a function writes, without colours, in lines of so many columns.
func AsText(columns int, write func(w *Writer)) string {
	var text strings.Builder
	w := NewWriter(&text, Style{Width: columns})
	write(w)
	_ = w.Flush() // to memory
	return text.String()
}
