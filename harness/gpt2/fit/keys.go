package fit

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// A keeping is a rule by which keys of a query are left out of its softmax.
type keeping struct {
	text    string
	numbers int
	keeps   func(row *softmaxRow, j int) bool
	queries int // positions of queries that it takes to show it; 0 is one
}

// keptKeys proposes softmaxes over some of the keys, or of the ids, by where the engine has zeros.
func keptKeys(r *Row) (all []Hypothesis) {
	rows := func(do func(row *softmaxRow, lo int)) bool { return softmaxRows(&r.Stage, r, r.ofPart(do)) }
	if !leavesOut(rows) {
		return nil
	}
	of := "keys"
	if stageName(r.Name).Temperature > 0 {
		of = "ids"
	}
	again := false // the others sum to 1
	rows(func(row *softmaxRow, _ int) {
		sum, lost := 0.0, 0.0
		for j, g := range row.got {
			if sum += g; !row.known[j] {
				lost += row.right[j]
			}
		}
		again = again || lost > 0.01 && math.Abs(sum-1) < 1e-3
	})
	for _, k := range append(keepings(rows, of), largest(rows, of)...) {
		if !k.fits(rows) {
			continue
		}
		text := k.text
		if !again {
			text += ", and the others still divide by the sum over all: the rows do not sum to 1"
		}
		all = append(all, Hypothesis{ID: PatternSoftmax, Text: text, Numbers: k.numbers, Queries: k.queries, Output: ofRows(func(_ *Stage, row *softmaxRow, out []float64) {
			for j := range out {
				if !k.keeps(row, j) {
					out[j] = 0
				}
			}
			if sum := sumOf(out); again && sum > 0 {
				for j := range out {
					out[j] /= sum
				}
			}
		})})
	}
	return all
}

// ofPart calls a function with those rows alone of which some places are to be explained.
func (r *Row) ofPart(do func(row *softmaxRow, lo int)) func(row *softmaxRow, lo int) {
	return func(row *softmaxRow, lo int) {
		if r.Part == nil || slices.Contains(r.Part[lo:lo+len(row.right)], true) {
			do(row, lo)
		}
	}
}

// rows calls a function with each row of a stage, and its first place.
type rows = func(do func(row *softmaxRow, lo int)) bool

// says reports whether a 0 at a place says that it was left out.
func (row *softmaxRow) says(j int) bool {
	least := 1e-30 // what is below, engines may flush to 0
	if row.off != nil && row.off[j] > 0 {
		least = math.Max(1e-4, 20*row.off[j])
	}
	return row.right[j] > least
}

// leavesOut reports whether a probability that is not small is 0.
func leavesOut(of rows) (some bool) {
	of(func(row *softmaxRow, _ int) {
		for j := range row.right {
			some = some || row.says(j) && !row.known[j]
		}
	})
	return some
}

// fits reports whether the rule leaves out what is left out.
func (k keeping) fits(of rows) bool {
	fits := true
	of(func(row *softmaxRow, _ int) {
		for j := range row.right {
			fits = fits && (!row.says(j) || row.known[j] == k.keeps(row, j))
		}
	})
	return fits
}

