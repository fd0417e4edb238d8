package weights

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// reordered finds a weight whose rows, columns or values are the model's in another order,
// or are in part.
func (w *weight) reordered() (named, bool) {
	if w.rows > 1 {
		if n, ok := w.inOrder(w.rows, w.cols, w.want, w.got, "row"); ok {
			return n, true
		}
		return w.inOrder(w.cols, w.rows, transposed(w.want, w.rows, w.cols), transposed(w.got, w.rows, w.cols), "column")
	}
	return w.inOrder(w.cols, 1, w.want, w.got, "value")
}

// inOrder finds the order of n lines of the given width: line i of got is line order[i] of
// want, -1 if it is none.
func (w *weight) inOrder(n, width int, want, got []float32, noun string) (named, bool) {
	order := exactOrder(n, width, want, got)
	if unmatched(order) > n/2 {
		order = nearestOrder(n, width, want, got)
	}
	moved := 0
	for i, from := range order {
		if from >= 0 && from != i {
			moved++
		}
	}
	if order == nil || moved == 0 || unmatched(order) > n/2 {
		return named{}, false
	}
	// What is left of the difference, with the model's lines in this order.
	arranged := slices.Clone(got)
	for i, from := range order {
		if from >= 0 {
			copy(arranged[i*width:(i+1)*width], want[from*width:(from+1)*width])
		}
	}
	text := w.orderText(order, noun)
	if rest := unmatched(order); rest > 0 {
		text += ", and " + w.restText(order, width, got, noun)
	}
	left := *w
	left.rows, left.cols, left.got = n, width, got
	if noun == "value" {
		left.rows, left.cols = 1, n
	}
	same, ok := left.same(arranged)
	if same.scheme != nil && noun == "column" { // of the transposed
		same = named{text: strings.NewReplacer("column", "row", "row", "column").Replace(same.text), scheme: same.scheme}
		same.scheme.By = strings.NewReplacer("column", "row", "row", "column").Replace(same.scheme.By)
	}
	return named{text: text + and(same.text), scheme: same.scheme}, ok
}

func unmatched(order []int) (n int) {
	for _, from := range order {
		if from < 0 {
			n++
		}
	}
	return n
}

// exactOrder finds for each line of got the same line of want: of several its own, or the
// one after that of the line before, or the first.
func exactOrder(n, width int, want, got []float32) []int {
	lines := map[uint64][]int{}
	for i := range n {
		h := hash(want[i*width : (i+1)*width])
		lines[h] = append(lines[h], i)
	}
	order := make([]int, n)
	before := -2
	for i := range n {
		line := got[i*width : (i+1)*width]
		order[i] = -1
		for _, from := range lines[hash(line)] {
			if !sameValues(want[from*width:(from+1)*width], line) {
				continue
			}
			if order[i] < 0 || from == before+1 || from == i && order[i] != before+1 {
				order[i] = from
			}
		}
		before = order[i]
	}
	return order
}

// hash returns a hash of values.
func hash(x []float32) uint64 {
	h := uint64(14695981039346656037)
	for _, v := range x {
		h = (h ^ uint64(math.Float32bits(v+0))) * 1099511628211
	}
	return h
}

const (
	sampled  = 64   // values of a line that are looked at
	mostNear = 4096 // lines that are looked at
)

// nearestOrder finds for each line of got the one of want that differs from it least, if
// that is little; nil if there are too many lines or too few values.
func nearestOrder(n, width int, want, got []float32) []int {
	if n > mostNear || width < 16 {
		return nil
	}
	step := max(1, width/sampled)
	sample := func(x []float32) []float32 {
		y := make([]float32, 0, n*(width/step+1))
		for i := range n {
			for j := 0; j < width; j += step {
				y = append(y, x[i*width+j])
			}
		}
		return y
	}
	a, b := sample(want), sample(got)
	m := len(a) / n
	order := make([]int, n)
	taken := map[int]bool{}
	for i := range n {
		best, least := -1, 0.0
		for k := range m {
			least += 0.1 * float64(b[i*m+k]) * float64(b[i*m+k])
		}
		for from := range n {
			d := 0.0
			for k := 0; k < m && d < least; k++ {
				x := float64(b[i*m+k] - a[from*m+k])
				d += x * x
			}
			if d < least {
				best, least = from, d
			}
		}
		if order[i] = best; best >= 0 && taken[best] {
			order[i] = -1
		}
		taken[best] = true
	}
	return order
}

