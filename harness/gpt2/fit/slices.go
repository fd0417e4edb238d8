package fit

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/model"
)

// PatternPermuted is the id of correct values in other places.
const PatternPermuted = "pattern_permuted"

func init() { searches["*"] = append(searches["*"], moved) }

// An axis is one dimension of a stage as a person names it. An axis of channels that holds heads
// is two.
type axis struct {
	letter, one, many string
	n                 int
	first             int      // what the index 0 is called
	names             []string // of the indices, where they have names
}

// axisNames are the names of the axes of model.Axes.
var axisNames = map[string]axis{
	"B": {one: "batch row", many: "batch rows"},
	"T": {one: "position", many: "positions"},
	"S": {one: "key position", many: "key positions"},
	"C": {one: "channel", many: "channels"},
	"F": {one: "unit", many: "units"},
	"V": {one: "id", many: "ids"},
	"3": {one: "third", many: "thirds", names: []string{"q", "k", "v"}},
	"H": {one: "head", many: "heads"},
	"D": {one: "channel of a head", many: "channels of a head"},
}

// axes returns the axes of a stage, and their lengths as a shape.
func (s *Stage) axes() (all []axis, shape []int) {
	letters := strings.Fields(strings.NewReplacer("(", "", ")", "").Replace(model.Axes(s.Name)))
	for _, l := range letters {
		a := axisNames[l]
		a.letter, a.n = l, s.Dims.Length(s.Model.Config(), l)
		if l == "T" {
			a.first = s.Dims.P
		}
		all, shape = append(all, a), append(shape, a.n)
	}
	return all, shape
}

// at returns the name of an index.
func (a axis) at(j int) string {
	if a.names != nil {
		return a.names[j]
	}
	return fmt.Sprint(j + a.first)
}

// mostMoved is the number of values up to which a whole output is looked for in other places; of
// a larger one it is the sample.
const mostMoved = 1 << 22

// An order says which index of an axis of n stands at index j.
type order struct {
	text    string
	numbers int
	from    func(s *Stage, j, n int) int
}

// hides reports whether all that is wrong is infinite: masks have few values, and each is that of
// many other places.
func (r *Row) hides() bool {
	some := false
	for i, g := range r.Got {
		switch {
		case g == r.Right[i] || r.Part != nil && !r.Part[i]:
		case !finite(g):
			some = true
		case r.Bound == nil || !(math.Abs(float64(g)-float64(r.Right[i])) <= float64(r.Bound[i])):
			return false
		}
	}
	return some
}

// moved proposes the correct values in other places: the slices of an axis in another order or
// one in the place of others, the axes exchanged, and of a product the same but for its bias.
func moved(r *Row) (all []Hypothesis) {
	if r.Whole != nil && len(r.Whole.Got) <= mostMoved {
		r = r.Whole
	}
	at := r.places()
	if len(r.Got) < 2 || len(at) > 2*fewValues && r.few(at) || r.hides() {
		return nil
	}
	axes, shape := r.axes()
	if r.Name == "wte" || r.Name == "wpe" || r.Name == "next_token" { // of which other searches tell more
		return nil
	}
	if product(shape) != len(r.Got) {
		return nil
	}
	sampled := r.Whole != nil
	split := model.Axes(r.Name) == "B H T D" // of which c_attn's columns tell more
	for a := range axes {
		if sampled && a < 2 || split && (axes[a].letter == "H" || axes[a].letter == "D") {
			continue
		}
		for _, bias := range []bool{false, true} {
			b := r.biasOf(bias && a == len(axes)-1)
			if bias && b == nil {
				continue
			}
			m := mover{r, shape, a, b}
			for _, o := range m.orders(axes[a]) {
				text := o.text
				if bias {
					text += ", the bias where it belongs"
				}
				all = append(all, Hypothesis{ID: PatternPermuted, Text: text, Numbers: o.numbers, Whole: !sampled, Output: moving(a, o, b)})
			}
		}
		if len(all) > 0 {
			return all
		}
	}
	if sampled {
		return nil
	}
	for _, order := range permutations(len(axes)) {
		if slices.IsSorted(order) || !r.laidOut(shape, order) {
			continue
		}
		var laid []axis
		for _, a := range order {
			laid = append(laid, axes[a])
		}
		all = append(all, Hypothesis{
			ID: PatternPermuted, Whole: true,
			Text: fmt.Sprintf("the correct values are laid out as %s and read as %s", listed(laid), listed(axes)),
			Output: func(s *Stage) []float32 {
				right := s.Correct()
				_, shape := s.axes()
				out := make([]float32, len(right))
				for i := range out {
					out[i] = right[Exchanged(i, shape, order)]
				}
				return out
			},
		})
	}
	return all
}

