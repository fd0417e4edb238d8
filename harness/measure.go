package harness

import (
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness/internal/shapes"
)

// CompareTensor compares one tensor with its golden by the stage's tolerance, widened
// by extra. It asks neither the stage's Extra nor its Check. Different shapes
// are judged, in the Row's Status; the errors are a golden that cannot be judged
// by (empty, or not what its shape says) and ids where values belong.
func CompareTensor(st Stage, want, got Tensor, extra float64) (Row, error) {
	row := newRow(st, want.Shape)
	if extra > 0 && finite(extra) {
		row.Tolerance.Abs += extra
	}
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
		return row, fmt.Errorf("golden is %s, but the stage is %s", want.DType(), st.DType())
	}
	if !slices.Equal(want.Shape, got.Shape) {
		row.Status = Shape
		return row, nil
	}
	if got.IDs() != st.IDs {
		return row, fmt.Errorf("candidate is %s, but the stage is %s", got.DType(), st.DType())
	}
	d := distance(want, got, nil, false)
	d.applyTolerance(want, got, row.Tolerance.At(d.MaxWant))
	d.fill(&row, want, got)
	if row.Status == Pass && !st.IDs {
		row.Doubt = d.doubt(row.Tolerance, want.F32, got.F32)
	}
	return row, nil
}

// doubt returns why it says little that values pass, or "".
func (d *Distance) doubt(t Tolerance, want, got []float32) string {
	isConstant := func(x []float32) bool { return !slices.ContainsFunc(x, func(v float32) bool { return v != x[0] }) }
	others := math.Sqrt((d.SqWant - d.MaxWant*d.MaxWant) / float64(d.Finite-1)) // NaN if there are none
	switch {
	case isConstant(got) && !isConstant(want):
		return fmt.Sprintf("every value is %v, where the golden's differ by no more than the tolerance", got[0])
	case t.Rel*d.MaxWant > t.Abs && t.Rel*d.MaxWant > others:
		return fmt.Sprintf("one value, %.3g, is so large that the tolerance, which follows it, is wider than all the others", d.MaxWant)
	}
	return ""
}

// newRow returns the row of a stage that was not compared yet.
func newRow(st Stage, shape []int) Row {
	nan := Float(math.NaN())
	return Row{
		Place: Place{Stage: st.Name}, Shape: shape, Tolerance: st.Tolerance, Checkpoint: st.Checkpoint,
		MaxAbs: nan, MaxRel: nan, RMS: nan, Cosine: nan, Scale: math.NaN(),
	}
}

// CompareRounding compares one tensor with the correct one, of the same shape and
// kind, each value within its rounding bound; nil asks for equality. accepts, if
// not nil, reports whether another id is correct too. The row's Tolerance is the bound
// at Worst, where the error is largest relative to its bound. Where the Distance has nothing judged, the row says
// nothing.
func CompareRounding(stage string, want, got Tensor, bound []float32, accepts func(i int, id int64) bool) (Row, Distance) {
	row := newRow(Stage{Name: stage, Tolerance: Tolerance{Reason: "the stage's rounding bound for the candidate's inputs"}}, want.Shape)
	row.GotShape = got.Shape
	if accepts != nil {
		want.I64 = slices.Clone(want.I64)
		for i, id := range got.I64 {
			if accepts(i, id) {
				want.I64[i] = id
			}
		}
	}
	d := distance(want, got, bound, true)
	if d.Judged == 0 {
		return row, d
	}
	if bound != nil {
		if b := float64(bound[max(d.At, 0)]); finite(b) { // JSON has no other numbers
			row.Tolerance.Abs = b
		}
	}
	d.fill(&row, want, got)
	if d.Nonfinite > 0 {
		row.Status = Nonfinite
	}
	return row, d
}

// fill writes a distance into a row.
func (d *Distance) fill(row *Row, want, got Tensor) {
	at := max(d.At, 0)
	row.MaxAbs, row.Scale, row.Elements, row.Mismatched = Float(d.MaxDiff), d.MaxWant, d.N, d.Wrong
	if row.MaxRel = 0; d.MaxDiff > 0 {
		row.MaxRel = Float(d.MaxDiff / d.MaxWant)
	}
	if d.Nonfinite > 0 {
		row.MaxAbs = Float(math.Abs(got.At(at) - want.At(at)))
		row.MaxRel = row.MaxAbs
	}
	if d.Finite > 0 {
		row.RMS, row.Cosine = Float(d.RMS()), Float(d.cosine())
	}
	row.Worst = &Worst{Index: shapes.Index(at, row.Shape), Got: Float(got.At(at)), Want: Float(want.At(at))}
	switch {
	case d.Unexpected:
		row.Status = Nonfinite
	case d.Wrong > 0:
		row.Status = Fail
	default:
		row.Status = Pass
	}
}
