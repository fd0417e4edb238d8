package faults

import (
	"fmt"
	"math"
	"strings"

	"checkpoint12/harness"
)

// The ids of explanations that name no known fault but what the error looks
// like. Explains is the part of the error that the pattern reproduces; it is 0
// for one that only says what kind of error it is. An explanation with an empty
// id has found no pattern either, and its Text describes the error.
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

// pattern describes the error of a row that no known fault reproduces. With full
// it also runs what takes many multiplications.
func (g *rowGroup) pattern(e *wrongRow, full bool) harness.Explanation {
	x := harness.Explanation{Step: e.Step, Stage: e.Stage}
	if e.Stage == "next_token" {
		x.Text = g.choice(e)
		return x
	}
	where := g.where(e)
	id, part, text := g.look(e, full)
	rest := g.statistics(e)
	if g.nearest.explains >= roughly {
		rest += fmt.Sprintf(". The nearest known fault, %s, would explain %.1f%% of it", strings.Fields(g.nearest.fault.ID)[0], 100*g.nearest.explains)
	}
	switch {
	case id == "" && where != "":
		id, text = PatternPlaces, "no known fault gives this output; all that is wrong is "+where+". "+rest
	case id == "":
		text = "no known fault gives this output. " + rest
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
func (g *rowGroup) look(e *wrongRow, full bool) (id string, part float64, text string) {
	if e.base.odd > 0 {
		if text := e.nonfinite(); text != "" {
			return PatternNonfinite, 0, text
		}
	}
	at := e.wrongPlaces()
	for _, p := range []func(*wrongRow, []int) (string, float64, string){
		g.zero, g.ratio, g.offset, g.biasTimes, g.channels,
	} {
		if id, part, text = p(e, at); id != "" {
			return id, part, text
		}
	}
	if id, part, text = g.copied(e); id != "" {
		return id, part, text
	}
	if id, part, text = g.permuted(e); id != "" {
		return id, part, text
	}
	if id, part, text = g.elsewhere(e, full); id != "" {
		return id, part, text
	}
	return g.noise(e, at, full)
}

// choice says of ids chosen how the engine's own logits rank them.
func (g *rowGroup) choice(e *wrongRow) string {
	logits, V := g.own(e.Step, "logits_last"), g.model.Config().Vocab
	for b, id := range e.got {
		if id == e.right[b] {
			continue
		}
		text := fmt.Sprintf("no known fault gives this choice: id %v in row %d, the right one is %v", id, b, e.right[b])
		if id < 0 || int(id) >= V || len(logits) < (b+1)*V {
			return text
		}
		row, above := logits[b*V:(b+1)*V], 0
		for _, v := range row {
			if v != v {
				return fmt.Sprintf("the logits of row %d are NaN, so no choice is right: look further up", b)
			}
			if v > row[int(id)] {
				above++
			}
		}
		return text + fmt.Sprintf("; %d logits are above the chosen one's", above)
	}
	return "no known fault gives this choice"
}

// nonfinite says how many NaN and infinities there are that do not belong there.
func (e *wrongRow) nonfinite() string {
	nan, inf, lost := 0, 0, 0
	for i, v := range e.got {
		switch w := e.right[i]; {
		case v == w:
		case v != v && w == w:
			nan++
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
	if lost > 0 {
		parts = append(parts, fmt.Sprintf("%d numbers where -inf belongs", lost))
	}
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf("of %d values there are %s", len(e.got), strings.Join(parts, " and "))
}

// fit is the part of the error at some places that is gone when those places of
// the right output are replaced by value; ok says whether that is all of it.
func (e *wrongRow) fit(at []int, value func(i int) float64) (part float64, ok bool) {
	if len(at) == 0 || e.base.odd > 0 {
		return 0, false
	}
	var before, after, share float64
	for _, i := range at {
		d, r := float64(e.got[i])-float64(e.right[i]), float64(e.got[i])-value(i)
		before, after = before+d*d, after+r*r
		if e.bound != nil {
			share = math.Max(share, math.Abs(r)/float64(e.bound[i]))
		}
	}
	part = 1 - after/before
	return part, part >= 0.9999 || e.bound != nil && part >= 0.9 && share <= 2
}

// zero: what is wrong was never written.
func (g *rowGroup) zero(e *wrongRow, at []int) (string, float64, string) {
	part, ok := e.fit(at, func(int) float64 { return 0 })
	if !ok {
		return "", 0, ""
	}
	return PatternZero, part, "what is wrong is 0: it was never computed, or never written"
}

// ratio: the right output times one number.
func (g *rowGroup) ratio(e *wrongRow, at []int) (string, float64, string) {
	var gr, rr float64
	for _, i := range at {
		gr += float64(e.got[i]) * float64(e.right[i])
		rr += float64(e.right[i]) * float64(e.right[i])
	}
	if rr == 0 || len(at) < 2 {
		return "", 0, ""
	}
	a := gr / rr
	part, ok := e.fit(at, func(i int) float64 { return a * float64(e.right[i]) })
	if !ok {
		return "", 0, ""
	}
	cfg := g.model.Config()
	D, C := float64(cfg.Embd/cfg.Heads), float64(cfg.Embd)
	names := ""
	for _, k := range []struct {
		value float64
		name  string
	}{
		{math.Sqrt(D), "sqrt(D)"}, {1 / math.Sqrt(D), "1/sqrt(D)"}, {D, "D"}, {1 / D, "1/D"}, {math.Sqrt(C), "sqrt(C)"},
		{1 / math.Sqrt(C), "1/sqrt(C)"}, {float64(cfg.Heads), "H"}, {1 / float64(cfg.Heads), "1/H"}, {math.Ln2, "ln 2"}, {1 / math.Ln2, "1/ln 2"},
	} {
		if math.Abs(a/k.value-1) < 1e-4 {
			names = " = " + k.name
			break
		}
	}
	return PatternRatio, part, fmt.Sprintf("the output is %.5g%s times the right one", a, names)
}

// offset: the right output plus one number.
func (g *rowGroup) offset(e *wrongRow, at []int) (string, float64, string) {
	var d float64
	for _, i := range at {
		d += float64(e.got[i]) - float64(e.right[i])
	}
	d /= float64(max(1, len(at)))
	part, ok := e.fit(at, func(i int) float64 { return float64(e.right[i]) + d })
	if !ok || len(at) < 2 {
		return "", 0, ""
	}
	return PatternOffset, part, fmt.Sprintf("the output is the right one plus %.5g", d)
}

// biasTimes: the bias is in the output another number of times than once.
func (g *rowGroup) biasTimes(e *wrongRow, at []int) (string, float64, string) {
	bias, _, ok := g.model.Weight(e.Stage + ".bias")
	if !ok {
		return "", 0, ""
	}
	var db, bb float64
	for _, i := range at {
		b := float64(bias[i%len(bias)])
		db, bb = db+(float64(e.got[i])-float64(e.right[i]))*b, bb+b*b
	}
	if bb == 0 || len(at) < 2 {
		return "", 0, ""
	}
	k := db / bb
	part, ok := e.fit(at, func(i int) float64 { return float64(e.right[i]) + k*float64(bias[i%len(bias)]) })
	if !ok {
		return "", 0, ""
	}
	return PatternBias, part, fmt.Sprintf("the bias, %s.bias, is in the output %.4g times: add it once", e.Stage, 1+k)
}

// channels: one vector is added to, or multiplied with, every row.
func (g *rowGroup) channels(e *wrongRow, at []int) (string, float64, string) {
	if len(e.shape) < 2 {
		return "", 0, ""
	}
	n := e.shape[len(e.shape)-1]
	if len(e.got) < 2*n || len(at) < 4 || e.base.odd > 0 {
		return "", 0, ""
	}
	count, added, gr, rr := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
	for _, i := range at {
		c, got, right := i%n, float64(e.got[i]), float64(e.right[i])
		count[c]++
		added[c] += got - right
		gr[c], rr[c] = gr[c]+got*right, rr[c]+right*right
	}
	for c := range count {
		if count[c] == 1 {
			return "", 0, "" // one value is fitted by any number
		}
	}
	if part, ok := e.fit(at, func(i int) float64 { return float64(e.right[i]) + added[i%n]/count[i%n] }); ok {
		return PatternChannelOffset, part, "the same vector is added to every row: another bias, or one too many"
	}
	if part, ok := e.fit(at, func(i int) float64 {
		return float64(e.right[i]) * gr[i%n] / math.Max(rr[i%n], math.SmallestNonzeroFloat64)
	}); ok {
		return PatternChannelRatio, part, "every row is multiplied by the same vector: another gain, or one too many"
	}
	return "", 0, ""
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
		return fmt.Sprintf("Wrong are %d of %d values, none of which is finite on both sides", wrong, len(e.got))
	}
	N := float64(n)
	return fmt.Sprintf("Wrong are %d of %d values; the error's rms is %.3g and its mean %.3g, the right output's rms %.3g; the cosine of the two outputs is %.6f",
		wrong, len(e.got), math.Sqrt(dd/N), d1/N, math.Sqrt(rr/N), gr/math.Sqrt(gg*rr))
}
