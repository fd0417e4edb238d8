package harness

import "math"

// A Distance sums up how the elements of one tensor differ from those of another.
type Distance struct {
	N         int // elements
	Judged    int // elements of which something can be said
	Wrong     int // judged elements beyond their bound
	Nonfinite int // wrong elements where one is not finite and the other is not the same infinity

	// At is the first Nonfinite element or, if there is none, the one with the
	// largest difference or, with rounding bounds, with the largest Share of its
	// bound; -1 if no element differs.
	At        int
	Share     float64
	Got, Want float64 // the elements at At, or the first

	// Unexpected reports whether got has a NaN, or an infinity where want has none.
	Unexpected bool

	MaxDiff float64 // the difference at At, 0 if none is finite
	MaxWant float64 // the largest magnitude of a finite element of want

	// Over the elements finite in both: how many they are, and sums of products.
	Finite                                  int
	SqDiff, SqGot, SqWant, GotWant, SqBound float64
}

// Between returns the distance of got from want, which has as many elements, each
// of which has a rounding bound; nil is 0. An element is not judged where both have
// the same infinity, as at masked places, or where its bound or want is NaN because
// an input is not finite.
func Between(want, got, bound []float32) Distance {
	d := Distance{At: -1}
	d.add(0, Tensor{F32: want}, Tensor{F32: got}, bound, true)
	return d
}

// add adds parts of two tensors, of values or ids, that begin at element lo. Without
// rounding there are no bounds: a tolerance follows from MaxWant, at the end.
func (d *Distance) add(lo int, want, got Tensor, bound []float32, rounding bool) {
	if d.N += want.Elements(); d.N > 0 && lo == 0 {
		d.Got, d.Want = got.At(0), want.At(0)
	}
	for i, w := range want.I64 {
		diff := math.Abs(float64(got.I64[i]) - float64(w))
		if got.I64[i] != w {
			diff = max(diff, 1) // also where two large ids are one float64
		}
		d.addElement(lo+i, float64(w), float64(got.I64[i]), diff, 0, rounding)
	}
	for i, end := 0, 0; i < len(want.F32); i = end {
		infinite := isInf(want.F32[i])
		for end = i + 1; end < len(want.F32) && isInf(want.F32[end]) == infinite; end++ {
		}
		switch {
		case infinite:
		case rounding && bound != nil && d.addBounded(want.F32[i:end], got.F32[i:end], bound[i:end], lo+i):
			continue
		case !rounding && d.addFinite(want.F32[i:end], got.F32[i:end], lo+i):
			continue
		}
		for ; i < end; i++ {
			b := 0.0
			if bound != nil {
				b = float64(bound[i])
			}
			w, g := float64(want.F32[i]), float64(got.F32[i])
			d.addElement(lo+i, w, g, math.Abs(g-w), b, rounding)
		}
	}
}

// isInf reports whether v is an infinity, whose bits but for the sign no other value has.
func isInf(v float32) bool { return math.Float32bits(v)<<1 == 0xff<<24 }

// addElement adds element i, whose difference is diff.
func (d *Distance) addElement(i int, want, got, diff, bound float64, rounding bool) {
	if finite(want) {
		d.MaxWant = max(d.MaxWant, math.Abs(want))
	}
	switch {
	case got == want && !finite(want): // the same infinity differs by 0
		if !rounding {
			d.Judged++
		}
	case rounding && leftOpen(want, got, bound):
	case finite(diff):
		d.Judged++
		d.Finite++
		d.SqDiff += diff * diff
		d.SqGot += got * got
		d.SqWant += want * want
		d.GotWant += got * want
		d.SqBound += bound * bound
		if !(diff <= bound) {
			d.Wrong++
		}
		d.worse(i, want, got, diff, bound, rounding)
	default:
		d.Judged++
		d.Wrong++
		if d.Nonfinite++; d.Nonfinite == 1 {
			d.At, d.Share, d.Got, d.Want = i, math.Inf(1), got, want
		}
		d.Unexpected = d.Unexpected || math.IsNaN(diff) || math.IsInf(got, 0)
	}
}

// worse makes element i the worst if it is.
func (d *Distance) worse(i int, want, got, diff, bound float64, rounding bool) {
	if diff == 0 || d.Nonfinite > 0 {
		return
	}
	share := diff
	if rounding {
		share = diff / bound // bound 0: +Inf
	}
	if d.At < 0 || share > d.Share {
		d.At, d.Share, d.MaxDiff, d.Got, d.Want = i, share, diff, got, want
	}
}

// leftOpen reports whether inputs that are not finite leave open whether an element
// is correct.
func leftOpen(want, got, bound float64) bool {
	return math.IsNaN(bound) && (!finite(got) || finite(want)) || math.IsNaN(want) && !finite(got)
}

