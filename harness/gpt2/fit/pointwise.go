package fit

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"checkpoint12/model"
)

// The ids of a function of each value by itself.
const (
	PatternClipped  = "pattern_clipped"  // no value is above, or below, a number
	PatternFunction = "pattern_function" // each value is another function of the input or of the correct value
	PatternTable    = "pattern_table"    // a table of the function's values is looked up
)

func init() {
	blind["mlp.act"] = append(blind["mlp.act"], func(r *Row) []Hypothesis { return r.unread(r.Model.Config().ActivationFunction().Of) })
}

// A unary is a function of one value with at most one number in it.
type unary struct {
	text   string // with %s for the number, if it has one
	of     func(x, k float64) float64
	starts []float64 // from which the number is sought; none is no number
}

// plain returns a unary without a number.
func plain(text string, of func(x float64) float64) unary {
	return unary{text: text, of: func(x, _ float64) float64 { return of(x) }}
}

// A source is what a function is one of: the stage's input or the correct output.
type source struct {
	name string
	of   func(s *Stage) []float32
}

var correct = source{"the correct output", func(s *Stage) []float32 { return s.Correct() }}

// inputOfStage returns a stage's first input as a source.
func inputOfStage(r *Row) source {
	s, _ := model.ParseStage(r.Name)
	name := seenFrom(r.Model.Config(), s, model.Reads(r.Model.Config(), r.Name)[0])
	return source{name, func(s *Stage) []float32 {
		return s.In(model.Reads(s.Model.Config(), s.Name)[0])
	}}
}

// hypothesis returns that of a function of a source and of the correct value.
func (x source) hypothesis(id, text string, numbers int, f func(x, right float64) float64) Hypothesis {
	return Hypothesis{ID: id, Text: text, Numbers: numbers, Output: func(s *Stage) []float32 {
		in, right := x.of(s), s.Correct()
		if len(in) != len(right) {
			return nil
		}
		out := make([]float32, len(in))
		for i, v := range in {
			if out[i] = right[i]; finite(v) && finite(right[i]) {
				out[i] = float32(f(float64(v), float64(right[i])))
			}
		}
		return out
	}}
}

// ofCorrect proposes functions of the correct value alone.
func (p *values) ofCorrect() []Hypothesis {
	r, all := p.Row, slices.Concat(p.clips(), p.flushed())
	if s, _ := model.ParseStage(r.Name); s.Word == "mlp.act" {
		return append(all, p.ofInput()...) // which says more
	}
	all = append(all, p.pieces(correct, r.Right)...)
	functions := []unary{
		{"%s·tanh(y/%[1]s) of the correct value y, a soft cap", func(x, k float64) float64 { return k * math.Tanh(x/k) }, p.caps()},
		{"y/(1 + |y|/%s) of the correct value y, a soft cap", func(x, k float64) float64 { return x / (1 + math.Abs(x)/k) }, p.caps()},
		plain("the square of the correct one", func(x float64) float64 { return x * x }),
		plain("the correct one squared with its sign", func(x float64) float64 { return x * math.Abs(x) }),
		plain("the square root of the correct one", math.Sqrt),
		plain("tanh of the correct one", math.Tanh),
		plain("the sigmoid of the correct one", func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }),
		plain("exp of the correct one", math.Exp),
		plain("the logarithm of the correct one", math.Log),
		plain("1 over the correct one", func(x float64) float64 { return 1 / x }),
		plain("1 less the correct one", func(x float64) float64 { return 1 - x }),
		plain("the correct one through the model's activation", r.Model.Config().ActivationFunction().Of),
	}
	if slices.ContainsFunc(r.Right, func(v float32) bool { return v < 0 }) { // else it is the correct one
		functions = slices.Insert(functions, 2, plain("the absolute value of the correct one", math.Abs))
	}
	return append(all, p.unaries(correct, r.Right, functions)...)
}

// caps returns numbers from which that of a soft cap is sought.
func (p *values) caps() []float64 {
	most := 0.0
	for _, i := range p.wrong {
		most = max(most, math.Abs(float64(p.Got[i])))
	}
	return []float64{1.02 * most, 1.5 * most, 4 * most, 20 * most}
}

