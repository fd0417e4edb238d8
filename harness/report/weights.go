package report

import (
	"fmt"
	"regexp"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/internal/words"
)

// alike has the weights of one kind that differ in the same way.
type alike struct {
	first  harness.Weight
	scheme *harness.Scheme // of all, if each is quantised and nothing else
	n      int
	varied bool // their differences are in other words than the first's
}

var figures = regexp.MustCompile(`[0-9]+(\.[0-9]+)?(e-?[0-9]+)?`)

// groupWeights groups weights, those that are wrong first.
func groupWeights(all []harness.Weight) []*alike {
	var groups []*alike
	for _, wrong := range []bool{true, false} {
		for _, w := range all {
			if w.Status.Diverges() != wrong {
				continue
			}
			scheme := w.Quantised
			if scheme != nil && scheme.String() != w.Difference {
				scheme = nil
			}
			i := slices.IndexFunc(groups, func(g *alike) bool {
				same := g.scheme.With(scheme) != nil || scheme == nil && g.scheme == nil &&
					figures.ReplaceAllString(g.first.Difference, "") == figures.ReplaceAllString(w.Difference, "")
				return same && g.first.Status == w.Status && names.Family(g.first.Stage) == names.Family(w.Stage)
			})
			if i < 0 {
				groups = append(groups, &alike{first: w, scheme: scheme, n: 1})
				continue
			}
			groups[i].n++
			groups[i].varied = groups[i].varied || groups[i].first.Difference != w.Difference
			groups[i].scheme = groups[i].scheme.With(scheme)
		}
	}
	return groups
}

// WriteWeights writes the weights as loaded that are not the model's, and what they cost.
func WriteWeights(w *Writer, r *harness.Report) {
	if len(r.Weights) == 0 {
		return
	}
	w.Printf("\n%s\n", w.Bold("weights as loaded that are not the model's"))
	for _, g := range groupWeights(r.Weights) {
		name, text := g.first.Stage, g.first.Difference
		if g.scheme != nil {
			text = g.scheme.String()
		}
		if g.n > 1 {
			name = fmt.Sprintf("%s (%d)", names.Family(name), g.n)
			if g.scheme == nil && g.varied {
				text += ", and the like"
			}
		}
		label := Text(name)
		if g.first.Status.Diverges() {
			label = w.Red(name)
		}
		w.Printf("  %s: %s\n", label, text)
	}
	if c := r.Cost; c != nil && c.Logits > 0 {
		w.Printf("  what they cost: logits are up to %s from %s, %.2g%% of the largest, at step %d; %s\n",
			num(c.MaxAbs), c.Golden, 100*float64(c.MaxRel), c.Step, changed(c))
	}
}

// changed says which tokens weights change.
func changed(c *harness.WeightsCost) string {
	if len(c.Changed) == 0 {
		return fmt.Sprintf("none of %s changes", words.Count(c.Tokens, "token"))
	}
	first := c.Changed[0]
	return fmt.Sprintf("%d of %s change, the first at step %d: %d becomes %d",
		len(c.Changed), words.Count(c.Tokens, "token"), first.Step, first.Golden, first.Loaded)
}

// writeWeightsHeadline writes that the weights as loaded are wrong.
func (p *printer) writeWeightsHeadline(first *harness.Weight) {
	n := 0
	for _, w := range p.Weights {
		if w.Status.Diverges() {
			n++
		}
	}
	p.Printf("%s loads weight %s wrong", p.Candidate, p.Bold(first.Stage))
	if n > 1 {
		p.Printf(" (the first of %d)", n)
	}
	p.Printf(": %s\n", first.Difference)
	switch {
	case p.Compared == 0:
		p.Printf("      no stage was compared\n")
	case len(p.Introduced) == 0 || p.Replayed == nil: // else said below
		p.Printf("      on the weights as loaded %d of %s outside tolerance of %s%s\n",
			p.bad, words.Count(p.Compared, "tensor"), p.Golden, p.unseen())
	}
}
