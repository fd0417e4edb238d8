package activation

import (
	"math"
	"math/rand/v2"
	"testing"
)

// published are values of transformers 5.24.0 with PyTorch in float64, at places.
var (
	places    = []float64{-7, -3.25, -1, -0.125, 0, 0.75, 2.5, 6.5, 11}
	published = []struct {
		name   string
		values []float64
	}{
		{"gelu", []float64{-8.95866714e-12, -0.00187533139, -0.158655254, -0.0562827219, 0, 0.580029486, 2.48447584, 6.5, 11}},
		{"gelu_10", []float64{-8.95866714e-12, -0.00187533139, -0.158655254, -0.0562827219, 0, 0.580029486, 2.48447584, 6.5, 10}},
		{"gelu_fast", []float64{-2.33146835e-15, -0.00156862714, -0.158808009, -0.0562828014, 0, 0.579960555, 2.48491573, 6.5, 11}},
		{"gelu_new", []float64{-2.33146835e-15, -0.00156862714, -0.158808009, -0.0562828014, 0, 0.579960555, 2.48491573, 6.5, 11}},
		{"gelu_python", []float64{-8.95866714e-12, -0.00187533139, -0.158655254, -0.0562827219, 0, 0.580029486, 2.48447584, 6.5, 11}},
		{"gelu_pytorch_tanh", []float64{-2.33146835e-15, -0.00156862714, -0.158808009, -0.0562828014, 0, 0.579960555, 2.48491573, 6.5, 11}},
		{"gelu_python_tanh", []float64{-2.33146835e-15, -0.00156862714, -0.158808009, -0.0562828014, 0, 0.579960555, 2.48491573, 6.5, 11}},
		{"gelu_accurate", []float64{-2.33146835e-15, -0.00156862714, -0.158808009, -0.0562828014, 0, 0.579960555, 2.48491573, 6.5, 11}},
		{"hardswish", []float64{0, 0, -0.333333333, -0.0598958333, 0, 0.46875, 2.29166667, 6.5, 11}},
		{"laplace", []float64{0, 0, 7.17372606e-10, 0.00159020552, 0.00609445962, 0.560426887, 1, 1, 1}},
		{"leaky_relu", []float64{-0.07, -0.0325, -0.01, -0.00125, 0, 0.75, 2.5, 6.5, 11}},
		{"linear", []float64{-7, -3.25, -1, -0.125, 0, 0.75, 2.5, 6.5, 11}},
		{"mish", []float64{-0.00638026341, -0.123574853, -0.303401461, -0.0699799072, 0, 0.610018335, 2.4713923, 6.4999707, 11}},
		{"quick_gelu", []float64{-4.68716967e-05, -0.0128193795, -0.154204234, -0.0558765266, 0, 0.586390058, 2.46501383, 6.49989807, 10.9999999}},
		{"relu", []float64{0, 0, 0, 0, 0, 0.75, 2.5, 6.5, 11}},
		{"relu2", []float64{0, 0, 0, 0, 0, 0.5625, 6.25, 42.25, 121}},
		{"relu6", []float64{0, 0, 0, 0, 0, 0.75, 2.5, 6, 6}},
		{"sigmoid", []float64{0.000911051194, 0.0373268873, 0.268941421, 0.468790627, 0.5, 0.679178699, 0.92414182, 0.998498818, 0.999983299}},
		{"silu", []float64{-0.00637735836, -0.121312384, -0.268941421, -0.0585988283, 0, 0.509384024, 2.31035455, 6.49024232, 10.9998163}},
		{"sqrtsoftplus", []float64{0.0301905027, 0.195041974, 0.559697854, 0.795360947, 0.832554611, 1.06624153, 1.60589219, 2.54980437, 3.31662731}},
		{"swish", []float64{-0.00637735836, -0.121312384, -0.268941421, -0.0585988283, 0, 0.509384024, 2.31035455, 6.49024232, 10.9998163}},
		{"tanh", []float64{-0.999998337, -0.996997635, -0.761594156, -0.124353002, 0, 0.635148952, 0.986614298, 0.999995479, 0.999999999}},
	}
)

func TestValues(t *testing.T) {
	known := map[string]bool{}
	for _, p := range published {
		f, ok := Named(p.name)
		if !ok {
			t.Errorf("%s is not in the table", p.name)
			continue
		}
		known[p.name] = true
		for i, want := range p.values {
			// Where the tanh form is written as it is read, it cancels at negative x.
			if got := f.Of(places[i]); !(math.Abs(got-want) <= 1e-8*math.Abs(want)+1e-16*math.Abs(places[i])) {
				t.Errorf("%s(%v) = %v, want %v", p.name, places[i], got, want)
			}
		}
	}
	for _, f := range Functions() {
		for _, name := range f.Names {
			if !known[name] {
				t.Errorf("no published value of %s", name)
			}
			if g, ok := Named(name); !ok || g != f {
				t.Errorf("%s is the name of two functions", name)
			}
		}
		if !math.IsNaN(f.Of(math.NaN())) {
			t.Errorf("%s of NaN is %v", f.Name(), f.Of(math.NaN()))
		}
	}
	if f, ok := Named(""); !ok || f != Released || f.Name() != "gelu_new" {
		t.Error("without a name it is not gelu_new")
	}
	if _, ok := Named("prelu"); ok {
		t.Error("prelu has weights of its own, and is known")
	}
}

// sample draws what feed-forward layers hold, and a little of what is far out.
func sample(n int) []float64 {
	rng := rand.New(rand.NewPCG(3, 8))
	x := []float64{0, 1e-20, -1e-20, 6, -3, 3, 10, 40, -40, 3000, -3000}
	for range n {
		x = append(x, float64(float32(rng.NormFloat64()*3)))
	}
	return x
}

