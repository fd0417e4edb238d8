package harness

import (
	"math"
	"slices"
	"strings"

	"checkpoint12/harness/internal/shapes"
)

// seen returns the distance of what stands in the columns at padding of the row's queries
// from the stage's Absent; At counts in the batch's tensor. all has queries in it too that
// see no key, by which nothing is judged. It is found out once.
func (r *BatchRow) seen(at Place, all bool) (Distance, error) {
	key := seenAt{at, all}
	if d, ok := r.unmasked.Load(key); ok {
		return d.(Distance), nil
	}
	d, err := r.readUnmasked(at, all)
	if err == nil {
		r.unmasked.Store(key, d)
	}
	return d, err
}

// A seenAt is what is asked of BatchRow.seen.
type seenAt struct {
	Place
	all bool
}

// introduces returns what is seen of a place, but nothing where an earlier stage of the same
// module has not masked its keys at padding, from which it follows.
func (r *BatchRow) introduces(at Place) (Distance, error) {
	for _, before := range r.before(at) {
		if d, err := r.seen(before, false); err != nil || d.Wrong > 0 {
			return Distance{}, err
		}
	}
	return r.seen(at, false)
}

// before returns the earlier stages of the same module that have queries and keys.
func (r *BatchRow) before(at Place) (all []Place) {
	last, _ := r.schedule.Index(at.Stage)
	module := at.Stage[:strings.LastIndex(at.Stage, ".")+1]
	for _, st := range r.schedule.stages[:last] {
		p, ok := r.part(at.Step, st.Name)
		if ok && p.queries >= 0 && p.keys >= 0 && st.Name[:strings.LastIndex(st.Name, ".")+1] == module {
			all = append(all, Place{at.Step, st.Name})
		}
	}
	return all
}

// seesNothing returns for each line of keys whether an earlier stage of the module shows the
// query no key at all, so that what stands there has no right answer.
func (r *BatchRow) seesNothing(at Place, shape []int) (lines []bool, err error) {
	n, _ := shapes.Size(shape)
	keys := shape[len(shape)-1]
	lines = make([]bool, n/max(keys, 1))
	for _, before := range r.before(at) {
		p, t, err := r.read(before.Step, before.Stage)
		if err != nil {
			return nil, err
		}
		st, _ := r.schedule.Stage(before.Stage)
		for i := range lines {
			lines[i] = lines[i] || slices.Equal(p.from, shape) && t.F32 != nil &&
				!slices.ContainsFunc(t.F32[i*keys:][:keys], func(v float32) bool { return v != st.Absent })
		}
	}
	return lines, nil
}

func (r *BatchRow) readUnmasked(at Place, all bool) (d Distance, err error) {
	d.At = -1
	p, t, err := r.read(at.Step, at.Stage)
	if err != nil || t.IDs() {
		return d, err
	}
	st, _ := r.schedule.Stage(at.Stage)
	keys := p.from[p.keys]
	atPadding := make([]bool, keys)
	for j := range atPadding {
		atPadding[j] = p.keep[p.keys] != nil && !slices.Contains(p.keep[p.keys], j)
	}
	inner, _ := shapes.Size(p.from[p.queries+1:])
	var open []bool
	if !all {
		if open, err = r.seesNothing(at, p.from); err != nil {
			return d, err
		}
	}
	want := float64(st.Absent)
	for lo := 0; lo < len(t.F32); lo += keys {
		query := lo / inner % p.from[p.queries]
		if own := p.keep[p.queries]; open != nil && open[lo/keys] || own != nil && !slices.Contains(own, query) {
			continue
		}
		line := t.F32[lo:][:keys]
		isNaN := func(v float32) bool { return v != v }
		for j, v := range line {
			// A softmax that has a NaN for its own keys has it for all.
			if !atPadding[j] || isNaN(v) && slices.ContainsFunc(choose(nil, line, []int{keys}, p.keep[p.keys:][:1]), isNaN) {
				continue
			}
			if d.N++; d.N == 1 {
				d.Got, d.Want = float64(v), want
			}
			d.addElement(p.at+lo+j, want, float64(v), math.Abs(float64(v)-want), st.Tolerance.Abs, false)
		}
	}
	return d, nil
}

// JudgePadding makes a replay introduced where a key at padding is not masked, which the
// row alone does not show.
func (r *BatchRow) JudgePadding(p *Replayed) error {
	own, ok := r.part(p.Step, p.Stage)
	if !ok || !r.padding.Padded || own.queries < 0 || own.keys < 0 || p.Verdict == ReplayIntroduced {
		return nil
	}
	seen, err := r.introduces(p.Place)
	if err != nil || seen.Wrong == 0 {
		return err
	}
	p.Shape, _ = r.Source.Shape(p.Step, p.Stage)
	p.GotShape, p.Verdict, p.Why = p.Shape, ReplayIntroduced, ""
	seen.fill(&p.Row)
	return nil
}

// AtPadding returns of a stage what stands at the keys at padding, before the end of the
// step, of the row's queries or, without these, of all; ok is false where all of them are
// masked, as they should be, or there are none.
func (r *BatchRow) AtPadding(at Place) (t Tensor, ok bool, err error) {
	own, there := r.part(at.Step, at.Stage)
	if !there || own.keys < 0 || own.keep[own.keys] == nil {
		return t, false, nil
	}
	if own.queries >= 0 {
		if seen, err := r.seen(at, true); err != nil || seen.Wrong == 0 {
			return t, false, err
		}
	}
	var keys []int
	for j := range own.from[own.keys] {
		if !slices.Contains(own.keep[own.keys], j) {
			keys = append(keys, j)
		}
	}
	own, whole, err := r.read(at.Step, at.Stage)
	if err != nil {
		return t, false, err
	}
	own.shape[own.keys], own.keep[own.keys] = len(keys), keys
	return Tensor{Shape: own.shape, F32: choose(nil, whole.F32, own.from, own.keep)}, true, nil
}