// addFinite adds elements of which all are finite; where something is not, it adds
// nothing and returns false.
func (d *Distance) addFinite(want, got []float32, lo int) bool {
	got = got[:len(want)]
	var sq, gg, ww, gw float64
	// Without its sign bit the larger of two floats has the larger bits, and
	// integers are the faster to compare.
	var diffBits uint64
	var wantBits uint32
	for i, wf := range want {
		w, g := float64(wf), float64(got[i])
		diff := g - w
		sq += diff * diff
		gg += g * g
		ww += w * w
		gw += g * w
		diffBits = max(diffBits, math.Float64bits(diff)<<1)
		wantBits = max(wantBits, math.Float32bits(wf)<<1)
	}
	// The square of a float32 is finite in float64: only an infinity or a NaN
	// makes these sums anything else.
	if !finite(gg + ww) {
		return false
	}
	d.Judged, d.Finite = d.Judged+len(want), d.Finite+len(want)
	d.SqDiff, d.SqGot, d.SqWant, d.GotWant = d.SqDiff+sq, d.SqGot+gg, d.SqWant+ww, d.GotWant+gw
	d.MaxWant = max(d.MaxWant, float64(math.Float32frombits(wantBits>>1)))
	if most := math.Float64frombits(diffBits >> 1); most > d.Share && d.Nonfinite == 0 {
		for i, w := range want {
			if math.Abs(float64(got[i])-float64(w)) == most {
				d.worse(lo+i, float64(w), float64(got[i]), most, 0, false)
				break
			}
		}
	}
	return true
}

// addBounded is addFinite of elements that have rounding bounds, all finite too.
func (d *Distance) addBounded(want, got, bound []float32, lo int) bool {
	got, bound = got[:len(want)], bound[:len(want)]
	var sq, gg, ww, gw, bb, most float64
	at, wrong, share := -1, 0, d.Share
	for i := range want {
		w, g, b := float64(want[i]), float64(got[i]), float64(bound[i])
		diff := math.Abs(g - w)
		sq += diff * diff
		gg += g * g
		ww += w * w
		gw += g * w
		bb += b * b
		most = max(most, math.Abs(w))
		if diff > b {
			wrong++
		}
		if diff > share*b && diff/b > share { // first without a division
			at, share = i, diff/b
		}
	}
	if !finite(gg + ww + bb) {
		return false
	}
	d.Judged, d.Finite, d.Wrong = d.Judged+len(want), d.Finite+len(want), d.Wrong+wrong
	d.SqDiff, d.SqGot, d.SqWant, d.GotWant, d.SqBound = d.SqDiff+sq, d.SqGot+gg, d.SqWant+ww, d.GotWant+gw, d.SqBound+bb
	d.MaxWant = max(d.MaxWant, most)
	if at >= 0 {
		w, g := float64(want[at]), float64(got[at])
		d.worse(lo+at, w, g, math.Abs(g-w), float64(bound[at]), true)
	}
	return true
}

// countBeyond returns how many values are further off than allowed and finite in both.
func countBeyond(want, got Tensor, allowed float64) (n int) {
	for i, w := range want.F32 {
		if diff := math.Abs(float64(got.F32[i]) - float64(w)); diff > allowed && finite(diff) {
			n++
		}
	}
	return n
}

// join adds the distance of other elements, whose own MaxWant their tolerance follows.
// The MaxWant of the two is that of the worst element.
func (d *Distance) join(o Distance, t Tolerance) {
	share := func(d *Distance) float64 {
		switch {
		case d.N == 0:
			return -1
		case d.Nonfinite > 0:
			return math.Inf(1)
		case d.MaxDiff == 0:
			return 0
		}
		return d.MaxDiff / t.At(d.MaxWant)
	}
	if share(&o) > share(d) {
		d.At, d.Share, d.Got, d.Want, d.MaxDiff, d.MaxWant = o.At, o.Share, o.Got, o.Want, o.MaxDiff, o.MaxWant
	}
	d.N, d.Judged, d.Wrong, d.Nonfinite, d.Finite = d.N+o.N, d.Judged+o.Judged, d.Wrong+o.Wrong, d.Nonfinite+o.Nonfinite, d.Finite+o.Finite
	d.SqDiff, d.SqGot, d.SqWant, d.GotWant = d.SqDiff+o.SqDiff, d.SqGot+o.SqGot, d.SqWant+o.SqWant, d.GotWant+o.GotWant
	d.Unexpected = d.Unexpected || o.Unexpected
}

// RMS returns the root of the mean squared difference over the elements finite in
// both.
func (d *Distance) RMS() float64 { return math.Sqrt(d.SqDiff / float64(max(d.Finite, 1))) }

// cosine returns the cosine of the two over the elements finite in both: 1 if both
// are all zero and 0 if only one is.
func (d *Distance) cosine() float64 {
	switch {
	case d.SqDiff == 0:
		return 1
	case d.SqGot == 0 || d.SqWant == 0:
		return 0
	}
	return max(-1, min(1, d.GotWant/math.Sqrt(d.SqGot)/math.Sqrt(d.SqWant)))
}

// finite reports whether x is neither NaN nor an infinity.
func finite(x float64) bool { return x-x == 0 }
