package harness

import (
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness/internal/shapes"
	"checkpoint12/harness/internal/words"
)

// A RowReport is the report on a row of a batch.
type RowReport struct {
	Row *BatchRow
	*Report
}

// MergeRows returns one report on the batch: a row for each of its tensors, with what is
// worst of all rows of the batch. Places are the batch's, and what is wrong in several rows
// of the batch is wrong once. reads is as AddReplay takes it, nil where nothing was replayed.
//
// Keys at padding that are not masked are violations, make their stage's row fail and, where
// it was replayed, introduced.
func MergeRows(s *Schedule, reports []RowReport, reads func(stage string) []string) (*Report, error) {
	first := reports[0]
	r := *first.Report
	m := merging{
		schedule: s, rows: map[mergedPlace]*mergedRow{}, replayed: map[Place]*Replayed{}, unmasked: map[Place]bool{},
		refused: map[Place]bool{},
	}
	r.Violations, r.Explanations, r.Introduced, r.Notes, r.Cut = []Violation{}, []Explanation{}, []Introduced{}, nil, ""
	if cut := first.Row.padding.Cut; !cut.IsPrompt() {
		r.Cut = cut.String()
	}
	var goldens []string
	for _, x := range reports {
		if err := m.add(x); err != nil {
			return nil, err
		}
		for _, v := range x.Violations {
			if !m.unmasked[v.Place] && !slices.ContainsFunc(r.Violations, func(o Violation) bool { return o.Place == v.Place && o.Rule == v.Rule }) {
				v.Detail = fmt.Sprintf("row %d: %s", x.Row.padding.Row, v.Detail)
				r.Violations = append(r.Violations, v)
			}
		}
		for _, n := range x.Notes {
			if own := x.Cut != "" && strings.Contains(n, x.Cut) || strings.Contains(n, inDoubt); !own && !slices.Contains(r.Notes, n) {
				r.Notes = append(r.Notes, n)
			}
		}
		if !slices.Contains(goldens, x.Golden) && len(x.Stages) > 0 {
			goldens = append(goldens, x.Golden)
		}
		r.Checked, r.OtherWeights = max(r.Checked, x.Checked), r.OtherWeights || x.OtherWeights
	}
	r.Explanations = m.explanations(reports)
	r.accepted = m.accepted(reports)
	r.Violations = slices.Insert(r.Violations, 0, m.violations...)
	slices.SortStableFunc(r.Violations, func(a, b Violation) int { return s.Compare(a.Place, b.Place) })
	if r.Golden = words.And(goldens); len(goldens) > 3 {
		r.Golden = words.Some(goldens, 3)
	}
	r.Stages = nil
	for _, row := range m.rows {
		r.Stages = append(r.Stages, row.finish())
	}
	slices.SortFunc(r.Stages, func(a, b Row) int { return s.Compare(a.Place, b.Place) })
	var replayed []Replayed
	for _, p := range m.replayed {
		replayed = append(replayed, *p)
	}
	slices.SortFunc(replayed, func(a, b Replayed) int { return s.Compare(a.Place, b.Place) })
	if len(replayed) > 0 && reads != nil {
		r.AddReplay(replayed, reads)
	}
	r.noteDoubts()
	r.Judge()
	return &r, nil
}

// merging is what was merged so far.
type merging struct {
	schedule   *Schedule
	rows       map[mergedPlace]*mergedRow
	replayed   map[Place]*Replayed
	violations []Violation
	unmasked   map[Place]bool // of which a violation says that padding is not masked
	refused    map[Place]bool // that fail in some row of the batch in which they are not accepted
}

// A mergedPlace is a place of the candidate or of a golden, whose steps are others.
type mergedPlace struct {
	Place
	golden bool
}

// A mergedRow is the rows of one place.
type mergedRow struct {
	Row
	status Status   // the worst
	total  Distance // At counts in the batch's tensor
}

// worth orders statuses, the worst last.
var worth = []Status{Missing, Skipped, Pass, Fail, WrongShape, Nonfinite}

// add adds the rows of a report.
func (m *merging) add(x RowReport) error {
	for _, row := range x.Stages {
		at := mergedPlace{row.Place, row.OfGolden()}
		own, there := x.Row.part(row.Step, row.Stage)
		there = there && !at.golden
		shape, _ := x.Row.Source.Shape(row.Step, row.Stage)
		to := m.rows[at]
		if to == nil {
			to = &mergedRow{Row: row, status: row.Status, total: Distance{At: -1}}
			if there {
				to.Shape, to.GotShape = shape, shape
			}
			m.rows[at] = to
		}
		d := row.Distance
		if d.At >= 0 && there {
			d.At = shapes.Flat(own.index(x.Row.padding.Row, shapes.Index(d.At, row.Shape)), shape)
		}
		to.join(row, d)
		if !there || !x.Row.padding.Padded || own.queries < 0 || own.keys < 0 {
			continue
		}
		seen, err := x.Row.seen(row.Place, false)
		if err != nil {
			return err
		}
		if row.Status.Compared() && seen.N > 0 {
			pads := row
			if seen.fill(&pads); seen.Wrong > 0 {
				m.seen(x.Report, row.Place)
				pads.Detail = fmt.Sprintf("row %d: %s at padding are not masked", x.Row.padding.Row, words.Count(seen.Wrong, "value"))
				pads.Position = m.firstQuery(x.Row, row.Place, seen)
			}
			to.join(pads, seen)
		}
	}
	for _, p := range x.Replayed {
		m.addReplayed(x.Row, p)
	}
	return m.addUnmasked(x)
}

