package kernel

import "github.com/tphakala/simd/f32"

// Add writes a + b to dst; the three have the same length.
func Add(dst, a, b []float32) { f32.Add(dst, a, b) }

// Dot returns the sum of a[i]·b[i].
func Dot(a, b []float32) float32 { return f32.DotProduct(a, b) }

// AddScaled adds factor·x to dst.
func AddScaled(dst []float32, factor float32, x []float32) { f32.AddScaled(dst, factor, x) }
