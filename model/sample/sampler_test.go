package sample

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var (
	inf = float32(math.Inf(1))
	nan = float32(math.NaN())
)

// softmax64 is the definition.
func softmax64(x []float32, temperature float64) []float64 {
	max := float64(slices.Max(x))
	p, sum := make([]float64, len(x)), 0.0
	for i, v := range x {
		p[i] = math.Exp((float64(v) - max) / temperature)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

// logits draws rows as far apart and as often tied as a model makes them.
var logits = rapid.OneOf(
	rapid.SliceOfN(rapid.Float32Range(-120, 20), 1, 60),
	rapid.SliceOfN(rapid.Float32Range(-3e38, 3e38), 1, 20),
	rapid.SliceOfN(rapid.Map(rapid.IntRange(-3, 3), func(i int) float32 { return float32(i) / 2 }), 1, 60),
)

func TestSamplingValidate(t *testing.T) {
	for _, tt := range []struct {
		s    Options
		want string // "" is valid
	}{
		{Options{}, ""},
		{Options{Temperature: 2, TopK: 40, TopP: 1}, ""},
		{Options{Temperature: -0.1}, "temperature -0.1"},
		{Options{Temperature: math.NaN()}, "temperature NaN"},
		{Options{Temperature: math.Inf(1)}, "temperature +Inf"},
		{Options{TopK: -1}, "top-k -1"},
		{Options{TopP: -0.5}, "top-p -0.5"},
		{Options{TopP: 1.5}, "top-p 1.5"},
		{Options{TopP: math.NaN()}, "top-p NaN"},
	} {
		_, err := New(tt.s)
		if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("New(%+v): error %v, want %q", tt.s, err, tt.want)
		}
	}
}

// draw returns n tokens of s on the same logits.
func draw(t rapid.TB, s Options, logits []float32, n int) []int {
	t.Helper()
	sampler, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]int, n)
	for i := range ids {
		if ids[i], err = sampler.Next(logits); err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

func TestSamplerProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		x := logits.Draw(rt, "logits")
		s := Options{
			Temperature: rapid.Float64Range(GreedyBelow, 1e6).Draw(rt, "temperature"),
			TopK:        rapid.IntRange(0, 70).Draw(rt, "top-k"),
			TopP:        rapid.Float64Range(0, 1).Draw(rt, "top-p"),
			Seed:        rapid.Uint64().Draw(rt, "seed"),
		}
		ids := draw(rt, s, x, 20)
		if again := draw(rt, s, x, 20); !slices.Equal(ids, again) {
			rt.Errorf("the same seed gave %v, then %v", ids, again)
		}
		kept := keptBySort(x, s)
		for _, id := range ids {
			if !slices.Contains(kept, id) {
				rt.Errorf("drew %d, which is not among %v", id, kept)
			}
		}
		greedy := slices.Repeat([]int{Argmax(x)}, 5)
		for why, s := range map[string]Options{
			"temperature 0":          {TopK: s.TopK, TopP: s.TopP, Seed: s.Seed},
			"temperature below 1e-6": {Temperature: math.Nextafter(GreedyBelow, 0), Seed: s.Seed},
			"top-k 1":                {Temperature: s.Temperature, TopK: 1, TopP: s.TopP, Seed: s.Seed},
			"top-p tiny":             {Temperature: s.Temperature, TopK: s.TopK, TopP: math.SmallestNonzeroFloat64, Seed: s.Seed},
		} {
			if got := draw(rt, s, x, 5); !slices.Equal(got, greedy) {
				rt.Errorf("%s drew %v, want the argmax %v", why, got, greedy)
			}
		}
		all := draw(rt, Options{Temperature: s.Temperature, Seed: s.Seed}, x, 20)
		for why, s := range map[string]Options{
			"top-k of all": {Temperature: s.Temperature, TopK: len(x), Seed: s.Seed},
			"top-p 1":      {Temperature: s.Temperature, TopP: 1, Seed: s.Seed},
		} {
			if got := draw(rt, s, x, 20); !slices.Equal(got, all) {
				rt.Errorf("%s drew %v, without it %v", why, got, all)
			}
		}
	})
}

// keptBySort returns the ids that may be drawn, by the definition of TopK and
// TopP.
func keptBySort(x []float32, s Options) []int {
	ids := make([]int, len(x))
	for i := range ids {
		ids[i] = i
	}
	slices.SortStableFunc(ids, func(a, b int) int {
		if x[a] > x[b] {
			return -1
		} else if x[a] < x[b] {
			return 1
		}
		return 0
	})
	if s.TopK > 0 {
		ids = ids[:min(s.TopK, len(ids))]
	}
	if s.TopP == 0 || s.TopP == 1 {
		return ids
	}
	var total, sum float64
	weight := func(id int) float64 { return math.Exp((float64(x[id]) - float64(x[ids[0]])) / s.Temperature) }
	for _, id := range ids {
		total += weight(id)
	}
	n := 0
	for n < len(ids) && (n == 0 || sum < s.TopP*total*(1+1e-12)) { // a border within rounding may go either way
		sum += weight(ids[n])
		n++
	}
	return ids[:n]
}

