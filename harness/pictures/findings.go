package pictures

import (
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/report"
	"checkpoint12/harness/report/page"
)

// findings returns what is wrong: stages, contradictions, weights and shapes.
func (b *builder) findings(run int) (all []page.Finding) {
	r := b.report
	show := func(f page.Finding, at harness.Place) {
		if f.Run, f.Cell = run, -1; b.stages != nil {
			if i, ok := b.cell(at); ok {
				f.Cell = i
			}
		}
		all = append(all, f)
	}
	for _, w := range r.Weights {
		if w.Status.Diverges() {
			show(page.Finding{Stage: w.Stage, Where: "weight as loaded", Causes: []string{w.Difference}}, w.Place)
		}
	}
	for _, g := range report.Findings(r) {
		f := page.Finding{Stage: g.Name, Where: g.Extent, Why: g.Accepted}
		for _, c := range g.Causes {
			f.Causes = append(f.Causes, c.Text)
		}
		for _, note := range []string{g.Together, g.Distance} {
			if note != "" {
				f.Notes = append(f.Notes, note)
			}
		}
		show(f, g.First)
	}
	for _, g := range contradictions(r) {
		v := r.Violations[g[0]]
		f := page.Finding{
			Stage: v.Stage, Where: fmt.Sprintf("step %d: the dump contradicts itself", v.Step),
			Causes: []string{v.Rule}, Notes: []string{v.Detail}, Why: v.Accepted,
		}
		if n := len(g) - 1; n > 0 {
			f.Notes = append(f.Notes, "and at "+words.Count(n, "more place"))
		}
		show(f, v.Place)
	}
	for i, at := range r.Unusable {
		if i == maxListed {
			break
		}
		show(page.Finding{Stage: at.Stage, Where: fmt.Sprintf("step %d", at.Step), Causes: []string{"its shape is none of the stage's"}}, at)
	}
	if at := r.FirstDivergence; at != nil && len(all) == 0 {
		f := page.Finding{Stage: at.Stage, Where: fmt.Sprintf("step %d: the first outside its tolerance", at.Step)}
		if row := r.Row(*at); row != nil {
			_, detail, _ := strings.Cut(row.String(), ": ")
			f.Notes = []string{detail}
		}
		show(f, *at)
	}
	return all
}

// contradictions groups the violations of places that are not introduced, which are listed
// already, by the family of their stage and the rule.
func contradictions(r *harness.Report) (groups [][]int) {
	listed := map[harness.Place]bool{}
	for _, in := range r.Introduced {
		listed[harness.Place{Step: in.Step, Stage: in.Stage}] = true
	}
	for i, v := range r.Violations {
		if listed[v.Place] {
			continue
		}
		k := slices.IndexFunc(groups, func(g []int) bool {
			o := r.Violations[g[0]]
			return names.Family(o.Stage) == names.Family(v.Stage) && o.Accepted == v.Accepted &&
				strings.ReplaceAll(o.Rule, names.Layer(o.Stage), "") == strings.ReplaceAll(v.Rule, names.Layer(v.Stage), "")
		})
		if k < 0 {
			k, groups = len(groups), append(groups, nil)
		}
		groups[k] = append(groups[k], i)
	}
	return groups
}
