package harnesstest

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"checkpoint12/harness"
)

var dimension = regexp.MustCompile(`\(.*?\)|\S+`)

// Dimensions returns the shape of a tensor with these axes, such as "B T (3 H D)".
func Dimensions(axes string, length map[string]int) (shape []int) {
	for _, merged := range dimension.FindAllString(axes, -1) {
		n := 1
		for _, a := range strings.Fields(strings.Trim(merged, "()")) {
			n *= lengthOf(a, length)
		}
		shape = append(shape, n)
	}
	return shape
}

// Arrange returns x, of axes own, with the axes other, by index arithmetic. Values repeat
// along an axis that own lacks.
func Arrange(x harness.Tensor, own, other string, length map[string]int) harness.Tensor {
	single := func(axes string) []string {
		return strings.Fields(strings.NewReplacer("(", "", ")", "").Replace(axes))
	}
	stride, step := map[string]int{}, 1
	for _, a := range slices.Backward(single(own)) {
		stride[a], step = step, step*lengthOf(a, length)
	}
	out := harness.Tensor{Shape: Dimensions(other, length)}
	var walk func(axes []string, at int)
	walk = func(axes []string, at int) {
		if len(axes) == 0 {
			out.F32 = append(out.F32, x.F32[at])
			return
		}
		for i := range lengthOf(axes[0], length) {
			walk(axes[1:], at+i*stride[axes[0]])
		}
	}
	walk(single(other), 0)
	return out
}

func lengthOf(axis string, length map[string]int) int {
	if n, err := strconv.Atoi(axis); err == nil {
		return n
	}
	return length[axis]
}
