package replay

import (
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/shapes"
)

// maxRelBound is the RMS of the rounding bound, relative to the RMS of the right
// values, above which a replay that finds nothing wrong is inconclusive.
const maxRelBound = 0.01

// Measure compares a tensor at a place with the right value. The verdict is
// harness.ReplayUnknown where nothing can be said, for the reason in Why.
func Measure(at harness.Place, got harness.Tensor, right Value) harness.Replayed {
	row := unknown(at)
	switch {
	case !slices.Equal(got.Shape, right.Shape):
		row.Verdict, row.Status = harness.ReplayIntroduced, harness.Shape
		row.Why = fmt.Sprintf("shape %v, want %v", got.Shape, right.Shape)
		return row
	case got.IDs() != right.IDs():
		row.Why = fmt.Sprintf("is %s, the replay gives %s", got.DType(), right.DType())
		return row
	}
	row.Elements = got.Elements()
	e := elementErrors{worst: -1, nonfinite: -1}
	for i := range row.Elements {
		e.add(i, got, right)
	}
	switch {
	case row.Elements == 0:
		row.Why = "it is empty"
	case e.judged == 0:
		row.Why = "nothing of it can be judged: its inputs are not finite"
	default:
		e.fill(&row, got, right)
	}
	return row
}

// unknown returns a row of which nothing is known.
func unknown(at harness.Place) harness.Replayed {
	nan := harness.Float(math.NaN())
	return harness.Replayed{
		Place: at, Verdict: harness.ReplayUnknown, Status: harness.Skipped, Span: []string{at.Stage},
		MaxAbs: nan, Bound: nan, Share: nan, RMS: nan, Amplification: nan,
	}
}

// elementErrors sums up how the elements of a tensor differ from the right ones.
type elementErrors struct {
	judged    int     // elements of which something can be said
	wrong     int     // those beyond rounding
	nonfinite int     // the first that is not finite, or not the right infinity; -1 if there is none
	worst     int     // the one with the largest error relative to its bound; -1 if none differs
	share     float64 // that error over its bound

	sqErr, sqBound, sqRight float64 // sums of squares over the finite elements
}

// add compares element i.
func (e *elementErrors) add(i int, got harness.Tensor, right Value) {
	g, w, bound := got.At(i), right.At(i), right.bound(i)
	switch diff := math.Abs(g - w); {
	case g == w && math.IsInf(w, 0): // masked: nothing to judge
	case g == w:
		e.judged++
		e.addSquares(0, bound, w)
	case right.Accepts != nil && right.Accepts(i, got.I64[i]):
		e.judged++
	case right.takesNonfinite(i, g): // nothing to judge
	case finite(diff):
		e.judged++
		if !(diff <= bound) {
			e.wrong++
		}
		e.addSquares(diff, bound, w)
		if share := diff / bound; e.worst < 0 || share > e.share { // bound 0: +Inf
			e.worst, e.share = i, share
		}
	default:
		e.judged++
		e.wrong++
		if e.nonfinite < 0 {
			e.nonfinite = i
		}
	}
}

func (e *elementErrors) addSquares(diff, bound, right float64) {
	e.sqErr += diff * diff
	e.sqBound += bound * bound
	e.sqRight += right * right
}

// bound returns the bound of element i.
func (v Value) bound(i int) float64 {
	if v.Bound == nil {
		return 0
	}
	return float64(v.Bound[i])
}

// takesNonfinite reports whether inputs that are not finite leave it open if
// element i is g.
func (v Value) takesNonfinite(i int, g float64) bool {
	w := v.At(i)
	return math.IsNaN(v.bound(i)) && (!finite(g) || finite(w)) || math.IsNaN(w) && !finite(g)
}

// fill writes the verdict and the measures to a row of which something can be
// said.
func (e *elementErrors) fill(row *harness.Replayed, got harness.Tensor, right Value) {
	row.Mismatched = e.wrong
	row.Verdict, row.Status = harness.ReplayClean, harness.Pass
	if e.wrong > 0 {
		row.Verdict, row.Status = harness.ReplayIntroduced, harness.Fail
	}
	diff := func(i int) harness.Float { return harness.Float(math.Abs(got.At(i) - right.At(i))) }
	at := max(e.worst, 0)
	row.MaxAbs, row.Bound, row.Share, row.RMS = 0, harness.Float(right.bound(at)), harness.Float(e.share), 0
	if e.worst >= 0 {
		row.MaxAbs = diff(at)
	}
	if e.sqErr > 0 {
		row.RMS = harness.Float(math.Sqrt(e.sqErr / e.sqBound))
	}
	if e.nonfinite >= 0 {
		at = e.nonfinite
		row.Status, row.MaxAbs, row.Share = harness.Nonfinite, diff(at), harness.Float(math.Inf(1))
	}
	row.Worst = &harness.Worst{Index: shapes.Index(at, got.Shape), Got: harness.Float(got.At(at)), Want: harness.Float(right.At(at))}
	if e.wrong == 0 && e.sqBound > maxRelBound*maxRelBound*e.sqRight {
		row.Verdict, row.Status = harness.ReplayUnknown, harness.Skipped
		row.Why = fmt.Sprintf("too much was computed in between: rounding alone may come to %.2g of its size", math.Sqrt(e.sqBound/e.sqRight))
	}
}

// finite reports whether x is neither NaN nor an infinity.
func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
