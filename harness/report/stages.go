package report

import (
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
)

// stageTable has a row for each family of stages: over its layers and steps, how
// many tensors there are, how many are outside tolerance, and the worst of them.
func (p *printer) stageTable() *Table {
	type family struct {
		name          string
		compared, bad int
		first         *harness.Row // the first that diverges
		worst         *harness.Row // the largest error as a fraction of its tolerance
	}
	var families []*family
	for i := range p.Stages {
		row := &p.Stages[i]
		name := names.Family(row.Stage)
		at := slices.IndexFunc(families, func(f *family) bool { return f.name == name })
		if at < 0 {
			at = len(families)
			families = append(families, &family{name: name})
		}
		f := families[at]
		if !row.Status.Compared() {
			continue
		}
		f.compared++
		if row.Status.Diverges() {
			if f.bad++; f.first == nil {
				f.first = row
			}
		}
		if f.worst == nil || row.Share() > f.worst.Share() {
			f.worst = row
		}
	}
	columns := []string{"stage", ">compared", ">worst abs", ">worst rel", ">of tolerance", "worst at"}
	if p.FirstDivergence != nil {
		columns = append(columns, ">outside", "first outside at")
	}
	t := NewTable(columns...)
	for _, f := range families {
		w := f.worst
		if w == nil {
			t.Row(p.Yellow(f.name), "0")
			continue
		}
		cells := []string{f.name, fmt.Sprint(f.compared), num(float64(w.MaxAbs)), num(float64(w.MaxRel)), fraction(w), w.Place.String()}
		if w.Status == harness.Shape {
			cells[2], cells[3] = "", ""
		}
		if f.first != nil {
			cells[0] = p.Red(f.name)
			cells = append(cells, fmt.Sprint(f.bad), f.first.Place.String())
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
			cells = append(cells, fmt.Sprintf("%d/%d", r.Mismatched, r.Elements), num(float64(r.MaxAbs)), num(float64(r.MaxRel)),
				num(float64(r.RMS)), fmt.Sprintf("%.7f", float64(r.Cosine)), fraction(r))
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
