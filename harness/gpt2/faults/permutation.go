package faults

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// permuted: the right values in another order, along one axis or with the axes
// exchanged.
func (g *rowGroup) permuted(e *wrongRow) finding {
	if len(e.got) > maxSearched || len(e.got) < 2 || !e.sameValues() {
		return finding{}
	}
	axes := g.axesOf(e)
	shape := lengths(axes)
	for a := range axes {
		if from := e.along(shape, a); from != nil {
			return finding{PatternPermuted, 1, "the correct values are in another order: " + ordered(axes[a], from)}
		}
	}
	for _, order := range orders(len(axes)) {
		same := !slices.IsSorted(order)
		for i := 0; same && i < len(e.got); i++ {
			same = e.near(i, exchanged(i, shape, order), 2)
		}
		if !same {
			continue
		}
		var laid []axis
		for _, a := range order {
			laid = append(laid, axes[a])
		}
		return finding{PatternPermuted, 1, fmt.Sprintf("the correct values are laid out as %s and read as %s", listed(laid), listed(axes))}
	}
	return finding{PatternPermuted, 1, "the correct values are there, each once, in an order that no exchange or shift of axes gives"}
}

// listed is "[batch row, position, channel]".
func listed(axes []axis) string {
	names := make([]string, len(axes))
	for i, a := range axes {
		names[i] = a.one
	}
	return "[" + strings.Join(names, ", ") + "]"
}

// sameValues reports whether the two outputs, each sorted, are equal to rounding:
// to 1e-6 of their size, which is eight float32 numbers apart. That their sums
// are, to a thousandth, is cheaper to see.
func (e *wrongRow) sameValues() bool {
	var a, b float64
	for i, v := range e.got {
		a, b = a+math.Abs(float64(v)), b+math.Abs(float64(e.right[i]))
	}
	if finite(float32(a-b)) && math.Abs(a-b) > 1e-3*b {
		return false
	}
	slack := 1e-6 * scale(e.right)
	got, right := slices.Sorted(slices.Values(e.got)), slices.Sorted(slices.Values(e.right))
	for i, v := range got {
		if v != right[i] && !(math.Abs(float64(v)-float64(right[i])) <= slack) {
			return false
		}
	}
	return true
}

// along finds for each index of an axis which index of the right output it has;
// nil if there is none for some of them, or if all are in their place.
func (e *wrongRow) along(shape []int, a int) []int {
	const mostIndices = 4096 // each is held against each: an axis as wide as the vocabulary would take seconds
	n, inner := shape[a], product(shape[a+1:])
	if n < 2 || n > mostIndices {
		return nil
	}
	from, moved := make([]int, n), false
	for j := range n {
		// In its place, else after its place, as a shift would have it.
		k := 0
		for k < n && !e.sliceEqual(j, (j+k)%n, n, inner) {
			k++
		}
		if k == n {
			return nil
		}
		from[j], moved = (j+k)%n, moved || k > 0
	}
	if !moved {
		return nil
	}
	return from
}

// sliceEqual reports whether index j of an axis of n is the right output's index k.
func (e *wrongRow) sliceEqual(j, k, n, inner int) bool {
	for lo := 0; lo < len(e.got); lo += n * inner {
		for i := range inner {
			if !e.near(lo+j*inner+i, lo+k*inner+i, 2) {
				return false
			}
		}
	}
	return true
}

// ordered words which index of an axis holds which of the right output.
func ordered(a axis, from []int) string {
	n := len(from)
	shift, reversed := true, true
	for j, src := range from {
		shift = shift && (src-j+n)%n == (from[0]+n)%n
		reversed = reversed && src == n-1-j
	}
	switch {
	case shift && n > 2 && from[0] > n/2:
		return fmt.Sprintf("each %s has the values that belong %d before it", a.one, n-from[0])
	case shift && n > 2:
		return fmt.Sprintf("each %s has the values that belong %d after it", a.one, from[0])
	case reversed && n > 2:
		return fmt.Sprintf("%s in reverse", a.many)
	}
	var parts []string
	for j, src := range from {
		if j != src {
			parts = append(parts, fmt.Sprintf("%s has %s", a.at(j), a.at(src)))
		}
	}
	if len(parts) > 8 {
		parts = append(parts[:8], "…")
	}
	return fmt.Sprintf("of the %s %s", a.many, strings.Join(parts, ", "))
}

// orders are all orders of n axes.
func orders(n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var all [][]int
	for _, rest := range orders(n - 1) {
		for at := range n {
			all = append(all, slices.Insert(slices.Clone(rest), at, n-1))
		}
	}
	return all
}

// exchanged is the flat index, in an array of the shape, of the value at flat
// index i of the same values laid out with the axes in the order.
func exchanged(i int, shape, order []int) int {
	flat := 0
	for _, a := range slices.Backward(order) {
		flat += i % shape[a] * product(shape[a+1:])
		i /= shape[a]
	}
	return flat
}
