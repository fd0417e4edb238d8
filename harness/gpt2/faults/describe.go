package faults

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/replay"
)

// describe words the matches that reproduce a row. Of stages in which one may sit none is named by
// which another stage would be wrong that is right, if there is one that is not so.
func (g *rowGroup) describe(e *wrongRow, matches []match) []Cause {
	var all []Cause
	for _, m := range matches {
		ways := []Cause{g.cause(e, m)}
		for _, other := range m.or {
			ways = append(ways, g.cause(e, other))
		}
		if len(ways) > 1 {
			refuted := func(x Cause) bool { return g.refutedBy(x) != "" }
			if borne := slices.DeleteFunc(slices.Clone(ways), refuted); len(borne) > 0 {
				ways = borne
			}
		}
		all = append(all, ways[0].WithOr(ways[1:]))
	}
	return all
}

// cause returns a fault in the match's stages. One that nearly reproduces the row is not its cause:
// the words alone name it.
func (g *rowGroup) cause(e *wrongRow, m match) Cause {
	id, text, nearly := m.fault.ID, g.textOf(e, m), m.isNearly() && !(m.fault.fit && m.holds())
	in := ""
	if p := m.fault.part; p != nil {
		in = p.at(e.dims)
		text = strings.Replace(text, p.text, in, 1)
	}
	if nearly {
		left := fmt.Sprintf("%.2g times the rounding bound", m.beyond)
		if e.bound == nil || math.IsInf(m.beyond, 1) {
			left = "where rounding changes nothing"
		}
		id, text = "", fmt.Sprintf("nearly, and what is left is %s: %s", left, text)
	}
	if since := g.rightBefore(e, m); since != "" {
		text += since
	}
	if m.fault.fit && e.sums() != "" && !strings.Contains(text, "sum to 1") {
		text = "the rows do not sum to 1: " + text
	}
	if len(e.Span) > 1 {
		text = strings.Join(m.stages, ", ") + ": " + text
		if m.some {
			text = "one or some of " + text
		}
		text = "in " + text
	}
	x := Cause{made: m, in: in, factor: m.fault.factor, rounding: math.Sqrt(e.base.SqBound / float64(max(e.base.Finite, 1))), last: slices.Max(g.candidate.Steps()), Explanation: harness.Explanation{
		Step: e.Step, Stage: e.Stage, Fault: id, Explains: harness.Float(m.explains), Text: text, At: m.stages, Rest: nearly,
	}}
	lacks := func(stage string) bool { _, there := g.candidate.Shape(e.Step, stage); return !there }
	if m.fault.Kind != Padding && slices.ContainsFunc(m.stages, lacks) {
		x.Values = func() map[harness.Place]replay.Value {
			_, made := g.output(e, m)
			return made
		}
	}
	return x
}

// rightBefore says of a fault that gives the row only if it is made from some step on what this shows: that
// the rows which steps before that left in the cache are correct.
func (g *rowGroup) rightBefore(e *wrongRow, m match) string {
	var steps []int
	for _, at := range e.Earlier {
		switch {
		case at.Step >= m.from:
		case g.run.IsGiven(at): // as another cause has it
			return ""
		case !slices.Contains(steps, at.Step):
			steps = append(steps, at.Step)
		}
	}
	if len(steps) == 0 || m.read || m.isNearly() || m.always {
		return ""
	}
	slices.Sort(steps)
	return fmt.Sprintf(" (from step %d on: what %s put into the cache is correct)", m.from, plural("step", steps))
}
