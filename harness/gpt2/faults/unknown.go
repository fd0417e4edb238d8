package faults

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/fit"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/harness/internal/words"
	"checkpoint12/model"
)

// nearEnough is the part of an error that a fault explains to be named though more is left.
const nearEnough = 0.95

// unexplained describes an error that nothing accounts for by what an engineer would look at
// next: how many values are wrong and by how much, in which part of the output, where most of
// the error is, and in which layers and steps the same stage is right.
func (g *rowGroup) unexplained(e *wrongRow, where string) string {
	var parts []string
	if sums := e.sums(); sums != "" {
		parts = append(parts, sums)
	}
	parts = append(parts, fmt.Sprintf("%d of %s wrong", e.Mismatched, words.Count(len(e.got), "value")))
	if where != "" {
		parts[len(parts)-1] += ", " + where
	}
	switch rms := math.Sqrt(e.base.SqDiff / cmp.Or(e.base.SqWant, 1)); {
	case e.base.Finite == 0:
		parts = append(parts, "none is finite on both sides")
	case rms >= 2:
		parts = append(parts, fmt.Sprintf("off by %.2g times the output's size", rms))
	case rms > 0:
		parts = append(parts, fmt.Sprintf("off by %.3g%% of the output's size", 100*rms))
	}
	if most := g.mostOfError(e); most != "" {
		parts = append(parts, most)
	} else {
		parts = append(parts, g.spread(e)...)
	}
	layers, steps := g.elsewhere(e.Place)
	if layers != nil {
		parts = append(parts, "the same stage is right in "+plural("layer", layers))
	}
	if steps != nil {
		parts = append(parts, "it is right at "+plural("step", steps))
	}
	parts = append(parts, e.unrecovered...)
	text := "no known fault and no fit gives this output: " + strings.Join(parts, "; ")
	if e.untried {
		text = "no fault or fit that was found in other rows gives this output, and others were not tried: " + strings.Join(parts, "; ")
	}
	near := e.some.nearest
	if near.explains >= nearEnough && near.left.Nonfinite == 0 && slices.Equal(near.stages, []string{e.Stage}) {
		name := near.fault.ID
		if near.fault.relation != "" {
			name = near.fault.Text
		}
		text += fmt.Sprintf("; nearest is %s, which leaves %.2g times the rounding bound", name, near.beyond)
	}
	return text
}

// sums says what rows of probabilities sum to, where that is not 1; "" else.
func (e *wrongRow) sums() string {
	if word := wordOf(e.Stage); word != "attn.probs" && !strings.HasPrefix(word, "probs_t") || len(e.shape) == 0 || len(e.Span) > 1 {
		return ""
	}
	sum := func(x []float32) (s float64) {
		for _, v := range x {
			s += float64(v)
		}
		return s
	}
	least, most := math.Inf(1), math.Inf(-1)
	for n, lo := e.shape[len(e.shape)-1], 0; lo+n <= len(e.got); lo += n {
		if math.Abs(sum(e.right[lo:lo+n])-1) < 1e-2 {
			s := sum(e.got[lo : lo+n])
			least, most = min(least, s), max(most, s)
		}
	}
	slack := 1e-4 * e.coarse
	if !(least < 1-slack) && !(most > 1+slack) {
		return ""
	}
	digits := 3
	hides := func(v float64) bool { return math.Abs(v-1) > slack && fmt.Sprintf("%.*g", digits, v) == "1" }
	for digits < 7 && (hides(least) || hides(most)) {
		digits++
	}
	return fmt.Sprintf("the rows do not sum to 1, but to %.*g to %.*g", digits, least, digits, most)
}

// plural names things by their numbers: "layer 2", "steps 1 to 3".
func plural(thing string, numbers []int) string {
	if len(numbers) > 1 {
		thing += "s"
	}
	return thing + " " + fit.Ranges(numbers, 0)
}

// elsewhere returns the layers in which the stage is right at the place's step, and the steps at
// which it is right in the place's layer.
func (c *candidateRun) elsewhere(at harness.Place) (layers, steps []int) {
	own, _ := model.ParseStage(at.Stage)
	for _, row := range c.judged {
		s, _ := model.ParseStage(row.Stage)
		switch {
		case row.Verdict != harness.ReplayClean || s.Word != own.Word:
		case row.Step == at.Step && s.Layer != own.Layer:
			layers = append(layers, s.Layer)
		case row.Stage == at.Stage:
			steps = append(steps, row.Step)
		}
	}
	return layers, steps
}

// mostOfError names the few indices of one axis that have nine tenths of the error, which the
// wrong places alone do not show; "" if no axis has such.
func (g *rowGroup) mostOfError(e *wrongRow) string {
	axes, shape := axesOf(g.model.Config(), e.Stage, e.dims)
	if e.base.Nonfinite > 0 || len(shape) == 0 || shapes.Product(shape) != len(e.got) {
		return ""
	}
	sums, total := make([][]float64, len(axes)), 0.0
	for a := range axes {
		sums[a] = make([]float64, shape[a])
	}
	for i, v := range e.got {
		d := float64(v) - float64(e.right[i])
		if !finite(float32(d)) {
			continue
		}
		total += d * d
		for a, j := range shapes.Index(i, shape) {
			sums[a][j] += d * d
		}
	}
	for a, axis := range axes {
		order := make([]int, len(sums[a]))
		for j := range order {
			order[j] = j
		}
		slices.SortFunc(order, func(i, j int) int { return cmp.Compare(sums[a][j], sums[a][i]) })
		part, n := 0.0, 0
		for n < len(order) && part < 0.9*total {
			part += sums[a][order[n]]
			n++
		}
		if n > 0 && 8*n <= len(order) && n <= 4 {
			few := slices.Sorted(slices.Values(order[:n]))
			return fmt.Sprintf("%.0f%% of the error is in %s", 100*part/total, axis.Some(few))
		}
	}
	return ""
}
