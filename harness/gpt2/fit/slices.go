package fit

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model"
)

// PatternPermuted is the id of correct values in other places.
const PatternPermuted = "pattern_permuted"

func init() { searches["*"] = append(searches["*"], moved) }

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
	if shapes.Product(shape) != len(r.Got) {
		return nil
	}
	sampled := r.Whole != nil
	split := model.Axes(r.Name) == "B H T D" // of which c_attn's columns tell more
	along := func(axes []Axis, shape []int, a int, join bool) {
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
				all = append(all, Hypothesis{ID: PatternPermuted, Text: text, Numbers: o.numbers, Whole: !sampled, Output: moving(a, o, b, join)})
			}
		}
	}
	for a := range axes {
		if sampled && a < 2 || split && (axes[a].Letter == "H" || axes[a].Letter == "D") {
			continue
		}
		if along(axes, shape, a, false); len(all) > 0 {
			return all
		}
	}
	if axes, shape := joined(axes, shape); axes != nil {
		if along(axes, shape, len(axes)-1, true); len(all) > 0 {
			return all
		}
	}
	if sampled {
		return nil
	}
	for _, order := range permutations(len(axes)) {
		unseen := func(a int) bool { return order[a] != a && shape[a] > 1 && r.onePlace(shape, a) }
		if slices.IsSorted(order) || slices.ContainsFunc(order, unseen) || !r.laidOut(shape, order) {
			continue
		}
		var laid []Axis
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

// joined returns axes with heads and their channels, and thirds, as one of columns; nil where there are
// none after the positions.
func joined(axes []Axis, shape []int) (all []Axis, lengths []int) {
	n := len(axes)
	if n < 4 || axes[1].Letter != "T" {
		return nil, nil
	}
	columns := Axis{Letter: "C", One: "column", Many: "columns", N: shapes.Product(shape[2:])}
	return append(slices.Clone(axes[:2]), columns), append(slices.Clone(shape[:2]), columns.N)
}

// moving returns the output of the correct values in another order of an axis, which may be one of
// joined, but for a bias that stays where it belongs; nil is none.
func moving(a int, o order, bias []float32, join bool) func(s *Stage) []float32 {
	return func(s *Stage) []float32 {
		right := s.Correct()
		axes, shape := s.axes()
		if join {
			_, shape = joined(axes, shape)
		}
		if shapes.Product(shape) != len(right) {
			return nil
		}
		out, n, inner := make([]float32, len(right)), shape[a], shapes.Product(shape[a+1:])
		for i := range out {
			j := i / inner % n
			k := o.from(s, j, n)
			if k < 0 || k >= n {
				return nil
			}
			at := i + (k-j)*inner
			out[i] = right[at]
			if !finite(out[i]) && finite(right[i]) && s.Seen != nil && finite(s.Seen[i]) {
				out[i] = s.unmasked(i, k) // it was moved before the mask
			}
			if m := len(bias); m > 0 {
				out[i] = float32(float64(out[i]) - float64(bias[at%m]) + float64(bias[i%m]))
			}
		}
		return out
	}
}

// unmasked returns a query's score of a key that the mask hides from it, at flat index i of the scores;
// -inf where that is not known, and for another stage.
func (s *Stage) unmasked(i, key int) float32 {
	cfg, name := s.Model.Config(), stageName(s.Name)
	D, S := cfg.Embd/cfg.Heads, s.Dims.P+s.Dims.T
	q := s.In(model.StageName{Layer: name.Layer, Word: "attn.q"}.String())
	k := s.In(model.StageName{Layer: name.Layer, Word: "attn.cache_k"}.String())
	rows := s.Dims.B * cfg.Heads
	if name.Word != "attn.scores" || len(q) != rows*s.Dims.T*D || len(k) != rows*S*D {
		return float32(math.Inf(-1))
	}
	sum := 0.0
	for d := range D {
		sum += float64(q[i/S*D+d]) * float64(k[(i/S/s.Dims.T*S+key)*D+d])
	}
	return float32(sum / math.Sqrt(float64(D)))
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

// onePlace reports whether what is to be explained has one place along an axis, which shows no layout.
func (r *Row) onePlace(shape []int, axis int) bool {
	seen, inner := map[int]bool{}, shapes.Product(shape[axis+1:])
	for i, in := range r.Part {
		if in {
			seen[i/inner%shape[axis]] = true
		}
	}
	return len(seen) == 1
}

// listed returns "[batch row, position, channel]".
func listed(axes []Axis) string {
	names := make([]string, len(axes))
	for i, a := range axes {
		names[i] = a.One
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
		flat += i % shape[a] * shapes.Product(shape[a+1:])
		i /= shape[a]
	}
	return flat
}
