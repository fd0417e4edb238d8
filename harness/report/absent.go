package report

import (
	"fmt"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/internal/words"
)

// firstSkipped returns the first row that was skipped, or nil.
func (p *printer) firstSkipped() *harness.Row {
	i := slices.IndexFunc(p.Stages, func(r harness.Row) bool { return r.Status == harness.Skipped })
	if i < 0 {
		return nil
	}
	return &p.Stages[i]
}

// writeSkipped writes from which step on nothing was compared, and why.
func (p *printer) writeSkipped() {
	first := p.firstSkipped()
	if first == nil {
		return
	}
	n := 0
	for i := range p.Stages {
		if p.Stages[i].Status == harness.Skipped {
			n++
		}
	}
	fmt.Fprintf(p, "\nskipped from step %d on, %s: %s\n", first.Step, words.Count(n, "tensor"), first.Detail)
	if p.Replayed != nil {
		fmt.Fprintln(p, "  these steps were replayed, but not compared with the golden")
	}
}

// writeMissing writes what the golden has and the candidate lacks.
func (p *printer) writeMissing() {
	if len(p.Missing) == 0 {
		return
	}
	fmt.Fprintf(p, "\nmissing from %s:\n", p.Candidate)
	var families []string
	places := map[string][]harness.Place{}
	for _, at := range p.Missing {
		family := names.Family(at.Stage)
		if places[family] == nil {
			families = append(families, family)
		}
		places[family] = append(places[family], at)
	}
	t := NewTable("", "")
	for _, family := range families {
		t.Row("  "+family, extent(places[family]))
	}
	p.Table(t)
}

// writeLeftOut writes what the golden lacks, as its manifest says.
func (p *printer) writeLeftOut() {
	if len(p.LeftOut) == 0 {
		return
	}
	fmt.Fprintf(p, "\nleft out of %s:\n", p.Golden)
	t := NewTable("", "")
	for _, l := range p.LeftOut {
		t.Row("  "+l.Stages, fmt.Sprintf("steps %s: %s", l.Steps, l.Reason))
	}
	p.Table(t)
}
