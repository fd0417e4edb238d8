// Package activation is the table of the functions that a GPT-2's config.json can ask for
// between its two feed-forward layers.
package activation

import (
	"math"
	"slices"
	"strings"
)

// A Function is a row of the table.
type Function struct {
	// Names are what activation_function says for it, the usual name first. They are Hugging
	// Face's, of which several are the same function up to rounding.
	Names []string

	Formula string

	// Of returns f(x), without a cancellation of its own.
	Of func(x float64) float64

	rounding func(x, y float64) (slope, off float64)
}

// Released is the function of GPT-2 as released.
var Released = &table[0]

// Functions returns all rows, Released first.
func Functions() []*Function {
	all := make([]*Function, len(table))
	for i := range table {
		all[i] = &table[i]
	}
	return all
}

// Named returns the function of a name; "" is Released's.
func Named(name string) (f *Function, ok bool) {
	if name == "" {
		return Released, true
	}
	i := slices.IndexFunc(table, func(f Function) bool { return slices.Contains(f.Names, name) })
	if i < 0 {
		return nil, false
	}
	return &table[i], true
}

// Name returns the usual name.
func (f *Function) Name() string { return f.Names[0] }

// Known lists the names of all functions.
func Known() string {
	var names []string
	for _, f := range table {
		names = append(names, f.Names...)
	}
	return strings.Join(names, ", ")
}

// Rounding returns how f conducts and makes rounding errors at x, where y is f(x): its slope,
// and in units of the unit roundoff one standard deviation of what an engine's own operations
// are off by. A tanh, erf or sigmoid may be off by units of 1, as where one of them is made of
// another, and what it is multiplied by carries that.
func (f *Function) Rounding(x, y float64) (slope, off float64) { return f.rounding(x, y) }

const (
	u        = 1.0 / (1 << 24) // float32's unit roundoff
	smallest = 0x1p-126 / u    // the smallest normal float32, in units of u: engines may flush what is below to 0

	rootHalfPi = 0.79788456080286535587989211986876 // √(2/π)
	cubic      = 0.044715

	// Of MEGA's approximation of the squared ReLU, with as many digits as Hugging Face has.
	laplaceMean, laplaceWidth = 0.707107, 0.282095 * math.Sqrt2
)

