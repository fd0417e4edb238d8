package replay

import (
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness"
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
		row.Shape, row.GotShape = right.Shape, got.Shape
		row.Why = fmt.Sprintf("shape %v, want %v", got.Shape, right.Shape)
		return row
	case got.IDs() != right.IDs():
		row.Why = fmt.Sprintf("is %s, the replay gives %s", got.DType(), right.DType())
		return row
	}
	var e harness.Distance
	row.Row, e = harness.CompareRounding(at.Stage, right.Tensor, got, right.Bound, right.Accepts)
	row.Step, row.Bound, row.Share = at.Step, harness.Float(row.Row.Bound), harness.Float(e.Share)
	row.Verdict = harness.ReplayUnknown
	switch {
	case e.N == 0:
		row.Why = "it is empty"
	case e.Judged == 0:
		row.Why = "nothing of it can be judged: its inputs are not finite"
	case e.Wrong > 0:
		row.Verdict = harness.ReplayIntroduced
	case e.SqBound > maxRelBound*maxRelBound*e.SqWant:
		row.Why = fmt.Sprintf("too much was computed in between: rounding alone may come to %.2g of its size", math.Sqrt(e.SqBound/e.SqWant))
	default:
		row.Verdict = harness.ReplayClean
	}
	if row.Verdict == harness.ReplayUnknown {
		row.Status = harness.Skipped
	}
	return row
}

// unknown returns a row of which nothing is known.
func unknown(at harness.Place) harness.Replayed {
	nan := harness.Float(math.NaN())
	return harness.Replayed{
		Row:     harness.Row{Place: at, Status: harness.Skipped, MaxAbs: nan, MaxRel: nan, RMS: nan, Cosine: nan, Scale: math.NaN(), Bound: math.NaN()},
		Verdict: harness.ReplayUnknown, Span: []string{at.Stage}, Bound: nan, Share: nan, Amplification: nan,
	}
}
