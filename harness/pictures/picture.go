package pictures

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/harness/report/page"
)

// An errorOf is the error of a tensor, element by element. Both tensors have its shape.
type errorOf struct {
	axes
	got, want harness.Tensor
	bound     func(i int) float64
}

// blank reports whether there is nothing to compare at an element: the golden has none, or
// both are the same infinity, as where a mask is.
func (e *errorOf) blank(i int) bool {
	want := e.want.At(i)
	return math.IsNaN(want) || math.IsInf(want, 0) && e.got.At(i) == want
}

// share returns an element's error as a share of its bound; NaN of a value that should be
// finite and is not, or the reverse.
func (e *errorOf) share(i int) float64 {
	diff := math.Abs(e.got.At(i) - e.want.At(i))
	switch {
	case diff == 0:
		return 0
	case math.IsInf(diff, 0):
		return math.NaN()
	}
	return diff / e.bound(i)
}

// level returns the level of an element.
func (e *errorOf) level(i int) byte {
	if e.blank(i) {
		return page.LevelBlank
	}
	return page.Level(e.share(i))
}

// picture draws the error against what it is of. at is the element that is worst.
func (e *errorOf) picture(against string) *page.Picture {
	p := &page.Picture{Against: against, Axes: e.names(), Panels: e.panels(maxDots), Counts: make([]int, page.Bins)}
	worst, most, low, high := 0, -1.0, math.Inf(1), math.Inf(-1)
	for i := range e.got.Elements() {
		if e.blank(i) {
			continue
		}
		share := e.share(i)
		p.Counts[page.Bin(share)]++
		if math.IsNaN(share) {
			share = math.Inf(1)
		}
		if share > most {
			worst, most = i, share
		}
		for _, v := range []float64{e.got.At(i), e.want.At(i)} {
			if !math.IsInf(v, 0) && !math.IsNaN(v) {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	p.Values = e.around(worst)
	if low < high && !e.got.IDs() {
		p.Low, p.High = page.Num(low), page.Num(high)
		p.Points = page.Base64(e.points(float64(p.Low), float64(p.High)))
	}
	return p
}

// Points of a scatter: so many spread evenly over the tensor, and the worst.
const evenPoints, worstPoints = 320, 48

// points returns points of a scatter.
func (e *errorOf) points(low, high float64) string {
	n := e.got.Elements()
	var all []int
	for k := range min(n, evenPoints) {
		all = append(all, k*n/min(n, evenPoints))
	}
	var worst []int // by how far they are from the diagonal, the nearest first
	far := func(i int) float64 { return math.Abs(e.got.At(i) - e.want.At(i)) }
	for i := range n {
		if d := far(i); !(d > 0) || math.IsInf(d, 0) || len(worst) == worstPoints && d <= far(worst[0]) {
			continue
		}
		at, _ := slices.BinarySearchFunc(worst, far(i), func(j int, d float64) int { return cmp.Compare(far(j), d) })
		if worst = slices.Insert(worst, at, i); len(worst) > worstPoints {
			worst = worst[1:]
		}
	}
	var bytes []byte
	for _, i := range append(all, worst...) {
		pair := []float64{e.want.At(i), e.got.At(i)}
		if slices.ContainsFunc(pair, func(v float64) bool { return v-v != 0 }) {
			continue
		}
		for _, v := range pair {
			at := min(1, max(0, (v-low)/(high-low)))
			bytes = binary.LittleEndian.AppendUint16(bytes, uint16(math.Round(at*math.MaxUint16)))
		}
	}
	return base64.StdEncoding.EncodeToString(bytes)
}

// around returns the values around an element, along the last axis, and the differences in
// the rows before and after.
func (e *errorOf) around(i int) (v page.Values) {
	const each = 2
	width := e.width()
	if width == 0 {
		return v
	}
	begin := i / width * width
	first, last := max(begin, i-each), min(begin+width-1, i+each)
	v.At = i - first
	if len(e.shape) > 0 {
		v.Where = e.where(shapes.Index(i, e.shape))
	}
	diff := func(j int) string {
		if e.blank(j) {
			return "–"
		}
		return page.Num(e.got.At(j) - e.want.At(j)).String()
	}
	line := func(label string, cell func(j int) string, shift int) {
		row := []string{label}
		for j := first; j <= last; j++ {
			if k := j + shift; k >= 0 && k < e.got.Elements() {
				row = append(row, cell(k))
			} else {
				row = append(row, "")
			}
		}
		v.Rows = append(v.Rows, row)
	}
	for j := first; j <= last; j++ {
		v.Head = append(v.Head, strconv.Itoa(j-begin))
	}
	value := func(t harness.Tensor) func(j int) string {
		return func(j int) string { return strconv.FormatFloat(t.At(j), 'g', 6, 64) }
	}
	line("got", value(e.got), 0)
	line("want", value(e.want), 0)
	line("difference", diff, 0)
	rows := 1
	if n := len(e.shape); n > 1 {
		rows = e.shape[n-2]
	}
	for _, by := range []int{-1, 1} {
		if row := begin/width%rows + by; row >= 0 && row < rows {
			line(fmt.Sprintf("at %s %d", e.names()[0], row+e.from(len(e.shape)-2)), diff, by*width)
		}
	}
	return v
}

// width returns the length of the last axis.
func (a axes) width() int {
	if len(a.shape) == 0 {
		return 1
	}
	return a.shape[len(a.shape)-1]
}

// axes are the axes of a tensor, as its stage has them.
type axes struct {
	shape []int
	axes  []string
	begin map[string]int // what is not counted from 0: T from a position, B from a row of a batch
}

// axis matches the name of one in those of a stage, or several merged into one: "(H D)".
var axis = regexp.MustCompile(`\([^)]*\)|\S+`)

// axesOf returns the axes of a tensor of a run, at a place.
func axesOf(j *diagnose.Judged, st harness.Stage, at harness.Place, shape []int) axes {
	span, _ := spanOf(j, at.Step)
	a := axes{shape, axis.FindAllString(st.Axes, -1), map[string]int{"T": span.P}}
	if row, ok := j.Candidate.(*harness.BatchRow); ok {
		a.begin["B"] = row.Padding().Row
	}
	return a
}

// from returns what an axis is counted from.
func (a axes) from(i int) int {
	if i < 0 || len(a.axes) != len(a.shape) {
		return 0
	}
	return a.begin[a.axes[i]]
}

// where says in words which element an index is: "head 1, query 3, key 0"; "" if the axes have
// no names. Those of length 1 go without saying, but for positions.
func (a axes) where(index []int) string {
	if len(a.axes) != len(a.shape) || len(index) != len(a.shape) {
		return ""
	}
	var words []string
	for i, at := range index {
		if a.shape[i] > 1 || a.axes[i] == "T" {
			words = append(words, fmt.Sprintf("%s %d", a.name(i), at+a.from(i)))
		}
	}
	return strings.Join(words, ", ")
}

// name returns what people call an axis.
func (a axes) name(i int) string {
	if a.axes[i] == "T" && slices.Contains(a.axes, "S") {
		return "query"
	}
	return cmp.Or(axisNames[a.axes[i]], "channel") // of several merged
}

// axisNames are what people call the axes.
var axisNames = map[string]string{
	"B": "row", "T": "position", "S": "key", "H": "head", "D": "channel", "C": "channel", "F": "channel", "V": "token",
}

// names returns what the last two axes are.
func (a axes) names() []string {
	name := func(back int) string {
		i := len(a.axes) - back
		if i < 0 || len(a.axes) != len(a.shape) {
			return "index"
		}
		return a.name(i)
	}
	return []string{name(2), name(1)}
}

// Bounds on the dots of a picture.
const maxDots, maxPanels, maxWide, maxHigh = 3072, 16, 64, 48

// panels returns the picture of the error in parts, one for each of the axes but the last two.
func (e *errorOf) panels(dots int) (all []page.Panel) {
	width, rows := e.width(), 1
	if n := len(e.shape); n > 1 {
		rows = e.shape[n-2]
	}
	if width*rows == 0 {
		return nil
	}
	lead := e.shape[:max(0, len(e.shape)-2)]
	parts, _ := shapes.Size(lead)
	shown := min(parts, maxPanels)
	wide := min(maxWide, max(8, int(math.Sqrt(float64(dots/shown)*4/3))))
	for part := range shown {
		p := e.panel(part*rows*width, rows, width, wide, min(maxHigh, max(1, dots/shown/wide)))
		if p.Label = e.label(lead, part); part == shown-1 && shown < parts {
			p.Label += fmt.Sprintf(", and %d more", parts-shown)
		}
		all = append(all, p)
	}
	return all
}

// label says which part of a tensor a panel is: "head 3".
func (a axes) label(lead []int, part int) string {
	if len(a.axes) != len(a.shape) {
		return ""
	}
	return axes{lead, a.axes[:len(lead)], a.begin}.where(shapes.Index(part, lead))
}

// panel draws rows of a tensor from flat index begin on. One row that is long is folded.
func (e *errorOf) panel(begin, rows, width, wide, high int) page.Panel {
	p := page.Panel{Down: span(e.from(len(e.shape)-2), rows), Along: span(e.from(len(e.shape)-1), width)}
	n := rows * width
	if rows == 1 && width > wide {
		p.Down += fmt.Sprintf(", folded: %d a line", max(wide, (width+high-1)/high))
		if width = max(wide, (n+high-1)/high); width > n {
			width = n
		}
		rows = (n + width - 1) / width
	}
	p.Rows, p.Cols = min(rows, high), min(width, wide)
	bytes := make([]byte, p.Rows*p.Cols)
	for i := range bytes {
		bytes[i] = page.LevelBlank
	}
	for i := range n {
		at := &bytes[i/width*p.Rows/rows*p.Cols+i%width*p.Cols/width]
		if l := e.level(begin + i); *at == page.LevelBlank || l != page.LevelBlank && l > *at {
			*at = l
		}
	}
	p.Dots = page.Base64(base64.StdEncoding.EncodeToString(bytes))
	return p
}

// span returns the indices of an axis.
func span(from, n int) string {
	if n == 1 {
		return strconv.Itoa(from)
	}
	return fmt.Sprintf("%d–%d", from, from+n-1)
}