// The slope is the derivative.
func TestSlope(t *testing.T) {
	const h = 1e-6
	for _, f := range Functions() {
		for _, x := range sample(2000) {
			slope, _ := f.Rounding(x, f.Of(x))
			left, right := (f.Of(x)-f.Of(x-h))/h, (f.Of(x+h)-f.Of(x))/h
			if math.Min(math.Abs(left-slope), math.Abs(right-slope)) > 1e-4*(1+math.Abs(slope)) {
				t.Errorf("%s: the slope at %v is %v, differences give %v and %v", f.Name(), x, slope, left, right)
			}
		}
	}
}

// engines are ways to compute functions in float32, as engines do: of exp, tanh, erf and log1p
// the float32 nearest to the result, or one made of another.
var engines = map[string][]func(x float32) float32{
	"gelu_new": {
		func(x float32) float32 {
			return 0.5 * x * (1 + tanh32(0.7978845608*(x+0.044715*(x*x*x))))
		},
		func(x float32) float32 { return 0.5 * x * (1 + tanh32(x*0.7978845608*(1+0.044715*x*x))) },
		func(x float32) float32 { return 0.5 * x * (1 + (2*sigmoid32(2*0.7978845608*(x+0.044715*x*x*x)) - 1)) },
	},
	"gelu": {
		func(x float32) float32 { return x * 0.5 * (1 + erf32(x/float32(math.Sqrt2))) },
		func(x float32) float32 { return 0.5 * x * (1 + erf32(x*float32(1/math.Sqrt2))) },
	},
	"gelu_10":      {func(x float32) float32 { return min(x*0.5*(1+erf32(x/float32(math.Sqrt2))), 10) }},
	"quick_gelu":   {func(x float32) float32 { return x * sigmoid32(1.702*x) }},
	"silu":         {func(x float32) float32 { return x * sigmoid32(x) }, func(x float32) float32 { return x / (1 + exp32(-x)) }},
	"mish":         {func(x float32) float32 { return x * tanh32(softplus32(x)) }},
	"relu":         {func(x float32) float32 { return max(x, 0) }},
	"relu6":        {func(x float32) float32 { return min(max(x, 0), 6) }},
	"relu2":        {func(x float32) float32 { return max(x, 0) * max(x, 0) }},
	"leaky_relu":   {func(x float32) float32 { return max(x, 0.01*x) }},
	"hardswish":    {func(x float32) float32 { return x * min(max(x+3, 0), 6) / 6 }, func(x float32) float32 { return x * (min(max(x+3, 0), 6) * float32(1.0/6)) }},
	"tanh":         {tanh32, func(x float32) float32 { return 2*sigmoid32(2*x) - 1 }},
	"sigmoid":      {sigmoid32, func(x float32) float32 { return 0.5*tanh32(0.5*x) + 0.5 }},
	"laplace":      {func(x float32) float32 { return 0.5 * (1 + erf32((x-0.707107)/float32(0.282095*math.Sqrt2))) }},
	"sqrtsoftplus": {func(x float32) float32 { return float32(math.Sqrt(float64(softplus32(x)))) }},
	"linear":       {func(x float32) float32 { return x }},
}

func exp32(x float32) float32     { return float32(math.Exp(float64(x))) }
func tanh32(x float32) float32    { return float32(math.Tanh(float64(x))) }
func erf32(x float32) float32     { return float32(math.Erf(float64(x))) }
func sigmoid32(x float32) float32 { return 1 / (1 + exp32(-x)) }
func softplus32(x float32) float32 {
	return max(x, 0) + float32(math.Log1p(float64(exp32(-float32(math.Abs(float64(x)))))))
}

// A bound is 4 standard deviations, as a replay has it.
const lambda = 4

func bound(f *Function, x float64) float64 {
	slope, off := f.Rounding(x, f.Of(x))
	return lambda * u * (off + math.Abs(slope*x))
}

// A float32 engine uses at most half of the bound.
func TestRoundingHolds(t *testing.T) {
	for _, f := range Functions() {
		if engines[f.Name()] == nil {
			t.Errorf("%s: no engine computes it", f.Name())
		}
		for i, engine := range engines[f.Name()] {
			worst, at := 0.0, 0.0
			for _, x := range sample(50_000) {
				d := math.Abs(float64(engine(float32(x))) - f.Of(float64(float32(x))))
				if share := d / (bound(f, x) + math.SmallestNonzeroFloat32); share > worst {
					worst, at = share, x
				}
			}
			t.Logf("%s, engine %d: %.2f of the bound, at %v", f.Name(), i, worst, at)
			if worst > 0.5 {
				t.Errorf("%s, engine %d: %.2f of the bound, at %v", f.Name(), i, worst, at)
			}
		}
	}
}

// Any two functions are far more than both bounds apart somewhere that feed-forward layers go,
// gelu_10 and gelu above 10.
func TestFunctionsAreTold(t *testing.T) {
	for i, f := range Functions() {
		for _, g := range Functions()[:i] {
			most := 0.0
			for x := -12.0; x <= 12; x += 1.0 / 64 {
				most = math.Max(most, math.Abs(f.Of(x)-g.Of(x))/(bound(f, x)+bound(g, x)+math.SmallestNonzeroFloat32))
			}
			if most < 50 {
				t.Errorf("%s and %s are at most %.1f bounds apart", f.Name(), g.Name(), most)
			}
		}
	}
}
