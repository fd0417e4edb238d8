package fit

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// A rule says which row is read in a lookup; -1 is none.
type rule struct {
	text    string
	numbers int
	row     func(x lookup) int
}

// rules returns the rules that the first wrong lookup suggests, the plainest first.
func rules(x *table, stage string, found []lookup) (all []rule) {
	add := func(numbers int, row func(x lookup) int, format string, args ...any) {
		all = append(all, rule{fmt.Sprintf(format, args...), numbers, row})
	}
	of := "id"
	if stage == "wpe" {
		of = "position"
	}
	var wrong []lookup
	highest, lowest := -1, math.MaxInt // of what is right, of what is wrong
	one, ids := true, map[int]bool{}   // all that is wrong is one row; what is wrong
	past := true                       // what is wrong is all of the steps with a past
	for _, l := range found {
		right := x.same(l.got, l.want) && x.name == stage
		past = past && right == (l.Dims.P == 0)
		if right {
			highest = max(highest, l.want)
			continue
		}
		wrong, lowest, ids[l.want] = append(wrong, l), min(lowest, l.want), true
		one = one && x.same(l.got, wrong[0].got)
	}
	w, n := wrong[0], x.len()
	k := w.got - w.want
	if x.name != stage {
		add(0, func(l lookup) int { return l.want }, "%s n reads row n", of)
	}
	if stage == "wte" {
		for _, r := range wteRules {
			add(0, r.row, "%s", r.text)
		}
		first := 0 // the id that stands before the first
		for _, l := range wrong {
			if l.Step == 0 && l.t == 0 {
				first = l.got
			}
		}
		add(min(first, 1), func(l lookup) int {
			if l.Step == 0 && l.t == 0 {
				return first
			}
			return l.earlier(1)
		}, "each token is embedded as the one before it, of whichever step, the first of all as id %d: ids are one late", first)
	} else {
		for _, r := range wpeRules {
			add(0, r.row, "%s", r.text)
		}
	}
	// Conditions under which an offset is made.
	for _, when := range []struct {
		text string
		of   func(l lookup) bool
	}{
		{"", func(lookup) bool { return true }},
		{" in steps with a past", func(l lookup) bool { return l.Dims.P > 0 }},
		{" in the prompt", func(l lookup) bool { return l.Dims.P == 0 }},
	} {
		remedy := "row i is that of id i"
		if stage == "wpe" {
			remedy = "positions count from P, 0 for a prompt"
		}
		number := 0
		if k != 1 && k != -1 {
			number = 1
		}
		if number == 1 && len(ids) == 1 && when.text != "" {
			break
		}
		add(number, func(l lookup) int {
			if !when.of(l) {
				return l.want
			}
			return (l.want + k + n) % n
		}, "%s n reads row n%+d of %s%s, offset by %d: %s", of, k, x.name, when.text, k, remedy)
	}
	switch {
	case !one || len(ids) == 1: // one alone shows no threshold
	case past:
		add(1, func(l lookup) int {
			if l.Dims.P > 0 {
				return w.got
			}
			return l.want
		}, "every %s reads row %d of %s in steps with a past", of, w.got, x.name)
	case lowest > highest:
		u := w.got
		if u < lowest && (u == lowest-1 || u >= highest) {
			add(1, func(l lookup) int { return min(l.want, u) }, "%ss from %d on read row %d of %s: the %s is clamped at %d, where the table goes on to %d",
				of, u+1, u, x.name, of, u, n-1)
		}
		add(1, func(l lookup) int {
			if l.want >= lowest {
				return u
			}
			return l.want
		}, "%ss from %d on read row %d of %s: they are taken as out of the table, which goes on to %d", of, lowest, u, x.name, n-1)
	}
	for bits := 16; bits > 0; bits-- {
		m := 1 << bits
		if m < n {
			add(0, func(l lookup) int { return l.want % m }, "the %s is taken modulo %d = 2^%d, as in %d bits: row %d of %s is read for %s %d",
				of, m, bits, bits, w.got, x.name, of, w.want)
		}
	}
	for _, bits := range []int{8, 16} {
		wrap := func(v int) int {
			v &= 1<<bits - 1
			if v >= 1<<(bits-1) {
				v -= 1 << bits
			}
			return v
		}
		add(0, func(l lookup) int { return (wrap(l.want) + n) % n },
			"the %s wraps in a signed integer of %d bits (int%d), and a negative one counts from the end of %s: row %d is read for %s %d, which is %d; use 32 bits",
			of, bits, bits, x.name, w.got, of, w.want, wrap(w.want))
		add(0, func(l lookup) int { return max(wrap(l.want), 0) },
			"the %s wraps in a signed integer of %d bits (int%d), and a negative one reads row 0 of %s, as for %s %d; use 32 bits", of, bits, bits, x.name, of, w.want)
	}
	if m := w.want - w.got; m > 1 && w.got < m && len(ids) > 1 {
		add(2, func(l lookup) int { return l.want % m }, "the %s is taken modulo %d: row %d of %s is read for %s %d", of, m, w.got, x.name, of, w.want)
	}
	if stage == "wpe" {
		c := w.got - w.t
		add(1, func(l lookup) int { return l.t + c }, "positions of every step begin at %d: the first new one is at P, the length of the cache", c)
		c2 := w.got - w.t - w.Step
		add(1, func(l lookup) int { return l.Step + l.t + c2 }, "positions count steps: position t of step n reads row n%+d+t of wpe, where P+t belongs", c2)
		c3 := w.got + w.t - w.Dims.P - w.Dims.T
		add(1, func(l lookup) int { return l.Dims.P + l.Dims.T - l.t + c3 }, "positions of a step are in reverse order, offset by %d", c3+1)
	}
	if one {
		add(1, func(lookup) int { return w.got }, "every row is row %d of %s, whatever the %s", w.got, x.name, of)
	}
	// What is there, with no rule to it.
	rows, order := map[int]int{}, []int(nil)
	for _, l := range wrong {
		if _, ok := rows[l.want]; !ok {
			order = append(order, l.want)
		}
		rows[l.want] = l.got
	}
	slices.Sort(order)
	var parts []string
	for _, want := range order[:min(len(order), 4)] {
		parts = append(parts, fmt.Sprintf("%d reads row %d", want, rows[want]))
	}
	if len(order) > 4 {
		parts = append(parts, fmt.Sprintf("… (%d in all)", len(order)))
	}
	add(2+len(order), func(l lookup) int {
		if row, ok := rows[l.want]; ok {
			return row
		}
		return l.want
	}, "other rows of %s are read: %s %s", x.name, of, strings.Join(parts, ", "))
	return all
}

