package align

import (
	"math"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/shapes"
)

// reading is how an array is read as a stage's tensor: where in memory the
// tensor's axes lie.
type reading struct {
	offset int      // of the tensor's first element in the array
	shape  []int    // of the tensor
	size   []int    // of its axes one by one, the outermost first
	stride []int    // of each in the array; 0 for one that the array lacks
	extra  [][2]int // size and stride of an axis more, of which the first is read
	cut    bool     // an axis is longer in the array
}

// newReading reads an array in one layout as a tensor in another. dims are the
// lengths of the array's dimensions. It is false where the array lacks an axis
// that is longer than 1, or an axis is not known.
func newReading(from, to layout, dims []int, s Sizes, said declaration) (reading, bool) {
	stride, room := map[string]int{}, map[string]int{}
	step := 1
	for i := len(from.axes) - 1; i >= 0; i-- {
		rest := dims[i]
		for j := len(from.axes[i]) - 1; j >= 0; j-- {
			axis := from.axes[i][j]
			n := rest // of an axis alone: as long as it is in the array
			if j > 0 {
				n, _ = s.of(axis)
			}
			if n == 0 {
				return reading{}, false
			}
			stride[axis], room[axis] = step, n
			step *= n
			rest /= n
		}
	}
	shape, ok := to.shape(s)
	if !ok {
		return reading{}, false
	}
	r := reading{shape: shape, offset: said.part * stride[said.split]}
	delete(room, said.split)
	for _, axis := range to.atoms() {
		n, _ := s.of(axis)
		if _, ok := stride[axis]; !ok && n != 1 {
			return reading{}, false
		}
		r.size, r.stride = append(r.size, n), append(r.stride, stride[axis])
		r.cut = r.cut || room[axis] > n
		delete(room, axis)
	}
	for axis, n := range room {
		if n > 1 {
			r.extra = append(r.extra, [2]int{n, stride[axis]})
		}
	}
	return r, true
}

// same says whether two readings take the same elements in the same order.
func (r reading) same(o reading) bool {
	if !slices.Equal(r.size, o.size) || r.offset != o.offset {
		return false
	}
	for i, n := range r.size {
		if n > 1 && r.stride[i] != o.stride[i] {
			return false
		}
	}
	return true
}

// plain says whether the array's memory is the tensor's, so that it need only
// be given the tensor's shape.
func (r reading) plain(elements int) bool {
	step := 1
	for i := len(r.size) - 1; i >= 0; i-- {
		if r.size[i] > 1 && r.stride[i] != step {
			return false
		}
		step *= r.size[i]
	}
	return step == elements && r.offset == 0
}

// tensor is the array as the tensor; it shares memory where that is the same.
func (r reading) tensor(t harness.Tensor) harness.Tensor {
	if r.plain(t.Elements()) {
		return harness.Tensor{Shape: slices.Clone(r.shape), F32: t.F32, I64: t.I64}
	}
	return r.gathered(t)
}

// gathered is the tensor in memory of its own.
func (r reading) gathered(t harness.Tensor) harness.Tensor {
	out := harness.Tensor{Shape: slices.Clone(r.shape)}
	n, _ := shapes.Size(r.shape)
	if t.IDs() {
		out.I64 = make([]int64, 0, n)
		gather(&out.I64, t.I64[r.offset:], r.size, r.stride)
	} else {
		out.F32 = make([]float32, 0, n)
		gather(&out.F32, t.F32[r.offset:], r.size, r.stride)
	}
	return out
}

// repeats says whether the tensor is the same all along the axes that it lacks.
func (r reading) repeats(t harness.Tensor) bool {
	first := r.tensor(t)
	for _, e := range r.extra {
		for i := 1; i < e[0]; i++ {
			at := i * e[1]
			next := harness.Tensor{Shape: r.shape}
			if t.IDs() {
				next.I64 = t.I64[at:]
			} else {
				next.F32 = t.F32[at:]
			}
			if !sameBits(first, r.gathered(next)) {
				return false
			}
		}
	}
	return true
}

// sameBits is equality of values bit for bit, and of ids.
func sameBits(a, b harness.Tensor) bool {
	return slices.Equal(a.I64, b.I64) && slices.EqualFunc(a.F32, b.F32, func(x, y float32) bool {
		return math.Float32bits(x) == math.Float32bits(y)
	})
}

// gather appends the elements of an array of these sizes and strides.
func gather[E any](out *[]E, in []E, size, stride []int) {
	switch {
	case len(size) == 0:
		*out = append(*out, in[0])
	case len(size) == 1 && stride[0] == 1:
		*out = append(*out, in[:size[0]]...)
	default:
		for i := range size[0] {
			gather(out, in[i*stride[0]:], size[1:], stride[1:])
		}
	}
}
