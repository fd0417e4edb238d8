package faults

import (
	"fmt"
	"math"
	"strings"

	"checkpoint12/harness"
)

// The ids of explanations that name no known fault but what the error looks
// like. Explains is the fraction of the error that the pattern reproduces; it is 0
// for one that only names the kind of error. Where the id is empty there is no
// pattern either, and the Text describes the error.
const (
	PatternShape         = "pattern_shape"          // the output has another shape
	PatternNonfinite     = "pattern_nonfinite"      // NaN or infinities where numbers belong
	PatternZero          = "pattern_zero"           // what is wrong is 0: it was never written
	PatternRatio         = "pattern_ratio"          // the right output times one number
	PatternOffset        = "pattern_offset"         // the right output plus one number
	PatternBias          = "pattern_bias"           // the bias is in it twice, half, …
	PatternChannelOffset = "pattern_channel_offset" // the same vector is added to every row
	PatternChannelRatio  = "pattern_channel_ratio"  // every row is multiplied by the same vector
	PatternCopy          = "pattern_copy"           // it is another tensor of the dump
	PatternOtherWeights  = "pattern_other_weights"  // another layer's, or norm's, weights give it
	PatternOtherInput    = "pattern_other_input"    // another layer's inputs give it
	PatternPermuted      = "pattern_permuted"       // the right values in another order
	PatternNoise10       = "pattern_noise_10_bits"  // as rounding to 10 bits of mantissa would leave it
	PatternNoise7        = "pattern_noise_7_bits"   // as rounding to 7 bits would
	PatternPlaces        = "pattern_places"         // only a part of the output is wrong
)

// pattern describes the error of a row that no known fault reproduces. With
// search it also computes the stage with the weights and inputs of other layers.
func (g *rowGroup) pattern(e *wrongRow, search bool) harness.Explanation {
	x := harness.Explanation{Step: e.Step, Stage: e.Stage}
	if e.Stage == "next_token" {
		x.Text = g.choice(e)
		return x
	}
	where := g.extent(e).String()
	id, part, text := g.look(e, search)
	switch {
	case id == "" && where != "":
		id, text = PatternPlaces, "no known fault gives this output; all that is wrong is "+where+". "+g.statistics(e)
	case id == "":
		text = "no known fault gives this output. " + g.statistics(e)
	default:
		if where != "" {
			text += "; all that is wrong is " + where
		}
		text = "no known fault of the catalogue, but " + text
	}
	if len(e.Span) > 1 {
		text = "somewhere in " + strings.Join(e.Span, ", ") + ": " + text
	}
	x.Fault, x.Explains, x.Text = id, harness.Float(part), text
	return x
}

// look goes through the patterns, the plainest first.
func (g *rowGroup) look(e *wrongRow, search bool) (id string, explains float64, text string) {
	if e.base.Nonfinite > 0 {
		if text := e.nonfinite(); text != "" {
			return PatternNonfinite, 0, text
		}
	}
	for _, p := range []func(*wrongRow) (string, float64, string){
		g.fitted, g.copied, g.permuted,
		func(e *wrongRow) (string, float64, string) { return g.otherLayer(e, search) },
		g.precisionLoss,
	} {
		if id, explains, text = p(e); id != "" {
			return id, explains, text
		}
	}
	return "", 0, ""
}

// choice describes ids chosen by how the engine's own logits rank them.
func (g *rowGroup) choice(e *wrongRow) string {
	logits, V := g.own(e.Step, "logits_last"), g.model.Config().Vocab
	for b, id := range e.got {
		if id == e.right[b] {
			continue
		}
		text := fmt.Sprintf("no known fault gives this choice: id %v in row %d, the correct one is %v", id, b, e.right[b])
		if id < 0 || int(id) >= V || len(logits) < (b+1)*V {
			return text
		}
		row, above := logits[b*V:(b+1)*V], 0
		for _, v := range row {
			if v != v {
				return fmt.Sprintf("the logits of row %d are NaN, so no choice is correct: look further up", b)
			}
			if v > row[int(id)] {
				above++
			}
		}
		return text + fmt.Sprintf("; %d logits are above the chosen one's", above)
	}
	return "no known fault gives this choice"
}

// nonfinite counts the NaN and infinities that do not belong there.
func (e *wrongRow) nonfinite() string {
	nan, inf, hidden, lost := 0, 0, 0, 0
	for i, v := range e.got {
		switch w := e.right[i]; {
		case v == w:
		case v != v && w == w:
			nan++
		case kind(e.Stage) == "attn.scores" && v < 0 && !finite(v) && finite(w):
			hidden++
		case !finite(v) && finite(w):
			inf++
		case finite(v) && !finite(w):
			lost++
		}
	}
	var parts []string
	if nan > 0 {
		parts = append(parts, fmt.Sprintf("%d NaN", nan))
	}
	if inf > 0 {
		parts = append(parts, fmt.Sprintf("%d infinities that do not belong there (float16 overflows at 65504)", inf))
	}
	if hidden > 0 {
		parts = append(parts, fmt.Sprintf("%d that are masked and belong to keys which the query sees", hidden))
	}
	if lost > 0 {
		parts = append(parts, fmt.Sprintf("%d numbers where -inf belongs", lost))
	}
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf("of %d values there are %s", len(e.got), strings.Join(parts, " and "))
}

// statistics describes an error that nothing accounts for.
func (g *rowGroup) statistics(e *wrongRow) string {
	var gg, rr, gr, dd, d1 float64
	wrong, n := 0, 0
	for i, gv := range e.got {
		if e.isWrong(i) {
			wrong++
		}
		a, b := float64(gv), float64(e.right[i])
		if d := a - b; d-d == 0 {
			gg, rr, gr, dd, d1, n = gg+a*a, rr+b*b, gr+a*b, dd+d*d, d1+d, n+1
		}
	}
	if n == 0 {
		return fmt.Sprintf("%d of %d values are wrong, and none is finite on both sides", wrong, len(e.got))
	}
	N := float64(n)
	text := fmt.Sprintf("%d of %d values are wrong; the error's rms is %.3g and its mean %.3g, the correct output's rms %.3g; the cosine of the two outputs is %.6f",
		wrong, len(e.got), math.Sqrt(dd/N), d1/N, math.Sqrt(rr/N), gr/math.Sqrt(gg*rr))
	switch near := e.some.nearest; {
	case near.explains < halfExplained:
	case near.fault.relation != "":
		text += fmt.Sprintf(". Nearest to it is %s, which would explain %.1f%% of it", near.fault.Text, 100*near.explains)
	default:
		text += fmt.Sprintf(". The nearest known fault, %s, would explain %.1f%% of it", near.fault.ID, 100*near.explains)
	}
	return text
}
