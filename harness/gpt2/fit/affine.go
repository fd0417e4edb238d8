package fit

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/model"
)

// The ids of the correct output with a number or a vector in it that does not belong there.
const (
	PatternZero          = "pattern_zero"           // what is wrong is 0: it was never written
	PatternRatio         = "pattern_ratio"          // the correct output times one number
	PatternOffset        = "pattern_offset"         // the correct output plus one number
	PatternBias          = "pattern_bias"           // the bias is in it twice, half, not at all, or another is
	PatternScaled        = "pattern_scaled_weights" // the product times one number, the bias as it is
	PatternChannelOffset = "pattern_channel_offset" // the same vector is added to every row
	PatternChannelRatio  = "pattern_channel_ratio"  // every row is multiplied by the same vector
)

// OfNumbers are the ids of functions with a number in them, of any stage or of a norm or activation.
var OfNumbers = []string{
	PatternZero, PatternRatio, PatternOffset, PatternBias, PatternScaled, PatternChannelOffset, PatternChannelRatio,
	PatternClipped, PatternFunction, PatternTable, PatternDropout, PatternStatistics, PatternEpsilon, PatternGain, PatternTwice,
	PatternWeight, PatternWeights, PatternRows, PatternUndone, PatternLevels,
}

func init() {
	searches[""] = append(searches[""], func(r *Row) []Hypothesis {
		p := newValues(r)
		if p == nil {
			return nil
		}
		return slices.Concat(p.affine(), p.ofCorrect(), p.dropouts(), p.ofRows(), p.byPosition())
	})
}

// affine proposes the correct output times and plus numbers and vectors.
func (p *values) affine() (all []Hypothesis) {
	r := p.Row
	right := func(i int) float64 { return float64(r.Right[i]) }
	got := func(i int) float64 { return float64(r.Got[i]) }
	one := func(int) float64 { return 1 }
	if p.holds(func(int) float64 { return 0 }) {
		return []Hypothesis{ofRight(PatternZero, "the output is 0: it is never computed, or never written", 0,
			func(*Stage, float64, int) float64 { return 0 })}
	}
	all = append(all, p.byLayer()...)
	at := p.some(mostRead, nil)
	if c := p.fit(at, got, right); c != nil {
		if text, k, ok := p.read(c[0], func(k float64) bool { return p.holds(func(i int) float64 { return k * right(i) }) }); ok {
			text = ratioWords(text, k)
			if stageName(r.Name).Word == "attn.scores" {
				text += r.divided(k)
			}
			all = append(all, ofRight(PatternRatio, text, 1, func(_ *Stage, v float64, _ int) float64 { return k * v }))
		}
	}
	if c := p.fit(at, func(i int) float64 { return got(i) - right(i) }, one); c != nil {
		if text, k, ok := p.read(c[0], func(k float64) bool { return p.holds(func(i int) float64 { return right(i) + k }) }); ok {
			text, _, _ = strings.Cut(text, " ") // without expressions, which are of factors
			all = append(all, ofRight(PatternOffset, fmt.Sprintf("the output is the correct one plus %s", text), 1,
				func(_ *Stage, v float64, _ int) float64 { return v + k }))
		}
	}
	if len(all) > 0 {
		return all
	}
	if c := p.fit(at, got, right, one); c != nil {
		a, b := c[0], c[1]
		h := func(a, b float64) func(i int) float64 { return func(i int) float64 { return a*right(i) + b } }
		if ta, a, ok := p.read(a, func(a float64) bool { return p.holds(h(a, b)) }); ok {
			if tb, b, ok := p.read(b, func(b float64) bool { return p.holds(h(a, b)) }); ok {
				all = append(all, ofRight(PatternRatio, fmt.Sprintf("the output is %s times the correct one plus %s", ta, tb), 2,
					func(_ *Stage, v float64, _ int) float64 { return a*v + b }))
			}
		}
	}
	all = append(all, p.biases(at)...)
	return append(all, p.vectors()...)
}

// ratioWords describes an output that is k times the correct one.
func ratioWords(text string, k float64) string {
	switch off := 100 * math.Abs(k-1); { // of which "1 times" would show nothing
	case off < 0.1 && k < 1:
		return fmt.Sprintf("the output is %.3g%% smaller than the correct one", off)
	case off < 0.1:
		return fmt.Sprintf("the output is %.3g%% larger than the correct one", off)
	case k == -1:
		return "the output is the correct one with its sign changed"
	case k == 2:
		return "the output is 2 times the correct one: something is added or scaled twice"
	case k == 0.5:
		return "the output is 0.5 times the correct one, half of it"
	}
	return fmt.Sprintf("the output is %s times the correct one", text)
}

