package verify

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/report"
)

// FigureReport sums up the findings of one kind of figure from one source.
type FigureReport struct {
	Figure   string `json:"figure"` // the kind, such as logits
	Source   string `json:"source"`
	Verdict  string `json:"verdict"`  // "pass" or "fail"
	Compared int    `json:"compared"` // number of figures
	Worst    *Worst `json:"worst"`
}

// addFigure counts a finding if it is of a figure.
func (r *Report) addFigure(f Finding) {
	if f.Figure == "" {
		return
	}
	r.figures = append(r.figures, f)
	kind, _, _ := strings.Cut(f.Figure, ".")
	i := slices.IndexFunc(r.Figures, func(g FigureReport) bool { return g.Figure == kind && g.Source == f.Source })
	if i < 0 {
		i = len(r.Figures)
		r.Figures = append(r.Figures, FigureReport{Figure: kind, Source: f.Source, Verdict: harness.VerdictPass})
	}
	g := &r.Figures[i]
	g.Compared++
	if f.Failed {
		g.Verdict = harness.VerdictFail
	}
	g.Worst = worse(g.Worst, f)
}

// writeFigures writes the source of every figure; verbose, every figure.
func (r *Report) writeFigures(b *report.Writer, o TextOptions) {
	kinds := map[string][]string{} // by source
	for i, g := range r.Figures {
		if i == 0 {
			fmt.Fprintln(b)
		}
		kinds[g.Source] = append(kinds[g.Source], g.Figure)
	}
	for _, g := range r.Figures {
		if kinds[g.Source][0] != g.Figure {
			continue // with the source's first
		}
		t := report.NewTable("", "", "", "")
		for _, f := range r.figures {
			switch {
			case f.Source != g.Source:
			case o.Verbose:
				t.Row("  "+f.Figure, fmt.Sprintf("%s of %s", words.Count(f.Elements, "value"), f.Stage), f.judged(), f.Note)
			case f.Checkpoint == CheckWeights && f.Note != "" && !f.Failed:
				t.Row("  "+f.Figure, f.Note)
			}
		}
		fmt.Fprintf(b, "figures: %s: %s\n", strings.Join(kinds[g.Source], ", "), shorten(g.Source, textWidth, o.Verbose))
		b.Table(t)
	}
}

// judged returns how much of its tolerance a finding needs, or that it failed.
func (f Finding) judged() string {
	share := float64(f.Share)
	switch {
	case f.Failed && math.IsInf(share, 1):
		return "FAIL"
	case f.Failed:
		return "FAIL, " + percent(share)
	case share == 0:
		return "exact"
	}
	return percent(share)
}
