package fit

import (
	"math"
	"testing"
)

// TestLinear: coefficients come back, and none are given where nothing determines them.
func TestLinear(t *testing.T) {
	const n = 40
	x, small, y := make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range n {
		x[i], small[i] = math.Sin(float64(i)), 1e-6*math.Cos(float64(3*i))
		y[i] = 0.408*x[i] - 2*small[i]
	}
	if c := linear(y, x, small); len(c) != 2 || math.Abs(c[0]-0.408) > 1e-12 || math.Abs(c[1]+2) > 1e-6 {
		t.Errorf("coefficients %v, want 0.408 and -2", c)
	}
	for _, c := range []struct {
		name string
		y    []float64
		x    [][]float64
	}{
		{"the same term twice", y, [][]float64{x, x}},
		{"a term of zeros", y, [][]float64{x, make([]float64, n)}},
		{"too few values", y[:7], [][]float64{x[:7], small[:7]}},
		{"NaN", y, [][]float64{{0: math.NaN(), n - 1: 0}}},
		{"no term", y, nil},
	} {
		if got := linear(c.y, c.x...); got != nil {
			t.Errorf("%s: coefficients %v, want none", c.name, got)
		}
	}
}
