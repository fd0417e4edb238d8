package fit

import (
	"fmt"
	"slices"
)

// A cacheStep is a step as its cache has it: P rows of steps before, then T of its own.
type cacheStep struct{ P, T, S, step int }

// A writing is a rule for the rows of a cache. It says which of the correct rows, those of earlier
// steps as the engine left them and then this step's, stands in each place; -1 is zeros, and nil
// a step that it does not change.
type writing struct {
	text    string
	numbers int
	from    func(c cacheStep) []int
	event   bool // it may begin at any step
	buffer  bool // it is of a whole cache, at two steps or more
}

// kept returns the rows of a cache that a step before left, and of its own none or, with all,
// each in its place.
func (c cacheStep) kept(all bool) []int {
	rows := make([]int, c.S)
	for j := range rows {
		if rows[j] = j; j >= c.P && !all {
			rows[j] = -1
		}
	}
	return rows
}

// written returns the rows where each new one is written to another place; what is not written
// is zeros or, with all, what belongs there.
func (c cacheStep) written(all bool, slot func(p int) int) []int {
	rows := c.kept(all)
	for p := c.P; p < c.S; p++ {
		if j := slot(p); 0 <= j && j < c.S {
			rows[j] = p
		}
	}
	return rows
}

// hidden returns the rows where some are zeros.
func (c cacheStep) hidden(is func(j int) bool) []int {
	rows := c.kept(true)
	for j := range rows {
		if is(j) {
			rows[j] = -1
		}
	}
	return rows
}

// remedy is what a cache of other rows is told.
const remedy = "; GPT-2's cache keeps a row for each position"

// lost returns the rule by which the cache has zeros for rows in ascending order.
func lost(rows []int) writing {
	text, runs := fmt.Sprintf("the rows of positions %s are lost: they are zeros in the cache", Ranges(rows, 0)), 1
	if len(rows) == 1 {
		text = fmt.Sprintf("the row of position %d is lost: it is zeros in the cache", rows[0])
	}
	for i := range rows[1:] {
		if rows[i+1] > rows[i]+1 {
			runs++
		}
	}
	return writing{text: text + remedy, numbers: runs, event: true, from: func(c cacheStep) []int {
		if c.S <= rows[len(rows)-1] {
			return nil
		}
		return c.hidden(func(j int) bool { return slices.Contains(rows, j) })
	}}
}

// mostLost is how many rows in a row may be lost from caches that the dump lacks, but for the first.
const mostLost = 4

// losses calls do with the rules by which the first rows are lost, or a few in a row.
func (c cacheStep) losses(do func(w writing, rows []int)) {
	for lo := range c.S {
		for n := 1; lo+n <= c.S && (lo == 0 || n <= mostLost); n++ {
			w := lost(c.kept(true)[lo:][:n])
			do(w, w.from(c))
		}
	}
}

// writings returns the rules for rows of a cache that have a number in them.
func writings(n int) (all []writing) {
	add := func(numbers int, from func(c cacheStep) []int, format string, args ...any) {
		all = append(all, writing{text: fmt.Sprintf(format, args...), numbers: numbers, from: func(c cacheStep) []int {
			if c.S <= n {
				return nil
			}
			return from(c)
		}})
	}
	for _, first := range []int{0, 1, 2, 4} {
		but := ""
		if first > 0 {
			but = fmt.Sprintf(" but the first %d", first)
		}
		add(1+min(first, 1), func(c cacheStep) []int { return c.hidden(func(j int) bool { return first <= j && j < c.S-n }) },
			"the cache keeps the rows of the last %d positions, a window: all older ones%s are zeros"+remedy, n, but)
	}
	add(1, func(c cacheStep) []int {
		if c.step > 0 && c.T == 1 && n == c.P-c.step+1 {
			return nil // no step after the prompt writes
		}
		return c.hidden(func(j int) bool { return j >= n })
	}, "the cache is full at %d rows: rows of positions from %d on are not written and stay zeros; make it as long as the context", n, n)
	all[len(all)-1].buffer = true
	ring := func(p int) int { return p % n }
	for _, own := range []bool{false, true} {
		rest := ", and its own row stays zeros"
		if own {
			rest = ""
		}
		add(1, func(c cacheStep) []int { return c.written(own, ring) },
			"the cache is a ring of %d rows: position p is written to row p mod %d, over the oldest%s"+remedy, n, n, rest)
		add(1, func(c cacheStep) []int { return c.written(own, func(p int) int { return min(p, n-1) }) },
			"the row that is written is clamped at %d: position p from %d on is written over row %d%s; make the cache as long as the context", n-1, n, n-1, rest)
	}
	add(1, func(c cacheStep) []int {
		rows := c.written(true, ring)
		for j := n; j < c.S; j++ {
			rows[j] = rows[j%n]
		}
		return rows
	}, "the cache is a ring of %d rows and is read on over its end: row j has what is in row j mod %d, the newest"+remedy, n, n)
	add(1, func(c cacheStep) []int {
		return c.moved(n)
	}, "the cache keeps the last %d rows and moves them to its front: the oldest is dropped and the rest is zeros"+remedy, n)
	return all
}

