package faults

import (
	"math"
	"slices"
)

// needed returns a match in several stages as one in those alone without which it leaves more, if it leaves
// no more in these. If it does, one stage may stand for another, and which have the fault is not known.
func (g *rowGroup) needed(e *wrongRow, m match) match {
	if len(m.stages) < 2 || m.fault.Kind == Padding {
		return m
	}
	alike := sameLeft*math.Sqrt(m.left.SqDiff) + unit*math.Sqrt(m.left.SqGot)
	in := func(stages []string) (match, bool) {
		some := m
		some.stages = stages
		out, _ := g.output(e, some)
		if e.full != nil {
			out = e.full.spread(out, e.full.absent)
		}
		got, right, bound, base := e.compared()
		if len(out) != len(got) || m.fault.fit && undecided(out, got) {
			return m, false
		}
		some.measure(e, out, got, right, bound, numbersAlone(right, got, bound, base))
		return some, some.left.Nonfinite <= m.left.Nonfinite && math.Sqrt(some.left.SqDiff) <= alike
	}
	var needed []string
	for i, stage := range m.stages {
		if _, ok := in(slices.Delete(slices.Clone(m.stages), i, i+1)); !ok {
			needed = append(needed, stage)
		}
	}
	if len(needed) == len(m.stages) {
		return m
	}
	if len(needed) > 0 {
		if some, ok := in(needed); ok {
			return some
		}
	}
	m.some = true
	return m
}
