package pictures

import (
	"math"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/report/page"
)

// growth returns the error of the residual stream along the depth; nil without one.
func (b *builder) growth() *page.Growth {
	if len(b.layers) == 0 {
		return nil
	}
	report := b.layers[0].report
	if len(b.layers) > 1 {
		report = b.report
	}
	var g page.Growth
	at := map[string]int{}
	for _, st := range b.run.Stages {
		if st.Name == "embed" || strings.HasSuffix(st.Name, ".resid_post") {
			at[st.Name] = len(g.Stages)
			g.Stages = append(g.Stages, st.Name)
		}
	}
	if len(g.Stages) < 2 {
		return nil
	}
	g.Bound = make([]page.Num, len(g.Stages))
	for _, step := range b.run.Steps {
		line, known := page.Line{Step: step.N, Errors: make([]page.Num, len(g.Stages))}, false
		for i := range report.Stages {
			row := &report.Stages[i]
			k, ok := at[row.Stage]
			if !ok || row.Step != step.N || !row.Status.Compared() || row.Status == harness.WrongShape || !(row.Scale > 0) {
				continue
			}
			if line.Errors[k] = number(row.MaxRel); row.Status == harness.Nonfinite {
				line.Errors[k] = page.Num(math.Inf(1))
			}
			g.Bound[k] = page.Num(max(float64(g.Bound[k]), row.Tolerance.At(row.Scale)/row.Scale))
			known = true
		}
		if known {
			g.Lines = append(g.Lines, line)
		}
	}
	if len(g.Lines) == 0 {
		return nil
	}
	return &g
}
