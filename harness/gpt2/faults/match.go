package faults

import (
	"cmp"
	"math"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// A match is a fault in the place of the correct function, held against a row.
type match struct {
	fault    Fault
	stages   []string         // where it sits, of the row's span
	from     int              // the first step at which it is made
	always   bool             // made at an earlier step too it reproduces the row as well
	read     bool             // it is made of what this step reads of a cache alone
	variant  int              // of the fault
	left     harness.Distance // of the engine's output from the fault's
	beyond   float64          // left in rounding bounds of the fault's own output
	explains float64          // the fraction of the error that is gone
	was      float64          // the error in rounding bounds of a narrow type; infinite in float32
	or       []match          // in single stages of the span, that leave the same
	some     bool             // not all of the stages need have it, and which do cannot be told
}

// How much of the error a fault has to explain to be its cause, by what is left.
const (
	// fullyExplained is enough if no more is left than withinRounding. The two nearest of the
	// catalogue, epsilons of 1e-6 and 1e-12, are off by 9 and 10 parts and so explain 99% of
	// each other's error. If more is left, the fault is not the cause, but nearly.
	fullyExplained = 0.999

	// nearlyExplained is enough if what is left is flips.
	nearlyExplained = 0.9

	// halfExplained is enough if all that is left is rounding: then the error
	// itself was not much more than that.
	halfExplained = 0.5
)

// withinRounding is the number of times the rounding bound that may be left where a fault is the
// cause: the bound is of the correct output, from inputs that the fault may read in another way.
const withinRounding = 3

// reproduces reports whether the fault gives what the engine gave, up to rounding.
func (m match) reproduces() bool {
	return m.left.Nonfinite == 0 && (m.explains >= fullyExplained && m.beyond <= withinRounding ||
		m.explains >= nearlyExplained && m.leavesFlips() && (m.fault.Kind == Precision || m.beyond <= withinRounding) ||
		m.explains >= halfExplained && m.left.Share <= 1)
}

// isNearly reports whether the fault gives almost what the engine gave, but more is left than
// rounding.
func (m match) isNearly() bool {
	return m.left.Nonfinite == 0 && m.explains >= fullyExplained && !m.reproduces()
}

// maxFlips is of how many values one may be a flip: rounded to fewer bits it falls the
// other way, for a last bit of float32, and is off by more than all others.
const maxFlips = 50

// leavesFlips reports whether what is left is at as few places as flips are.
func (m match) leavesFlips() bool { return m.left.Wrong <= m.left.N/maxFlips }

// sameLeft is the factor by which another fault must leave more for one to be the only
// cause: what both leave is rounding, which varies with the order of summation.
const sameLeft = 1.5

// matches returns the faults that reproduce a row or, where none does, those that nearly do: the
// one that leaves least, and those which nothing here tells from it, one made in its usual way
// first. It keeps the nearest of the others in the row.
func (g *rowGroup) matches(e *wrongRow, faults []Fault) []match {
	var all, nearly []match
	for _, f := range faults {
		if slices.Contains(g.except, f.Kind) || f.isAskedFor(e) || f.ofLayer && g.isRightFrom(1, e.Place) {
			continue
		}
		m, ok := g.best(e, f)
		switch {
		case !ok:
		case m.reproduces():
			all = append(all, m)
		case m.isNearly():
			nearly = append(nearly, m)
		case m.explains > e.nearest.explains:
			e.nearest = m
		}
	}
	if len(all) == 0 {
		all = nearly
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b match) int { return compareDistance(a.left, b.left) })
	best := all[0].left
	alike := sameLeft*math.Sqrt(best.SqDiff) + unit*math.Sqrt(best.SqGot)
	all = slices.DeleteFunc(all, func(m match) bool {
		return m.left.Nonfinite > best.Nonfinite || math.Sqrt(m.left.SqDiff) > alike
	})
	slices.SortStableFunc(all, func(a, b match) int { return a.variant - b.variant })
	if ofPadding := func(m match) bool { return m.fault.Kind == Padding }; g.hasUnpadded() && slices.ContainsFunc(all, ofPadding) {
		// Any other fault would show in the row without padding.
		all = slices.DeleteFunc(all, func(m match) bool { return !ofPadding(m) })
	}
	for i, m := range all {
		all[i] = g.needed(e, m)
	}
	return all
}

// unit is half the distance between float32 numbers around 1.
const unit = 1.0 / (1 << 24)

