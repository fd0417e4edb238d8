package harness

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A Span is the positions that a step feeds: T of them, from P on. T is 0 where a row of a
// padded batch has no token in the step.
type Span struct{ P, T int }

// End returns the position after the last.
func (s Span) End() int { return s.P + s.T }

// String returns the first and the last position, as 2-4, or the only one.
func (s Span) String() string {
	if s.T == 1 {
		return fmt.Sprint(s.P)
	}
	return fmt.Sprintf("%d-%d", s.P, s.End()-1)
}

// A Cut is how a run is cut into steps: the positions that each of them feeds. The nil
// Cut feeds the prompt at once and then one token at a time.
type Cut []Span

// PromptCut returns the nil Cut of so many steps after a prompt written out.
func PromptCut(prompt, steps int) Cut {
	var c Cut
	for k := range steps {
		c = append(c, Span{max(0, prompt+k-1), 1})
	}
	if steps > 0 {
		c[0] = Span{0, prompt}
	}
	return c
}

// IsPrompt reports whether the cut feeds the prompt at once and then one token at a time.
func (c Cut) IsPrompt() bool { return len(c) == 0 || slices.Equal(c, PromptCut(c[0].T, len(c))) }

// ParseCut reads a cut from JSON, a pair [P, T] for each step.
func ParseCut(b []byte) (Cut, error) {
	var pairs [][]int
	if err := json.Unmarshal(b, &pairs); err != nil {
		return nil, fmt.Errorf("want [[P, T], ...], a pair for each step: %w", err)
	}
	var c Cut
	for k, p := range pairs {
		if len(p) != 2 || p[0] < 0 || p[1] < 1 || max(p[0], p[1]) > maxPositions {
			return nil, fmt.Errorf("step %d is %v: want [P, T], the first position and how many", k, p)
		}
		c = append(c, Span{p[0], p[1]})
	}
	if len(c) == 0 {
		return nil, fmt.Errorf("no steps: want [[P, T], ...], a pair for each step")
	}
	return c, nil
}

// maxPositions bounds what a file can ask to be laid out.
const maxPositions = 1 << 24

// At returns the positions of a step; ok is false where the cut has none.
func (c Cut) At(step int) (s Span, ok bool) {
	if step < 0 || step >= len(c) {
		return s, false
	}
	return c[step], true
}

// Before returns the last step before this one that ends where it begins, whose cache
// it goes on with, or -1.
func (c Cut) Before(step int) int {
	s, ok := c.At(step)
	for k := step - 1; ok && k >= 0; k-- {
		if c[k].T > 0 && c[k].End() == s.P {
			return k
		}
	}
	return -1
}

// EndingAt returns the first step that ends before a position, or -1.
func (c Cut) EndingAt(position int) int {
	return slices.IndexFunc(c, func(s Span) bool { return s.T > 0 && s.End() == position })
}

// String returns the cut in words.
func (c Cut) String() string {
	all := func(is func(k int, s Span) bool) bool {
		for k, s := range c {
			if !is(k, s) {
				return false
			}
		}
		return true
	}
	var spans []string
	for k, s := range c {
		if k == 4 && len(c) > 5 {
			spans = append(spans, "...")
			break
		}
		spans = append(spans, s.String())
	}
	at := " (positions " + strings.Join(spans, "; ") + ")"
	switch {
	case len(c) == 1 && c[0].P == 0:
		return "everything in one pass" + at
	case all(func(k int, s Span) bool { return s == Span{k, 1} }):
		return "one token at a time" + at
	case all(func(_ int, s Span) bool { return s.P == 0 }):
		return "without a cache, each step from the first position on" + at
	case c.IsPrompt():
		return "the prompt at once, then one token at a time" + at
	case all(func(k int, s Span) bool { return k == 0 && s.P == 0 || k > 0 && s.P == c[k-1].End() }):
		return "in steps of several tokens" + at
	}
	return "in steps of its own" + at
}

// axisOf returns which dimension of a stage's Axes is the axis alone, or -1.
func axisOf(axes, axis string) int {
	i := 0
	for a := range strings.FieldsSeq(axes) {
		switch {
		case a == axis:
			return i
		case strings.Contains(a, "("):
			return -1
		}
		i++
	}
	return -1
}

// axis returns the dimension of a stage's tensor along which there is a row for each
// position: of those fed (T) or, in a cache, of all (S); -1 if the tensor is of the
// last position alone.
func (st Stage) axis() (axis int, all bool) {
	if axis = axisOf(st.Axes, "T"); axis >= 0 {
		return axis, false
	}
	axis = axisOf(st.Axes, "S")
	return axis, axis >= 0
}

// Rows returns the positions that a stage's tensor has in a step; ok is false for a
// shape that none of that step's has.
func (st Stage) Rows(step Span, shape []int) (rows Span, ok bool) {
	switch axis, all := st.axis(); {
	case axis >= len(shape):
		return rows, false
	case axis < 0:
		return Span{step.End() - 1, 1}, true
	case all:
		return Span{0, step.End()}, shape[axis] == step.End()
	case st.LastAlone && shape[axis] == 1:
		return Span{step.End() - 1, 1}, true
	default:
		return step, shape[axis] == step.T
	}
}