var table = []Function{
	{
		[]string{"gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate"},
		"0.5*x*(1 + tanh(sqrt(2/pi)*(x + 0.044715*x^3)))",
		func(x float64) float64 { return x / (1 + math.Exp(-2*rootHalfPi*(x+cubic*x*x*x))) },
		// The argument is off by eight roundings, four of its units in size.
		func(x, y float64) (slope, off float64) {
			z := rootHalfPi * (x + cubic*x*x*x)
			t := math.Tanh(z)
			slope = (1+t)/2 + x/2*rootHalfPi*(1+3*cubic*x*x)*(1-t*t)
			return slope, math.Abs(x)/2*((1-t*t)*math.Abs(z)*4+3) + 2*math.Abs(y)
		},
	},
	{
		[]string{"gelu", "gelu_python"}, "0.5*x*(1 + erf(x/sqrt(2)))",
		gelu, geluRounding,
	},
	{
		[]string{"gelu_10"}, "0.5*x*(1 + erf(x/sqrt(2))), at most 10",
		func(x float64) float64 { return math.Min(gelu(x), 10) },
		func(x, y float64) (slope, off float64) {
			slope, off = geluRounding(math.Min(x, 10), y)
			if x > 10 {
				slope = 0
			}
			return slope, off
		},
	},
	{
		[]string{"quick_gelu"}, "x*sigmoid(1.702*x)",
		func(x float64) float64 { return x * sigmoid(1.702*x) },
		func(x, y float64) (slope, off float64) {
			z := 1.702 * x
			s := sigmoid(z)
			return s + z*s*(1-s), math.Abs(x)*(s*(1-s)*math.Abs(z)*2+1.5) + math.Abs(y)
		},
	},
	{
		[]string{"silu", "swish"}, "x*sigmoid(x)",
		func(x float64) float64 { return x * sigmoid(x) },
		func(x, y float64) (slope, off float64) {
			s := sigmoid(x)
			return s + x*s*(1-s), math.Abs(x)*(s*(1-s)*math.Abs(x)+1.5) + math.Abs(y)
		},
	},
	{
		[]string{"mish"}, "x*tanh(log(1 + exp(x)))",
		func(x float64) float64 { return x * math.Tanh(softplus(x)) },
		func(x, y float64) (slope, off float64) {
			p := softplus(x)
			t := math.Tanh(p)
			return t + x*(1-t*t)*sigmoid(x), math.Abs(x)*((1-t*t)*(3*p+2)+3) + math.Abs(y)
		},
	},
	{[]string{"relu"}, "max(x, 0)", func(x float64) float64 { return math.Max(x, 0) }, pieces(step{0, 1, 0})},
	{[]string{"relu6"}, "max(x, 0), at most 6", func(x float64) float64 { return math.Min(math.Max(x, 0), 6) }, pieces(step{0, 1, 0}, step{6, 0, 0})},
	{
		[]string{"relu2"}, "max(x, 0)^2",
		func(x float64) float64 { return math.Max(x, 0) * math.Max(x, 0) },
		func(x, y float64) (slope, off float64) { return 2 * math.Max(x, 0), math.Abs(y) + smallest },
	},
	{
		[]string{"leaky_relu"}, "max(x, 0.01*x)",
		func(x float64) float64 { return math.Max(x, 0.01*x) },
		pieces(step{math.Inf(-1), 0.01, 2}, step{0, 1, 0}),
	},
	{
		[]string{"hardswish"}, "x*min(max(x + 3, 0), 6)/6",
		func(x float64) float64 { return x * math.Min(math.Max(x+3, 0), 6) / 6 },
		func(x, y float64) (slope, off float64) {
			switch {
			case x <= -3:
				return 0, 0
			case x >= 3:
				return 1, 4 * math.Abs(y)
			}
			return (2*x + 3) / 6, 4 * math.Abs(y)
		},
	},
	{
		[]string{"tanh"}, "tanh(x)", math.Tanh,
		func(x, y float64) (slope, off float64) { return 1 - y*y, 3 },
	},
	{
		[]string{"sigmoid"}, "1/(1 + exp(-x))", sigmoid,
		func(x, y float64) (slope, off float64) { return y * (1 - y), y*(1-y)*math.Abs(x) + 1.5 },
	},
	{
		[]string{"laplace"}, "0.5*(1 + erf((x - 0.707107)/(0.282095*sqrt(2))))",
		func(x float64) float64 { return math.Erfc((laplaceMean-x)/laplaceWidth) / 2 },
		func(x, y float64) (slope, off float64) {
			z := (x - laplaceMean) / laplaceWidth
			bell := math.Exp(-z*z) / math.Sqrt(math.Pi)
			return bell / laplaceWidth, bell*(3*math.Abs(z)+laplaceMean/laplaceWidth) + 1.5 + math.Abs(y)
		},
	},
	{
		[]string{"sqrtsoftplus"}, "sqrt(log(1 + exp(x)))",
		func(x float64) float64 { return math.Sqrt(softplus(x)) },
		func(x, y float64) (slope, off float64) {
			if y*y < u*smallest {
				return 0, y / u
			}
			return sigmoid(x) / (2 * y), 3 * math.Abs(y)
		},
	},
	{[]string{"linear"}, "x", func(x float64) float64 { return x }, pieces(step{math.Inf(-1), 1, 0})},
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// softplus is log(1 + exp(x)).
func softplus(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

// gelu is the erf form of arXiv:1606.08415.
func gelu(x float64) float64 { return 0.5 * x * math.Erfc(-x/math.Sqrt2) }

func geluRounding(x, y float64) (slope, off float64) {
	z := x / math.Sqrt2
	bell := 2 / math.Sqrt(math.Pi) * math.Exp(-z*z)
	return math.Erfc(-z)/2 + z/2*bell, math.Abs(x)/2*(bell*math.Abs(z)*2+3) + 2*math.Abs(y)
}

// A step is the slope of a function of straight pieces from one place on, and off how many
// roundings make |y| there.
type step struct{ from, slope, off float64 }

// pieces is the rounding of such a function, flat and exact before its first step.
func pieces(steps ...step) func(x, y float64) (slope, off float64) {
	return func(x, y float64) (slope, off float64) {
		for _, s := range steps {
			if x >= s.from {
				slope, off = s.slope, s.off*math.Abs(y)
			}
		}
		return slope, off
	}
}
