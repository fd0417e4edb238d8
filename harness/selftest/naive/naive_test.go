package naive

import (
	"slices"
	"testing"
)

// TestOrders: the orders of summation are three, and each is a sum.
func TestOrders(t *testing.T) {
	terms := []float32{1e8, 1, -1e8, 1, 3, 2}
	got := []float32{Forwards(terms), Backwards(terms), Pairwise(terms)}
	if slices.Max(got) == slices.Min(got) {
		t.Errorf("sums %v are all alike: the orders are not different", got)
	}
	for _, sum := range []func([]float32) float32{Forwards, Backwards, Pairwise} {
		if sum([]float32{1, 2, 3, 4, 5}) != 15 || sum(nil) != 0 {
			t.Error("a sum is wrong")
		}
	}
}
