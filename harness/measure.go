package harness

import (
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness/internal/shapes"
)

// CompareTensor compares one tensor with its golden by the stage's bound, widened
// by extra. It asks neither the stage's Extra nor its Check. Different shapes
// are judged, in the Row's Status; the errors are a golden that cannot be judged
// by (empty, or not what its shape says) and ids where values belong.
func CompareTensor(st Stage, want, got Tensor, extra float64) (Row, error) {
	row := newRow(st, want.Shape)
	row.Tolerance.Abs += positive(extra)
	row.GotShape = got.Shape
	if err := want.Check(); err != nil {
		return row, fmt.Errorf("golden: %w", err)
	}
	if want.Elements() == 0 {
		return row, fmt.Errorf("golden: shape %v holds nothing to compare with", want.Shape)
	}
	if err := got.Check(); err != nil {
		return row, fmt.Errorf("candidate: %w", err)
	}
	if want.IDs() != st.IDs {
		return row, fmt.Errorf("golden is %s, but the stage is %s", want.DType(), kindOf(st))
	}
	if !slices.Equal(want.Shape, got.Shape) {
		row.Status = Shape
		return row, nil
	}
	if got.IDs() != st.IDs {
		return row, fmt.Errorf("candidate is %s, but the stage is %s", got.DType(), kindOf(st))
	}
	if st.IDs {
		measureIDs(&row, want.I64, got.I64)
	} else {
		measureValues(&row, want.F32, got.F32)
	}
	return row, nil
}

// newRow returns the row of a stage that was not compared yet.
func newRow(st Stage, shape []int) Row {
	nan := Float(math.NaN())
	return Row{
		Stage: st.Name, Shape: shape, Tolerance: st.Tolerance, Checkpoint: st.Checkpoint,
		MaxAbs: nan, MaxRel: nan, RMS: nan, Cosine: nan, Bound: math.NaN(), Scale: math.NaN(),
	}
}

func kindOf(st Stage) string {
	if st.IDs {
		return "int64 ids"
	}
	return "float32 values"
}

// positive is x, or 0 where x is no finite positive number.
func positive(x float64) float64 {
	if x > 0 && !math.IsInf(x, 1) {
		return x
	}
	return 0
}

// sums are gathered in one pass over two tensors.
type sums struct {
	maxDiff, maxWant float64 // over places finite in both; over finite golden places
	at               int     // the first place of maxDiff
	sq, gg, ww, gw   float64 // over places finite in both
	finite           int     // the number of those
	firstBad         int     // the first place that is not finite and not the same infinity; -1 if none
	bad              int     // the number of those
	unexpected       bool    // a NaN, or an infinity that the golden does not have there
}

// block is the number of elements that are looked at together: one block whose values are
// all finite needs no look at each.
const block = 4096

// measureValues fills in the row from want and got of equal length ≥ 1.
func measureValues(row *Row, want, got []float32) {
	s := sums{firstBad: -1, maxDiff: -1}
	for lo := 0; lo < len(want); lo += block {
		hi := min(lo+block, len(want))
		if !s.fast(want[lo:hi], got[lo:hi], lo) {
			s.slow(want[lo:hi], got[lo:hi], lo)
		}
	}
	row.Elements = len(want)
	s.fill(row)
	if s.firstBad >= 0 || s.maxDiff > row.Bound {
		row.Mismatched = s.bad
		for i, w := range want {
			d := math.Abs(float64(got[i]) - float64(w))
			if d > row.Bound && !math.IsInf(d, 0) { // infinities and NaN are among the bad
				row.Mismatched++
			}
		}
	}
	at := s.at
	if s.firstBad >= 0 {
		at = s.firstBad
		row.MaxAbs = Float(math.Abs(float64(got[at]) - float64(want[at])))
		row.MaxRel = row.MaxAbs
	}
	row.Worst = &Worst{Index: shapes.Index(at, row.Shape), Got: Float(got[at]), Want: Float(want[at])}
	switch {
	case s.unexpected:
		row.Status = Nonfinite
	case row.Mismatched > 0:
		row.Status = Fail
	default:
		row.Status = Pass
	}
}

