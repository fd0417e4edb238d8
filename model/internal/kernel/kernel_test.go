package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"checkpoint12/model/activation"
	"checkpoint12/model/internal/kernel/ceiling"
)

var (
	inf = float32(math.Inf(1))
	nan = float32(math.NaN())
)

func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) })
}

// A product is within 2(√n + 2)·u of the sum of its terms' magnitudes, where u
// is 2^-24 and n the number of terms: rounding errors are independent enough
// that they grow with the root of their number (Higham and Mary, "A New
// Approach to Probabilistic Rounding Error Analysis", 2019, with λ = 2). Its
// bits do not depend on threads, nor on the rows beside it.
func TestMul(t *testing.T) { eachChoice(t, testMul) }

// eachChoice tests with every choice of kernels that can be had here.
func eachChoice(t *testing.T, test func(*testing.T)) {
	was := kernels
	defer func() { kernels = was }()
	for kernels = portable; kernels <= best; kernels++ {
		t.Run(levels[kernels], test)
	}
}

func testMul(t *testing.T) {
	pools := []*Pool{NewPool(1), NewPool(2), NewPool(7)}
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.OneOf(rapid.IntRange(1, 40), rapid.SampledFrom([]int{127, 128, 129, 255, 257, 511, 512, 513, 700, 1025}))
		in, out := size.Draw(t, "in"), size.Draw(t, "out")
		rows := rapid.OneOf(rapid.IntRange(1, 5), rapid.IntRange(fewRows-1, fewRows+3), rapid.IntRange(6, 45)).Draw(t, "rows")
		layout := Layout(rapid.IntRange(0, 1).Draw(t, "layout"))
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		x := normal(rng, rows*in, 1)
		w := NewMatrix(normal(rng, in*out, 1), in, out, layout)
		var bias []float32
		if rapid.Bool().Draw(t, "bias") {
			bias = normal(rng, out, 1)
		}

		y := make([]float32, rows*out)
		for i := range y {
			y[i] = float32(math.NaN()) // whatever was there before must not matter
		}
		w.Mul(pools[0], y, x, bias, rows)
		want := naiveMul(w, x, bias, rows)
		magnitude := naiveMul(NewMatrix(abs(w.data), in, out, layout), abs(x), abs(bias), rows)
		for i := range y {
			bound := 2 * (math.Sqrt(float64(in)) + 2) * 0x1p-24 * magnitude[i]
			if d := math.Abs(float64(y[i]) - want[i]); !(d <= bound) {
				t.Fatalf("y[%d] = %v, want %v: off by %.3g, bound %.3g", i, y[i], want[i], d, bound)
			}
		}
		for _, p := range pools[1:] {
			again := make([]float32, len(y))
			w.Mul(p, again, x, bias, rows)
			if !sameBits(again, y) {
				t.Fatalf("%d threads give other bits than one", p.threads)
			}
		}
		r := rapid.IntRange(0, rows-1).Draw(t, "row")
		alone := make([]float32, out)
		w.Mul(pools[1], alone, x[r*in:(r+1)*in], bias, 1)
		if !sameBits(alone, y[r*out:(r+1)*out]) {
			t.Fatalf("row %d of %d has other bits alone", r, rows)
		}
	})
}

// Longer vectors change no bit, nor do more rows than pass a block together.
func TestVectorLengths(t *testing.T) {
	was := kernels
	defer func() { kernels = was }()
	p := NewPool(2)
	rng := rand.New(rand.NewPCG(8, 8))
	for _, rows := range []int{1, 2, 4, 5, 11, fewRows, fewRows + 1, 67, passRows + 7} {
		const in, out = 261, 141
		x, bias := normal(rng, rows*in, 1), normal(rng, out, 1)
		data := normal(rng, in*out, 1)
		var first []float32
		for kernels = avx2; kernels <= best; kernels++ {
			active, share := make([]float32, rows*in), make([]float32, rows*in)
			Activate(p, active, x, activation.Released)
			Softmax(share, x, 1)
			all := slices.Concat(active, share)
			for _, layout := range []Layout{InOut, OutIn} {
				w := NewMatrix(data, in, out, layout)
				product, last := make([]float32, rows*out), make([]float32, out)
				w.Mul(p, product, x, bias, rows)
				if w.Mul(p, last, x[(rows-1)*in:], bias, 1); !sameBits(last, product[(rows-1)*out:]) {
					t.Errorf("the last of %d rows: %s gives other bits alone", rows, levels[kernels])
				}
				all = append(all, product...)
			}
			if first == nil {
				first = all
			} else if !sameBits(all, first) {
				t.Errorf("%d rows: %s gives other bits than %s", rows, levels[kernels], levels[avx2])
			}
		}
	}
}

