package align

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"checkpoint12/harness"
)

// A layout is the order of a tensor's axes, outermost first: "B H T D". Axes merged
// into one dimension stand in parentheses, a number is an axis of that length:
// "B T (3 H D)". Others are words that begin with a capital, as the schedule has them.
type layout struct {
	text string
	dims [][]string // of the array, each the axes merged in it
}

var (
	dimension = regexp.MustCompile(`\([^()]*\)|[^()\s]+`)
	axisName  = regexp.MustCompile(`^([A-Z][A-Za-z0-9_]*|[1-9][0-9]{0,5})$`)
)

// maxAxes bounds a layout: numpy's own limit is 64 dimensions.
const maxAxes = 16

// parseLayout reads a layout. No axis comes twice.
func parseLayout(text string) (layout, error) {
	l := layout{text: text}
	malformed := fmt.Errorf("axes %q: want letters, numbers and parentheses, such as B T (H D)", text)
	if strings.TrimSpace(dimension.ReplaceAllString(text, "")) != "" {
		return layout{}, malformed
	}
	seen := map[string]bool{}
	for _, d := range dimension.FindAllString(text, -1) {
		axes := strings.Fields(strings.Trim(d, "()"))
		for _, a := range axes {
			if seen[a] {
				return layout{}, fmt.Errorf("axes %q: %s is given twice", text, a)
			}
			seen[a] = true
		}
		if len(axes) == 0 || slices.ContainsFunc(axes, func(a string) bool { return !axisName.MatchString(a) }) {
			return layout{}, malformed
		}
		l.dims = append(l.dims, axes)
	}
	if len(seen) == 0 || len(seen) > maxAxes {
		return layout{}, malformed
	}
	return l, nil
}

// axes returns the axes one by one, outermost first.
func (l layout) axes() []string { return slices.Concat(l.dims...) }

// index returns which dimension is the axis alone, or -1.
func (l layout) index(axis string) int {
	return slices.IndexFunc(l.dims, func(axes []string) bool { return len(axes) == 1 && axes[0] == axis })
}

// mergeBatch returns the layout with the batch's axis and the next merged: engines
// without batches have its rows one after the other.
func (l layout) mergeBatch(batch string) (layout, bool) {
	i := l.index(batch)
	if i < 0 || i+1 == len(l.dims) || len(l.dims[i+1]) > 1 {
		return layout{}, false
	}
	next := l.dims[i+1][0]
	dims := slices.Concat(l.dims[:i], [][]string{{batch, next}}, l.dims[i+2:])
	return layout{strings.Replace(l.text, batch+" "+next, "("+batch+" "+next+")", 1), dims}, true
}

// Sizes are the lengths of axes by their letters.
type Sizes map[string]int

// length returns the length of an axis, if it is known.
func (s Sizes) length(axis string) (n int, ok bool) {
	if axis != "" && axis[0] <= '9' {
		n, err := strconv.Atoi(axis)
		return n, err == nil
	}
	n, ok = s[axis]
	return n, ok
}

// Learn reports whether an array with these axes can have the shape and, if so, adds
// the lengths of axes that follow.
func (s Sizes) Learn(axes string, shape []int) bool {
	l, ok := learned.Load(axes)
	if !ok {
		parsed, err := parseLayout(axes)
		if err != nil {
			return false
		}
		l, _ = learned.LoadOrStore(axes, parsed)
	}
	found, ok := s.match(l.(layout), shape)
	if ok {
		maps.Copy(s, found)
	}
	return ok
}

// learned holds the layouts that Learn has parsed, of the few axes that stages have.
var learned sync.Map

// match reports whether an array of the layout can have the shape, and returns the
// lengths of axes that follow.
func (s Sizes) match(l layout, shape []int) (found Sizes, ok bool) {
	if len(shape) != len(l.dims) {
		return nil, false
	}
	found = Sizes{}
	for i, axes := range l.dims {
		known, unknown := 1, []string{}
		for _, a := range axes {
			if n, ok := s.length(a); ok {
				known *= n
			} else {
				unknown = append(unknown, a)
			}
		}
		switch {
		case shape[i] == 0 || known == 0 || shape[i]%known != 0 || len(unknown) == 0 && shape[i] != known:
			return nil, false
		case len(unknown) == 1:
			found[unknown[0]] = shape[i] / known
		}
	}
	return found, true
}

// shape returns a layout's shape; ok is false where an axis is not known.
func (l layout) shape(s Sizes) (shape []int, ok bool) {
	for _, axes := range l.dims {
		product := 1
		for _, a := range axes {
			n, ok := s.length(a)
			if !ok {
				return nil, false
			}
			product *= n
		}
		shape = append(shape, product)
	}
	return shape, true
}

// withBatch inserts the axis of a batch of one into a shape that lacks it.
func (l layout) withBatch(shape []int, s Sizes, batch string) []int {
	if i := l.index(batch); i >= 0 && s[batch] == 1 && len(shape) == len(l.dims)-1 {
		return slices.Insert(slices.Clone(shape), i, 1)
	}
	return shape
}

// fit reports whether an array of the shape can be in the layout, and returns the
// lengths of its axes. The axis pad may be longer than in s, and axes of length 1 may
// be there or not; if exact, only a batch's and some in front.
func (l layout) fit(shape []int, s Sizes, batch, pad string) (in Sizes, exact, ok bool) {
	got := shape
	for len(got) > len(l.dims) && got[0] == 1 {
		got = got[1:]
	}
	got = l.withBatch(got, s, batch)
	in = maps.Clone(s)
	if i := l.index(pad); i >= 0 && s[pad] > 0 && len(got) == len(l.dims) {
		in[pad] = max(s[pad], got[i])
	}
	want, ok := l.shape(in)
	return in, slices.Equal(got, want), ok && slices.Equal(squeeze(shape), squeeze(want))
}

// squeeze returns a shape without its axes of length 1.
func squeeze(shape []int) []int {
	return slices.DeleteFunc(slices.Clone(shape), func(n int) bool { return n == 1 })
}

// Layouts are the layouts that a stage's tensor can be in.
type Layouts []layout

// LayoutsOf returns the layouts of a stage, also with the rows of a batch merged into the
// next axis. batch is the axis that an engine without batches leaves out.
func LayoutsOf(st harness.Stage, batch string) (all Layouts) {
	for _, text := range append([]string{st.Axes}, st.Layouts...) {
		l, err := parseLayout(text)
		if err != nil {
			continue
		}
		all = append(all, l)
		if merged, ok := l.mergeBatch(batch); ok {
			all = append(all, merged)
		}
	}
	return all
}

// Learn returns the lengths of axes, other than those in sizes, that a tensor of the
// shape has in each layout that it fits.
func (ls Layouts) Learn(shape []int, sizes Sizes, batch string) (all []Sizes) {
	for _, l := range ls {
		if found, fits := sizes.match(l, l.withBatch(shape, sizes, batch)); fits {
			all = append(all, found)
		}
	}
	return all
}