// fast adds a block in which all is finite, and is false, having added nothing,
// when something is not.
func (s *sums) fast(want, got []float32, lo int) bool {
	got = got[:len(want)]
	var sq, gg, ww, gw float64
	// Without its sign bit the larger of two floats has the larger bits, and
	// integers are the faster to compare.
	var diffBits uint64
	var wantBits uint32
	for i, wf := range want {
		w, g := float64(wf), float64(got[i])
		d := g - w
		sq += d * d
		gg += g * g
		ww += w * w
		gw += g * w
		diffBits = max(diffBits, math.Float64bits(d)<<1)
		wantBits = max(wantBits, math.Float32bits(wf)<<1)
	}
	maxDiff, maxWant := math.Float64frombits(diffBits>>1), float64(math.Float32frombits(wantBits>>1))
	// The square of a float32 is finite in float64: only an infinity or a NaN
	// makes these sums anything else.
	if v := gg + ww; math.IsNaN(v) || math.IsInf(v, 0) {
		return false
	}
	s.sq, s.gg, s.ww, s.gw = s.sq+sq, s.gg+gg, s.ww+ww, s.gw+gw
	s.finite += len(want)
	s.maxWant = max(s.maxWant, maxWant)
	if maxDiff > s.maxDiff {
		s.maxDiff = maxDiff
		for i, w := range want {
			if math.Abs(float64(got[i])-float64(w)) == maxDiff {
				s.at = lo + i
				break
			}
		}
	}
	return true
}

// slow adds a block place by place.
func (s *sums) slow(want, got []float32, lo int) {
	for i, wf := range want {
		w, g := float64(wf), float64(got[i])
		if !math.IsNaN(w) && !math.IsInf(w, 0) {
			s.maxWant = max(s.maxWant, math.Abs(w))
		}
		d := g - w
		if !math.IsNaN(d) && !math.IsInf(d, 0) {
			s.sq, s.gg, s.ww, s.gw = s.sq+d*d, s.gg+g*g, s.ww+w*w, s.gw+g*w
			s.finite++
			if math.Abs(d) > s.maxDiff {
				s.maxDiff, s.at = math.Abs(d), lo+i
			}
			continue
		}
		if g == w { // the same infinity differs by 0
			if s.maxDiff < 0 {
				s.maxDiff, s.at = 0, lo+i
			}
			continue
		}
		s.bad++
		if s.firstBad < 0 {
			s.firstBad = lo + i
		}
		s.unexpected = s.unexpected || math.IsNaN(d) || math.IsInf(g, 0)
	}
}

// fill puts what follows from the sums alone into the row.
func (s *sums) fill(row *Row) {
	row.MaxAbs = Float(s.maxDiff)
	row.MaxRel = relative(s.maxDiff, s.maxWant)
	row.Scale = s.maxWant
	row.Bound = row.Tolerance.Abs + row.Tolerance.Rel*s.maxWant
	if s.finite == 0 {
		return
	}
	row.RMS = Float(math.Sqrt(s.sq / float64(s.finite)))
	switch {
	case s.sq == 0:
		row.Cosine = 1
	case s.gg == 0 || s.ww == 0:
		row.Cosine = 0
	default:
		row.Cosine = Float(max(-1, min(1, s.gw/math.Sqrt(s.gg)/math.Sqrt(s.ww))))
	}
}

func relative(diff, scale float64) Float {
	if diff == 0 {
		return 0
	}
	return Float(diff / scale)
}

// measureIDs fills in the row from ids of equal length ≥ 1.
func measureIDs(row *Row, want, got []int64) {
	s := sums{firstBad: -1, maxDiff: -1, finite: len(want)}
	for i, w := range want {
		g := got[i]
		d := math.Abs(float64(g) - float64(w))
		if g != w {
			row.Mismatched++
			d = max(d, 1) // also where two large ids are one float64
		}
		s.sq += d * d
		s.gg += float64(g) * float64(g)
		s.ww += float64(w) * float64(w)
		s.gw += float64(g) * float64(w)
		s.maxWant = max(s.maxWant, math.Abs(float64(w)))
		if d > s.maxDiff {
			s.maxDiff, s.at = d, i
		}
	}
	s.fill(row)
	row.Elements = len(want)
	row.Worst = &Worst{Index: shapes.Index(s.at, row.Shape), Got: Float(got[s.at]), Want: Float(want[s.at])}
	row.Status = Pass
	if row.Mismatched > 0 {
		row.Status = Fail
	}
}