// keepings returns the rules by position that may leave out what the engine leaves out, read off
// its zeros.
func keepings(each rows, of string) (all []keeping) {
	if of != "keys" {
		return nil
	}
	window, ahead, sinks, after := 0, 0, math.MaxInt, 0
	var out, in []int // keys that are left out of some row, and that are in some row
	each(func(row *softmaxRow, _ int) {
		first, last, left, gone := -1, -1, 0, -1
		for j := range row.right {
			switch {
			case !row.says(j):
			case row.known[j]:
				last, in = j, append(in, j)
				if first < 0 {
					first = j
				}
			default:
				if left == 0 {
					sinks = min(sinks, j)
				}
				left, gone, out = left+1, j, append(out, j)
			}
		}
		if left > 0 && first >= 0 {
			window, ahead, after = max(window, row.query-first+1), max(ahead, row.query-last), max(after, row.query-gone)
		}
	})
	slices.Sort(out)
	out = slices.Compact(out)
	add := func(numbers int, keeps func(row *softmaxRow, j int) bool, text string, args ...any) {
		all = append(all, keeping{fmt.Sprintf(text, args...), numbers, keeps, 0})
	}
	ofQueries := func() { all[len(all)-1].queries = 2 }
	add(1, func(row *softmaxRow, j int) bool { return j > row.query-window },
		"each query sees its last %d keys alone, a sliding window: let it see all keys up to its own", window)
	ofQueries()
	if sinks < math.MaxInt && sinks > 0 && after > 0 {
		first := "key 0"
		if sinks > 1 {
			first = fmt.Sprintf("keys 0 to %d", sinks-1)
		}
		add(2, func(row *softmaxRow, j int) bool { return j < sinks || j > row.query-after },
			"each query sees its last %d keys and %s alone, a sliding window with attention sinks: let it see all keys up to its own", after, first)
		ofQueries()
	}
	for back := 1; back <= 2; back++ {
		add(1, func(row *softmaxRow, j int) bool { return j != row.query-back }, "the key %s before the query is left out", countOf(back, "one", "places"))
	}
	add(1, func(row *softmaxRow, j int) bool { return j <= row.query-ahead },
		"the newest %s left out: each query sees keys up to its own position", countOf(ahead, "key is", "keys are"))
	add(1, func(row *softmaxRow, j int) bool { return j/max(window, 1) == row.query/max(window, 1) },
		"each query sees the keys of its own block of %d alone", window)
	ofQueries()
	for n := 2; n <= 4; n++ {
		for c := range n {
			add(1, func(row *softmaxRow, j int) bool { return j%n == c }, "only every %s key is seen, from key %d on", ordinal(n-1), c)
			add(1, func(row *softmaxRow, j int) bool { return j%n != c }, "every %s key is left out, from key %d on", ordinal(n-1), c)
			add(1, func(row *softmaxRow, j int) bool { return (row.query-j)%n == c }, "only every %s key before the query is seen, from %d back on", ordinal(n-1), c)
		}
	}
	isLeft := map[int]bool{}
	for _, j := range out {
		isLeft[j] = true
	}
	if n := len(out); n > 0 && out[n-1]-out[0] == n-1 {
		lo, hi := out[0], out[n-1]
		if !slices.ContainsFunc(in, func(j int) bool { return j >= lo }) {
			add(1, func(_ *softmaxRow, j int) bool { return j < lo }, "keys from position %d on are left out", lo)
		}
		what := fmt.Sprintf("keys %d to %d are left out", lo, hi)
		if lo == hi {
			what = fmt.Sprintf("key %d is left out", lo)
		}
		if lo == 0 {
			what += ", the first"
		}
		add(n, func(_ *softmaxRow, j int) bool { return !isLeft[j] }, "%s of every query's sum", what)
		if lo == hi {
			add(n, func(row *softmaxRow, j int) bool { return j != lo || j == row.query }, "key %d is left out of the sum of every later query", lo)
		}
	} else if n > 1 && n <= 8 {
		add(n, func(_ *softmaxRow, j int) bool { return !isLeft[j] }, "keys %s are left out of every query's sum", strings.Trim(fmt.Sprint(out), "[]"))
	}
	return all
}

// largest returns the rules by size that may leave out what the engine leaves out.
func largest(each rows, of string) (all []keeping) {
	least, most, count := math.Inf(1), 0.0, 0 // of the correct probabilities of what is kept, and of what is not
	each(func(row *softmaxRow, _ int) {
		kept, left := 0, 0
		for j, p := range row.right {
			switch {
			case row.known[j]:
				least, kept = math.Min(least, p), kept+1
			case row.says(j):
				most, left = math.Max(most, p), left+1
			}
		}
		if left > 0 {
			count = max(count, kept)
		}
	})
	if count > 0 {
		all = append(all, keeping{fmt.Sprintf("only the %d largest are kept (top-k), of each row of %s", count, of), 1,
			func(row *softmaxRow, j int) bool { return rank(row.right, j) < count }, 0})
	}
	if least > most {
		cut := between(most, least)
		all = append(all, keeping{fmt.Sprintf("probabilities below about %.2g are 0", cut), 1,
			func(row *softmaxRow, j int) bool { return row.right[j] >= cut }, 0})
	}
	return all
}

// rank returns how many are larger than the j-th, the first of equals counting as larger.
func rank(p []float64, j int) (n int) {
	for i, v := range p {
		if v > p[j] || v == p[j] && i < j {
			n++
		}
	}
	return n
}

// between returns the number of fewest digits between two.
func between(lo, hi float64) float64 {
	for digits := 1.0; digits < 1e6; digits *= 10 {
		scale := math.Pow(10, math.Floor(math.Log10(hi))) / digits
		if v := math.Floor(hi/scale) * scale; v > lo {
			return v
		}
	}
	return (lo + hi) / 2
}

func sumOf(x []float64) (sum float64) {
	for _, v := range x {
		sum += v
	}
	return sum
}

// countOf returns "key is", or "3 keys are".
func countOf(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return fmt.Sprintf("%d %s", n, many)
}
