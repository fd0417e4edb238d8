package fit

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/model"
)

// The ids of a product with weights that are not the model's.
const (
	PatternWeight  = "pattern_weight"  // single weights are other numbers
	PatternWeights = "pattern_weights" // all weights went through a function
)

func init() {
	for _, word := range []string{"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj", "logits", "logits_last"} {
		searches[word] = append(searches[word], otherWeights)
	}
}

// A weighing is a product as its weights are looked at.
type weighing struct {
	*values
	matrix
	name string    // of the matrix
	x    []float32 // [rows, in]
	rows int
	cols []int // the columns in which values are wrong
}

// otherWeights proposes a few weights that are other numbers, or weights that are cut.
func otherWeights(r *Row) (all []Hypothesis) {
	p := newValues(r)
	m, ok := matrixOf(r.Model, r.Name)
	if p == nil || !ok || p.width != m.out || r.Part != nil {
		return nil
	}
	w := &weighing{values: p, matrix: m, name: r.Name + ".weight", rows: len(r.Got) / m.out, x: r.In(model.Reads(r.Model.Config(), r.Name)[0])}
	if strings.HasPrefix(r.Name, "logits") {
		if w.name = "wte.weight"; ownHead(r.Model) {
			w.name = "lm_head.weight"
		}
	}
	if len(w.x) != w.rows*m.in || w.rows < 2 {
		return nil
	}
	seen := make([]bool, m.out)
	for _, i := range p.wrong {
		if j := i % m.out; !seen[j] {
			seen[j] = true
			w.cols = append(w.cols, j)
		}
	}
	if h := w.elements(); h != nil {
		return h
	}
	if h := append(w.rowOf(), w.cuts()...); h != nil {
		return h
	}
	return w.stored()
}

// ownHead reports whether a model's head has a matrix of its own.
func ownHead(m *model.Model) bool {
	_, _, ok := m.Weight("lm_head.weight")
	return ok
}

// err returns the error of a column in each row.
func (w *weighing) err(j int) []float64 {
	e := make([]float64, w.rows)
	for t := range e {
		e[t] = float64(w.Got[t*w.out+j]) - float64(w.Right[t*w.out+j])
	}
	return e
}

// single returns the input of which a column's error is a multiple in every row, and the factor.
func (w *weighing) single(j int) (k int, by float64, ok bool) {
	e := w.err(j)
	fits := func(k int) (by float64, ok bool) {
		var xx, xe float64
		for t, v := range e {
			x := float64(w.x[t*w.in+k])
			xx, xe = xx+x*x, xe+x*v
		}
		if xx == 0 {
			return 0, false
		}
		by = xe / xx
		for t := range e {
			if !w.agrees(t*w.out+j, float64(w.Right[t*w.out+j])+by*float64(w.x[t*w.in+k]), left) {
				return 0, false
			}
		}
		return by, true
	}
	found := 0
	for i := range w.in {
		if b, fit := fits(i); fit {
			k, by, found = i, b, found+1
		}
	}
	return k, by, found == 1
}

// fewWeights is how many single weights are looked for.
const fewWeights = 8

// A changed is a weight that is another number.
type changed struct {
	k, j int
	by   float64
}