// layerFactors are ratios that follow from the layer's number.
var layerFactors = []struct {
	text string
	of   func(n float64) float64
}{
	{"n+1", func(n float64) float64 { return n + 1 }},
	{"1/(n+1)", func(n float64) float64 { return 1 / (n + 1) }},
	{"√(n+1)", func(n float64) float64 { return math.Sqrt(n + 1) }},
	{"1/√(n+1)", func(n float64) float64 { return 1 / math.Sqrt(n+1) }},
	{"1/√(2(n+1))", func(n float64) float64 { return 1 / math.Sqrt(2*(n+1)) }},
	{"n", func(n float64) float64 { return n }},
}

// byLayer proposes ratios that follow from the layer's number.
func (p *values) byLayer() (all []Hypothesis) {
	s, _ := model.ParseStage(p.Name)
	if s.Layer < 1 {
		return nil
	}
	for _, f := range layerFactors {
		k := f.of(float64(s.Layer))
		if k == 1 || !p.holds(func(i int) float64 { return k * float64(p.Right[i]) }) {
			continue
		}
		text := fmt.Sprintf("the output is %s times the correct one, in layer n counted from 0", f.text)
		h := ofRight(PatternRatio, text, 0, func(at *Stage, v float64, _ int) float64 {
			here, _ := model.ParseStage(at.Name)
			return v * f.of(float64(here.Layer))
		})
		h.OfLayer = true
		all = append(all, h)
	}
	return all
}

// ownBias returns the name of the bias that a stage adds; "" if it adds none.
func ownBias(m *model.Model, stage string) string {
	name := stage + ".bias"
	if stage == "logits" || stage == "logits_last" {
		name = "lm_head.bias"
	}
	if _, _, ok := m.Weight(name); !ok {
		return ""
	}
	return name
}

// biases proposes the bias other times than once, and the rest of the output times a number.
func (p *values) biases(at []int) (all []Hypothesis) {
	name := ownBias(p.Model, p.Name)
	if name == "" {
		return nil
	}
	bias, _, _ := p.Model.Weight(name)
	n := len(bias)
	b := func(i int) float64 { return float64(bias[i%n]) }
	bare := func(i int) float64 { return float64(p.Right[i]) - b(i) }
	c := p.fit(at, func(i int) float64 { return float64(p.Got[i]) - float64(p.Right[i]) }, b)
	if c != nil {
		if text, k, ok := p.read(c[0]+1, func(k float64) bool {
			return p.holds(func(i int) float64 { return float64(p.Right[i]) + (k-1)*b(i) })
		}); ok {
			all = append(all, Hypothesis{ID: PatternBias, Text: biasWords(withoutLayer(name), text, k), Numbers: 1, Output: withBias(1, k)})
		}
	}
	c = p.fit(at, func(i int) float64 { return float64(p.Got[i]) - b(i) }, bare)
	// Another epsilon scales the rows of a norm nearly alike.
	if s, _ := model.ParseStage(p.Name); c != nil && len(all) == 0 && !(strings.HasPrefix(s.Word, "ln_") && math.Abs(c[0]-1) < 1e-3) {
		if text, k, ok := p.read(c[0], func(k float64) bool {
			return p.holds(func(i int) float64 { return k*bare(i) + b(i) })
		}); ok {
			by := "the weights or the input are scaled"
			if strings.HasPrefix(s.Word, "ln_") { // of which a scaled input is no matter
				by = "the gain or the divisor is scaled"
			}
			text := fmt.Sprintf("without the bias the output is %s times the correct one, and the bias is added once: %s", text, by)
			all = append(all, Hypothesis{ID: PatternScaled, Text: text, Numbers: 1, Output: withBias(k, 1)})
		}
	}
	return all
}

// biasWords describes a bias that is added k times.
func biasWords(name, text string, k float64) string {
	switch k {
	case 0:
		return fmt.Sprintf("the bias, %s, is missing: add it", name)
	case -1:
		return fmt.Sprintf("the bias, %s, is subtracted: add it", name)
	case 2:
		return fmt.Sprintf("the bias, %s, is added twice, 2 times: add it once", name)
	}
	return fmt.Sprintf("the bias, %s, is in the output %s times: add it once", name, text)
}

// withBias returns the correct output's product k times and its bias so many times.
func withBias(k, times float64) func(s *Stage) []float32 {
	return func(s *Stage) []float32 {
		name := ownBias(s.Model, s.Name)
		if name == "" {
			return nil
		}
		bias, _, _ := s.Model.Weight(name)
		right := s.Correct()
		out := make([]float32, len(right))
		for i, v := range right {
			b := float64(bias[i%len(bias)])
			out[i] = float32(k*(float64(v)-b) + times*b)
		}
		return out
	}
}
