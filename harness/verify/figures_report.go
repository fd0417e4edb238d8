package verify

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"checkpoint12/harness"
)

// FigureReport is what was found by the figures of one kind from one source.
type FigureReport struct {
	Figure   string `json:"figure"` // the kind, such as logits
	Source   string `json:"source"`
	Verdict  string `json:"verdict"`  // "pass" or "fail"
	Compared int    `json:"compared"` // figures
	Worst    *Worst `json:"worst"`

	findings []Finding
}

// addFigure counts a finding if it is of a figure.
func (r *VerifyReport) addFigure(f Finding) {
	if f.Figure == "" {
		return
	}
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
	g.Worst = worse(g.Worst, &Worst{f.Case, f.Engine, f.Step, f.Stage, f.Share})
	g.findings = append(g.findings, f)
}

// summarizeWeights makes a report of what was found of the weights.
func (s *Suite) summarizeWeights(found []Finding) CheckpointReport {
	c := CheckpointReport{Checkpoint: Weights, Verdict: NotChecked}
	l := line{engine: Figures, why: s.WeightsUnknown()}
	for _, f := range found {
		l.add(f)
	}
	switch c.Compared = l.compared; {
	case l.failed > 0:
		c.Verdict = harness.VerdictFail
	case l.compared > 0:
		c.Verdict = harness.VerdictPass
	}
	if l.compared > 0 || l.why != "" {
		c.lines, c.Worst = []line{l}, l.worst
	}
	return c
}

// writeFigures names the source of every figure; verbose, every figure.
func (r *VerifyReport) writeFigures(b io.Writer, o TextOptions) {
	var sources []string
	for _, g := range r.Figures {
		if !slices.Contains(sources, g.Source) {
			sources = append(sources, g.Source)
		}
	}
	if len(sources) == 0 {
		return
	}
	fmt.Fprintln(b)
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, source := range sources {
		var kinds []string
		for _, g := range r.Figures {
			if g.Source == source {
				kinds = append(kinds, g.Figure)
			}
		}
		gap := "\t"
		if o.Verbose { // a line of its own, which does not widen the columns below it
			gap = ": "
		}
		fmt.Fprintf(tw, "figures: %s%s%s\n", strings.Join(kinds, ", "), gap, shorten(source, textWidth, o.Verbose))
		for _, g := range r.Figures {
			for _, f := range g.findings {
				if o.Verbose && g.Source == source {
					fmt.Fprintf(tw, "  %s\t%d values of %s\t%s\t%s\n", f.Figure, f.Elements, f.Stage, f.judged(), f.Note)
				} else if f.Checkpoint == Weights && f.Note != "" && !f.Failed && g.Source == source {
					fmt.Fprintf(tw, "  %s\t%s\n", f.Figure, f.Note)
				}
			}
		}
	}
	tw.Flush()
}

// judged is a finding in a word: how much of its bound it needs, or that it failed.
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