// best holds every way to make a fault against a row and returns the one that
// leaves least; ok is false if the fault changes nothing.
func (g *rowGroup) best(e *wrongRow, f Fault) (best match, ok bool) {
	first := []int{0} // the steps from which on it can have been made
	if len(e.Earlier) > 0 {
		// The row reads a cache that the dump lacks: the steps before may have
		// been computed another way.
		if 0 < g.since && g.since < e.Step {
			first = append(first, g.since)
		}
		if e.readAnew {
			first = []int{e.Step}
		} else if !g.wrongAtPrompt(e.Place) { // else it did not begin here
			first = append(first, e.Step)
		}
	}
	var all []match
	got, right, bound, base := e.compared()
	if f.Kind != Padding { // which alone are told by NaN: any function of NaN is
		base = numbersAlone(right, got, bound, base)
		if base.Wrong == 0 && base.SqDiff == 0 {
			return match{}, false
		}
	}
	for _, stages := range f.places(e.Span) {
		for _, from := range first {
			m := match{fault: f, stages: stages, from: from}
			for ; m.variant < len(f.variants); m.variant++ {
				out, _ := g.output(e, m)
				if e.full != nil {
					out = e.full.spread(out, e.full.absent)
				}
				if len(out) != len(got) || harness.Between(right, out, nil).At < 0 {
					continue
				}
				if f.fit && undecided(out, got) {
					continue
				}
				m.measure(e, out, got, right, bound, base)
				all = append(all, m)
			}
		}
	}
	if len(all) == 0 {
		return match{}, false
	}
	best = slices.MinFunc(all, func(a, b match) int { return compareDistance(a.left, b.left) })
	for _, m := range all {
		best.always = best.always || m.from < best.from && (m.reproduces() || m.fault.fit && m.holds())
		made := m.variant == best.variant || f.Kind == Precision // what reads fewer bits, or what writes them
		there := func(o match) bool { return o.stages[0] == m.stages[0] }
		if made && compareDistance(m.left, best.left) == 0 && m.from == best.from && len(m.stages) == 1 &&
			!slices.Contains(best.stages, m.stages[0]) && !slices.ContainsFunc(best.or, there) {
			best.or = append(best.or, m)
		}
	}
	return best, true
}

// measure holds an output of the match's fault against what is compared of a row.
func (m *match) measure(e *wrongRow, out, got, right, bound []float32, base harness.Distance) {
	out, bound = e.spared(e.stored.Of(out), got, right, bound)
	if m.fault.fit {
		bound = computed(bound, out)
	}
	m.left = harness.Between(out, got, bound)
	m.beyond = harness.Between(out, got, grown(bound, right, out)).Share
	if m.explains, m.was = explained(base, m.left), math.Inf(1); e.coarse > 1 {
		m.was = base.Share
	}
	if e.coarse > 1 && base.Wrong > 0 && base.Nonfinite == 0 && m.left.Nonfinite == 0 {
		// Most of the error may be rounding, of large values.
		m.explains = max(m.explains, 1-float64(m.left.Wrong)/float64(base.Wrong))
	}
}

// numbersAlone returns the distance of the engine's output from the right one, which is base, but
// for places where the engine has NaN in the place of something else.
func numbersAlone(right, got, bound []float32, base harness.Distance) harness.Distance {
	if base.Nonfinite == 0 {
		return base
	}
	open := make([]float32, len(got))
	copy(open, bound)
	for i, v := range got {
		if v != v {
			open[i] = v
		}
	}
	return harness.Between(right, got, open)
}

// wrongAtPrompt reports whether the stage is wrong at an earlier step that has no past.
func (c *candidateRun) wrongAtPrompt(at harness.Place) bool {
	return slices.ContainsFunc(c.judged, func(row harness.Replayed) bool {
		d, ok := c.dims(row.Step)
		return ok && d.P == 0 && row.Stage == at.Stage && row.Step < at.Step && row.Verdict == harness.ReplayIntroduced
	})
}

// undecided reports whether a function gives no number where the engine has one.
func undecided(out, got []float32) bool {
	for i, v := range out {
		if v != v && finite(got[i]) {
			return true
		}
	}
	return false
}

// computed returns rounding bounds that are no less than what a function of few operations comes
// to, for stages whose correct function computes nothing.
func computed(bound, out []float32) []float32 {
	const operations = 4
	var squares float64
	for _, v := range out {
		if finite(v) {
			squares += float64(v) * float64(v)
		}
	}
	size := math.Sqrt(squares / float64(max(len(out), 1)))
	all := slices.Clone(bound)
	if all == nil {
		all = make([]float32, len(out))
	}
	for i, v := range out {
		if least := float32(operations * unit * (math.Abs(float64(v)) + size)); all[i] < least && finite(v) {
			all[i] = least
		}
	}
	return all
}

// grown returns rounding bounds of a fault's output: those of the right one, in proportion where
// the fault's values are larger.
func grown(bound, right, out []float32) []float32 {
	all := slices.Clone(bound)
	for i, b := range all {
		if r := math.Abs(float64(out[i])) / math.Abs(float64(right[i])); r > 1 && !math.IsInf(r, 0) {
			all[i] = float32(float64(b) * r)
		}
	}
	return all
}

