package align

import (
	"math"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model/memory"
)

// A stridedView locates a stage's tensor in an array of another layout.
type stridedView struct {
	offset int      // of the first element
	shape  []int    // of the tensor
	size   []int    // of its axes, outermost first
	stride []int    // of each in the array; 0 for one that the array lacks
	extra  [][2]int // size and stride of axes that the tensor lacks; their first place is read
	cut    bool     // an axis is longer in the array
}

// newStridedView finds a tensor of layout to and lengths s in an array of layout from
// and lengths in. ok is false if the array lacks an axis longer than 1, or an axis is
// unknown or empty.
func newStridedView(from, to layout, in, s Sizes, h hint) (v stridedView, ok bool) {
	stride, step := map[string]int{}, 1
	for _, axis := range slices.Backward(from.axes()) {
		n, _ := in.length(axis)
		if n == 0 {
			return v, false
		}
		stride[axis], step = step, step*n
	}
	if v.shape, ok = to.shape(s); !ok {
		return v, false
	}
	v.offset = h.part * stride[h.Split]
	for _, axis := range to.axes() {
		n, _ := s.length(axis)
		if stride[axis] == 0 && n != 1 {
			return v, false
		}
		v.size, v.stride = append(v.size, n), append(v.stride, stride[axis])
		v.cut = v.cut || stride[axis] > 0 && in[axis] > n
	}
	for _, axis := range from.axes() {
		if n, _ := in.length(axis); n > 1 && axis != h.Split && !slices.Contains(to.axes(), axis) {
			v.extra = append(v.extra, [2]int{n, stride[axis]})
		}
	}
	return v, true
}

// same reports whether two views take the same elements in the same order.
func (v stridedView) same(o stridedView) bool {
	if !slices.Equal(v.size, o.size) || v.offset != o.offset {
		return false
	}
	for i, n := range v.size {
		if n > 1 && v.stride[i] != o.stride[i] {
			return false
		}
	}
	return true
}

// tensor returns the tensor that lies in the array. An error is of a lack of memory.
func (v stridedView) tensor(array harness.Tensor) (harness.Tensor, error) {
	out := harness.Tensor{Shape: slices.Clone(v.shape)}
	n, _ := shapes.Size(v.shape)
	if err := memory.Room(8 * n); err != nil {
		return out, err
	}
	if array.IDs() {
		out.I64 = gather(make([]int64, 0, n), array.I64[v.offset:], v.size, v.stride)
	} else {
		out.F32 = gather(make([]float32, 0, n), array.F32[v.offset:], v.size, v.stride)
	}
	return out, nil
}

// gather appends the elements of an array of these sizes and strides to out.
func gather[E any](out, in []E, size, stride []int) []E {
	switch {
	case len(size) == 0:
		return append(out, in[0])
	case len(size) == 1 && stride[0] == 1:
		return append(out, in[:size[0]]...)
	}
	for i := range size[0] {
		out = gather(out, in[i*stride[0]:], size[1:], stride[1:])
	}
	return out
}

// repeats reports whether the values are bit for bit the same along the extra axes.
func (v stridedView) repeats(array harness.Tensor) (bool, error) {
	first, err := v.tensor(array)
	if err != nil {
		return false, err
	}
	sameBits := func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }
	for _, e := range v.extra {
		next := v
		for range e[0] - 1 {
			next.offset += e[1]
			t, err := next.tensor(array)
			if err != nil {
				return false, err
			}
			if !slices.Equal(first.I64, t.I64) || !slices.EqualFunc(first.F32, t.F32, sameBits) {
				return false, nil
			}
		}
	}
	return true, nil
}