// moving returns the output of the correct values in another order of an axis, but for a bias
// that stays where it belongs; nil is none.
func moving(a int, o order, bias []float32) func(s *Stage) []float32 {
	return func(s *Stage) []float32 {
		right := s.Correct()
		_, shape := s.axes()
		if product(shape) != len(right) {
			return nil
		}
		out, n, inner := make([]float32, len(right)), shape[a], product(shape[a+1:])
		for i := range out {
			j := i / inner % n
			k := o.from(s, j, n)
			if k < 0 || k >= n {
				return nil
			}
			at := i + (k-j)*inner
			out[i] = right[at]
			if m := len(bias); m > 0 {
				out[i] = float32(float64(out[i]) - float64(bias[at%m]) + float64(bias[i%m]))
			}
		}
		return out
	}
}

// biasOf returns the bias of a product; nil where it has none or none is asked for.
func (r *Row) biasOf(asked bool) []float32 {
	if !asked {
		return nil
	}
	if x, ok := matrixOf(r.Model, r.Name); ok && len(r.Got)%x.out == 0 {
		return x.bias
	}
	return nil
}

// A mover looks for slices of an axis of a row among those of the correct output.
type mover struct {
	*Row
	shape []int
	axis  int
	bias  []float32 // taken off both; nil is nothing
}

// same reports whether place i has the correct value of place j, up to rounding.
func (m mover) same(i, j int) bool {
	if m.Part != nil && !m.Part[i] {
		return true
	}
	g, w := float64(m.Got[i]), float64(m.Right[j])
	slack := 0.0
	if m.Bound != nil {
		slack = 2 * float64(m.Bound[j])
	}
	if m.bias != nil {
		n := len(m.bias)
		b := float64(m.bias[j%n])
		g, w = g-float64(m.bias[i%n]), w-b
		slack += 1e-6 * math.Abs(b)
	}
	return g == w || math.Abs(g-w) <= slack
}

// slice reports whether index j of the axis has the correct output's index k.
func (m mover) slice(j, k int) bool {
	n, inner := m.shape[m.axis], product(m.shape[m.axis+1:])
	for lo := 0; lo < len(m.Got); lo += n * inner {
		for i := range inner {
			if !m.same(lo+j*inner+i, lo+k*inner+i) {
				return false
			}
		}
	}
	return true
}

// holds reports whether an order gives the output.
func (m mover) holds(from func(j, n int) int) bool {
	n, moved := m.shape[m.axis], false
	for j := range n {
		k := from(j, n)
		if k < 0 || k >= n || !m.slice(j, k) {
			return false
		}
		moved = moved || k != j
	}
	return moved
}

// mostIndices is the length of an axis up to which each slice is looked for among all.
const mostIndices = 4096

// orders returns the orders of the axis that give the output.
func (m mover) orders(a axis) (all []order) {
	n := a.n
	if n < 2 {
		return nil
	}
	wrong := -1 // an index that is not in its place
	for j := 0; j < n && wrong < 0; j++ {
		if !m.slice(j, j) {
			wrong = j
		}
	}
	if wrong < 0 {
		return nil
	}
	var from []int // of the wrong index
	for k := range n {
		if m.slice(wrong, k) {
			from = append(from, k)
		}
	}
	if len(from) == 0 || len(from) > 8 {
		return nil
	}
	add := func(numbers int, f func(j, n int) int, format string, args ...any) {
		if m.holds(f) {
			all = append(all, order{fmt.Sprintf(format, args...), numbers, func(_ *Stage, j, n int) int { return f(j, n) }})
		}
	}
	if a.letter == "S" {
		P := m.Dims.P
		added := func(P, by int) func(j, n int) int {
			return func(j, _ int) int {
				if j >= P {
					return j + by
				}
				return j
			}
		}
		if m.holds(added(P, -1)) && P > 0 {
			all = append(all, order{"this step's rows are those of the position before: one late", 0, func(s *Stage, j, n int) int { return added(s.Dims.P, -1)(j, n) }})
		}
	}
	if a.names == nil {
		m.rules(a, wrong, from, add)
	}
	plain := slices.ContainsFunc(all, func(o order) bool { return o.numbers < 2 })
	if plain || n > mostIndices || len(m.Got)/n < 4 {
		return all
	}
	// No rule: which has which.
	list, parts := make([]int, n), []string(nil)
	for j := range n {
		k := 0
		for k < n && !m.slice(j, (j+k)%n) {
			k++
		}
		if k == n {
			return all
		}
		if list[j] = (j + k) % n; k > 0 {
			parts = append(parts, fmt.Sprintf("%s has %s", a.at(j), a.at(list[j])))
		}
	}
	numbers := len(parts)
	if len(parts) > 8 {
		parts = append(parts[:8], fmt.Sprintf("… (%d in all)", len(parts)))
	}
	return append(all, order{
		fmt.Sprintf("%s have the values of others: %s", a.many, strings.Join(parts, ", ")), numbers,
		func(_ *Stage, j, n int) int {
			if n != len(list) {
				return -1
			}
			return list[j]
		},
	})
}