// elements proposes single weights that are other numbers, each of another column.
func (w *weighing) elements() []Hypothesis {
	if w.rows < 3 || len(w.cols) > fewWeights {
		return nil
	}
	var all []changed
	var words []string
	for _, j := range w.cols {
		k, by, ok := w.single(j)
		if !ok {
			return nil
		}
		was := float32(w.matrix.at(k, j))
		text, now := readAsWeight(was, by)
		at := fmt.Sprintf("%s[%d, %d]", w.name, k, j)
		if strings.HasPrefix(w.Name, "logits") {
			at = fmt.Sprintf("%s[%d, %d]", w.name, j, k)
		}
		words, all = append(words, at+" is "+text), append(all, changed{k, j, now - float64(was)})
	}
	text := "a weight is not the file's: " + strings.Join(words, "; ") + ": it is read wrong, or written over"
	h := Hypothesis{ID: PatternWeight, Text: text, Numbers: len(all), Stages: []string{w.Name}, Output: func(s *Stage) []float32 {
		x, out := s.In(model.Reads(s.Model.Config(), s.Name)[0]), slices.Clone(s.Correct())
		m, ok := matrixOf(s.Model, s.Name)
		if !ok || len(x)/m.in != len(out)/m.out {
			return nil
		}
		for t := range len(out) / m.out {
			for _, c := range all {
				out[t*m.out+c.j] = float32(float64(out[t*m.out+c.j]) + c.by*float64(x[t*m.in+c.k]))
			}
		}
		return out
	}}
	return []Hypothesis{h}
}

// readAsWeight says what a weight is in an engine whose own differs by a number that was read
// off, and returns that: of one flipped bit it is exact.
func readAsWeight(was float32, by float64) (text string, now float64) {
	now = float64(was) + by
	near := func(v float64) bool { return math.Abs(v-now) <= 1e-4*math.Abs(by) }
	if near(0) {
		return fmt.Sprintf("0 in the engine, %g in the file", was), 0
	}
	for bit := range 32 {
		if v := math.Float32frombits(math.Float32bits(was) ^ 1<<bit); near(float64(v)) {
			what := fmt.Sprintf("one bit is flipped, bit %d", bit)
			if bit == 31 {
				what = "its sign is flipped"
			}
			return fmt.Sprintf("%g in the engine, %g in the file: %s", v, was, what), float64(v)
		}
	}
	return fmt.Sprintf("%.6g in the engine, %g in the file", now, was), now
}

// rowOf proposes that all weights of one input are other numbers.
func (w *weighing) rowOf() []Hypothesis {
	if w.rows < perNumber || len(w.cols) <= fewWeights {
		return nil
	}
	worst := w.worst[0] % w.out
	k, _, ok := w.single(worst)
	if !ok {
		return nil
	}
	by, xx := make([]float64, w.out), 0.0
	for t := range w.rows {
		x := float64(w.x[t*w.in+k])
		xx += x * x
		for j := range w.out {
			by[j] += x * (float64(w.Got[t*w.out+j]) - float64(w.Right[t*w.out+j]))
		}
	}
	for j := range by {
		by[j] /= xx
	}
	if !w.holds(func(i int) float64 {
		return float64(w.Right[i]) + by[i%w.out]*float64(w.x[i/w.out*w.in+k])
	}) {
		return nil
	}
	text := fmt.Sprintf("the weights of one input channel, %d of %s, are not the file's: those of row %[1]d of %[2]s, of every column", k, w.name)
	return []Hypothesis{{ID: PatternWeight, Text: text, Numbers: w.out, Stages: []string{w.Name}, Output: func(s *Stage) []float32 {
		x, out := s.In(model.Reads(s.Model.Config(), s.Name)[0]), slices.Clone(s.Correct())
		if len(x)/w.in != len(out)/w.out {
			return nil
		}
		for i, v := range out {
			out[i] = float32(float64(v) + by[i%w.out]*float64(x[i/w.out*w.in+k]))
		}
		return out
	}}}
}

// fits reports whether weights that are another function of input and output give a few columns.
func (w *weighing) fits(of func(k, j int) float64) bool {
	for _, j := range []int{w.worst[0] % w.out, w.worst[len(w.worst)-1] % w.out, w.worst[len(w.worst)/2] % w.out} {
		by := make([]float64, w.in)
		for k := range by {
			by[k] = of(k, j) - w.matrix.at(k, j)
		}
		for t := range w.rows {
			sum := float64(w.Right[t*w.out+j])
			for k, d := range by {
				sum += float64(w.x[t*w.in+k]) * d
			}
			if !w.agrees(t*w.out+j, sum, left) {
				return false
			}
		}
	}
	return true
}