func abs(x []float32) []float32 {
	if x == nil {
		return nil
	}
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(math.Abs(float64(v)))
	}
	return y
}

// Infinities and NaN of one row stay in that row and reach its results.
func TestMulNonFinite(t *testing.T) { eachChoice(t, testMulNonFinite) }

func testMulNonFinite(t *testing.T) {
	p := NewPool(2)
	for _, layout := range []Layout{InOut, OutIn} {
		for _, rows := range []int{2, 3, 8, fewRows + 1} {
			const in, out = 203, 303
			rng := rand.New(rand.NewPCG(1, 1))
			x, y := normal(rng, rows*in, 1), make([]float32, rows*out)
			x[in+5] = float32(math.Inf(1))
			NewMatrix(normal(rng, in*out, 1), in, out, layout).Mul(p, y, x, nil, rows)
			for i, v := range y {
				finite := !math.IsInf(float64(v), 0) && v == v
				if finite != (i/out != 1) {
					t.Fatalf("layout %d, %d rows: y[%d] = %v", layout, rows, i, v)
				}
			}
		}
	}
}

// LayerNorm is the float64 result rounded once: half a unit in the last place,
// far below checkpoint 1's 1e-5.
func TestLayerNorm(t *testing.T) {
	p := NewPool(2)
	rng := rand.New(rand.NewPCG(3, 3))
	for _, test := range []struct {
		name       string
		rows, n    int
		scale, off float64
		eps        float64
	}{
		{"one value has no variance", 3, 1, 1, 0, 1e-5},
		{"odd width", 5, 77, 1, 0, 1e-5},
		{"wide", 9, 1600, 1, 0, 1e-5},
		{"large mean, small spread", 2, 1024, 1e-3, 1e4, 1e-5},
		{"below eps", 2, 768, 1e-4, 0, 1e-5},
		{"outliers in the thousands", 2, 768, 3e3, 0, 1e-5},
		{"parallel", 100, 1024, 1, 1, 1e-5},
	} {
		x := normal(rng, test.rows*test.n, test.scale)
		for i := range x {
			x[i] += float32(test.off)
		}
		gain, bias := normal(rng, test.n, 1), normal(rng, test.n, 1)
		y := make([]float32, len(x))
		LayerNorm(p, y, x, gain, bias, test.eps)
		for i, want := range naiveLayerNorm(x, gain, bias, test.eps) {
			// The terms may cancel: the spacing of float64 at their size is added.
			bound := math.Abs(want)*0x1p-24 + 1e-11*(1+math.Abs(test.off)/test.scale)
			if d := math.Abs(float64(y[i]) - want); !(d <= bound) {
				t.Fatalf("%s: y[%d] = %v, want %v: off by %.3g, bound %.3g", test.name, i, y[i], want, d, bound)
			}
		}
	}
	// The variance is biased: [-1, 1] has variance 1, not 2.
	y := make([]float32, 2)
	LayerNorm(p, y, []float32{-1, 1}, []float32{1, 1}, []float32{0, 0}, 0)
	if !slices.Equal(y, []float32{-1, 1}) {
		t.Errorf("LayerNorm of [-1 1] = %v, want it unchanged", y)
	}
}

// Activate rounds once what f gives in float64, whatever the number of threads and parts:
// within half a unit in the last place, and one of float64's.
func TestActivate(t *testing.T) { eachChoice(t, testActivate) }

func testActivate(t *testing.T) {
	p := NewPool(3)
	edges := []float32{0, float32(math.Copysign(0, -1)), inf, -inf, nan, 1e-45, -1e-45, 3e38, -3e38, 40, -40, -13, -1e10}
	for _, f := range activation.Functions() {
		for _, n := range []int{0, 1, 3, eachChunk - 1, eachChunk, 5*eachChunk + 7} {
			x := append(normal(rand.New(rand.NewPCG(4, 4)), n, 3), edges...)
			y, alone := make([]float32, len(x)), make([]float32, 1)
			Activate(p, y, x, f)
			for i, v := range x {
				want := f.Of(float64(v))
				bound := math.Abs(want)*(0x1p-24+0x1p-53) + 0x1p-150
				same := math.Abs(float64(y[i])-want) <= bound || y[i] == float32(want) || y[i] != y[i] && want != want
				if !same {
					t.Fatalf("%s of %v, %d of %d: %v, want %v", f.Name(), v, i, n, y[i], want)
				}
				if Activate(p, alone, x[i:i+1], f); !sameBits(alone, y[i:i+1]) && want == want {
					t.Fatalf("%s of %v has other bits alone", f.Name(), v)
				}
			}
		}
	}
}

