package pictures

import (
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/report/page"
)

// summaries returns the worst of each family of stages, in execution order.
func summaries(s *harness.Schedule, reports ...*harness.Report) (all []page.Summary) {
	at := map[string]int{}
	for _, r := range reports {
		for i := range r.Stages {
			row := &r.Stages[i]
			if !row.Status.Compared() {
				continue
			}
			family := names.Family(row.Stage)
			k, ok := at[family]
			if !ok {
				k, at[family] = len(all), len(all)
				all = append(all, page.Summary{Stage: family, Share: -1})
			}
			sum := &all[k]
			if sum.Compared++; row.Status.Diverges() {
				sum.Outside++
			}
			if share := page.Num(row.Share()); share > sum.Share {
				sum.Share, sum.At = share, row.Place.String()
			}
		}
	}
	order := map[string]int{}
	for i, st := range slices.Backward(s.Stages()) {
		order[names.Family(st.Name)] = i
	}
	slices.SortStableFunc(all, func(a, b page.Summary) int { return order[a.Stage] - order[b.Stage] })
	return all
}

// maxRows bounds the rows outside their bounds that a page lists.
const maxRows = 60

// outside returns the rows that are outside their bounds, and how many more there are.
func outside(run string, r *harness.Report) (rows []page.Row, more int) {
	for i := range r.Stages {
		row := &r.Stages[i]
		if !row.Status.Diverges() {
			continue
		}
		if len(rows) == maxRows {
			more++
			continue
		}
		own := map[string]string{harness.OriginIntroduced: "wrong itself", harness.OriginInherited: "inherited"}[row.Origin]
		if r.IsOtherPoint(row.Place) {
			own = "not used as it is dumped"
		}
		if row.Accepted != "" {
			own = strings.TrimPrefix(own+", accepted", ", ")
		}
		rows = append(rows, page.Row{
			Run: run, Place: row.Place.String(), Status: string(row.Status), Own: own,
			Error: page.Num(row.MaxAbs), Share: page.Num(row.Share()), Wrong: row.Mismatched, Of: row.Elements,
		})
	}
	return rows, more
}

// engines returns how many tensors are outside the tolerance of each engine's golden.
func (b *builder) engines() (table [][]string) {
	if len(b.layers) < 3 {
		return nil
	}
	table = [][]string{{"golden of", "compared", "outside", "worst, of tolerance", "at"}}
	for _, l := range b.layers[1:] {
		bad, worst := 0, (*harness.Row)(nil)
		for i := range l.report.Stages {
			row := &l.report.Stages[i]
			if row.Status.Diverges() {
				bad++
			}
			if row.Status.Compared() && (worst == nil || row.Share() > worst.Share()) {
				worst = row
			}
		}
		line := []string{l.name, fmt.Sprint(l.report.Compared), fmt.Sprint(bad), "", ""}
		if worst != nil {
			line[3], line[4] = fmt.Sprintf("%.3g", worst.Share()), worst.Place.String()
		}
		table = append(table, line)
	}
	return table
}