// rules adds the rules by which one index of the axis has the values of any of some others.
func (m mover) rules(a axis, wrong int, from []int, add func(numbers int, f func(j, n int) int, format string, args ...any)) {
	n := a.n
	add(0, func(j, n int) int { return n - 1 - j }, "%s in reverse order", a.many)
	add(0, func(j, n int) int { return j ^ 1 }, "every two %s are exchanged", a.many)
	for _, k := range from {
		switch k {
		case 0:
			add(0, func(int, int) int { return 0 }, "every %s has the values of %s %s", a.one, a.one, a.at(0))
		case n - 1:
			add(0, func(_, n int) int { return n - 1 }, "every %s has the values of the last", a.one)
		default:
			add(1, func(int, int) int { return k }, "every %s has the values of %s %s", a.one, a.one, a.at(k))
		}
		by := k - wrong
		numbers := 1
		if by == 1 || by == -1 {
			numbers = 0
		}
		add(numbers, func(j, n int) int { return min(max(j+by, 0), n-1) }, "each %s has the values that belong %s", a.one, away(by))
		if 2*by > n {
			by -= n
		} else if 2*by < -n {
			by += n
		}
		add(numbers, func(j, n int) int { return ((j+by)%n + n) % n }, "each %s has the values that belong %s, rolled over the end", a.one, away(by))
		for _, g := range []int{2, 3, 4, 6, 8, 12, 16, 32, 64} {
			if g >= n || k >= n {
				break
			}
			add(1, func(j, _ int) int { return j % g }, "%s repeat after %d: %s j has the values of j mod %d", a.many, g, a.one, g)
			add(1, func(j, _ int) int { return j / g }, "each %s stands for %d: %s j has the values of j/%d", a.one, g, a.one, g)
			add(1, func(j, _ int) int { return j - j%g }, "of every %d %s all have the values of the first", g, a.many)
			if n%g == 0 {
				add(3, func(j, n int) int { return j%g*(n/g) + j/g }, "%s are transposed: j is that of [%d, %d] read the other way round", a.many, g, n/g)
				add(3, func(j, n int) int { return j%(n/g)*g + j/(n/g) }, "%s are transposed: j is that of [%d, %d] read the other way round", a.many, n/g, g)
				add(1, func(j, n int) int { return j - j%g + g - 1 - j%g }, "every %d %s are in reverse order", g, a.many)
			}
		}
		if a.letter == "T" {
			add(1, func(j, _ int) int { return min(j, k) }, "positions after the %s of the step have its values", ordinal(k))
		}
	}
}

// away spells a distance along an axis.
func away(by int) string {
	if by < 0 {
		return fmt.Sprintf("%d before it", -by)
	}
	return fmt.Sprintf("%d after it", by)
}

// ordinal spells a place of a step counted from 0.
func ordinal(k int) string {
	switch k {
	case 0:
		return "first"
	case 1:
		return "second"
	case 2:
		return "third"
	}
	return fmt.Sprintf("%dth", k+1)
}

// laidOut reports whether the output is the correct one laid out with its axes in another order.
func (r *Row) laidOut(shape, order []int) bool {
	m := mover{Row: r}
	var moved []int
	for i := range r.Got {
		j := Exchanged(i, shape, order)
		if !m.same(i, j) {
			return false
		}
		if j != i && finite(r.Got[i]) && (r.Part == nil || r.Part[i]) {
			moved = append(moved, i)
		}
	}
	return !r.few(moved)
}

// listed returns "[batch row, position, channel]".
func listed(axes []axis) string {
	names := make([]string, len(axes))
	for i, a := range axes {
		names[i] = a.one
	}
	return "[" + strings.Join(names, ", ") + "]"
}

// permutations returns all orders of n axes.
func permutations(n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var all [][]int
	for _, rest := range permutations(n - 1) {
		for at := range n {
			all = append(all, slices.Insert(slices.Clone(rest), at, n-1))
		}
	}
	return all
}

// Exchanged returns the flat index, in an array of the shape, of the value at flat index i of the
// same values laid out with the axes in the order.
func Exchanged(i int, shape, order []int) int {
	flat := 0
	for _, a := range slices.Backward(order) {
		flat += i % shape[a] * product(shape[a+1:])
		i /= shape[a]
	}
	return flat
}
