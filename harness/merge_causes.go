package harness

import (
	"cmp"
	"slices"
)

// explanations returns the causes of each place, as a row of the batch has them: one without
// padding, whose numbers have one reason less to be wrong, else one of which the first cause
// is named in most rows, else the one in which it explains most.
func (m *merging) explanations(reports []RowReport) []Explanation {
	byPlace := map[Place][]rowCauses{}
	for _, x := range reports {
		own := map[Place][]Explanation{}
		for _, e := range x.Explanations {
			at := Place{e.Step, e.Stage}
			own[at] = append(own[at], e)
		}
		for at, all := range own {
			byPlace[at] = append(byPlace[at], rowCauses{all, x.Row.padding.Padded})
		}
	}
	merged := []Explanation{}
	for _, rows := range byPlace {
		merged = append(merged, slices.MaxFunc(rows, func(a, b rowCauses) int { return a.compare(b, rows) }).causes...)
	}
	slices.SortStableFunc(merged, func(a, b Explanation) int {
		return m.schedule.Compare(Place{a.Step, a.Stage}, Place{b.Step, b.Stage})
	})
	return merged
}

// rowCauses are the causes of a place in a row of the batch, the best first.
type rowCauses struct {
	causes []Explanation
	padded bool
}

// compare is negative if b's causes are to be believed rather than a's, of the rows of a place.
func (a rowCauses) compare(b rowCauses, rows []rowCauses) int {
	worth := func(x rowCauses) (known, unpadded, times int) {
		first := x.causes[0].Fault
		for _, row := range rows {
			if row.causes[0].Fault == first {
				times++
			}
		}
		if first != "" {
			known = 1
		}
		if !x.padded {
			unpadded = 1
		}
		return known, unpadded, times
	}
	known, unpadded, times := worth(a)
	bKnown, bUnpadded, bTimes := worth(b)
	return cmp.Or(known-bKnown, unpadded-bUnpadded, times-bTimes, cmp.Compare(a.causes[0].Explains, b.causes[0].Explains))
}
