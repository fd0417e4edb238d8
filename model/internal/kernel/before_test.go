package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// What is left out at a row's end has the value's bits: 0 is not -0.
func TestBefore(t *testing.T) { eachChoice(t, testBefore) }

func testBefore(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for n := range 60 {
		row, seen := normal(rng, n, 1), rng.IntN(n+1)
		for i := range row {
			switch {
			case i >= seen:
				row[i] = 0
			case i == seen-1:
				row[i] = []float32{float32(math.Copysign(0, -1)), nan, -inf}[n%3]
			}
		}
		if got := before(row, 0); got != seen {
			t.Errorf("%d of %v come before the zeros, want %d", got, row, seen)
		}
	}
}