// wteRules are those in which another token of the run stands in the place of one.
var wteRules = []rule{
	{text: "each token is embedded as the one before it, the first as itself: ids are one late", row: func(l lookup) int { return l.token(l.b, max(l.t-1, 0)) }},
	{text: "each token is embedded as the one before it, from the step before where it is the first: the ids of the step before are fed again", row: func(l lookup) int { return l.earlier(1) }},
	{text: "each token is embedded as the one before it, the first as the last: ids are rolled by one", row: func(l lookup) int { return l.token(l.b, (l.t-1+l.Dims.T)%l.Dims.T) }},
	{text: "each token is embedded as the one after it, the last as itself: ids are one early", row: func(l lookup) int { return l.token(l.b, min(l.t+1, l.Dims.T-1)) }},
	{text: "each token is embedded as the one after it, the last as the first: ids are rolled by one", row: func(l lookup) int { return l.token(l.b, (l.t+1)%l.Dims.T) }},
	{text: "the tokens of a step are embedded in reverse order", row: func(l lookup) int { return l.token(l.b, l.Dims.T-1-l.t) }},
	{text: "every position of a step has the embedding of its first token", row: func(l lookup) int { return l.token(l.b, 0) }},
	{text: "every position of a step has the embedding of its last token", row: func(l lookup) int { return l.token(l.b, l.Dims.T-1) }},
	{text: "every batch row has the embeddings of row 0's tokens", row: func(l lookup) int { return l.token(0, l.t) }},
	{text: "every batch row has the embeddings of the last row's tokens", row: func(l lookup) int { return l.token(l.Dims.B-1, l.t) }},
	{text: "each batch row has the embeddings of the row before it, the first those of the last", row: func(l lookup) int { return l.token((l.b-1+l.Dims.B)%l.Dims.B, l.t) }},
	{text: "each batch row has the embeddings of the row after it, the last those of the first", row: func(l lookup) int { return l.token((l.b+1)%l.Dims.B, l.t) }},
	{text: "batch rows have each other's embeddings, in reverse order", row: func(l lookup) int { return l.token(l.Dims.B-1-l.b, l.t) }},
	{text: "[B,T] ids are read as [T,B]: batch and position are exchanged", row: func(l lookup) int {
		i := l.t*l.Dims.B + l.b
		return l.token(i/l.Dims.T, i%l.Dims.T)
	}},
	{text: "the embedding is that of the token's position, not of its id", row: func(l lookup) int { return l.Dims.P + l.t }},
}

// wpeRules are those without a number.
var wpeRules = []rule{
	{text: "positions begin at 0 in every step: they go on from P, the length of the cache", row: func(l lookup) int { return l.t }},
	{text: "every position of a step reads the row of its first, P: positions are P+t", row: func(l lookup) int { return l.Dims.P }},
	{text: "every position of a step reads the row of its last: positions are P+t", row: func(l lookup) int { return l.Dims.P + l.Dims.T - 1 }},
	{text: "the positions of a step are in reverse order", row: func(l lookup) int { return l.Dims.P + l.Dims.T - 1 - l.t }},
	{text: "positions count steps, one for each: they count tokens, P+t", row: func(l lookup) int { return l.Step + l.t }},
	{text: "in steps with a past the position is one too early, P-1: it is P", row: func(l lookup) int {
		if l.Dims.P > 0 {
			return l.Dims.P - 1 + l.t
		}
		return l.t
	}},
	{text: "positions count the tokens of all rows of the batch: each row begins at P", row: func(l lookup) int {
		if l.Dims.B == 1 {
			return -1
		}
		return l.Dims.P*l.Dims.B + l.t
	}},
	{text: "positions advance by 2 for each token", row: func(l lookup) int { return 2 * l.want }},
	{text: "positions advance by 1 for every second token", row: func(l lookup) int { return l.want / 2 }},
}

// token returns the id at a place of the step.
func (l lookup) token(b, t int) int { return int(l.ids[b*l.Dims.T+t]) }

// earlier returns the id n tokens before, of this step or the one before; the token's own where
// there is none.
func (l lookup) earlier(n int) int {
	if l.t >= n {
		return l.token(l.b, l.t-n)
	}
	if l.Step == 0 {
		return l.token(l.b, l.t)
	}
	before := l.At(l.Step-1, "tokens")
	T := len(before) / max(l.Dims.B, 1)
	if i := T - n + l.t; i >= 0 && T > 0 {
		return int(before[l.b*T+i])
	}
	return -1
}
