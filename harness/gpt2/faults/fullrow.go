package faults

import (
	"math"
	"slices"

	"checkpoint12/harness"
)

// A fullRow is the output of a row of a padded batch with the keys at padding, where it has
// some: a fault may show there alone.
type fullRow struct {
	own, all   []int // where in the batch the elements are without these keys, and with them
	absent     float32
	got, right []float32
	bound      []float32
	base       harness.Distance
}

// fullRow returns the row with the keys at padding; nil if there are none.
func (c *candidateRun) fullRow(e *wrongRow) (*fullRow, error) {
	row, ok := c.candidate.(*harness.BatchRow)
	if !ok {
		return nil, nil
	}
	f := newFullRow(row, e.Place)
	if len(f.own) == len(f.all) {
		return nil, nil
	}
	whole, err := row.Padding().Whole.Tensor(e.Step, e.Stage)
	if err != nil {
		return nil, err
	}
	for _, at := range f.all {
		f.got = append(f.got, whole.F32[at])
	}
	f.right = f.spread(e.right, f.absent)
	if e.bound != nil {
		f.bound = f.spread(e.bound, 0)
	}
	f.base = harness.Between(f.right, f.got, f.bound)
	return f, nil
}

// newFullRow returns the places of a row's output.
func newFullRow(row *harness.BatchRow, at harness.Place) *fullRow {
	f := &fullRow{own: row.Places(at.Step, at.Stage, false), all: row.Places(at.Step, at.Stage, true)}
	if wordOf(at.Stage) == "attn.scores" {
		f.absent = float32(math.Inf(-1))
	}
	return f
}

// spread returns values of the row with others at the keys at padding, unless it has these
// keys.
func (f *fullRow) spread(own []float32, pads float32) []float32 {
	if len(own) != len(f.own) {
		return own
	}
	out, next := make([]float32, len(f.all)), 0
	for i, at := range f.all {
		if out[i] = pads; next < len(f.own) && f.own[next] == at {
			out[i] = own[next]
			next++
		}
	}
	return out
}

// Full returns an output with the keys at padding, as a fault may put it out; without
// padding it is the output itself.
func (c *Context) Full(out []float32) []float32 {
	if c.padded == nil {
		return out
	}
	f := newFullRow(c.padded.BatchRow, c.padded.at)
	return f.spread(out, f.absent)
}

// compared returns the engine's output, the correct one and its rounding, with the keys at
// padding. Where no number is correct, as at a masked key, rounding may do what it may do
// at most elsewhere: a fault may put a number there.
func (e *wrongRow) compared() (got, right, bound []float32, base harness.Distance) {
	got, right, bound, base = e.got, e.right, e.bound, e.base
	if e.full != nil {
		got, right, bound, base = e.full.got, e.full.right, e.full.bound, e.full.base
	}
	if len(bound) > 0 && slices.ContainsFunc(right, func(v float32) bool { return !finite(v) }) {
		bound = slices.Clone(bound)
		var most float32
		for _, b := range bound {
			if finite(b) {
				most = max(most, b)
			}
		}
		for i, v := range right {
			if !finite(v) {
				bound[i] = most
			}
		}
	}
	return got, right, bound, base
}