func TestSoftmaxProperties(t *testing.T) { eachChoice(t, testSoftmaxProperties) }

func testSoftmaxProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		x := rapid.OneOf(
			rapid.SliceOfN(rapid.Float32Range(-120, 20), 1, 60),
			rapid.SliceOfN(rapid.Float32Range(-3e38, 3e38), 1, 20),
			rapid.SliceOfN(rapid.Map(rapid.IntRange(-3, 3), func(i int) float32 { return float32(i) / 2 }), 1, 60),
		).Draw(rt, "logits")
		temperature := rapid.Float64Range(1e-6, 100).Draw(rt, "temperature")
		got := make([]float32, len(x))
		Softmax(got, x, temperature)
		var sum float64
		for i, want := range naiveSoftmax(x, temperature) {
			if d := math.Abs(float64(got[i]) - want); !(d <= 1.2e-7*want+1e-44) {
				rt.Errorf("probability %d of %v at temperature %v = %v, want %v", i, x, temperature, got[i], want)
			}
			sum += float64(got[i])
		}
		if !(math.Abs(sum-1) <= 1e-6) {
			rt.Errorf("probabilities add up to %v", sum)
		}
		masked := append(slices.Clone(x), -inf, -inf, -inf)
		Softmax(masked, masked, temperature)
		if !sameBits(masked, append(slices.Clone(got), 0, 0, 0)) {
			rt.Errorf("with masked places after it %v, else %v", masked, got)
		}
		inPlace := slices.Clone(x)
		Softmax(inPlace, inPlace, temperature)
		if !sameBits(inPlace, got) {
			rt.Errorf("in place %v, else %v", inPlace, got)
		}
	})
}

func TestSoftmaxEdges(t *testing.T) { eachChoice(t, testSoftmaxEdges) }

func testSoftmaxEdges(t *testing.T) {
	for _, tt := range []struct {
		x           []float32
		temperature float64
		want        []float32
		why         string
	}{
		{[]float32{}, 1, []float32{}, "nothing"},
		{[]float32{7}, 0.5, []float32{1}, "one"},
		{[]float32{-inf, 0, 0}, 1, []float32{0, 0.5, 0.5}, "-Inf has no share"},
		{[]float32{-1e30, -1e30, -inf}, 1, []float32{0.5, 0.5, 0}, "far below zero"},
		{[]float32{3e38, 3e38, -3e38}, 1, []float32{0.5, 0.5, 0}, "large"},
		{[]float32{3e38, -3e38}, 1e-6, []float32{1, 0}, "no overflow"},
		{[]float32{1, nan, 2}, 1, []float32{nan, nan, nan}, "NaN"},
		{[]float32{nan}, 1, []float32{nan}, "nothing but NaN"},
		{[]float32{1, inf}, 1, []float32{nan, nan}, "+Inf"},
		{[]float32{-inf, -inf}, 1, []float32{nan, nan}, "nothing finite"},
		{[]float32{1, 2}, 0, []float32{nan, nan}, "temperature 0"},
		{[]float32{1, 2}, -1, []float32{nan, nan}, "temperature below 0"},
		{[]float32{1, 2}, math.NaN(), []float32{nan, nan}, "temperature NaN"},
	} {
		got := make([]float32, len(tt.x))
		Softmax(got, tt.x, tt.temperature)
		same := func(a, b float32) bool { return a == b || a != a && b != b }
		if !slices.EqualFunc(got, tt.want, same) {
			t.Errorf("%s: Softmax(%v, t=%v) = %v, want %v", tt.why, tt.x, tt.temperature, got, tt.want)
		}
	}
}

