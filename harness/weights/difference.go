package weights

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/words"
)

// A weight is a weight as loaded that is not the model's.
type weight struct {
	model      model0
	name       string
	shape      []int // the model's
	rows, cols int   // a list of values is one row
	want, got  []float32
	turned     bool // the file has the transposed shape, and got is transposed back
}

// newWeight returns a weight with the loaded values in the model's shape.
func newWeight(m model0, name string, shape []int, want []float32, got harness.Tensor) *weight {
	w := &weight{model: m, name: name, shape: shape, rows: 1, cols: shape[len(shape)-1], want: want, got: got.F32}
	if len(shape) == 2 {
		w.rows = shape[0]
	}
	if s := got.Shape; len(shape) == 2 && len(s) == 2 && s[0] == w.cols && s[1] == w.rows && w.rows != w.cols {
		w.got, w.turned = transposed(got.F32, w.cols, w.rows), true
	}
	return w
}

// transposed returns a matrix [rows,cols] as [cols,rows].
func transposed(x []float32, rows, cols int) []float32 {
	y := make([]float32, len(x))
	for r0 := 0; r0 < rows; r0 += tile {
		for c0 := 0; c0 < cols; c0 += tile {
			for r := r0; r < min(r0+tile, rows); r++ {
				for c := c0; c < min(c0+tile, cols); c++ {
					y[c*rows+r] = x[r*cols+c]
				}
			}
		}
	}
	return y
}

// named is a difference in words.
type named struct {
	text     string
	scheme   *harness.Scheme
	harmless bool // a rounding or quantisation
}

// difference names how the weight differs from the model's.
func (w *weight) difference() named {
	if at := slices.IndexFunc(w.got, func(v float32) bool { return v-v != 0 }); at >= 0 {
		n := 0
		for _, v := range w.got {
			if v-v != 0 {
				n++
			}
		}
		return named{text: fmt.Sprintf("%s not finite, the first at %s is %v", areOf(n, len(w.got)), w.at(at), w.got[at])}
	}
	if w.turned {
		text := fmt.Sprintf("transposed: of shape [%d %d], as of nn.Linear; write it as %v", w.cols, w.rows, w.shape)
		if same, ok := w.same(w.want); ok {
			return named{text: text + and(same.text), scheme: same.scheme}
		}
		text += ", and differs as well: "
		return named{text: text + w.unnamed()}
	}
	if same, ok := w.same(w.want); ok {
		return same
	}
	for _, find := range []func() (named, bool){w.transposed, w.anothers, w.reordered, w.scaled, w.offGrid} {
		if n, ok := find(); ok {
			return n
		}
	}
	return named{text: w.unnamed()}
}

// and joins what else is the case.
func and(text string) string {
	if text == "" {
		return ""
	}
	return ", and " + text
}

// same reports whether the weight is the wanted values but for a rounding or quantisation,
// which it names; "" where they are equal.
func (w *weight) same(want []float32) (named, bool) {
	if sameValues(want, w.got) {
		return named{}, true
	}
	if name := roundingOf(want, w.got); name != "" {
		return named{text: name, harmless: true}, true
	}
	if s := quantisation(w.rows, w.cols, want, w.got); s != nil {
		return named{text: s.String(), scheme: s, harmless: true}, true
	}
	return named{}, false
}

// transposed finds a matrix that is the model's transposed, in the model's shape.
func (w *weight) transposed() (named, bool) {
	if w.rows == 1 {
		return named{}, false
	}
	turned := transposed(w.want, w.rows, w.cols)
	if !near(turned, w.got) {
		return named{}, false
	}
	same, ok := w.same(turned)
	return named{text: "transposed" + and(same.text), scheme: same.scheme}, ok
}

// anothers finds a weight that holds the values of another one of its shape.
func (w *weight) anothers() (named, bool) {
	for name, shape := range w.model.Config().Weights() {
		if name == w.name || !slices.Equal(shape, w.shape) || strings.HasPrefix(name, "lm_head.") {
			continue
		}
		other, _ := w.model.of(name)
		if !near(other, w.got) {
			continue
		}
		if same, ok := w.same(other); ok {
			what := "another weight's"
			if layerless(name) == layerless(w.name) {
				what = "another layer's"
			}
			return named{text: fmt.Sprintf("%s: holds %s%s", what, name, and(same.text)), scheme: same.scheme}, true
		}
	}
	return named{}, false
}

