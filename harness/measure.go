package harness

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"checkpoint12/harness/internal/shapes"
)

// CompareTensor compares one tensor with its golden by the stage's tolerance, widened
// by extra. It asks neither the stage's Extra nor its Check. Different shapes
// are judged, in the Row's Status; the errors are a golden that cannot be judged
// by (empty, or not what its shape says) and ids where values belong.
func CompareTensor(st Stage, want, got Tensor, extra float64) (Row, error) {
	row := newRow(st, want.Shape)
	row.GotShape = got.Shape
	row.widen(extra)
	if err := want.Check(); err != nil {
		return row, fmt.Errorf("golden: %w", err)
	}
	if err := got.Check(); err != nil {
		return row, fmt.Errorf("candidate: %w", err)
	}
	if slices.Equal(want.Shape, got.Shape) {
		return row, row.compare(st, want, got)
	}
	row.Status = WrongShape
	return row, checkPart("golden", want, st)
}

// widen adds to the tolerance what a stage's Extra says.
func (r *Row) widen(extra float64) {
	if extra > 0 && finite(extra) {
		r.Tolerance.Abs += extra
	}
}

// block is the number of elements that are read and compared at once.
const block = 4096

// scratch is memory to read a block of the two tensors of a row into.
var scratch = sync.Pool{New: func() any { return new([2]Tensor) }}

// compare compares the values of two tensors, both of the row's Shape.
func (r *Row) compare(st Stage, want, got Parts) error {
	n, ok := shapes.Size(r.Shape)
	if n == 0 || !ok {
		return fmt.Errorf("golden: shape %v holds nothing to compare with", r.Shape)
	}
	d, doubt, err := distance(st, r.Tolerance, n, want, got, 0)
	if err != nil {
		return err
	}
	if d.fill(r); r.Status == Pass {
		r.Doubt = doubt
	}
	return nil
}

// distance returns the distance of n elements of two tensors; scale is the largest
// magnitude in a golden of which want is a part. doubt is why it says little if they pass.
func distance(st Stage, t Tolerance, n int, want, got Parts, scale float64) (d Distance, doubt string, err error) {
	d = Distance{At: -1, MaxWant: scale}
	var first [2]float32 // of the golden and the candidate
	var varies [2]bool
	least, most := math.Inf(1), math.Inf(-1) // of the golden, until they are further apart than the tolerance
	err = eachBlock(n, st, want, got, func(lo int, want, got Tensor) {
		d.add(lo, want, got, nil, false)
		for i, x := range [][]float32{want.F32, got.F32} {
			if lo == 0 && len(x) > 0 {
				first[i] = x[0]
			}
			varies[i] = varies[i] || slices.ContainsFunc(x, func(v float32) bool { return v != first[i] })
		}
		for _, v := range want.F32 {
			if most-least > t.At(max(scale, math.Abs(least), math.Abs(most))) {
				break
			}
			if v := float64(v); finite(v) {
				least, most = min(least, v), max(most, v)
			}
		}
	})
	if err != nil || st.IDs {
		return d, "", err
	}
	d.Wrong = d.Nonfinite
	if allowed := t.At(d.MaxWant); d.Nonfinite > 0 || !(d.MaxDiff <= allowed) {
		err = eachBlock(n, st, want, got, func(_ int, want, got Tensor) { d.Wrong += countBeyond(want, got, allowed) })
	}
	return d, d.doubt(t, varies[0] && !varies[1], most-least), err
}

// locate sets the first position that is wrong; first is that of the tensor's first row.
func (r *Row) locate(st Stage, want, got Parts, first int) error {
	n, inner, axis := 1, 1, 0
	if axis, _ = st.axis(); axis >= 0 {
		n = r.Shape[axis]
		inner, _ = shapes.Size(r.Shape[axis+1:])
	}
	size, _ := shapes.Size(r.Shape)
	at, allowed := n, r.Tolerance.At(r.Scale)
	err := eachBlock(size, st, want, got, func(lo int, want, got Tensor) {
		for i := range want.Elements() {
			if w, g := want.At(i), got.At(i); w != g && !(math.Abs(g-w) <= allowed) {
				at = min(at, (lo+i)/inner%n)
			}
		}
	})
	if at < n {
		at += first
		r.Position = &at
	}
	return err
}

// eachBlock calls use with each block of two tensors of n elements, which begins at lo.
func eachBlock(n int, st Stage, want, got Parts, use func(lo int, want, got Tensor)) error {
	mem := scratch.Get().(*[2]Tensor)
	defer scratch.Put(mem)
	for lo := 0; lo < n; lo += block {
		w, err := want.Part(lo, min(block, n-lo), &mem[0])
		if err == nil {
			err = checkPart("golden", w, st)
		}
		if err != nil {
			return err
		}
		g, err := got.Part(lo, min(block, n-lo), &mem[1])
		if err == nil {
			err = checkPart("candidate", g, st)
		}
		if err != nil {
			return err
		}
		use(lo, w, g)
	}
	return nil
}