func TestArgmax(t *testing.T) {
	for _, tt := range []struct {
		x    []float32
		want int
		why  string
	}{
		{nil, -1, "nothing to choose from"},
		{[]float32{-3}, 0, "one"},
		{[]float32{1, 3, 2}, 1, "the largest"},
		{[]float32{-5, -1, -1, -1}, 1, "lowest id of a tie, all negative"},
		{[]float32{float32(math.Copysign(0, -1)), 0}, 0, "-0 equals 0"},
		{[]float32{-inf, -inf}, 0, "a tie of -Inf"},
		{[]float32{-inf, 1}, 1, "-Inf loses"},
		{[]float32{1, inf, 2}, 1, "+Inf wins"},
		{[]float32{nan, 1}, -1, "NaN first"},
		{[]float32{inf, nan}, -1, "NaN last, after +Inf"},
	} {
		if got := Argmax(tt.x); got != tt.want {
			t.Errorf("%s: Argmax(%v) = %d, want %d", tt.why, tt.x, got, tt.want)
		}
	}
}

// counting counts how often each part ran.
type counting []atomic.Int32

func (c counting) Part(i int) { c[i].Add(1) }

// Every part runs exactly once, whatever the threads and the size.
func TestPool(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 16} {
		p := NewPool(threads)
		for round := range 200 {
			for _, parts := range []int{0, 1, 2, 5, 64} {
				c := make(counting, parts)
				p.Do(c, parts, round%2*serialWork)
				for i := range c {
					if n := c[i].Load(); n != 1 {
						t.Fatalf("%d threads, %d parts: part %d ran %d times", threads, parts, i, n)
					}
				}
			}
		}
	}
	if got := NewPool(0).threads; got != runtime.GOMAXPROCS(0) {
		t.Errorf("NewPool(0) has %d threads, want GOMAXPROCS", got)
	}
}

// BenchmarkMul multiplies matrices that no cache holds, and reports the share of what the
// processor multiplies at most.
func BenchmarkMul(b *testing.B) {
	p := NewPool(0)
	for _, bench := range []struct {
		rows, in, out int
		layout        Layout
	}{
		{1, 1024, 3072, InOut}, {1, 1024, 4096, InOut}, {1, 4096, 1024, InOut}, {1, 1024, 50257, OutIn},
		{2, 1024, 4096, InOut}, {4, 1024, 4096, InOut}, {8, 1024, 4096, InOut}, {8, 1024, 4096, OutIn}, {12, 1024, 4096, InOut}, {fewRows, 1024, 4096, InOut}, {24, 1024, 4096, InOut}, {fewRows + 1, 1024, 4096, InOut},
		{128, 1024, 4096, InOut}, {128, 4096, 1024, InOut}, {128, 1024, 4096, OutIn},
		{512, 1024, 1024, InOut}, {512, 1024, 4096, InOut}, {512, 4096, 1024, InOut},
	} {
		b.Run(fmt.Sprintf("%dx%dx%d/layout%d", bench.rows, bench.in, bench.out, bench.layout), func(b *testing.B) {
			// Matrices enough that none is in a cache when its turn comes.
			n := max(1, (256<<20)/(4*bench.in*bench.out))
			ms := make([]*Matrix, n)
			for i := range ms {
				ms[i] = NewMatrix(make([]float32, bench.in*bench.out), bench.in, bench.out, bench.layout)
				for j := range ms[i].data {
					ms[i].data[j] = 0.5
				}
			}
			x, y := make([]float32, bench.rows*bench.in), make([]float32, bench.rows*bench.out)
			b.SetBytes(int64(4 * bench.in * bench.out))
			most := ceiling.FMA(p.threads)
			b.ResetTimer()
			for i := range b.N {
				ms[i%n].Mul(p, y, x, nil, bench.rows)
			}
			speed := 2 * float64(bench.rows*bench.in*bench.out) * float64(b.N) / b.Elapsed().Seconds()
			b.ReportMetric(speed/1e9, "GFLOP/s")
			b.ReportMetric(100*speed/max(most, ceiling.FMA(p.threads)), "%ofFMA")
		})
	}
}

// The environment forces kernels, and what it asks for that cannot be had is an error.
func TestChoose(t *testing.T) {
	for _, tt := range []struct {
		name string
		want level
		ok   bool
	}{{"", best, true}, {"portable", portable, true}, {"avx2", min(best, avx2), best >= avx2}, {"avx512", min(best, avx512), best >= avx512}, {"neon", best, false}} {
		if got, err := choose(tt.name); got != tt.want || (err == nil) != tt.ok {
			t.Errorf("choose(%q) = %v, %v; want %v, and an error: %v", tt.name, got, err, tt.want, !tt.ok)
		}
	}
}
