package rounding

import (
	"math"
	"math/rand/v2"
	"testing"
)

// half is the value of IEEE half precision bits.
func half(bits uint16) float32 {
	sign, exp, frac := float64(1), int(bits>>10&31), float64(bits&1023)
	if bits>>15 == 1 {
		sign = -1
	}
	switch exp {
	case 0:
		return float32(sign * math.Ldexp(frac, -24))
	case 31:
		if frac != 0 {
			return float32(math.NaN())
		}
		return float32(math.Inf(int(sign)))
	}
	return float32(sign * math.Ldexp(1024+frac, exp-25))
}

// TestFloat16 rounds every half to itself, and what is between two neighbours to
// the nearer one or, half-way, to the even one.
func TestFloat16(t *testing.T) {
	one := func(x float32) float32 {
		var y [1]float32
		Float16(y[:], []float32{x})
		return y[0]
	}
	for bits := range uint32(1 << 16) {
		h := half(uint16(bits))
		if got := one(h); got != h && h == h || math.Signbit(float64(got)) != math.Signbit(float64(h)) {
			t.Fatalf("%#04x: %v becomes %v", bits, h, got)
		}
		if bits&0x7fff >= 0x7bff { // the largest, and what comes after it
			continue
		}
		next := half(uint16(bits + 1))
		middle := (h + next) / 2 // exact in float32
		even := h
		if bits&1 == 1 {
			even = next
		}
		if got := one(middle); got != even {
			t.Fatalf("%v, half-way from %v to %v, becomes %v, want %v", middle, h, next, got, even)
		}
		if got := one(math.Nextafter32(middle, h)); got != h {
			t.Fatalf("just before %v becomes %v, want %v", middle, got, h)
		}
		if got := one(math.Nextafter32(middle, next)); got != next {
			t.Fatalf("just after %v becomes %v, want %v", middle, got, next)
		}
	}
	for _, x := range []struct{ in, want float32 }{
		{65504, 65504}, {65519.996, 65504}, {65520, float32(math.Inf(1))}, {-1e30, float32(math.Inf(-1))}, {1e-30, 0},
	} {
		if got := one(x.in); got != x.want {
			t.Errorf("%v becomes %v, want %v", x.in, got, x.want)
		}
	}
}

// TestKeptBits: bfloat16 and TF32 give the nearest number of 8 and 11 significant
// bits, and keep what already is one.
func TestKeptBits(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 2))
	for _, r := range []struct {
		name  string
		round Rounding
		drop  uint
		off   float64 // of the step between two numbers
	}{{"bfloat16", BFloat16, 16, 0.5}, {"tf32", TF32, 13, 0.5}, {"tf32Cut", TF32Cut, 13, 1}} {
		for range 100_000 {
			x := math.Float32frombits(rng.Uint32())
			var y [2]float32
			r.round(y[:1], []float32{x})
			r.round(y[1:], y[:1])
			if x-x != 0 {
				if r.name != "tf32Cut" && math.Float32bits(y[0]) != math.Float32bits(x) {
					t.Fatalf("%s: %v becomes %v", r.name, x, y[0])
				}
				continue
			}
			if y[0] != y[1] || math.Float32bits(y[0])<<(32-r.drop) != 0 {
				t.Fatalf("%s: %v becomes %v, then %v", r.name, x, y[0], y[1])
			}
			if y[0]-y[0] != 0 {
				continue // past the largest number
			}
			step := math.Float64frombits(math.Float64bits(float64(x))&(0x7ff<<52)) * math.Pow(2, float64(r.drop)-23)
			if d := math.Abs(float64(y[0]) - float64(x)); d > r.off*step && math.Abs(float64(x)) > 1e-37 {
				t.Fatalf("%s: %v becomes %v, off by %v of the step", r.name, x, y[0], d/step)
			}
		}
	}
	var tie [2]float32
	BFloat16(tie[:], []float32{1 + 1.0/256, 1 + 3.0/256})
	if tie != [2]float32{1, 1 + 4.0/256} {
		t.Errorf("ties become %v, want even ones", tie)
	}
}
