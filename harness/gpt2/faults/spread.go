package faults

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness/internal/shapes"
	"checkpoint12/harness/internal/words"
)

// spread says how the error is spread over the axes of the output that no part of it has: in which
// few indices of an axis is most, in which nothing is wrong, and whether what is wrong is zeros.
func (g *rowGroup) spread(e *wrongRow) (parts []string) {
	axes, shape := axesOf(g.model.Config(), e.Stage, e.dims)
	if len(shape) == 0 || shapes.Product(shape) != len(e.got) {
		return nil
	}
	var alike, others []string
	zeros, inner := 0, len(e.got)
	for i, v := range e.got {
		if v == 0 && e.isWrong(i) {
			zeros++
		}
	}
	if zeros > 0 {
		parts = append(parts, fmt.Sprintf("%s, %.2g%% of all, are 0 where the right values are not", words.Count(zeros, "value"), 100*float64(zeros)/float64(len(e.got))))
	}
	for a, axis := range axes {
		n := shape[a]
		inner /= n
		sums, total := make([]float64, n), 0.0
		zero, wrong := make([]int, n), make([]int, n)
		for i, v := range e.got {
			if !e.isWrong(i) {
				continue
			}
			j := i / inner % n
			if wrong[j]++; v == 0 {
				zero[j]++
			}
			if d := float64(v) - float64(e.right[i]); finite(float32(d)) {
				sums[j] += d * d
				total += d * d
			}
		}
		if n < 2 || total == 0 {
			continue
		}
		var right, rest, empty, most []int
		for j := range n {
			if wrong[j] == 0 {
				right = append(right, j)
			} else {
				rest = append(rest, j)
			}
			if zero[j]*n == len(e.got) {
				empty = append(empty, j)
			}
		}
		if 0 < len(right) && 2*len(right) < n {
			parts = append(parts, "nothing is wrong in "+axis.Some(right))
		}
		if 0 < len(empty) && len(empty) < n {
			parts = append(parts, "all is 0 in "+axis.Some(empty))
		}
		const few = 3
		// Of what is alike everywhere no index has so much more than the mean.
		ln := math.Log(float64(n)) * float64(n) / float64(len(e.got))
		times := max(3, 1.2*(1+2*math.Sqrt(ln)+2*ln))
		order := make([]int, n)
		for j := range order {
			order[j] = j
		}
		slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(sums[j], sums[i]) })
		part := 0.0
		for _, j := range order[:min(few, n-1)] {
			if sums[j]*float64(n-len(right)) >= times*total {
				most, part = append(most, j), part+sums[j]
			}
		}
		if slices.Sort(most); len(most) > 0 {
			parts = append(parts, fmt.Sprintf("more of the error than elsewhere is in %s: %.0f%%", axis.Some(most), 100*part/total))
		} else if 2*len(right) >= n && len(rest) > 1 {
			others = append(others, axis.Some(rest))
		} else if len(right) > 0 && len(rest) > 1 {
			others = append(others, "the other "+axis.Many)
		} else if len(rest) > 1 {
			alike = append(alike, axis.Many)
		}
	}
	if alike = append(alike, others...); len(alike) > 0 {
		parts = append(parts, "the error is spread over "+words.And(alike)+" alike")
	}
	return parts
}