func TestSamplerKeeps(t *testing.T) {
	tie := []float32{2, 5, 3, 3, 3, 1}
	quarters := make([]float32, 4)
	third := []float32{float32(math.Log(4)), float32(math.Log(2)), 0, 0} // 1/2, 1/4, 1/8, 1/8
	for _, tt := range []struct {
		x    []float32
		s    Options
		want []int // every id that comes up
		why  string
	}{
		{tie, Options{TopK: 2}, []int{1, 2}, "a tie at the k-th: the lower id stays"},
		{tie, Options{TopK: 3}, []int{1, 2, 3}, "a tie at the k-th: the lower ids stay"},
		{quarters, Options{TopP: 0.5}, []int{0, 1}, "exactly half"},
		{quarters, Options{TopP: 0.51}, []int{0, 1, 2}, "a little more than half needs a third"},
		{third, Options{TopP: 0.7}, []int{0, 1}, "the fewest that reach 0.7"},
		{third, Options{TopP: 0.8}, []int{0, 1, 2}, "the fewest that reach 0.8"},
		{third, Options{TopK: 2, TopP: 0.66}, []int{0}, "P is a share of what K left: 2/3 and 1/3"},
		{third, Options{TopK: 2, TopP: 0.67}, []int{0, 1}, "P is a share of what K left: 2/3 and 1/3"},
		{[]float32{0, -inf, 0}, Options{}, []int{0, 2}, "-Inf never"},
		{[]float32{0, -inf, -inf}, Options{TopK: 2}, []int{0}, "-Inf never, kept or not"},
	} {
		tt.s.Temperature = 1
		got := draw(t, tt.s, tt.x, 500)
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %+v on %v drew %v, want %v", tt.why, tt.s, tt.x, got, tt.want)
		}
	}
}

// TestSamplerFrequencies compares 40,000 draws, of a fixed seed, with the
// probabilities they should have, by chi-square.
func TestSamplerFrequencies(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, 30)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	for _, s := range []Options{
		{Temperature: 1}, {Temperature: 0.5}, {Temperature: 2},
		{Temperature: 1, TopK: 10}, {Temperature: 1, TopP: 0.8}, {Temperature: 0.7, TopK: 20, TopP: 0.9},
	} {
		s.Seed = 3
		const n = 40000
		count := make([]float64, len(x))
		for _, id := range draw(t, s, x, n) {
			count[id]++
		}
		kept, p := keptBySort(x, s), softmax64(x, s.Temperature)
		var total, chi2 float64
		for _, id := range kept {
			total += p[id]
		}
		for _, id := range kept {
			want := n * p[id] / total
			chi2 += (count[id] - want) * (count[id] - want) / want
		}
		// Mean k, deviation sqrt(2k) for k degrees of freedom: five deviations.
		if k := float64(len(kept) - 1); !(chi2 < k+5*math.Sqrt(2*k)) {
			t.Errorf("%+v: chi-square %.1f with %v degrees of freedom", s, chi2, k)
		}
	}
}

func TestSamplerRefuses(t *testing.T) {
	good := []float32{1, 2, 3, 4, 5, 6, 7, 8}
	for _, temperature := range []float64{0, 1} {
		s := Options{Temperature: temperature, TopK: 5, TopP: 0.9}
		sampler, err := New(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range [][]float32{nil, {}, {1, nan}, {1, inf}, {inf, inf}, {-inf, -inf}} {
			if id, err := sampler.Next(bad); !errors.Is(err, ErrNoDistribution) {
				t.Errorf("temperature %v: Next(%v) = %d, %v", temperature, bad, id, err)
			}
		}
		var got []int
		for range 10 {
			id, err := sampler.Next(good)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, id)
		}
		if want := draw(t, s, good, 10); !slices.Equal(got, want) {
			t.Errorf("temperature %v: after errors drew %v, without them %v", temperature, got, want)
		}
	}
}

func TestSamplingAllocatesNothing(t *testing.T) {
	x := make([]float32, 1000)
	p := make([]float32, len(x))
	if n := testing.AllocsPerRun(10, func() { Softmax(p, x, 0.5); Argmax(x) }); n != 0 {
		t.Errorf("Softmax and Argmax: %v allocations", n)
	}
	sampler, err := New(Options{Temperature: 1, TopK: 40, TopP: 0.9})
	if err != nil {
		t.Fatal(err)
	}
	next := func() {
		if _, err := sampler.Next(x); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(10, next); n != 0 {
		t.Errorf("Next after the first: %v allocations", n)
	}
}
