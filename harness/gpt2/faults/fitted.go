package faults

import (
	"fmt"
	"math"

	"checkpoint12/harness"
)

// fittedPatterns have a number, or a vector, that is read off the engine's output.
// They come with the plainest first. Each is given the places that are wrong and
// returns the pattern's value at any of them and its words, or nil where it does
// not apply.
var fittedPatterns = []struct {
	id  string
	fit func(g *rowGroup, e *wrongRow, wrong []int) (value func(i int) float64, text string)
}{
	{PatternZero, (*rowGroup).zero},
	{PatternRatio, (*rowGroup).ratio},
	{PatternOffset, (*rowGroup).offset},
	{PatternBias, (*rowGroup).biasTimes},
	{PatternChannelOffset, (*rowGroup).channelOffset},
	{PatternChannelRatio, (*rowGroup).channelRatio},
}

// fittedExplained is the fraction of the error that a pattern has to explain. With
// a number for each channel one explains 99.97% of another gain and bias, which it
// is not. nearlyExplained is enough where what is left is at most fittedRounding
// times the rounding bound: the engine's rounding and the pattern's own.
const (
	fittedExplained = 0.9999
	fittedRounding  = 2
)

// fitted returns the first pattern that reproduces the row.
func (g *rowGroup) fitted(e *wrongRow) (id string, explains float64, text string) {
	wrong := e.wrongPlaces()
	if len(wrong) == 0 || e.base.Nonfinite > 0 {
		return "", 0, ""
	}
	for _, p := range fittedPatterns {
		value, text := p.fit(g, e, wrong)
		if value == nil {
			continue
		}
		out := append([]float32(nil), e.right...)
		for _, i := range wrong {
			out[i] = float32(value(i))
		}
		left := harness.Between(out, e.got, e.bound)
		explains := explained(e.base, left, e.noise)
		if explains >= fittedExplained || explains >= nearlyExplained && left.Share <= fittedRounding {
			return p.id, explains, text
		}
	}
	return "", 0, ""
}

// zero: what is wrong was never written.
func (g *rowGroup) zero(e *wrongRow, wrong []int) (func(int) float64, string) {
	for _, i := range wrong {
		if e.got[i] != 0 {
			return nil, ""
		}
	}
	return func(int) float64 { return 0 }, "what is wrong is 0: it was never computed, or never written"
}

// sameNumber is how far, relative to one of them, two numbers of four digits
// are apart that are the same.
const sameNumber = 1e-4

// ratio: the right output times one number.
func (g *rowGroup) ratio(e *wrongRow, wrong []int) (func(int) float64, string) {
	var gr, rr float64
	for _, i := range wrong {
		gr += float64(e.got[i]) * float64(e.right[i])
		rr += float64(e.right[i]) * float64(e.right[i])
	}
	if rr == 0 || len(wrong) < 2 {
		return nil, ""
	}
	a := gr / rr
	value := func(i int) float64 { return a * float64(e.right[i]) }
	if off := 100 * math.Abs(a-1); off < 0.1 { // of which "1 times" would show nothing
		larger := "larger"
		if a < 1 {
			larger = "smaller"
		}
		return value, fmt.Sprintf("the output is %.3g%% %s than the correct one", off, larger)
	}
	cfg := g.model.Config()
	D, C, H := float64(cfg.Embd/cfg.Heads), float64(cfg.Embd), float64(cfg.Heads)
	for _, k := range []struct {
		value float64
		name  string
	}{
		{math.Sqrt(D), "sqrt(D)"}, {1 / math.Sqrt(D), "1/sqrt(D)"}, {D, "D"}, {1 / D, "1/D"}, {math.Sqrt(C), "sqrt(C)"},
		{1 / math.Sqrt(C), "1/sqrt(C)"}, {H, "H"}, {1 / H, "1/H"}, {math.Ln2, "ln 2"}, {1 / math.Ln2, "1/ln 2"},
	} {
		if math.Abs(a/k.value-1) < sameNumber {
			return value, fmt.Sprintf("the output is %.5g = %s times the correct one", a, k.name)
		}
	}
	return value, fmt.Sprintf("the output is %.5g times the correct one", a)
}

// offset: the right output plus one number.
func (g *rowGroup) offset(e *wrongRow, wrong []int) (func(int) float64, string) {
	if len(wrong) < 2 {
		return nil, ""
	}
	var d float64
	for _, i := range wrong {
		d += float64(e.got[i]) - float64(e.right[i])
	}
	d /= float64(len(wrong))
	return func(i int) float64 { return float64(e.right[i]) + d }, fmt.Sprintf("the output is the correct one plus %.5g", d)
}

// biasTimes: the bias is in the output another number of times than once.
func (g *rowGroup) biasTimes(e *wrongRow, wrong []int) (func(int) float64, string) {
	bias, _, _ := g.model.Weight(e.Stage + ".bias")
	var db, bb float64
	for _, i := range wrong {
		if len(bias) > 0 {
			b := float64(bias[i%len(bias)])
			db, bb = db+(float64(e.got[i])-float64(e.right[i]))*b, bb+b*b
		}
	}
	if bb == 0 || len(wrong) < 2 {
		return nil, ""
	}
	k := db / bb
	text := fmt.Sprintf("the bias, %s.bias, is in the output %.4g times: add it once", e.Stage, 1+k)
	if math.Abs(1+k) < sameNumber {
		text = fmt.Sprintf("the bias, %s.bias, is missing: add it", e.Stage)
	}
	return func(i int) float64 { return float64(e.right[i]) + k*float64(bias[i%len(bias)]) }, text
}

// channelOffset: one vector is added to every row.
func (g *rowGroup) channelOffset(e *wrongRow, wrong []int) (func(int) float64, string) {
	added := e.perChannel(wrong, func(at []int) (d float64) {
		for _, i := range at {
			d += float64(e.got[i]) - float64(e.right[i])
		}
		return d / float64(len(at))
	})
	if added == nil {
		return nil, ""
	}
	return func(i int) float64 { return float64(e.right[i]) + added[i%len(added)] },
		"the same vector is added to every row: another bias, or one too many"
}

// channelRatio: every row is multiplied by one vector.
func (g *rowGroup) channelRatio(e *wrongRow, wrong []int) (func(int) float64, string) {
	gains := e.perChannel(wrong, func(at []int) float64 {
		var gr, rr float64
		for _, i := range at {
			gr += float64(e.got[i]) * float64(e.right[i])
			rr += float64(e.right[i]) * float64(e.right[i])
		}
		return gr / math.Max(rr, math.SmallestNonzeroFloat64)
	})
	if gains == nil {
		return nil, ""
	}
	return func(i int) float64 { return float64(e.right[i]) * gains[i%len(gains)] },
		"every row is multiplied by the same vector: another gain, or one too many"
}

// perChannel fits a number to the wrong places of each channel, the last axis; nil
// where a channel has a single one, which any number fits.
func (e *wrongRow) perChannel(wrong []int, fit func(at []int) float64) []float64 {
	if len(e.shape) < 2 {
		return nil
	}
	places := make([][]int, e.shape[len(e.shape)-1])
	for _, i := range wrong {
		places[i%len(places)] = append(places[i%len(places)], i)
	}
	numbers := make([]float64, len(places))
	for c, at := range places {
		switch len(at) {
		case 0:
		case 1:
			return nil
		default:
			numbers[c] = fit(at)
		}
	}
	return numbers
}
