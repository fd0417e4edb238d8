package faults

import (
	"math"
	"testing"

	"checkpoint12/harness"
)

func TestExplains(t *testing.T) {
	inf, nan := float32(math.Inf(-1)), float32(math.NaN())
	bound := []float32{0.01, 0.01, 0.01, 0.01}
	for _, c := range []struct {
		name                string
		got, right, variant []float32
		want                float64
	}{
		{"all", []float32{1, 2, 3, 4}, []float32{2, 3, 4, 5}, []float32{1, 2, 3, 4}, 1},
		{"a half of each is three quarters of the squares", []float32{1, 2, 3, 4}, []float32{2, 3, 4, 5}, []float32{1.5, 2.5, 3.5, 4.5}, 0.75},
		{"farther than the right one", []float32{1, 2, 3, 4}, []float32{2, 3, 4, 5}, []float32{9, 9, 9, 9}, 0},
		{"no error", []float32{1, 2, 3, 4}, []float32{1, 2, 3, 4}, []float32{1, 2, 3, 4}, 0},
		{"infinite where nothing is", []float32{1, 2, 3, 4}, []float32{2, 3, 4, 5}, []float32{1, 2, 3, inf}, 0},
		{"a mask, all", []float32{1, inf, inf, 4}, []float32{1, 2, 3, 4}, []float32{1, inf, inf, 4}, 1},
		{"a mask, half", []float32{1, inf, inf, 4}, []float32{1, 2, 3, 4}, []float32{1, inf, 3, 4}, 0.5},
		{"a mask, all to rounding", []float32{1, inf, inf, 4}, []float32{1, 2, 3, 4.001}, []float32{1.002, inf, inf, 4}, 1},
		{"a mask, and other values", []float32{1, inf, inf, 4}, []float32{1, 2, 3, 4}, []float32{5, inf, inf, 4}, 0},
		{"the mask of wrong values", []float32{2, inf, inf, 8}, []float32{1, 2, 3, 4}, []float32{1, inf, inf, 4}, 0},
		{"NaN in both", []float32{nan, nan, 1, 1}, []float32{1, 1, 1, 1}, []float32{nan, nan, 1, 1}, 1},
	} {
		base := harness.Between(c.right, c.got, bound)
		got := explained(base, harness.Between(c.variant, c.got, bound))
		if math.Abs(got-c.want) > 1e-6 {
			t.Errorf("%s: explains %v, want %v", c.name, got, c.want)
		}
	}
}

func TestCompareDistance(t *testing.T) {
	for _, c := range []struct {
		reason string
		a, b   harness.Distance
		want   int
	}{
		{"alike", harness.Distance{Nonfinite: 1, SqDiff: 2}, harness.Distance{Nonfinite: 1, SqDiff: 2, Wrong: 3}, 0},
		{"less of an error", harness.Distance{SqDiff: 1}, harness.Distance{SqDiff: 2}, -1},
		{"more of an error", harness.Distance{Nonfinite: 1, SqDiff: 3}, harness.Distance{Nonfinite: 1, SqDiff: 2}, 1},
		{"one NaN is worse than any error", harness.Distance{Nonfinite: 1}, harness.Distance{SqDiff: 1e9}, 1},
		{"and an error better than more of them", harness.Distance{Nonfinite: 1, SqDiff: 1e9}, harness.Distance{Nonfinite: 2}, -1},
	} {
		if got := compareDistance(c.a, c.b); got != c.want {
			t.Errorf("%s: %d, want %d", c.reason, got, c.want)
		}
	}
}
