package report

import (
	"fmt"
	"math"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
)

// stageTable has a row for each family of stages: over its layers and steps, how
// many tensors there are, how many are outside tolerance, and the worst of them.
func (p *printer) stageTable() *Table {
	columns := []string{"stage", ">compared", ">worst abs", ">worst rel", ">of tolerance", "worst at"}
	if p.FirstDivergence != nil {
		columns = append(columns, ">outside", "first outside at")
	}
	t := NewTable(columns...)
	var all []harness.Place
	for i := range p.Stages {
		all = append(all, p.Stages[i].Place)
	}
	for _, places := range families(all) {
		compared, bad := 0, 0
		var first, worst *harness.Row // that diverges; the largest error as a fraction of its tolerance
		for _, at := range places {
			row := p.rows[at]
			if !row.Status.Compared() {
				continue
			}
			compared++
			if row.Status.Diverges() {
				if bad++; first == nil {
					first = row
				}
			}
			if worst == nil || row.Share() > worst.Share() {
				worst = row
			}
		}
		name := names.Family(places[0].Stage)
		if worst == nil {
			t.Row(p.Yellow(name), "0")
			continue
		}
		cells := []string{name, fmt.Sprint(compared), num(worst.MaxAbs), num(worst.MaxRel), fraction(worst), worst.Place.String()}
		if worst.Status == harness.Shape {
			cells[2], cells[3] = "", ""
		}
		if first != nil {
			cells[0] = p.Red(name)
			cells = append(cells, fmt.Sprint(bad), first.Place.String())
		}
		t.Row(cells...)
	}
	return t
}

// rowTable has a row for each stage of each step.
func (p *printer) rowTable() *Table {
	t := NewTable(">step", "stage", "status", ">mismatched", ">max abs", ">max rel", ">rms", ">cosine", ">of tolerance")
	for i := range p.Stages {
		r := &p.Stages[i]
		status := string(r.Status)
		switch {
		case r.Status.Diverges():
			status = p.Red(status)
		case r.Status != harness.Pass:
			status = p.Yellow(status)
		}
		cells := []string{fmt.Sprint(r.Step), r.Stage, status}
		if r.Elements > 0 {
			cells = append(cells, fmt.Sprintf("%d/%d", r.Mismatched, r.Elements), num(r.MaxAbs), num(r.MaxRel),
				num(r.RMS), fmt.Sprintf("%.7f", float64(r.Cosine)), fraction(r))
		}
		t.Row(cells...)
	}
	return t
}

// fraction is the error as a fraction of its tolerance.
func fraction(r *harness.Row) string {
	switch s := r.Share(); {
	case r.Status == harness.Shape || r.Status == harness.Nonfinite:
		return string(r.Status)
	case math.IsInf(s, 0):
		return "inexact"
	case s == 0:
		return "exact"
	case s >= 1000:
		return fmt.Sprintf("%.1e", s)
	default:
		return fmt.Sprintf("%.3f", s)
	}
}
