package fit

import (
	"fmt"
	"slices"
)

func init() {
	blind["attn.probs"] = append(blind["attn.probs"], hiddenTails)
}

// A tail is a rule by which the last of a step's keys are left out of the sum over the values.
type tail struct {
	text    string
	where   string // at which steps zeros in the cache would give the same
	numbers int
	from    func(c cacheStep, query int) int // the first that is left out
}

const anyStep, onePosition = "at any one step", "at a step of one position"

// tails are the newest key of a step, or of each query, and those that a loop over tiles leaves over.
var tails = func() []tail {
	all := []tail{
		{"the newest key is left out of the sum over the values at steps after the first", anyStep, 0, func(c cacheStep, _ int) int {
			if c.P == 0 {
				return c.S
			}
			return c.S - 1
		}},
		{"each query's own key, the newest that it sees, is left out of the sum over the values", onePosition, 0, func(_ cacheStep, query int) int { return query }},
	}
	for n := 2; n <= 256; n *= 2 {
		text := fmt.Sprintf("the sum over the values is taken over full tiles of %d keys alone: %%s are left out", n)
		all = append(all,
			tail{fmt.Sprintf(text, "the keys of a step that are left over"), anyStep, 1, func(c cacheStep, _ int) int { return c.S / n * n }},
			tail{fmt.Sprintf(text, "the keys of each query that are left over"), onePosition, 1, func(_ cacheStep, query int) int { return (query + 1) / n * n }})
	}
	return all
}()

// hiddenTails proposes keys that are left out of the sum over the values, where the dump lacks the
// probabilities: zeros in the place of these.
func hiddenTails(r *Row) (all []Hypothesis) {
	c, p, right := r.chain(), (*values)(nil), r.In(r.Name)
	if r.Recovered {
		p = newValues(r)
	}
	if c == nil && p == nil || len(right) == 0 {
		return nil
	}
	for _, tail := range tails {
		output := func(right []float32, s *Stage) []float32 {
			out := slices.Clone(right)
			if !scoreRows(s, out, func(row *softmaxRow, lo int) {
				clear(out[lo:][min(tail.from(s.cacheStep(), row.query), len(row.right)):len(row.right)])
			}) {
				return nil
			}
			return out
		}
		x := output(right, &r.Stage)
		if x == nil || slices.Equal(x, right) {
			continue
		}
		if p != nil && p.holds(func(i int) float64 { return float64(x[i]) }) || p == nil && c.gives(map[string][]float32{r.Name: x}) {
			all = append(all, Hypothesis{ID: PatternSoftmax, Numbers: tail.numbers, Output: func(s *Stage) []float32 { return output(s.Correct(), s) },
				Text: tail.text + " (" + tail.where + " zeros in their rows of the cache of values would give the same)"})
		}
	}
	return all
}
