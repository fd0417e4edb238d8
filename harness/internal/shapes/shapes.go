// Package shapes counts and indexes the elements of a tensor's shape.
package shapes

import "math"

// Product returns the product of a shape's dimensions, which Size has accepted.
func Product(shape []int) int {
	n, _ := Size(shape)
	return n
}

// Size returns the product of a shape's dimensions; ok is false if one is negative or
// the product of the others than 0 overflows.
func Size(shape []int) (n int, ok bool) {
	n, zero := 1, false
	for _, d := range shape {
		switch {
		case d == 0:
			zero = true
		case d < 0 || n > math.MaxInt/d:
			return 0, false
		default:
			n *= d
		}
	}
	if zero {
		n = 0
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

// Flat turns one index a dimension into the flat index in C order.
func Flat(index, shape []int) (flat int) {
	for i, n := range shape {
		flat = flat*n + index[i]
	}
	return flat
}