// isUnwritten reports whether the only rows that are other than they should be are zeros in the place of
// this step's.
func (c cacheStep) isUnwritten(rows []int) bool {
	for j, k := range rows {
		if k != j && (j < c.P || k >= 0) {
			return false
		}
	}
	return true
}

// moved returns the last n rows of those kept at the front and of the new ones, at the front.
func (c cacheStep) moved(n int) []int {
	all := c.kept(true)
	rows := append(all[:min(c.P, n):min(c.P, n)], all[c.P:]...)
	rows = slices.Clone(rows[max(len(rows)-n, 0):])
	for len(rows) < c.S {
		rows = append(rows, -1)
	}
	return rows
}

// offsets returns the rules for rows of a step after the first.
func offsets(by int) (all []writing) {
	add := func(numbers int, from func(c cacheStep) []int, format string, args ...any) {
		all = append(all, writing{text: fmt.Sprintf(format, args...), numbers: numbers, from: func(c cacheStep) []int {
			if c.P == 0 {
				return nil
			}
			return from(c)
		}})
	}
	for _, own := range []bool{false, true} {
		rest := "; its own row stays zeros"
		if own {
			rest = "; its own row is right"
		}
		add(min(max(by, -by), 2), func(c cacheStep) []int { return c.written(own, func(p int) int { return p + by }) },
			"this step's rows are written %+d off their place: over another position's row, where they belong at P%s", by, rest)
		if by == 1 {
			add(0, func(c cacheStep) []int { return c.written(own, func(p int) int { return c.step + p - c.P }) },
				"this step's rows are written at the number of the step, not at P, how many positions came before: they go over the prompt's%s", rest)
		}
	}
	if by < -1 {
		add(1, func(c cacheStep) []int {
			rows := c.kept(true)
			for p := c.P; p < c.S; p++ {
				rows[p] = max(p+by, 0)
			}
			return rows
		}, "this step's rows are those of %d positions before, once more", -by)
	}
	return all
}

// mostAway is how far from its place a row is looked for.
const mostAway = 8

// rules calls do with the rules that change a step, of numbers that count.
func (c cacheStep) rules(do func(w writing, rows []int)) {
	own := c.kept(true)
	call := func(w writing) {
		if rows := w.from(c); rows != nil && !slices.Equal(rows, own) {
			do(w, rows)
		}
	}
	for _, w := range writings(c.S) { // the newest row alone
		call(w)
	}
	for i := range max(c.S-1, 0) { // those that begin to show at a step near this one, and the small ones
		n := i/2 + 1
		if i%2 == 0 {
			n = c.S - n
		}
		for _, w := range writings(n) {
			call(w)
		}
		if by := i/2 + 1; i%2 == 1 && by <= mostAway {
			for _, w := range slices.Concat(offsets(-by), offsets(by)) {
				call(w)
			}
		}
	}
}

// again returns the rows of a cache that a rule changed at every step from the first on, each of
// one position but the first; nil for other steps.
func (w writing) again(c cacheStep) []int {
	prompt := c.P - c.step + 1
	if c.step == 0 || c.T != 1 || prompt < 1 {
		return nil
	}
	var now []int
	for step := range c.step + 1 {
		at := cacheStep{P: len(now), T: 1, step: step}
		if step == 0 {
			at.T = prompt
		}
		at.S = at.P + at.T
		all := append(now, at.kept(true)[at.P:]...)
		if now = all; w.from(at) != nil {
			now = slices.Clone(w.from(at))
			for j, k := range now {
				if k >= 0 {
					now[j] = all[k]
				}
			}
		}
	}
	return now
}
