package faults

import (
	"cmp"
	"math"
)

// distance is how far one tensor is from another.
type distance struct {
	squares   float64 // sum of squared differences, over the places finite in both
	nonfinite int     // places where only one is finite, or the two are not the same infinity
	share     float64 // the largest difference as a fraction of the bound there
	beyond    int     // places whose difference is more than the bound there
	n         int     // places
}

// between measures got against want, of equal length. bound is what rounding may
// do at each place; nil is nothing. Two NaN are equal here: what matters is
// whether a variant does the same.
func between(got, want, bound []float32) distance {
	d := distance{n: len(got)}
	want = want[:len(got)]
	for i, g := range got {
		w := want[i]
		if g == w {
			continue
		}
		diff := float64(g) - float64(w)
		if diff-diff != 0 { // NaN or an infinity
			if g == g || w == w {
				d.nonfinite++
				d.beyond++
			}
			continue
		}
		d.squares += diff * diff
		b := 0.0
		if bound != nil {
			b = float64(bound[i])
		}
		share := math.Abs(diff) / b // bound 0: +Inf
		d.share = math.Max(d.share, share)
		if share > 1 {
			d.beyond++
		}
	}
	return d
}

// rms is the root of the mean squared difference.
func (d distance) rms() float64 {
	if d.n == 0 {
		return 0
	}
	return math.Sqrt(d.squares / float64(d.n))
}

// same reports whether the two tensors are equal in every place.
func (d distance) same() bool { return d.squares == 0 && d.nonfinite == 0 }

// compare is negative if d is the smaller distance, and 0 if the two are equal.
func (d distance) compare(other distance) int {
	return cmp.Or(cmp.Compare(d.nonfinite, other.nonfinite), cmp.Compare(d.squares, other.squares))
}

// explains returns the fraction of an error that is gone when something else
// stands in the place of the right output: base is the engine's distance from the
// right output, left that from the other one. noise is the sum of the squared
// bounds. Where infinities or NaN are among the differences, as in a mask, it is
// a fraction of their number, and of the finite places only if these are off by
// more than rounding too.
func (base distance) explains(left distance, noise float64) float64 {
	if base.nonfinite == 0 {
		if left.nonfinite > 0 || base.squares == 0 {
			return 0
		}
		return math.Max(0, 1-left.squares/base.squares)
	}
	part := math.Max(0, 1-float64(left.nonfinite)/float64(base.nonfinite))
	if base.squares > noise {
		part = math.Min(part, math.Max(0, 1-left.squares/base.squares))
	} else if left.squares > 4*noise {
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
