package fit

import (
	"fmt"
	"math"

	"checkpoint12/model/activation"
)

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
		plain("GELU's tanh form with x² in the place of x³, 0.5x(1 + tanh(√(2/π)(x + 0.044715x²)))", func(x float64) float64 { return x / 2 * (1 + math.Tanh(root*(x+cubic*x*x))) }),
		unary{"GELU's tanh form with another power of x, 0.5x(1 + tanh(√(2/π)(x + 0.044715·x·|x|^(p-1)))) with p = %s where 3 belongs", func(x, k float64) float64 {
			return x / 2 * (1 + math.Tanh(root*(x+cubic*x*math.Pow(math.Abs(x), k-1))))
		}, []float64{3}},
		unary{"relu of the input plus %s", func(x, k float64) float64 { return max(x+k, 0) }, []float64{-0.01, 0.01}},
		unary{"x·sigmoid(%s·x)", func(x, k float64) float64 { return x * sigmoid(k*x) }, []float64{1.7, 1}},
		unary{"GELU's erf form with erf(%s·x), where 1/√2 belongs", func(x, k float64) float64 { return x / 2 * math.Erfc(-k*x) }, []float64{0.7}},
		unary{"leaky: x above 0, %s·x below", func(x, k float64) float64 { return max(x, 0) + k*min(x, 0) }, []float64{0.1}},
		unary{"elu, of which below 0 %s·(exp(x) - 1)", func(x, k float64) float64 { return max(x, 0) + k*math.Expm1(min(x, 0)) }, []float64{1}},
		unary{own.Name() + "(%s·x): the input is scaled", func(x, k float64) float64 { return f(k * x) }, []float64{1.1, 2, 0.5, 0.1, 8, -1}},
		unary{own.Name() + "(x + %s): a number is added to the input", func(x, k float64) float64 { return f(x + k) }, []float64{0.1, -0.1, 1, -1}},
		unary{own.Name() + "(%s·x)/%[1]s", func(x, k float64) float64 { return f(k*x) / k }, []float64{1.1, 2, 0.5}},
	)
	for _, n := range float16s {
		round, name := n.round, n.text
		inner := func(x float64) float64 { return root * (x + cubic*x*x*x) }
		all = append(all,
			plain("GELU's tanh form of which the tanh is rounded to "+name, func(x float64) float64 { return x / 2 * (1 + round(math.Tanh(inner(x)))) }),
			plain("GELU's tanh form of which 1 + tanh is rounded to "+name, func(x float64) float64 { return x / 2 * round(1+math.Tanh(inner(x))) }),
			plain("GELU's tanh form of which the argument of tanh is rounded to "+name, func(x float64) float64 { return x / 2 * (1 + math.Tanh(round(inner(x)))) }),
			plain("GELU's tanh form of which x³ is rounded to "+name, func(x float64) float64 { return x / 2 * (1 + math.Tanh(root*(x+cubic*round(x*x*x)))) }),
		)
	}
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
