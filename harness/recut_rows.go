package harness

import (
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness/internal/shapes"
)

// keptElements bounds the elements of the golden that are kept: 128 MB of float32.
const keptElements = 32 << 20

// get returns a tensor of the golden.
func (r *Recut) get(at Place) (scaled, error) {
	r.mu.Lock()
	t, ok := r.kept[at]
	r.mu.Unlock()
	if ok {
		return t, nil
	}
	var err error
	if t.Tensor, err = r.Source.Tensor(at.Step, at.Stage); err != nil {
		return t, err
	}
	if err := t.Check(); err != nil {
		return t, fmt.Errorf("golden: %s: %w", at, err)
	}
	for i := range t.Elements() {
		if v := math.Abs(t.At(i)); finite(v) {
			t.max = max(t.max, v)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, again := r.kept[at]; !again {
		r.kept[at], r.order, r.size = t, append(r.order, at), r.size+t.Elements()
	}
	for len(r.order) > 1 && r.size > keptElements {
		r.size -= r.kept[r.order[0]].Elements()
		delete(r.kept, r.order[0])
		r.order = r.order[1:]
	}
	return t, nil
}

// shared returns the parts of pieces whose positions others have too.
func shared(pieces, others []piece) (parts []piece) {
	for _, p := range pieces {
		for _, o := range others {
			first, end := max(p.first, o.first), min(p.first+p.n, o.first+o.n)
			if first < end {
				parts = append(parts, piece{p.holder, first, end - first})
			}
		}
	}
	return parts
}

// outer returns the product of the dimensions before the rows, 0 if there are none.
func (st Stage) outer(shape []int) int {
	axis, _ := st.axis()
	if axis < 0 || axis > len(shape) {
		return 0
	}
	n, _ := shapes.Size(shape[:axis])
	return n
}

// withRows returns the shape of a stage with another number of rows.
func withRows(st Stage, shape []int, n int) []int {
	shape = slices.Clone(shape)
	if axis, _ := st.axis(); axis >= 0 && axis < len(shape) {
		shape[axis] = n
	}
	return shape
}

// filled returns a tensor of one value; of ids it is -1.
func filled(ids bool, shape []int, value float32) Tensor {
	n, _ := shapes.Size(shape)
	t := Tensor{Shape: shape}
	if ids {
		t.I64 = slices.Repeat([]int64{-1}, n)
	} else {
		t.F32 = slices.Repeat([]float32{value}, n)
	}
	return t
}

// copyRows copies n rows of a tensor [outer, srcRows, width] into those of another, and
// of narrower or wider rows what they have in common.
func copyRows(dst Tensor, dstRows, to int, src Tensor, srcRows, from, n, outer int) {
	rows[float32]{dst.F32, dstRows, outer}.copy(to, rows[float32]{src.F32, srcRows, outer}, from, n)
	rows[int64]{dst.I64, dstRows, outer}.copy(to, rows[int64]{src.I64, srcRows, outer}, from, n)
}

// rows is an array [outer, n, width].
type rows[E any] struct {
	data     []E
	n, outer int
}

// at returns a row.
func (r rows[E]) at(o, i int) []E {
	width := len(r.data) / r.outer / r.n
	return r.data[(o*r.n+i)*width:][:width]
}

func (r rows[E]) copy(to int, src rows[E], from, n int) {
	for o := range r.outer {
		for i := range n {
			copy(r.at(o, to+i), src.at(o, from+i))
		}
	}
}
