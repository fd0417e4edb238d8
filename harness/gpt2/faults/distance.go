package faults

import (
	"cmp"
	"math"
	"slices"

	"checkpoint12/harness"
)

// rms returns the root of the mean squared difference over all elements.
func rms(d harness.Distance) float64 { return math.Sqrt(d.SqDiff / float64(max(d.N, 1))) }

// compareDistance is negative if a is the smaller distance, and 0 if the two are
// equal.
func compareDistance(a, b harness.Distance) int {
	return cmp.Or(cmp.Compare(a.Nonfinite, b.Nonfinite), cmp.Compare(a.SqDiff, b.SqDiff))
}

// explained returns the fraction of an error that is gone when something else
// stands in the place of the right output: base is the engine's distance from the
// right output, left that from the other one. noise is the sum of the squared
// bounds. Where infinities or NaN are among the differences, as in a mask, it is
// a fraction of their number, and of the finite places only if these are off by
// more than rounding too.
func explained(base, left harness.Distance, noise float64) float64 {
	if base.Nonfinite == 0 {
		if left.Nonfinite > 0 || base.SqDiff == 0 {
			return 0
		}
		return math.Max(0, 1-left.SqDiff/base.SqDiff)
	}
	part := math.Max(0, 1-float64(left.Nonfinite)/float64(base.Nonfinite))
	if base.SqDiff > noise {
		part = math.Min(part, math.Max(0, 1-left.SqDiff/base.SqDiff))
	} else if left.SqDiff > 4*noise {
		return 0 // the mask is right, the values are off by twice what rounding may do
	}
	return part
}

// squared is the sum of squares.
func squared(x []float32) (s float64) {
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return s
}

// scale is the root mean square of the finite values.
func scale(x []float32) float64 {
	s, n := 0.0, 0
	for _, v := range x {
		if finite(v) {
			s, n = s+float64(v)*float64(v), n+1
		}
	}
	if n == 0 {
		return 0
	}
	return math.Sqrt(s / float64(n))
}

// equal reports whether two tensors are equal in every element, two NaN being equal.
func equal(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return x == y || x != x && y != y })
}
