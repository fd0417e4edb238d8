package rounding

import (
	"math"
	"testing"
)

// The smallest set that has all values is the first; NaN and infinities are in each.
func TestHolding(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for _, tt := range []struct {
		want   string
		values []float32
	}{
		{"8-bit integers", []float32{0, -128, 127, nan, inf}},
		{"fp8 (e4m3)", []float32{0.5, 448, 0x1p-9, 0x1.8p-6}},
		{"fp8 (e5m2)", []float32{57344, 0x1p-16, inf}},
		{"bfloat16", []float32{1.0078125, -3.3895314e38, 4}},
		{"bfloat16", []float32{1.0078125, 0.5}},
		{"float16", []float32{1.0009765625, 65504, 0x1p-24, nan}},
		{"", []float32{1.0009765625, 0x1p-40}},
		{"", []float32{0.1}},
	} {
		got := ""
		if left := Holding(Types, tt.values); len(left) > 0 {
			got = left[0].Name
		}
		if got != tt.want {
			t.Errorf("%v: of %q, want %q", tt.values, got, tt.want)
		}
	}
	for _, typ := range Types { // what is rounded stays, also after more values than are looked at at a time
		values := make([]float32, 3000)
		for i := range values {
			values[i] = float32(math.Sin(float64(i)) * 100)
		}
		typ.Round(values, values)
		if left := Holding([]Type{typ}, values); len(left) == 0 {
			t.Errorf("%s does not hold what was rounded to it", typ.Name)
		}
		if values[2999] = 0.1; len(Holding([]Type{typ}, values)) > 0 {
			t.Errorf("%s holds 0.1", typ.Name)
		}
	}
}