// spared returns a fault's output and what rounding may do to it, without what no fault decides:
// which number below all others an engine has for -inf in scores, and what it makes of the
// probabilities of queries that see no key, which the fault leaves NaN, unless these are more
// than three quarters of the output.
func (e *wrongRow) spared(out, got, right, bound []float32) (spared, slack []float32) {
	const farBelow = -1e3
	scores, computed := wordOf(e.Stage) == "attn.scores", e.crossesSoftmax() && bound != nil
	if !scores && !computed {
		return out, bound
	}
	spared, slack, none := slices.Clone(out), slices.Clone(bound), 0
	for i, v := range out {
		switch g := got[i]; {
		case scores && math.IsInf(float64(v), -1) && g <= farBelow:
			spared[i] = g
		case computed && v != v && finite(g):
			spared[i], slack[i] = right[i], v
			none++
		}
	}
	if none > len(out)/4*3 {
		return out, bound
	}
	return spared, slack
}

// crossesSoftmax reports whether the row was judged by scores that were computed.
func (e *wrongRow) crossesSoftmax() bool {
	return len(e.Span) > 1 && slices.ContainsFunc(e.Span, func(stage string) bool { return wordOf(stage) == "attn.scores" })
}

// places returns the sets of stages of a span in which one fault can sit: each alone
// and, since a fault is often made wherever it can be, all of them.
func (f Fault) places(span []string) (sets [][]string) {
	var all []string
	for _, stage := range span {
		if f.At(stage) {
			all = append(all, stage)
			sets = append(sets, []string{stage})
		}
	}
	if len(all) > 1 {
		sets = append(sets, all)
	}
	return sets
}

// compareDistance is negative if a is the smaller distance, 0 if they are equal.
func compareDistance(a, b harness.Distance) int {
	return cmp.Or(cmp.Compare(a.Nonfinite, b.Nonfinite), cmp.Compare(a.SqDiff, b.SqDiff))
}

// explained returns the fraction of an error that is gone when something else stands
// in the place of the right output: base is the engine's distance from the right one,
// left that from the other. Where infinities or NaN differ, as in a mask, it is a fraction
// of their number, and of the finite places only if these are off by more than rounding
// too.
func explained(base, left harness.Distance) float64 {
	gone := func(left, base float64) float64 { return math.Max(0, 1-left/base) }
	switch {
	case base.Nonfinite == 0 && (left.Nonfinite > 0 || base.SqDiff == 0):
		return 0
	case base.Nonfinite == 0:
		return gone(left.SqDiff, base.SqDiff)
	case base.SqDiff <= base.SqBound && left.SqDiff > 4*base.SqBound:
		return 0 // the mask is correct, the values are off by twice what rounding may do
	}
	part := gone(float64(left.Nonfinite), float64(base.Nonfinite))
	if base.SqDiff > base.SqBound {
		part = math.Min(part, gone(left.SqDiff, base.SqDiff))
	}
	return part
}

// output returns what an engine that makes a match's fault and is correct otherwise puts
// out at a row, and its values of the stages of the row's step that the candidate lacks
// and in which the fault sits. It is nil where the fault changes nothing.
func (g *rowGroup) output(e *wrongRow, m match) (out []float32, made map[harness.Place]replay.Value) {
	run, made := g.run, map[harness.Place]replay.Value{}
	if m.fault.Kind == Padding {
		c := &Context{Model: g.model, Dims: e.dims, Stage: e.Stage, padded: g.inBatch(e)}
		if c.padded != nil {
			c.padded.stages, c.padded.from = m.stages, m.from
		}
		return m.fault.output(c, m.variant), nil
	}
	for _, at := range e.computed() {
		if at.Step < m.from || !slices.Contains(m.stages, at.Stage) || at != e.Place && g.has(at) {
			continue
		}
		d, _ := g.dims(at.Step)
		shape, _ := model.Shape(g.model.Config(), at.Stage, d)
		in := func(name string) []float32 { return g.input(run, at.Step, name) }
		c := &Context{Model: g.model, Dims: d, Stage: at.Stage, In: in}
		if at == e.Place {
			c = e.context(g.model, d, in)
			c.at = g.anyStep(e, d)
			c.padded = g.inBatch(e)
			if run == g.run { // then the run has judged the row by it
				c.right = e.right
			}
		}
		if c.step, c.wrong = at.Step, g.computesWrong; c.at == nil {
			c.at = g.anyStep(&wrongRow{}, d)
		}
		out := m.fault.output(c, m.variant)
		switch {
		case out == nil:
		case at == e.Place:
			return out, made
		default:
			v := replay.Value{Tensor: harness.Tensor{Shape: shape, F32: out}}
			if run == g.run {
				run = run.Unbounded()
			}
			run = run.With(map[harness.Place]replay.Value{at: v})
			if at.Step == e.Step {
				made[at] = v
			}
		}
	}
	if run == g.run {
		return nil, nil
	}
	right, err := run.Right(e.Step, e.Stage)
	if err != nil {
		return nil, nil
	}
	return values(right.Tensor), made
}

// computed lists what was computed to judge the row, itself among it, in that order.
func (e *wrongRow) computed() []harness.Place {
	all := slices.Clone(e.Earlier)
	for _, stage := range e.Span {
		all = append(all, harness.Place{Step: e.Step, Stage: stage})
	}
	return all
}
