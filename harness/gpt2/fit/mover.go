package fit

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness/internal/shapes"
)

// A mover looks for slices of an axis of a row among those of the correct output.
type mover struct {
	*Row
	shape []int
	axis  int
	bias  []float32 // taken off both; nil is nothing
}

// same reports whether place i has the correct value of place j, up to rounding.
func (m mover) same(i, j int) bool {
	if m.Part != nil && !m.Part[i] {
		return true
	}
	g, w := float64(m.Got[i]), float64(m.Right[j])
	slack := 0.0
	if m.Bound != nil {
		slack = 2 * float64(m.Bound[j])
	}
	if m.bias != nil {
		n := len(m.bias)
		b := float64(m.bias[j%n])
		g, w = g-float64(m.bias[i%n]), w-b
		slack += 1e-6 * math.Abs(b)
	}
	return g == w || math.Abs(g-w) <= slack
}

// slice reports whether index j of the axis has the correct output's index k.
func (m mover) slice(j, k int) bool {
	n, inner := m.shape[m.axis], shapes.Product(m.shape[m.axis+1:])
	for lo := 0; lo < len(m.Got); lo += n * inner {
		for i := range inner {
			if !m.same(lo+j*inner+i, lo+k*inner+i) {
				return false
			}
		}
	}
	return true
}

// holds reports whether an order gives the output.
func (m mover) holds(from func(j, n int) int) bool {
	n, moved := m.shape[m.axis], false
	for j := range n {
		k := from(j, n)
		if k < 0 || k >= n || !m.slice(j, k) {
			return false
		}
		moved = moved || k != j
	}
	return moved
}

// mostIndices is the length of an axis up to which each slice is looked for among all.
const mostIndices = 4096

// orders returns the orders of the axis that give the output.
func (m mover) orders(a Axis) (all []order) {
	n := a.N
	if n < 2 {
		return nil
	}
	wrong, inPlace := -1, false // an index that is not in its place, and whether one is
	for j := 0; j < n && (wrong < 0 || !inPlace); j++ {
		if m.slice(j, j) {
			inPlace = true
		} else if wrong < 0 {
			wrong = j
		}
	}
	if wrong < 0 {
		return nil
	}
	var from []int // of the wrong index
	for k := range n {
		if m.slice(wrong, k) {
			from = append(from, k)
		}
	}
	if len(from) == 0 || len(from) > 8 {
		return nil
	}
	add := func(numbers int, f func(j, n int) int, format string, args ...any) {
		if (numbers == 0 || moves(f, n)) && m.holds(f) {
			all = append(all, order{fmt.Sprintf(format, args...), numbers, func(_ *Stage, j, n int) int { return f(j, n) }})
		}
	}
	if a.Letter == "S" {
		P := m.Dims.P
		added := func(P, by int) func(j, n int) int {
			return func(j, _ int) int {
				if j >= P {
					return j + by
				}
				return j
			}
		}
		if m.holds(added(P, -1)) && P > 0 {
			all = append(all, order{"this step's rows are those of the position before: one late", 0, func(s *Stage, j, n int) int { return added(s.Dims.P, -1)(j, n) }})
		}
	}
	// A rule that holds in a part of the indices alone is none: an exchange shows in both.
	if a.names == nil && !(m.Part != nil && inPlace) {
		m.rules(a, wrong, from, add)
	}
	plain := slices.ContainsFunc(all, func(o order) bool { return o.numbers < 2 })
	if plain || n > mostIndices || len(m.Got)/n < 4 {
		return all
	}
	// No rule: which has which.
	list, parts := make([]int, n), []string(nil)
	for j := range n {
		k := 0
		for k < n && !m.slice(j, (j+k)%n) {
			k++
		}
		if k == n {
			return all
		}
		if list[j] = (j + k) % n; k > 0 {
			parts = append(parts, fmt.Sprintf("%s has %s", a.at(j), a.at(list[j])))
		}
	}
	numbers := len(parts)
	if len(parts) > 8 {
		parts = append(parts[:8], fmt.Sprintf("… (%d in all)", len(parts)))
	}
	text := fmt.Sprintf("%s have the values of others: %s", a.Many, strings.Join(parts, ", "))
	if i := list[wrong]; numbers == 2 && list[i] == wrong {
		text = fmt.Sprintf("%s %s and %s are exchanged", a.Many, a.at(wrong), a.at(i))
	}
	if numbers == 1 && a.names == nil {
		text = fmt.Sprintf("%s %s has the values of %s %s", a.One, a.at(wrong), a.One, a.at(list[wrong]))
	}
	return append(all, order{
		text, numbers,
		func(_ *Stage, j, n int) int {
			if n != len(list) {
				return -1
			}
			return list[j]
		},
	})
}