// join adds a row of the place, of which d is the distance.
func (to *mergedRow) join(row Row, d Distance) {
	if slices.Index(worth, row.Status) > slices.Index(worth, to.status) {
		to.status = row.Status
		to.Detail = row.Detail
	}
	if to.Detail == "" {
		to.Detail = row.Detail
	}
	if row.Position != nil && (to.Position == nil || *row.Position < *to.Position) {
		to.Position = row.Position
	}
	if to.Doubt == "" {
		to.Doubt = row.Doubt
	}
	if row.Status == WrongShape && to.GotShape == nil {
		to.GotShape = row.GotShape
	}
	before := to.total
	if to.total.join(d, row.Tolerance); d.N > 0 && (before.N == 0 || to.total.At != before.At) {
		to.Tolerance, to.Scale = row.Tolerance, row.Scale
	}
}

// finish returns the row of the place.
func (to *mergedRow) finish() Row {
	row := to.Row
	if to.total.N > 0 {
		to.total.fill(&row)
	}
	row.Status = to.status
	if row.Status.Diverges() {
		row.Doubt = ""
	} else if !row.OfGolden() {
		row.Position = nil
	}
	return row
}

// addReplayed adds the replay of a place: that the stage is wrong in one row of the batch
// says more than that it cannot be said in another, and this more than that it is clean.
func (m *merging) addReplayed(of *BatchRow, p Replayed) {
	own, there := of.part(p.Step, p.Stage)
	shape, _ := of.Source.Shape(p.Step, p.Stage)
	if there && p.Worst != nil && slices.Equal(p.Shape, own.shape) { // else it is the batch's already
		worst := *p.Worst
		worst.Index = own.index(of.padding.Row, worst.Index)
		p.Worst = &worst
	}
	if there && p.Status != WrongShape {
		p.Shape, p.GotShape = shape, shape
	}
	worth := func(p *Replayed) int {
		return slices.Index([]string{ReplayClean, ReplayUnknown, ReplayIntroduced}, p.Verdict)
	}
	old := m.replayed[p.Place]
	switch {
	case old == nil:
		m.replayed[p.Place] = &p
		return
	case worth(&p) > worth(old) || worth(&p) == worth(old) && p.Share() > old.Share():
		p.Elements, p.Mismatched = p.Elements+old.Elements, p.Mismatched+old.Mismatched
		m.replayed[p.Place] = &p
	default:
		old.Elements, old.Mismatched = p.Elements+old.Elements, p.Mismatched+old.Mismatched
	}
}

// addUnmasked adds a violation for each stage in which a key at padding is not masked.
func (m *merging) addUnmasked(x RowReport) error {
	if !x.Row.padding.Padded {
		return nil
	}
	for _, at := range m.schedule.Places(x.Row, nil) {
		p, ok := x.Row.part(at.Step, at.Stage)
		if !ok || p.queries < 0 || p.keys < 0 || m.unmasked[at] {
			continue
		}
		seen, err := x.Row.introduces(at)
		if err != nil {
			return err
		}
		if seen.Wrong == 0 {
			continue
		}
		m.unmasked[at] = true
		m.seen(x.Report, at)
		st, _ := m.schedule.Stage(at.Stage)
		shape, _ := x.Row.Source.Shape(at.Step, at.Stage)
		m.violations = append(m.violations, Violation{
			Place: at, Rule: "a key at padding is not masked",
			Detail: fmt.Sprintf("row %d: %d of %s at padding wrong, worst at %v: got %v, want %v", x.Row.padding.Row,
				seen.Wrong, words.Count(seen.N, "value"), shapes.Index(seen.At, shape), float32(seen.Got), st.Absent),
		})
	}
	return nil
}

// firstQuery returns the position of the query at which a key at padding is worst.
func (m *merging) firstQuery(r *BatchRow, at Place, seen Distance) *int {
	p, _ := r.part(at.Step, at.Stage)
	shape, _ := r.Source.Shape(at.Step, at.Stage)
	column := r.padding.Cut[at.Step].P + shapes.Index(seen.At, shape)[p.queries]
	if i := slices.Index(r.padding.Columns, column); i >= 0 {
		return &i
	}
	return nil
}