// doubt returns why it says little that values pass, or "". constant reports whether
// the candidate alone has one value everywhere; spread is how far apart the golden's
// values are, or more than the tolerance if they are further apart.
func (d *Distance) doubt(t Tolerance, constant bool, spread float64) string {
	allowed := t.At(d.MaxWant)
	others := math.Sqrt((d.SqWant - d.MaxWant*d.MaxWant) / float64(d.Finite-1)) // NaN if there are none
	switch {
	case d.Finite == 0:
		return fmt.Sprintf("every value is %v in both", d.Got)
	case constant:
		return fmt.Sprintf("every value is %v, where the golden's differ by no more than the tolerance", float32(d.Got))
	case t.Rel*d.MaxWant > t.Abs && t.Rel*d.MaxWant > others:
		return fmt.Sprintf("one value, %.3g, is so large that the tolerance, which follows it, is wider than all the others",
			d.MaxWant)
	case allowed >= spread && (spread > 0 || d.MaxWant > 0 && allowed >= d.MaxWant):
		return fmt.Sprintf("the golden's values differ by no more than %.3g, but the tolerance is %.3g: others would pass as well",
			spread, allowed)
	}
	return ""
}

// checkPart returns an error unless a tensor, or part of one, is of the stage's kind.
func checkPart(whose string, t Tensor, st Stage) error {
	if t.Elements() > 0 && t.IDs() != st.IDs {
		return fmt.Errorf("%s is %s, but the stage is %s", whose, t.DType(), st.DType())
	}
	return nil
}

// newRow returns the row of a stage that was not compared yet.
func newRow(st Stage, shape []int) Row {
	nan := Float(math.NaN())
	return Row{
		Place: Place{Stage: st.Name}, Shape: shape, Tolerance: st.Tolerance, Checkpoint: st.Checkpoint, IDs: st.IDs,
		MaxAbs: nan, MaxRel: nan, RMS: nan, Cosine: nan, Scale: math.NaN(),
	}
}

// CompareRounding compares one tensor with the correct one, of the same shape and
// kind, each value within its rounding bound; nil asks for equality. accepts, if
// not nil, reports whether another id is correct too. The row's Tolerance is the bound
// at Worst, where the error is largest relative to its bound. Where the Distance has
// nothing judged, the row says nothing.
func CompareRounding(
	stage string, want, got Tensor, bound []float32, accepts func(i int, id int64) bool,
) (Row, Distance) {
	reason := "the stage's rounding bound for the candidate's inputs"
	row := newRow(Stage{Name: stage, Tolerance: Tolerance{Reason: reason}, IDs: want.IDs()}, want.Shape)
	row.GotShape = got.Shape
	if accepts != nil {
		want.I64 = slices.Clone(want.I64)
		for i, id := range got.I64 {
			if accepts(i, id) {
				want.I64[i] = id
			}
		}
	}
	d := Distance{At: -1}
	if d.add(0, want, got, bound, true); d.Judged == 0 {
		return row, d
	}
	if bound != nil {
		if b := float64(bound[max(d.At, 0)]); finite(b) { // JSON has no other numbers
			row.Tolerance.Abs = b
		}
	}
	d.fill(&row)
	if d.Nonfinite > 0 {
		row.Status = Nonfinite
	}
	return row, d
}

// CompareValues compares a tensor of values with the one that it should equal, of the same
// shape.
func CompareValues(name string, want, got Tensor) Row {
	row := newRow(Stage{Name: name, Tolerance: Tolerance{Reason: "the model's own"}}, want.Shape)
	row.GotShape = got.Shape
	d := Distance{At: -1}
	d.add(0, want, got, nil, false)
	d.Wrong = d.Nonfinite + countBeyond(want, got, 0)
	d.fill(&row)
	return row
}

// Unmeasured makes the row one of which no values were compared.
func (r *Row) Unmeasured(status Status) {
	nan := Float(math.NaN())
	r.Status, r.MaxAbs, r.MaxRel, r.RMS, r.Cosine, r.Scale = status, nan, nan, nan, nan, math.NaN()
}

// fill writes a distance into a row.
func (d *Distance) fill(row *Row) {
	row.Distance = *d
	row.MaxAbs, row.Scale, row.Elements, row.Mismatched = Float(d.MaxDiff), d.MaxWant, d.N, d.Wrong
	if row.MaxRel = 0; d.MaxDiff > 0 {
		row.MaxRel = Float(d.MaxDiff / d.MaxWant)
	}
	if d.Nonfinite > 0 {
		row.MaxAbs = Float(math.Abs(d.Got - d.Want))
		row.MaxRel = row.MaxAbs
	}
	if d.Finite > 0 {
		row.RMS, row.Cosine = Float(d.RMS()), Float(d.cosine())
	}
	row.Worst = &Worst{Index: shapes.Index(max(d.At, 0), row.Shape), Got: Float(d.Got), Want: Float(d.Want)}
	switch {
	case d.Unexpected:
		row.Status = Nonfinite
	case d.Wrong > 0:
		row.Status = Fail
	default:
		row.Status = Pass
	}
}