// pair reports whether two indices alone of more are not in their places.
func (m mover) pair(n int) bool {
	wrong := 0
	for j := range n {
		if !m.slice(j, j) {
			wrong++
		}
	}
	return wrong == 2 && n > 2
}

// moves reports whether a rule with a number moves more than one of n indices: one alone shows none.
func moves(f func(j, n int) int, n int) bool {
	moved := 0
	for j := range n {
		if f(j, n) != j {
			moved++
		}
	}
	return moved > 1
}

// rules adds the rules by which one index of the axis has the values of any of some others.
func (m mover) rules(a Axis, wrong int, from []int, add func(numbers int, f func(j, n int) int, format string, args ...any)) {
	n := a.N
	add(0, func(j, n int) int { return n - 1 - j }, "%s in reverse order", a.Many)
	if !m.pair(n) {
		add(0, func(j, n int) int { return j ^ 1 }, "every two %s are exchanged", a.Many)
	}
	for _, k := range from {
		switch k {
		case 0:
			add(0, func(int, int) int { return 0 }, "every %s has the values of %s %s", a.One, a.One, a.at(0))
		case n - 1:
			add(0, func(_, n int) int { return n - 1 }, "every %s has the values of the last", a.One)
		default:
			add(1, func(int, int) int { return k }, "every %s has the values of %s %s", a.One, a.One, a.at(k))
		}
		by := k - wrong
		numbers := 1
		if by == 1 || by == -1 {
			numbers = 0
		}
		add(numbers, func(j, n int) int { return min(max(j+by, 0), n-1) }, "each %s has the values that belong %s", a.One, away(by))
		if 2*by > n {
			by -= n
		} else if 2*by < -n {
			by += n
		}
		add(numbers, func(j, n int) int { return ((j+by)%n + n) % n }, "each %s has the values that belong %s, rolled over the end", a.One, away(by))
		for _, g := range []int{2, 3, 4, 6, 8, 12, 16, 32, 64} {
			if g >= n || k >= n {
				break
			}
			add(1, func(j, _ int) int { return j % g }, "%s repeat after %d: %s j has the values of j mod %d", a.Many, g, a.One, g)
			add(1, func(j, _ int) int { return j / g }, "each %s stands for %d: %s j has the values of j/%d", a.One, g, a.One, g)
			add(1, func(j, _ int) int { return j - j%g }, "of every %d %s all have the values of the first", g, a.Many)
			if n%g == 0 {
				add(3, func(j, n int) int { return j%g*(n/g) + j/g }, "%s are transposed: j is that of [%d, %d] read the other way round", a.Many, g, n/g)
				add(3, func(j, n int) int { return j%(n/g)*g + j/(n/g) }, "%s are transposed: j is that of [%d, %d] read the other way round", a.Many, n/g, g)
				add(1, func(j, n int) int { return j - j%g + g - 1 - j%g }, "every %d %s are in reverse order", g, a.Many)
			}
		}
		if a.Letter == "T" {
			add(1, func(j, _ int) int { return min(j, k) }, "positions after the %s of the step have its values", ordinal(k))
		}
	}
}

// away spells a distance along an axis.
func away(by int) string {
	if by < 0 {
		return fmt.Sprintf("%d before it", -by)
	}
	return fmt.Sprintf("%d after it", by)
}

// ordinal spells a place of a step counted from 0.
func ordinal(k int) string {
	switch k {
	case 0:
		return "first"
	case 1:
		return "second"
	case 2:
		return "third"
	}
	return fmt.Sprintf("%dth", k+1)
}
