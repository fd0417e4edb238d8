package align

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A layout says in which order a tensor's axes come, outermost first, each by
// its letter: "B H T D". Axes merged into one dimension stand in parentheses:
// "B T (H D)". A number is an axis of that length: "B T (3 H D)". Letters are
// words that begin with a capital; what they are is the schedule's affair.
type layout struct {
	text string
	axes [][]string // dimensions of the array, each the axes merged in it
}

var axisName = regexp.MustCompile(`^([A-Z][A-Za-z0-9_]*|[1-9][0-9]{0,5})$`)

// maxAxes bounds a layout: numpy's own limit is 64 dimensions.
const maxAxes = 16

// parseLayout reads a layout. No axis comes twice.
func parseLayout(text string) (layout, error) {
	l := layout{text: text}
	seen, open := map[string]bool{}, false
	fields := strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(text))
	for _, f := range fields {
		switch {
		case f == "(" && !open:
			open = true
			l.axes = append(l.axes, nil)
		case f == ")" && open && len(l.axes[len(l.axes)-1]) > 0:
			open = false
		case !axisName.MatchString(f):
			return layout{}, fmt.Errorf("axes %q: want letters, numbers and parentheses, such as B T (H D)", text)
		case seen[f]:
			return layout{}, fmt.Errorf("axes %q: %s comes twice", text, f)
		case open:
			seen[f] = true
			l.axes[len(l.axes)-1] = append(l.axes[len(l.axes)-1], f)
		default:
			seen[f] = true
			l.axes = append(l.axes, []string{f})
		}
	}
	if open || len(seen) == 0 || len(seen) > maxAxes {
		return layout{}, fmt.Errorf("axes %q: want letters, numbers and parentheses, such as B T (H D)", text)
	}
	return l, nil
}

// atoms are the axes one by one, in the order of memory.
func (l layout) atoms() []string { return slices.Concat(l.axes...) }

// merged is the layout with the batch's axis and the one after it made one:
// engines that know no batches have its rows one after the other.
func (l layout) merged(batch string) (layout, bool) {
	i := l.place(batch)
	if i < 0 || i+1 == len(l.axes) || len(l.axes[i+1]) > 1 {
		return layout{}, false
	}
	next := l.axes[i+1][0]
	axes := slices.Concat(l.axes[:i], [][]string{{batch, next}}, l.axes[i+2:])
	return layout{strings.Replace(l.text, batch+" "+next, "("+batch+" "+next+")", 1), axes}, true
}

// Sizes are the lengths of axes by their letters.
type Sizes map[string]int

// of is the length of one axis; false where it is not known.
func (s Sizes) of(axis string) (int, bool) {
	if axis != "" && axis[0] <= '9' {
		n, err := strconv.Atoi(axis)
		return n, err == nil
	}
	n, ok := s[axis]
	return n, ok
}

// shape is a layout's shape; false where an axis is not known.
func (l layout) shape(s Sizes) ([]int, bool) {
	shape := make([]int, len(l.axes))
	for i, g := range l.axes {
		shape[i] = 1
		for _, a := range g {
			n, ok := s.of(a)
			if !ok {
				return nil, false
			}
			shape[i] *= n
		}
	}
	return shape, true
}

// Learn adds to the sizes what the shape of an array says of axes that are not
// known yet. It reports whether an array with these axes can have the shape; if
// not, nothing is added.
func (s Sizes) Learn(axes string, shape []int) bool {
	l, err := parseLayout(axes)
	return err == nil && s.learn(l, shape)
}

func (s Sizes) learn(l layout, shape []int) bool {
	if len(shape) != len(l.axes) {
		return false
	}
	found := Sizes{}
	for i, merged := range l.axes {
		known, unknown := 1, []string{}
		for _, a := range merged {
			if n, ok := s.of(a); ok {
				known *= n
			} else {
				unknown = append(unknown, a)
			}
		}
		switch {
		case shape[i] == 0 || known == 0 || shape[i]%known != 0 || len(unknown) == 0 && shape[i] != known:
			return false
		case len(unknown) == 1:
			found[unknown[0]] = shape[i] / known
		}
	}
	maps.Copy(s, found)
	return true
}

// withBatch inserts the axis of a batch of one into a shape that lacks it.
func (l layout) withBatch(shape []int, s Sizes, batch string) []int {
	i := l.place(batch)
	if n, ok := s.of(batch); ok && n == 1 && i >= 0 && len(shape) == len(l.axes)-1 {
		return slices.Insert(slices.Clone(shape), i, 1)
	}
	return shape
}

// A fit says how well a shape goes with a layout.
type fit int

const (
	noFit    fit = iota
	looseFit     // but for axes of length 1
	exactFit     // axis by axis; a batch of one may lack its axis
)

// fits judges a shape by a layout and says how long each of the layout's
// dimensions is in the array. The array may have more than the length of axis
// pad, and where the batch is of one it may lack that axis.
func (l layout) fits(shape []int, s Sizes, batch, pad string) ([]int, fit) {
	want, ok := l.shape(s)
	if !ok {
		return nil, noFit
	}
	if dims := l.dims(shape, want, s, batch, pad); dims != nil {
		return dims, exactFit
	}
	if slices.Equal(squeeze(shape), squeeze(want)) {
		return want, looseFit
	}
	return nil, noFit
}

// dims is the length of each dimension in an array that fits exactly, else nil.
func (l layout) dims(shape, want []int, s Sizes, batch, pad string) []int {
	for len(shape) > len(want) && shape[0] == 1 {
		shape = shape[1:]
	}
	shape = l.withBatch(shape, s, batch)
	if i := l.place(pad); i >= 0 && len(shape) == len(want) && shape[i] > want[i] {
		want = slices.Clone(want)
		want[i] = shape[i]
	}
	if !slices.Equal(shape, want) {
		return nil
	}
	return want
}

// place is where an axis stands alone, or -1.
func (l layout) place(axis string) int {
	return slices.IndexFunc(l.axes, func(g []string) bool { return len(g) == 1 && g[0] == axis })
}

// squeeze is a shape without its axes of length 1.
func squeeze(shape []int) []int {
	return slices.DeleteFunc(slices.Clone(shape), func(n int) bool { return n == 1 })
}
