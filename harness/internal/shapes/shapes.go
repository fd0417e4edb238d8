// Package shapes counts and indexes the elements of a tensor's shape.
package shapes

import "math"

// Size returns the product of a shape's dimensions; ok is false for a negative
// dimension or a product that does not fit an int.
func Size(shape []int) (n int, ok bool) {
	n = 1
	for _, d := range shape {
		if d < 0 || d > 0 && n > math.MaxInt/d {
			return 0, false
		}
		n *= d
	}
	return n, true
}

// Index turns a flat index in C order into one index a dimension.
func Index(flat int, shape []int) []int {
	index := make([]int, len(shape))
	for i := len(shape) - 1; i >= 0 && shape[i] > 0; i-- {
		index[i] = flat % shape[i]
		flat /= shape[i]
	}
	return index
}
