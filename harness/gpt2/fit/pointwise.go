package fit

import (
	"fmt"
	"math"
	"strconv"

	"checkpoint12/model"
	"checkpoint12/model/activation"
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
	r, all := p.Row, p.clips()
	if s, _ := model.ParseStage(r.Name); s.Word == "mlp.act" {
		return append(all, p.ofInput()...) // which says more
	}
	all = append(all, p.pieces(correct, r.Right)...)
	return append(all, p.unaries(correct, r.Right, []unary{
		{"%s·tanh(y/%[1]s) of the correct value y, a soft cap", func(x, k float64) float64 { return k * math.Tanh(x/k) }, p.caps()},
		{"y/(1 + |y|/%s) of the correct value y, a soft cap", func(x, k float64) float64 { return x / (1 + math.Abs(x)/k) }, p.caps()},
		plain("the absolute value of the correct one", math.Abs),
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
	})...)
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

// ofInput proposes functions of an activation's input.
func (p *values) ofInput() (all []Hypothesis) {
	r, src := p.Row, inputOfStage(p.Row)
	x := src.of(&r.Stage)
	if len(x) != len(r.Got) {
		return nil
	}
	own := r.Model.Config().ActivationFunction()
	all = append(all, p.inputCaps(src, x)...)
	all = append(all, p.pieces(src, x)...)
	all = append(all, p.unaries(src, x, functionsOfInput(own))...)
	at := p.some(mostRead, nil)
	in := func(i int) float64 { return float64(x[i]) }
	if c := p.fit(at, func(i int) float64 { return float64(r.Got[i]) - float64(r.Right[i]) }, in); c != nil {
		holds := func(k float64) bool { return p.holds(func(i int) float64 { return float64(r.Right[i]) + k*in(i) }) }
		if text, k, ok := p.read(c[0], holds); ok {
			all = append(all, src.hypothesis(PatternFunction, fmt.Sprintf("the output is the correct one plus %s times the input, %s", text, src.name), 1,
				func(x, right float64) float64 { return right + k*x }))
		}
	}
	if len(all) == 0 {
		all = append(all, p.tables(src, x, own)...)
	}
	return all
}

// functionsOfInput lists functions that engines have in the place of an activation.
func functionsOfInput(own *activation.Function) (all []unary) {
	f := own.Of
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	all = []unary{
		plain("the activation applied twice, "+own.Name()+"("+own.Name()+"(x))", func(x float64) float64 { return f(f(x)) }),
		plain(own.Name()+"(x) multiplied by x once more, x·"+own.Name()+"(x)", func(x float64) float64 { return x * f(x) }),
		plain("the square of "+own.Name()+"(x)", func(x float64) float64 { return f(x) * f(x) }),
		plain(own.Name()+"(-x), of the input with its sign changed", func(x float64) float64 { return f(-x) }),
		plain("the absolute value of "+own.Name()+"(x)", func(x float64) float64 { return math.Abs(f(x)) }),
		plain(own.Name()+" of the absolute value of x", func(x float64) float64 { return f(math.Abs(x)) }),
		plain(own.Name()+"(x) with what is below 0 set to 0", func(x float64) float64 { return max(f(x), 0) }),
		plain(own.Name()+"'s derivative at x", func(x float64) float64 { const h = 1e-5; return (f(x+h) - f(x-h)) / (2 * h) }),
		plain("softplus of x, log(1 + exp(x))", func(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }),
		plain("elu of x", func(x float64) float64 { return max(x, 0) + math.Expm1(min(x, 0)) }),
		plain("selu of x", func(x float64) float64 {
			return 1.0507009873554805*max(x, 0) + 1.7580993408473766*math.Expm1(min(x, 0))
		}),
		plain("the square of x", func(x float64) float64 { return x * x }),
		plain("the absolute value of x", math.Abs),
		plain("exp(x)", math.Exp),
		plain("sin(x)", math.Sin),
		plain("x/(1 + |x|), softsign", func(x float64) float64 { return x / (1 + math.Abs(x)) }),
		plain("x cut to -1 to 1, hard tanh", func(x float64) float64 { return max(-1, min(x, 1)) }),
		plain("min(max(x + 3, 0), 6)/6, hard sigmoid", func(x float64) float64 { return max(0, min(x+3, 6)) / 6 }),
		plain("min(max(0.2x + 0.5, 0), 1), hard sigmoid", func(x float64) float64 { return max(0, min(0.2*x+0.5, 1)) }),
		plain("x·tanh(x)", func(x float64) float64 { return x * math.Tanh(x) }),
		plain("0.5·(1 + tanh(√(2/π)(x + 0.044715x³))), GELU's gate without the factor x", func(x float64) float64 { return geluOf(x, math.Sqrt(2/math.Pi), cubic) / x }),
		plain("the normal distribution's Φ(x), GELU's gate without the factor x", func(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 }),
	}
	for _, g := range activation.Functions() {
		if g != own && g.Name() != "linear" { // which is a copy
			all = append(all, plain(g.Name()+"(x)", g.Of))
			all = append(all, plain(g.Name()+" of "+own.Name()+"(x), one after the other", func(x float64) float64 { return g.Of(f(x)) }))
		}
	}
	root := math.Sqrt(2 / math.Pi)
	all = append(all,
		plain("GELU's tanh form without the cubic term, 0.5x(1 + tanh(√(2/π)·x))", func(x float64) float64 { return geluOf(x, root, 0) }),
		unary{"GELU's tanh form with %s in the place of 0.044715, 0.5x(1 + tanh(√(2/π)(x + %[1]s·x³)))", func(x, k float64) float64 { return geluOf(x, root, k) }, []float64{cubic}},
		unary{"GELU's tanh form with %s in the place of √(2/π) = 0.79788, 0.5x(1 + tanh(%[1]s·(x + 0.044715x³)))", func(x, k float64) float64 { return geluOf(x, k, cubic) }, []float64{root, 2}},
		unary{"x·sigmoid(%s·x)", func(x, k float64) float64 { return x * sigmoid(k*x) }, []float64{1.7, 1}},
		unary{"GELU's erf form with erf(%s·x), where 1/√2 belongs", func(x, k float64) float64 { return x / 2 * math.Erfc(-k*x) }, []float64{0.7}},
		unary{"leaky: x above 0, %s·x below", func(x, k float64) float64 { return max(x, 0) + k*min(x, 0) }, []float64{0.1}},
		unary{"elu, of which below 0 %s·(exp(x) - 1)", func(x, k float64) float64 { return max(x, 0) + k*math.Expm1(min(x, 0)) }, []float64{1}},
		unary{own.Name() + "(%s·x): the input is scaled", func(x, k float64) float64 { return f(k * x) }, []float64{1.1, 2, 0.5, 0.1, 8, -1}},
		unary{own.Name() + "(x + %s): a number is added to the input", func(x, k float64) float64 { return f(x + k) }, []float64{0.1, -0.1, 1, -1}},
		unary{own.Name() + "(%s·x)/%[1]s", func(x, k float64) float64 { return f(k*x) / k }, []float64{1.1, 2, 0.5}},
	)
	for _, t := range tanhs {
		all = append(all, plain("GELU's tanh form with an approximation of tanh, "+t.text, func(x float64) float64 {
			return x / 2 * (1 + t.of(root*(x+cubic*x*x*x), 0))
		}))
	}
	return all
}

// cubic is the number of GELU's tanh form.
const cubic = 0.044715

// geluOf returns GELU's tanh form with other numbers.
func geluOf(x, root, cubic float64) float64 {
	return x / (1 + math.Exp(-2*root*(x+cubic*x*x*x)))
}

// within returns an approximation of tanh that is cut at ±1.
func within(f func(z float64) float64) func(z float64) float64 {
	return func(z float64) float64 { return max(-1, min(f(z), 1)) }
}

// beyond returns one that is ±1 where |z| is above most.
func beyond(most float64, f func(z float64) float64) func(z float64) float64 {
	return func(z float64) float64 {
		if math.Abs(z) > most {
			return math.Copysign(1, z)
		}
		return f(z)
	}
}

// tanhs are approximations of tanh.
var tanhs = approximations()

func approximations() (all []unary) {
	for _, f := range []unary{
		plain("z(27 + z²)/(27 + 9z²), Padé's", func(z float64) float64 { return z * (27 + z*z) / (27 + 9*z*z) }),
		plain("z(15 + z²)/(15 + 6z²), Padé's", func(z float64) float64 { return z * (15 + z*z) / (15 + 6*z*z) }),
		plain("3z/(3 + z²), Padé's", func(z float64) float64 { return 3 * z / (3 + z*z) }),
		plain("z(105 + 10z²)/(105 + 45z² + z⁴), Padé's", func(z float64) float64 { return z * (105 + 10*z*z) / (105 + 45*z*z + z*z*z*z) }),
		plain("z(945 + 105z² + z⁴)/(945 + 420z² + 15z⁴), Padé's", func(z float64) float64 {
			q := z * z
			return z * (945 + 105*q + q*q) / (945 + 420*q + 15*q*q)
		}),
		plain("z(10395 + 1260z² + 21z⁴)/(10395 + 4725z² + 210z⁴ + z⁶), Padé's", func(z float64) float64 {
			q := z * z
			return z * (10395 + 1260*q + 21*q*q) / (10395 + 4725*q + 210*q*q + q*q*q)
		}),
		plain("z(135135 + 17325z² + 378z⁴ + z⁶)/(135135 + 62370z² + 3150z⁴ + 28z⁶), Padé's", func(z float64) float64 {
			q := z * z
			return z * (135135 + 17325*q + 378*q*q + q*q*q) / (135135 + 62370*q + 3150*q*q + 28*q*q*q)
		}),
		plain("z - z³/3", func(z float64) float64 { return z - z*z*z/3 }),
		plain("z - z³/3 + 2z⁵/15", func(z float64) float64 { q := z * z; return z * (1 - q/3 + 2*q*q/15) }),
		plain("z", func(z float64) float64 { return z }),
		plain("z/(1 + |z|)", func(z float64) float64 { return z / (1 + math.Abs(z)) }),
		plain("z/√(1 + z²)", func(z float64) float64 { return z / math.Sqrt(1+z*z) }),
		plain("erf(z)", math.Erf),
		plain("(2/π)·atan(πz/2)", func(z float64) float64 { return 2 / math.Pi * math.Atan(math.Pi*z/2) }),
	} {
		of := func(z float64) float64 { return f.of(z, 0) }
		all = append(all, f, plain(f.text+" cut at ±1", within(of)))
		for _, most := range []float64{1, 2, 2.5, 3, 3.5, 4, 4.5, 4.97, 5, 6, 8, 9, 10} {
			all = append(all, plain(fmt.Sprintf("%s, ±1 beyond |z| = %v", f.text, most), beyond(most, of)))
		}
	}
	return all
}

// inputCaps proposes the function of an input that is cut at numbers.
func (p *values) inputCaps(src source, x []float32) (all []Hypothesis) {
	f := p.Model.Config().ActivationFunction().Of
	lo, hi := p.beyond(x)
	if lo != nil && few(len(lo.all)) || hi != nil && few(len(hi.all)) {
		return nil
	}
	try := func(words string, numbers int, cut func(x float64) float64) bool {
		if !p.holds(func(i int) float64 { return f(cut(float64(x[i]))) }) {
			return false
		}
		text := fmt.Sprintf("the input, %s, is cut %s before the function", src.name, words)
		all = append(all, src.hypothesis(PatternClipped, text, numbers, func(x, _ float64) float64 { return f(cut(x)) }))
		return true
	}
	// The value beyond a cut says where it is, to rounding.
	refined := func(w *side) float64 {
		if w == nil {
			return 0
		}
		v, a, b := float64(p.Got[w.at]), w.inner, w.outer
		for range 100 {
			if m := a + (b-a)/2; (f(m) < v) == (f(a) < f(b)) {
				a = m
			} else {
				b = m
			}
		}
		if t := roundest(w.inner, w.outer); p.agrees(w.at, f(t), left) {
			return t
		}
		return a
	}
	h, l := refined(hi), refined(lo)
	if hi != nil {
		if text, _, ok := p.read(h, func(k float64) bool { return p.holds(func(i int) float64 { return f(min(float64(x[i]), k)) }) }); ok {
			try("at "+text+" from above", 1, func(x float64) float64 { return min(x, h) })
		}
	}
	if lo != nil {
		try("at "+decimal(l)+" from below", 1, func(x float64) float64 { return max(x, l) })
	}
	// Of a function that is flat below, the lower cut does not show.
	if hi != nil {
		try("at ±"+decimal(h), 1, func(x float64) float64 { return max(-h, min(x, h)) })
	}
	if lo != nil && hi != nil && l != -h {
		try("at "+decimal(l)+" and "+decimal(h), 2, func(x float64) float64 { return max(l, min(x, h)) })
	}
	return all
}

// A side is the wrong places beyond a threshold of what a function is of.
type side struct {
	inner, outer float64 // the threshold lies between: the last that is right, the first that is wrong
	at           int     // a wrong place of it
	all          []int   // its wrong places
}

// beyond returns the wrong places of negative and positive x, each if it has any, as sides: of x
// below one threshold and above another.
func (p *values) beyond(x []float32) (lo, hi *side) {
	var sides [2]*side
	for _, i := range p.wrong {
		v, k := float64(x[i]), 0
		if v > 0 {
			k = 1
		}
		if sides[k] == nil {
			sides[k] = &side{outer: v, at: i}
		}
		s := sides[k]
		if s.all = append(s.all, i); math.Abs(v) < math.Abs(s.outer) {
			s.outer = v
		}
	}
	isWrong := make([]bool, len(x))
	for _, i := range p.wrong {
		isWrong[i] = true
	}
	for _, i := range p.at {
		for k, s := range sides {
			v := float64(x[i])
			if s == nil || isWrong[i] || (v > 0) != (k == 1) {
				continue
			}
			if math.Abs(v) < math.Abs(s.outer) && math.Abs(v) > math.Abs(s.inner) {
				s.inner = v
			}
		}
	}
	return sides[0], sides[1]
}

// pieces proposes another function beyond a threshold of a source, on one side of it or both,
// or between two, and the correct one elsewhere.
func (p *values) pieces(src source, x []float32) (all []Hypothesis) {
	lo, hi := p.beyond(x)
	if lo != nil && few(len(lo.all)) || hi != nil && few(len(hi.all)) {
		return nil
	}
	in := func(i int) float64 { return float64(x[i]) }
	type region struct {
		words string
		has   func(x float64) bool
	}
	var regions []region
	threshold := func(s *side) float64 {
		a, b := s.inner, s.outer
		if a == 0 {
			return 0
		}
		return roundest(min(a, b), max(a, b))
	}
	if hi != nil && lo == nil {
		t := threshold(hi)
		regions = append(regions, region{"is above " + decimal(t), func(x float64) bool { return x > t }})
	}
	if lo != nil && hi == nil {
		t := threshold(lo)
		regions = append(regions, region{"is below " + decimal(t), func(x float64) bool { return x < t }})
	}
	if lo != nil && hi != nil {
		if a, b := max(-lo.inner, hi.inner), min(-lo.outer, hi.outer); a < b && a > 0 {
			t := roundest(a, b)
			regions = append(regions, region{"is beyond ±" + decimal(t), func(x float64) bool { return math.Abs(x) > t }})
		}
		// Wrong inside of a threshold: what is furthest out is right.
		worst, least := 0.0, math.Inf(1)
		for _, i := range p.wrong {
			worst = max(worst, math.Abs(in(i)))
		}
		for _, i := range p.at {
			if v := math.Abs(in(i)); v > worst {
				least = min(least, v)
			}
		}
		if !math.IsInf(least, 1) {
			t := roundest(worst, least)
			regions = append(regions, region{"is within ±" + decimal(t), func(x float64) bool { return math.Abs(x) < t }})
		}
	}
	for _, r := range regions {
		try := func(words string, numbers int, f func(x, right float64) float64) bool {
			g := func(x, right float64) float64 {
				if r.has(x) {
					return f(x, right)
				}
				return right
			}
			if !p.holds(func(i int) float64 { return g(in(i), float64(p.Right[i])) }) {
				return false
			}
			text := fmt.Sprintf("where %s %s the output is %s, elsewhere it is correct", src.name, r.words, words)
			all = append(all, src.hypothesis(PatternFunction, text, numbers, g))
			return true
		}
		if try("0", 1, func(_, _ float64) float64 { return 0 }) || src.name != correct.name && try(src.name+" itself", 1, func(x, _ float64) float64 { return x }) {
			continue
		}
		at := p.some(mostRead, func(i int) bool { return r.has(in(i)) })
		got := func(i int) float64 { return float64(p.Got[i]) }
		if c := p.fit(at, got, func(i int) float64 { return float64(p.Right[i]) }); c != nil {
			text, _ := Spell(p.Model.Config(), -1, c[0], 0)
			if _, k, ok := p.read(c[0], func(k float64) bool {
				return p.holds(func(i int) float64 {
					if r.has(in(i)) {
						return k * float64(p.Right[i])
					}
					return float64(p.Right[i])
				})
			}); ok {
				try(text+" times the correct one", 2, func(_, right float64) float64 { return k * right })
			}
		}
		if c := p.fit(at, got, in); c != nil && src.name != correct.name {
			if text, k, ok := p.read(c[0], func(k float64) bool {
				return p.holds(func(i int) float64 {
					if r.has(in(i)) {
						return k * in(i)
					}
					return float64(p.Right[i])
				})
			}); ok {
				try(text+" times "+src.name, 2, func(x, _ float64) float64 { return k * x })
			}
		}
	}
	if len(all) == 0 && lo != nil && hi != nil && src.name != correct.name {
		a, b := threshold(lo), threshold(hi)
		g := func(x, right float64) float64 {
			switch {
			case x > b:
				return x
			case x < a:
				return 0
			}
			return right
		}
		if p.holds(func(i int) float64 { return g(in(i), float64(p.Right[i])) }) {
			text := fmt.Sprintf("where %s is above %s the output is %[1]s itself, where it is below %s it is 0, elsewhere it is correct", src.name, decimal(b), decimal(a))
			all = append(all, src.hypothesis(PatternFunction, text, 2, g))
		}
	}
	return all
}

// unread returns hypotheses of an activation without a number that is read off.
func (r *Row) unread(f func(x float64) float64) (all []Hypothesis) {
	src, own := inputOfStage(r), r.Model.Config().ActivationFunction()
	add := func(id, text string, g func(x, right float64) float64) {
		all = append(all, src.hypothesis(id, text, 0, g))
	}
	for _, g := range functionsOfInput(own)[:10] {
		add(PatternFunction, "the output is "+g.text, func(x, _ float64) float64 { return g.of(x, 0) })
	}
	for _, c := range []float64{1, 2, 3, 4, 6} {
		add(PatternClipped, fmt.Sprintf("the output is clipped at %v: no value is above", c), func(_, right float64) float64 { return min(right, c) })
	}
	return all
}

// tables proposes a table of the function's values at equal distances, looked up by the input.
func (p *values) tables(src source, x []float32, own *activation.Function) (all []Hypothesis) {
	f := own.Of
	modes := []struct {
		text string
		at   func(q float64) (node, next, part float64)
	}{
		{"at the nearest entry", func(q float64) (float64, float64, float64) { n := math.Floor(q + 0.5); return n, n, 0 }},
		{"at the entry below", func(q float64) (float64, float64, float64) { n := math.Floor(q); return n, n, 0 }},
		{"with the entry of the middle of the step", func(q float64) (float64, float64, float64) { n := math.Floor(q) + 0.5; return n, n, 0 }},
		{"with a straight line between entries", func(q float64) (float64, float64, float64) { n := math.Floor(q); return n, n + 1, q - n }},
	}
	outside := []struct {
		text string
		of   func(x, r float64) float64
	}{
		{"its end", func(x, r float64) float64 { return f(max(-r, min(x, r))) }},
		{"0 below and x above", func(x, r float64) float64 {
			if x > 0 {
				return x
			}
			return 0
		}},
		{"the function itself", func(x, r float64) float64 { return f(x) }},
	}
	for _, r := range []float64{1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20} {
		for _, n := range []int{16, 32, 64, 100, 128, 200, 250, 255, 256, 257, 500, 511, 512, 513, 1000, 1023, 1024, 1025, 2000, 2047, 2048, 4095, 4096, 8192, 16384, 32768, 65535, 65536} {
			h := 2 * r / float64(n)
			for _, m := range modes {
				for _, o := range outside {
					g := func(x float64) float64 {
						if x <= -r || x >= r {
							return o.of(x, r)
						}
						a, b, part := m.at((x + r) / h)
						y := f(min(a*h, 2*r) - r)
						if part > 0 {
							y += part * (f(b*h-r) - y)
						}
						return y
					}
					if p.holds(func(i int) float64 { return g(float64(x[i])) }) {
						text := fmt.Sprintf("the output is looked up in a table of %s, whose %d entries from %v to %v are %s apart, %s, and beyond it is %s",
							own.Name(), n, -r, r, decimal(h), m.text, o.text)
						return []Hypothesis{src.hypothesis(PatternTable, text, 1, func(x, _ float64) float64 { return g(x) })}
					}
				}
			}
		}
	}
	return nil
}