// ofWeights returns the hypothesis of weights that are another function of input and output, of a
// matrix.
func ofWeights(text string, numbers int, of func(m matrix) func(k, j int) float64) Hypothesis {
	return Hypothesis{ID: PatternWeights, Text: text, Numbers: numbers, Output: func(s *Stage) []float32 {
		m, ok := matrixOf(s.Model, s.Name)
		x := s.In(model.Reads(s.Model.Config(), s.Name)[0])
		if !ok || len(x)%m.in != 0 {
			return nil
		}
		out := make([]float64, len(x)/m.in*m.out)
		for j := range m.out {
			b := m.biasAt(j)
			for t := range len(x) / m.in {
				out[t*m.out+j] = b
			}
		}
		w := of(m)
		for k := range m.in {
			for j := range m.out {
				v := w(k, j)
				for t := range len(x) / m.in {
					out[t*m.out+j] += float64(x[t*m.in+k]) * v
				}
			}
		}
		return rounded(out)
	}}
}

// cuts proposes weights that are clipped at a number, or 0 below one.
func (w *weighing) cuts() (all []Hypothesis) {
	if w.rows < 2 || len(w.cols) == 0 {
		return nil
	}
	j := w.worst[0] % w.out
	order, e := make([]int, w.in), w.err(j)
	for k := range order {
		order[k] = k
	}
	size := func(k int) float64 { return math.Abs(w.matrix.at(k, j)) }
	slices.SortFunc(order, func(a, b int) int {
		switch x, y := size(a), size(b); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	fits := func(of func(v float64) float64) bool {
		return w.fits(func(k, j int) float64 { return of(w.matrix.at(k, j)) })
	}
	add := func(text string, of func(v float64) float64) {
		all = append(all, ofWeights(text, 1, func(m matrix) func(k, j int) float64 {
			return func(k, j int) float64 { return of(m.at(k, j)) }
		}))
	}
	// Clipped at c: the error is Σ x·(±c - v) over the largest weights, of which there are more
	// the smaller c is.
	signs, sums := make([]float64, w.rows), make([]float64, w.rows)
	for n := len(order) - 1; n > 0; n-- {
		k := order[n]
		v := w.matrix.at(k, j)
		var ss, se float64
		for t := range w.rows {
			x := float64(w.x[t*w.in+k])
			signs[t] += x * math.Copysign(1, v)
			sums[t] += x * v
			ss, se = ss+signs[t]*signs[t], se+signs[t]*(e[t]+sums[t])
		}
		c := se / ss
		if lo, hi := size(order[n-1]), size(k); c < lo*(1-1e-3) || c > hi*(1+1e-3) {
			continue
		}
		clip := func(c float64) func(v float64) float64 {
			return func(v float64) float64 { return max(-c, min(v, c)) }
		}
		if text, c, ok := w.read(c, func(c float64) bool { return c > 0 && fits(clip(c)) }); ok {
			add(fmt.Sprintf("the weights are clipped at ±%s: take them as they are", text), clip(c))
			return all
		}
	}
	// 0 below c: the error is -Σ x·v over the smallest.
	clear(sums)
	for n := 0; n+1 < len(order); n++ {
		k := order[n]
		near := true
		for t := range w.rows {
			sums[t] += float64(w.x[t*w.in+k]) * w.matrix.at(k, j)
		}
		for t := range w.rows {
			near = near && w.agrees(t*w.out+j, float64(w.Right[t*w.out+j])-sums[t], left)
		}
		if !near || size(order[n+1]) == size(k) {
			continue
		}
		c := roundest(size(k), size(order[n+1]))
		prune := func(v float64) float64 {
			if math.Abs(v) < c {
				return 0
			}
			return v
		}
		if fits(prune) {
			add(fmt.Sprintf("weights within ±%s are taken as 0, as if they were pruned: take them as they are", decimal(c)), prune)
			break
		}
	}
	return all
}
