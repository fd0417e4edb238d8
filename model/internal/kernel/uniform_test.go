package kernel

import (
	"math/rand/v2"
	"testing"
)

// Each number of splitmix64 is the same wherever a call begins and whatever the kernels; the
// first of state 0 is that of its authors' program.
func TestUniform(t *testing.T) { eachChoice(t, testUniform) }

func testUniform(t *testing.T) {
	if got := SplitMix(0, 0); got != 0xe220a8397b1dcdaf {
		t.Errorf("splitmix64's first number after 0 is %#x, want 0xe220a8397b1dcdaf", got)
	}
	rng := rand.New(rand.NewPCG(4, 4))
	for range 50 {
		state, first, n := rng.Uint64(), int(rng.Uint64()>>20), rng.IntN(40)
		got, scale := make([]float32, n), rng.Float32()
		Uniform(got, state, first, scale, 0.5)
		for i, v := range got {
			f := float64(SplitMix(state, first+i)>>40)/(1<<23) - 1
			if want := float32(float32(f)*scale) + 0.5; v != want {
				t.Fatalf("number %d of %#x, in a call from %d on, is %v, want %v", first+i, state, first, v, want)
			}
		}
	}
}