// orderText says in which order lines are.
func (w *weight) orderText(order []int, noun string) string {
	n := len(order)
	if blocks, size := blocksOf(order); len(blocks) > 1 && len(blocks) <= 4 {
		return w.blocksText(blocks, size, noun)
	}
	by, around, shifted := 0, false, true
	for i, from := range order {
		switch {
		case from < 0 || from == i && by == 0:
		case by == 0:
			by = from - i
		case from == i+by:
		case (from-i-by)%n == 0:
			around = true
		default:
			shifted = false
		}
	}
	for i, from := range order { // what stays in its place is not shifted
		shifted = shifted && (from < 0 || from != i)
	}
	if shifted {
		if by > n/2 {
			by -= n
		} else if by < -n/2 {
			by += n
		}
		text := fmt.Sprintf("%ss shifted by %d: %s i holds the model's %s i%+d", noun, by, noun, noun, by)
		if around && unmatched(order) == 0 {
			text += ", around the end"
		}
		return text
	}
	if blocks, size := blocksOf(order); size > 1 {
		return w.blocksText(blocks, size, noun)
	}
	return fmt.Sprintf("%ss in another order: %s", noun, first(order))
}

// blocksOf returns the order of the largest blocks in which lines stay together, and their
// size; none if a line is no line of the model's.
func blocksOf(order []int) (blocks []int, size int) {
	if unmatched(order) > 0 {
		return nil, 0
	}
	size = len(order)
	for i, from := range order {
		if i > 0 && from != order[i-1]+1 {
			size = gcd(size, i)
			size = gcd(size, from)
		}
	}
	size = gcd(size, order[0])
	for i := 0; i < len(order); i += size {
		blocks = append(blocks, order[i]/size)
	}
	return blocks, size
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// blocksText says in which order blocks are; of c_attn's columns by the names of q, k and v
// and their shards.
func (w *weight) blocksText(blocks []int, size int, noun string) string {
	names := make([]string, len(blocks))
	each := len(blocks) / 3
	if noun == "row" || !strings.Contains(w.name, ".attn.c_attn.") || len(blocks)%3 != 0 {
		if len(blocks) == 2 {
			return fmt.Sprintf("the halves of the %ss, %d each, are exchanged", noun, size)
		}
		return fmt.Sprintf("blocks of %d %ss, as of tensor-parallel shards, in another order: %s", size, noun, first(blocks))
	}
	for i, b := range blocks {
		names[i] = string("qkv"[b/each])
		if each > 1 {
			names[i] += fmt.Sprint(b % each)
		}
	}
	if each == 1 {
		return fmt.Sprintf("q, k and v, blocks of %d %ss, in the order %s", size, noun, strings.Join(names, ", "))
	}
	const most = 12
	if len(names) > most {
		names = append(names[:most], "…")
	}
	return fmt.Sprintf("tensor-parallel shards of q, k and v, blocks of %d %ss, in the order %s", size, noun, strings.Join(names, ", "))
}

// first lists numbers, of many the first.
func first(list []int) string {
	const most = 12
	text := strings.Trim(fmt.Sprint(list[:min(most, len(list))]), "[]")
	text = strings.ReplaceAll(text, " ", ", ")
	if len(list) > most {
		text += ", …"
	}
	return text
}

// restText says what lines hold that are none of the model's.
func (w *weight) restText(order []int, width int, got []float32, noun string) string {
	var b box
	zero := true
	for i, from := range order {
		if from < 0 {
			b.add(0, i)
			zero = zero && !slices.ContainsFunc(got[i*width:(i+1)*width], func(v float32) bool { return v != 0 })
		}
	}
	what := "none of the model's"
	if zero {
		what = "zero"
	}
	verb := "are"
	if b.left == b.right {
		verb = "is"
	}
	return fmt.Sprintf("%s %s %s", span(noun, b.left, b.right), verb, what)
}