// layerless returns the name of a weight after its layer.
func layerless(name string) string {
	parts := strings.SplitN(name, ".", 3)
	if len(parts) == 3 && parts[0] == "h" {
		return parts[2]
	}
	return name
}

// near reports, by a sample, whether values may be the same but for a rounding or
// quantisation.
func near(want, got []float32) bool {
	const sample = 256
	step := max(1, len(want)/sample)
	var sq, ww float64
	for i := 0; i < len(want); i += step {
		w, d := float64(want[i]), float64(got[i])-float64(want[i])
		sq, ww = sq+d*d, ww+w*w
	}
	return sq <= 0.1*ww
}

// scaled finds a weight that is the model's times or plus a number.
func (w *weight) scaled() (named, bool) {
	at := 0
	for i, v := range w.want {
		if math.Abs(float64(v)) > math.Abs(float64(w.want[at])) {
			at = i
		}
	}
	if w.want[at] == 0 {
		return named{}, false
	}
	by, plus := float64(w.got[at])/float64(w.want[at]), float64(w.got[at])-float64(w.want[at])
	times, added := by != 0, true
	for i, v := range w.want {
		v, g := float64(v), float64(w.got[i])
		times = times && math.Abs(g-by*v) <= 1e-6*math.Abs(g)
		added = added && math.Abs(g-(v+plus)) <= 1e-6*(math.Abs(v)+math.Abs(plus))
		if !times && !added {
			return named{}, false
		}
	}
	if times {
		return named{text: fmt.Sprintf("every value is times %.6g", by)}, true
	}
	return named{text: fmt.Sprintf("every value is plus %.6g", plus)}, true
}

// unnamed says where the weight differs in a way that has no name.
func (w *weight) unnamed() string {
	var b box
	zero := 0
	for i, v := range w.got {
		if v != w.want[i] {
			b.add(i/w.cols, i%w.cols)
			if v == 0 {
				zero++
			}
		}
	}
	what := "other values"
	if zero == b.n {
		what = "zero where the model's are not"
	}
	if b.n == len(w.got) {
		if zero == b.n {
			return "all zero"
		}
		return "every value is another one"
	}
	return fmt.Sprintf("%s %s, in %s", areOf(b.n, len(w.got)), what, w.place(b))
}

// areOf returns "3 of 80 values are".
func areOf(n, all int) string {
	if n == 1 {
		return fmt.Sprintf("1 of %s is", words.Count(all, "value"))
	}
	return fmt.Sprintf("%d of %s are", n, words.Count(all, "value"))
}

// A box is the rows and columns, from the first to the last, in which something is.
type box struct{ n, top, left, bottom, right int }

func (b *box) add(r, c int) {
	if b.n++; b.n == 1 {
		b.top, b.left, b.bottom, b.right = r, c, r, c
		return
	}
	b.top, b.bottom, b.left, b.right = min(b.top, r), max(b.bottom, r), min(b.left, c), max(b.right, c)
}

// place says which rows and columns a box is of.
func (w *weight) place(b box) string {
	if w.rows == 1 {
		return span("place", b.left, b.right)
	}
	whole := func(first, last, n int) bool { return first == 0 && last == n-1 }
	switch {
	case whole(b.left, b.right, w.cols):
		return span("row", b.top, b.bottom)
	case whole(b.top, b.bottom, w.rows):
		return span("column", b.left, b.right)
	}
	return span("row", b.top, b.bottom) + " and " + span("column", b.left, b.right)
}

// at returns the index of a value.
func (w *weight) at(i int) string {
	if w.rows == 1 {
		return fmt.Sprint([]int{i})
	}
	return fmt.Sprint([]int{i / w.cols, i % w.cols})
}

// span returns "row 3" or "rows 3 to 5".
func span(noun string, first, last int) string {
	if first == last {
		return fmt.Sprintf("%s %d", noun, first)
	}
	return fmt.Sprintf("%ss %d to %d", noun, first, last)
}