// clips proposes the correct output with no value above or below numbers.
func (p *values) clips() []Hypothesis {
	lo, hi := math.Inf(-1), math.Inf(1)
	above, below := 0, 0
	for _, i := range p.wrong {
		g, right := float64(p.Got[i]), float64(p.Right[i])
		if right > g {
			above++
		} else {
			below++
		}
		switch {
		case right > g && (hi == g || math.IsInf(hi, 1)):
			hi = g
		case right < g && (lo == g || math.IsInf(lo, -1)):
			lo = g
		default:
			return nil
		}
	}
	clip := func(v float64) float64 { return max(lo, min(v, hi)) }
	if one := p.Got[p.wrong[0]]; len(p.wrong) == len(p.at) && !few(len(p.at)) && !slices.ContainsFunc(p.at, func(i int) bool { return p.Got[i] != one }) {
		text := fmt.Sprintf("every value is %s, whatever belongs there", decimal(float64(one)))
		return []Hypothesis{ofRight(PatternFunction, text, 1, func(*Stage, float64, int) float64 { return float64(one) })}
	}
	if few(above) || few(below) || lo > hi || !p.holds(func(i int) float64 { return clip(float64(p.Right[i])) }) {
		return nil
	}
	short := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 32) }
	text, numbers := "", 1
	switch {
	case lo == -hi:
		text = fmt.Sprintf("the output is clipped at ±%s, to values from %s to %s", short(hi), short(lo), short(hi))
	case math.IsInf(lo, -1):
		text = fmt.Sprintf("the output is clipped at %s: no value is above", short(hi))
	case math.IsInf(hi, 1):
		text = fmt.Sprintf("the output is clipped at %s: no value is below", short(lo))
	default:
		text, numbers = fmt.Sprintf("the output is clipped to values from %s to %s", short(lo), short(hi)), 2
	}
	if lo == 0 && math.IsInf(hi, 1) {
		text = "what is below 0 is 0, as after ReLU: no negative value is left"
	}
	if len(short(min(hi, math.Abs(lo)))) > 6 {
		numbers++ // which nobody wrote
	}
	if hi == 65504 {
		text += ", float16's largest"
	}
	return []Hypothesis{ofRight(PatternClipped, text+"; nothing clips it in GPT-2", numbers, func(_ *Stage, v float64, _ int) float64 { return clip(v) })}
}

// few reports whether there are too few wrong values to read a number off, though some.
func few(n int) bool { return n > 0 && n < perNumber }

// unaries proposes those of some functions of a source that hold, as they are and times a number.
func (p *values) unaries(src source, x []float32, functions []unary) (all []Hypothesis) {
	at := p.some(mostRead, nil)
	if few(len(p.wrong)) {
		return nil
	}
	in := func(i int) float64 { return float64(x[i]) }
	for _, f := range functions {
		if len(f.starts) == 0 {
			of := func(v float64) float64 { return f.of(v, 0) }
			if p.holds(func(i int) float64 { return of(in(i)) }) {
				all = append(all, src.hypothesis(PatternFunction, "the output is "+f.text, 0, func(x, _ float64) float64 { return of(x) }))
				continue
			}
			c := p.fit(at, func(i int) float64 { return float64(p.Got[i]) }, func(i int) float64 { return of(in(i)) })
			if c == nil {
				continue
			}
			holds := func(k float64) bool { return p.holds(func(i int) float64 { return k * of(in(i)) }) }
			if text, k, ok := p.read(c[0], holds); ok {
				all = append(all, src.hypothesis(PatternFunction, "the output is "+text+" times "+f.text, 1, func(x, _ float64) float64 { return k * of(x) }))
			}
			continue
		}
		for _, start := range f.starts {
			k, ok := p.solve(at, func(i int, k float64) float64 { return f.of(in(i), k) }, start)
			if !ok {
				continue
			}
			holds := func(k float64) bool { return p.holds(func(i int) float64 { return f.of(in(i), k) }) }
			if text, k, ok := p.read(k, holds); ok {
				if strings.Contains(f.text, "+ %s") || strings.Contains(f.text, "plus %s") {
					text, _, _ = strings.Cut(text, " ") // without expressions, which are of factors
				}
				all = append(all, src.hypothesis(PatternFunction, "the output is "+fmt.Sprintf(f.text, text), 1, func(x, _ float64) float64 { return f.of(x, k) }))
				break
			}
		}
	}
	return all
}

// solve returns the number k for which a function is nearest to the row, in rounding bounds, by
// Gauss and Newton's method from a start.
func (p *values) solve(at []int, f func(i int, k float64) float64, k float64) (found float64, ok bool) {
	distance := func(k float64) (sum, step float64) {
		h := 1e-6 * max(math.Abs(k), 1e-3)
		var jj, je float64
		for _, i := range at {
			w := p.bound(i)
			if w == 0 {
				w = math.Abs(float64(p.Right[i])) / (1 << 23)
			}
			w = 1 / (w + math.SmallestNonzeroFloat32)
			e := (float64(p.Got[i]) - f(i, k)) * w
			j := (f(i, k+h) - f(i, k-h)) / (2 * h) * w
			sum, jj, je = sum+e*e, jj+j*j, je+j*e
		}
		return sum, je / jj
	}
	sum, step := distance(k)
	for range 60 {
		if step != step || math.IsInf(step, 0) || sum != sum {
			return 0, false
		}
		next := k + step
		s, following := distance(next)
		for halved := 0; !(s <= sum) && halved < 12; halved++ {
			step /= 2
			next = k + step
			s, following = distance(next)
		}
		if !(s <= sum) {
			break
		}
		done := math.Abs(next-k) <= 1e-12*math.Abs(k)
		k, sum, step = next, s, following
		if done {
			break
		}
	}
	return k, true
}
