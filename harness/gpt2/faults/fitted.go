package faults

import (
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/model"
)

// A fitted is a pattern with a number k that is read off the engine's output: at the
// wrong places that is the correct one plus k times basis.
type fitted struct {
	id       string
	basis    func(i int) float64
	channels int // how many channels have a k of their own; 1 is one for all
	words    func(k float64) string
}

// fittedPatterns returns the patterns of a row, the plainest first.
func (g *rowGroup) fittedPatterns(e *wrongRow) []fitted {
	one := func(int) float64 { return 1 }
	right := func(i int) float64 { return float64(e.right[i]) }
	say := func(text string) func(float64) string { return func(float64) string { return text } }
	all := []fitted{
		{PatternRatio, right, 1, func(k float64) string { return ratioWords(g.model.Config(), 1+k) }},
		{PatternOffset, one, 1, func(k float64) string {
			return fmt.Sprintf("the output is the correct one plus %.5g", k)
		}},
	}
	name := e.Stage + ".bias"
	if e.Stage == "logits" {
		name = "lm_head.bias"
	}
	if bias, _, ok := g.model.Weight(name); ok {
		basis := func(i int) float64 { return float64(bias[i%len(bias)]) }
		all = append(all, fitted{PatternBias, basis, 1, func(k float64) string {
			if math.Abs(1+k) < sameNumber {
				return fmt.Sprintf("the bias, %s, is missing: add it", name)
			}
			return fmt.Sprintf("the bias, %s, is in the output %.4g times: add it once", name, 1+k)
		}})
	}
	if n := len(e.shape); n > 1 {
		all = append(all,
			fitted{PatternChannelOffset, one, e.shape[n-1],
				say("the same vector is added to every row: another bias, or one too many")},
			fitted{PatternChannelRatio, right, e.shape[n-1],
				say("every row is multiplied by the same vector: another gain, or one too many")})
	}
	return all
}

// sameNumber is the difference, relative to one of them, up to which two numbers of four
// digits are the same.
const sameNumber = 1e-4

// ratioWords describes an output that is k times the correct one.
func ratioWords(cfg model.Config, k float64) string {
	switch off := 100 * math.Abs(k-1); { // of which "1 times" would show nothing
	case off < 0.1 && k < 1:
		return fmt.Sprintf("the output is %.3g%% smaller than the correct one", off)
	case off < 0.1:
		return fmt.Sprintf("the output is %.3g%% larger than the correct one", off)
	case math.Abs(k+1) < sameNumber:
		return "the output is the correct one with its sign changed"
	case math.Abs(k) < unit:
		return "the output is 0 apart from rounding"
	}
	D, C, H := float64(cfg.Embd/cfg.Heads), float64(cfg.Embd), float64(cfg.Heads)
	for _, n := range []struct {
		value float64
		name  string
	}{{math.Sqrt(D), "sqrt(D)"}, {D, "D"}, {math.Sqrt(C), "sqrt(C)"}, {H, "H"}, {math.Ln2, "ln 2"}} {
		if math.Abs(k/n.value-1) < sameNumber {
			return fmt.Sprintf("the output is %.5g = %s times the correct one", k, n.name)
		}
		if math.Abs(k*n.value-1) < sameNumber {
			return fmt.Sprintf("the output is %.5g = 1/%s times the correct one", k, n.name)
		}
	}
	return fmt.Sprintf("the output is %.5g times the correct one", k)
}

// fit returns the pattern's numbers at the wrong places of a row, by least squares;
// nil where one of them would be of a single place, which any number fits.
func (p fitted) fit(e *wrongRow, wrong []int) []float64 {
	k, squares, count := make([]float64, p.channels), make([]float64, p.channels), make([]int, p.channels)
	for _, i := range wrong {
		c, b := i%p.channels, p.basis(i)
		k[c] += (float64(e.got[i]) - float64(e.right[i])) * b
		squares[c] += b * b
		count[c]++
	}
	if slices.Contains(count, 1) {
		return nil
	}
	for c := range k {
		if squares[c] > 0 {
			k[c] /= squares[c]
		}
	}
	return k
}

// fittedExplained is the fraction of the error that a pattern has to explain. With
// a number for each channel one explains 99.97% of another gain and bias, which it
// is not. nearlyExplained is enough where what is left is at most fittedRounding
// times the rounding bound: the engine's rounding and the pattern's own.
const (
	fittedExplained = 0.9999
	fittedRounding  = 2
)

// fitted returns the first pattern with a number that gives the row's output.
func (g *rowGroup) fitted(e *wrongRow) finding {
	wrong := e.wrongPlaces()
	if len(wrong) == 0 || e.base.Nonfinite > 0 {
		return finding{}
	}
	if !slices.ContainsFunc(wrong, func(i int) bool { return e.got[i] != 0 }) {
		return finding{PatternZero, 1, "the wrong values are 0: never computed, or never written"}
	}
	for _, p := range g.fittedPatterns(e) {
		k := p.fit(e, wrong)
		if k == nil {
			continue
		}
		out := slices.Clone(e.right)
		for _, i := range wrong {
			out[i] = float32(float64(e.right[i]) + k[i%p.channels]*p.basis(i))
		}
		left := harness.Between(out, e.got, e.bound)
		explains := explained(e.base, left)
		if explains >= fittedExplained || explains >= nearlyExplained && left.Share <= fittedRounding {
			return finding{p.id, explains, p.words(k[0])}
		}
	}
	return finding{}
}
