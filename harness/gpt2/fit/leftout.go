package fit

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/mat"

	"checkpoint12/model"
)

// PatternInputs is the id of a product some of whose inputs count another number of times than
// once, or stand in another order.
const PatternInputs = "pattern_inputs"

func init() {
	for _, word := range []string{"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj", "logits"} {
		searches[word] = append(searches[word], otherCounts, otherOrder, otherTiles)
	}
}

// terms are what a probe's values are summed from.
type terms struct {
	*probe
	matrix
	x   []float32   // the inputs of the probe's row
	w   [][]float64 // by column and input
	err []float64   // what is there less what belongs there
}

// terms returns those of a product; nil where there is no probe.
func (r *Row) terms() *terms {
	own, ok := matrixOf(r.Model, r.Name)
	if !ok {
		return nil
	}
	in := r.In(model.Reads(r.Model.Config(), r.Name)[0])
	p := r.probe(own.out)
	if p == nil || len(in) < (p.row+1)*own.in {
		return nil
	}
	t := &terms{probe: p, matrix: own, x: in[p.row*own.in:][:own.in]}
	for n, j := range p.cols {
		col, sum := make([]float64, own.in), own.biasAt(j)
		for k := range col {
			col[k] = own.at(k, j)
			sum += float64(t.x[k]) * col[k]
		}
		t.w, t.err = append(t.w, col), append(t.err, p.got[n]-sum)
	}
	return t
}

// term returns input k's part of the n-th value.
func (t *terms) term(n, k int) float64 { return float64(t.x[k]) * t.w[n][k] }

// factor returns the number of which a vector of the probe's values is the error; ok is false
// where there is none.
func (t *terms) factor(of func(n int) float64) (f float64, ok bool) {
	d := of(0)
	if d == 0 {
		return 0, false
	}
	f = t.err[0] / d
	if math.Abs(f) > 1e4 {
		return 0, false
	}
	for n := 1; n < len(t.err); n++ {
		slack := t.tol[n] + t.tol[0]*math.Abs(of(n)/d)
		if !(math.Abs(t.err[n]-f*of(n)) <= slack) {
			return 0, false
		}
	}
	return f, true
}

// A counted is a set of inputs that count another number of times than once.
type counted struct {
	text    string
	numbers int
	times   float64
	in      func(k int) bool
	order   int // the plainer the lower
}

// mostResidues is the largest n for which every n-th input is looked at.
const mostResidues = 256

// otherCounts proposes sets of inputs that are left out of the sums, or count several times:
// ranges, parts of every n inputs, and few at any place.
func otherCounts(r *Row) (all []Hypothesis) {
	t := r.terms()
	if t == nil {
		return nil
	}
	found := append(t.ranges(r.Model.Config(), r.Name), t.residues(r.Model.Config(), r.Name)...)
	if len(found) == 0 {
		found = append(r.fewInputs(t), r.solved(t)...)
	}
	s, _ := model.ParseStage(r.Name)
	for _, c := range found {
		text, meant := Spell(r.Model.Config(), s.Layer, c.times, 1e-3)
		numbers := c.numbers
		switch {
		case math.Abs(c.times) < 1e-3:
			text, meant = "left out of the sum", 0
		case meant == 2:
			text = "counted twice"
		default:
			numbers++
			text = "counted " + text + " times"
		}
		h := Hypothesis{ID: PatternInputs, Numbers: numbers, Text: strings.Replace(c.text, "%", text, 1)}
		if c.text == "" {
			h.Text = "the product, without the bias, is " + text
			if meant == 0 {
				h.Text = "the bias alone is there: the product was never computed, or never written"
			}
		}
		h.Output = func(s *Stage) []float32 {
			in := slices.Clone(s.In(model.Reads(s.Model.Config(), s.Name)[0]))
			for i := range in {
				if c.in(i % t.in) {
					in[i] = float32(float64(in[i]) * meant)
				}
			}
			return s.apply(s.Name, in)
		}
		all = append(all, h)
	}
	return all
}

// ranges returns the ranges of inputs that give the error, the plainest first.
func (t *terms) ranges(cfg model.Config, stage string) (all []counted) {
	K := t.in
	sums := make([][]float64, len(t.err))
	for n := range sums {
		sums[n] = make([]float64, K+1)
		for k := range K {
			sums[n][k+1] = sums[n][k] + t.term(n, k)
		}
	}
	// The first two values tell nearly all apart.
	s0, s1, e0, e1 := sums[0], sums[1], t.err[0], t.err[1]
	for a := range K {
		for b := a + 1; b <= K; b++ {
			d0, d1 := s0[b]-s0[a], s1[b]-s1[a]
			if math.Abs(e1*d0-e0*d1) > t.tol[1]*math.Abs(d0)+t.tol[0]*math.Abs(d1) {
				continue
			}
			f, ok := t.factor(func(n int) float64 { return sums[n][b] - sums[n][a] })
			if !ok {
				continue
			}
			c := counted{numbers: 2, times: 1 + f, in: func(k int) bool { return a <= k && k < b }, order: -align(a, b, K)}
			if a == 0 || b == K {
				c.numbers = 1
			}
			if a == 0 && b == K {
				c.numbers = 0
			} else {
				c.text = rangeText(cfg, stage, a, b, K)
			}
			if all = append(all, c); len(all) > 4096 {
				return nil // of next to no inputs, or no error
			}
		}
	}
	slices.SortStableFunc(all, func(a, b counted) int {
		return cmp.Or(cmp.Compare(distance(a.times), distance(b.times)), a.numbers-b.numbers, a.order-b.order)
	})
	return all[:min(len(all), 3)]
}

// distance is 0 for a number of times that engines come by, else 1.
func distance(times float64) int {
	if near := math.Abs(times-math.Round(times)) < 1e-3; near && math.Abs(times) < 9 {
		return 0
	}
	return 1
}

// align returns the largest power of two that divides both ends of a range; the last is as well
// aligned as any.
func align(a, b, K int) int {
	n := 1
	for n < K && a%(2*n) == 0 && (b%(2*n) == 0 || b == K) {
		n *= 2
	}
	return n
}

// rangeText names a range of a product's K inputs, with % for what is wrong with it.
func rangeText(cfg model.Config, stage string, a, b, K int) string {
	n, text, verb := b-a, fmt.Sprintf("inputs %d to %d of %d", a, b-1, K), "are"
	if n == 1 {
		text, verb = fmt.Sprintf("input %d of %d", a, K), "is"
	}
	var notes []string
	D := cfg.Embd / cfg.Heads
	heads := strings.HasSuffix(stage, "attn.c_proj") && a%D == 0 && b%D == 0
	switch {
	case heads && n == D:
		notes = append(notes, fmt.Sprintf("head %d", a/D))
	case heads:
		notes = append(notes, fmt.Sprintf("heads %d to %d", a/D, b/D-1))
	case b == K:
		notes = append(notes, fmt.Sprintf("the last %d", n))
	case a == 0:
		notes = append(notes, fmt.Sprintf("the first %d", n))
	}
	for m := 8; b == K && m <= 256; m *= 2 {
		if n < m && K%m == n {
			notes = append(notes, fmt.Sprintf("%d mod %d, which a loop in steps of %d leaves over", K, m, m))
			break
		}
	}
	for _, m := range []int{2, 4, 8} {
		switch {
		case heads && n == D:
		case n*m == K && a%n == 0:
			notes = append(notes, fmt.Sprintf("1 of %d shards, as where an all-reduce misses one", m))
		case (K-n)*m == K && (a == 0 || b == K) && m > 2:
			notes = append(notes, fmt.Sprintf("all but 1 of %d shards, as where an all-reduce is missing", m))
		}
	}
	if len(notes) > 0 {
		text += " (" + strings.Join(notes, ", ") + ")"
	}
	return text + " " + verb + " %"
}

// residues returns the parts of every n inputs that give the error.
func (t *terms) residues(cfg model.Config, stage string) []counted {
	K := t.in
	for n := 2; n <= min(mostResidues, K/2); n++ {
		sums := make([][]float64, len(t.err))
		for i := range sums {
			part := make([]float64, n)
			for k := range K {
				part[k%n] += t.term(i, k)
			}
			sums[i] = make([]float64, n+1)
			for m, v := range part {
				sums[i][m+1] = sums[i][m] + v
			}
		}
		for a := range n {
			for b := a + 1; b <= n; b++ {
				if b-a == n {
					continue
				}
				f, ok := t.factor(func(i int) float64 { return sums[i][b] - sums[i][a] })
				if !ok {
					continue
				}
				c := counted{numbers: 2, times: 1 + f, in: func(k int) bool { return a <= k%n && k%n < b }}
				which := fmt.Sprintf("%d to %d", a, b-1)
				if b-a == 1 {
					which = fmt.Sprint(a)
				}
				D := cfg.Embd / cfg.Heads
				switch {
				case n == D && strings.HasSuffix(stage, "attn.c_proj"):
					c.text = fmt.Sprintf("channels %s of every head are %%", which)
				case n == 2:
					c.text = fmt.Sprintf("every second input, k with k mod 2 = %s, is %%", which)
				default:
					c.text = fmt.Sprintf("of every %d inputs those with k mod %d = %s are %%", n, n, which)
				}
				return []counted{c}
			}
		}
	}
	return nil
}

// mostFew is the number of inputs up to which those that are wrong are looked for one by one.
const mostFew = 16

// fewInputs returns inputs at any place that give the error of the probe's row, found one by one: each
// is the one that leaves least.
func (r *Row) fewInputs(t *terms) []counted {
	cols, err := r.rowErrors(t, 256)
	n, K := len(cols), t.in
	if n < 2*mostFew {
		return nil
	}
	a := mat.NewDense(K, n, nil)
	size := make([]float64, K)
	for k := range K {
		row := a.RawRowView(k)
		for i, j := range cols {
			row[i] = float64(t.x[k]) * t.at(k, j)
			size[k] += row[i] * row[i]
		}
	}
	left, total := slices.Clone(err), norm(err)
	var chosen []int
	for len(chosen) < mostFew && norm(left) > 1e-4*total {
		best, gain := -1, 0.0
		for k := range K {
			if size[k] == 0 || slices.Contains(chosen, k) {
				continue
			}
			dot := 0.0
			for i, v := range a.RawRowView(k) {
				dot += v * left[i]
			}
			if g := dot * dot / size[k]; g > gain {
				best, gain = k, g
			}
		}
		if best < 0 {
			return nil
		}
		chosen = append(chosen, best)
		x := make([][]float64, len(chosen))
		for i, k := range chosen {
			x[i] = a.RawRowView(k)
		}
		c := linear(err, x...)
		if c == nil {
			return nil
		}
		for i := range left {
			left[i] = err[i]
			for m := range x {
				left[i] -= c[m] * x[m][i]
			}
		}
		if norm(left) <= 1e-4*total {
			return countedOf(chosen, c, K)
		}
	}
	return nil
}

// mostSolved is the number of inputs up to which all are solved for at once.
const mostSolved = 400

// solved returns the inputs that give the error of all rows, by least squares over all of them.
func (r *Row) solved(t *terms) []counted {
	K := t.in
	if K > mostSolved {
		return nil
	}
	in := r.In(model.Reads(r.Model.Config(), r.Name)[0])
	at := r.places()
	if len(at) < K+K/4+16 {
		return nil
	}
	if most := 3 * K; len(at) > most {
		some := make([]int, most)
		for i := range some {
			some[i] = at[i*len(at)/most]
		}
		at = some
	}
	a, y := mat.NewDense(len(at), K, nil), mat.NewVecDense(len(at), nil)
	for i, place := range at {
		row, j := in[place/t.out*K:][:K], place%t.out
		for k, v := range row {
			a.Set(i, k, float64(v)*t.at(k, j))
		}
		y.SetVec(i, float64(r.Got[place])-float64(r.Right[place]))
	}
	var qr mat.QR
	qr.Factorize(a)
	if qr.Cond() > 1e6 {
		return nil
	}
	var c mat.VecDense
	if qr.SolveVecTo(&c, false, y) != nil {
		return nil
	}
	var chosen []int
	var times []float64
	for k := range K {
		if v := c.AtVec(k); math.Abs(v) > 1e-2 {
			chosen, times = append(chosen, k), append(times, v)
		}
	}
	if len(chosen) == 0 || len(chosen) == K {
		return nil
	}
	return countedOf(chosen, times, K)
}

// countedOf returns inputs with the same factor of the error as one; nil where they have several.
func countedOf(chosen []int, factors []float64, K int) []counted {
	for _, f := range factors {
		if math.Abs(f-factors[0]) > 1e-2*math.Abs(factors[0]) {
			return nil
		}
	}
	mean := 0.0
	for _, f := range factors {
		mean += f / float64(len(factors))
	}
	if whole := math.Round(mean); math.Abs(mean-whole) < 1e-2 {
		mean = whole
	}
	sorted := slices.Sorted(slices.Values(chosen))
	c := counted{numbers: len(chosen), times: 1 + mean, in: func(k int) bool { _, ok := slices.BinarySearch(sorted, k); return ok }}
	c.text = fmt.Sprintf("inputs %s of %d are %%", Ranges(sorted, 0), K)
	if len(sorted) == 1 {
		c.text = fmt.Sprintf("input %d of %d is %%", sorted[0], K)
	}
	return []counted{c}
}

// rowErrors returns up to n columns of the probe's row, evenly, and their errors.
func (r *Row) rowErrors(t *terms, n int) (cols []int, err []float64) {
	var all []int
	for _, i := range r.places() {
		if i/t.out == t.row {
			all = append(all, i)
		}
	}
	for i := range min(n, len(all)) {
		at := all[i*len(all)/min(n, len(all))]
		cols, err = append(cols, at%t.out), append(err, float64(r.Got[at])-float64(r.Right[at]))
	}
	return cols, err
}

// norm returns the root of the sum of squares.
func norm(x []float64) float64 {
	sq := 0.0
	for _, v := range x {
		sq += v * v
	}
	return math.Sqrt(sq)
}

// otherOrder proposes other orders of a product's inputs.
func otherOrder(r *Row) (all []Hypothesis) {
	t := r.terms()
	if t == nil {
		return nil
	}
	K := t.in
	gives := func(from func(k int) int) bool {
		return t.gives(func(n, j int) float64 {
			sum := t.biasAt(j)
			for k := range K {
				sum += float64(t.x[from(k)]) * t.w[n][k]
			}
			return sum
		})
	}
	add := func(numbers int, from func(k int) int, format string, args ...any) {
		if len(all) >= 4 || !gives(from) {
			return
		}
		all = append(all, Hypothesis{ID: PatternInputs, Numbers: numbers, Text: fmt.Sprintf(format, args...), Output: func(s *Stage) []float32 {
			in := s.In(model.Reads(s.Model.Config(), s.Name)[0])
			out := make([]float32, len(in))
			for i := range out {
				out[i] = in[i-i%K+from(i%K)]
			}
			return s.apply(s.Name, out)
		}})
	}
	cfg := r.Model.Config()
	D := cfg.Embd / cfg.Heads
	add(0, func(k int) int { return K - 1 - k }, "its inputs are in reverse order")
	if strings.HasSuffix(r.Name, "attn.c_proj") {
		add(0, func(k int) int { return (cfg.Heads-1-k/D)*D + k%D }, "the heads of its input are in reverse order")
	}
	for n := 2; n < K; n++ {
		if K%n != 0 {
			continue
		}
		what := fmt.Sprintf("[%d, %d]", n, K/n)
		if strings.HasSuffix(r.Name, "attn.c_proj") && (n == cfg.Heads || n == D) {
			what = map[bool]string{true: "[H, D]", false: "[D, H]"}[n == D]
		}
		add(1, func(k int) int { return k%n*(K/n) + k/n }, "its inputs are transposed: input k is that of k read as %s the other way round", what)
		if n < 1<<10 && K/n > 1 {
			add(1, func(k int) int { return k - k%n + n - 1 - k%n }, "every %d of its inputs are in reverse order", n)
		}
	}
	for by := 1; by < K; by++ {
		add(1, func(k int) int { return (k + by) % K }, "its inputs are shifted: where input k belongs that of k%+d is read, the first after the last", min(by, K-by)*sign(K-2*by))
	}
	for _, n := range []int{D, K / 2, K / 4, K / 8, 16, 32, 64, 128} {
		if n < 1 || K%n != 0 || K/n > 64 {
			continue
		}
		for i := range K / n {
			for j := range i {
				name := fmt.Sprintf("inputs %d to %d and %d to %d", j*n, (j+1)*n-1, i*n, (i+1)*n-1)
				if n == D && strings.HasSuffix(r.Name, "attn.c_proj") {
					name = fmt.Sprintf("heads %d and %d of its input", j, i)
				}
				add(2, func(k int) int {
					switch k / n {
					case i:
						return k - i*n + j*n
					case j:
						return k - j*n + i*n
					}
					return k
				}, "%s are exchanged", name)
			}
		}
	}
	return all
}

func sign(x int) int {
	if x < 0 {
		return -1
	}
	return 1
}

// otherTiles proposes a matrix of which all tiles of a size are transposed, or one.
func otherTiles(r *Row) (all []Hypothesis) {
	t := r.terms()
	if t == nil {
		return nil
	}
	cfg := r.Model.Config()
	for _, n := range slices.Compact(slices.Sorted(slices.Values([]int{2, 4, 8, 16, 32, 64, 128, cfg.Embd / cfg.Heads, t.in}))) {
		if n < 2 || t.in%n != 0 || t.out%n != 0 {
			continue
		}
		flip := func(k, j int) (int, int) { return k - k%n + j%n, j - j%n + k%n }
		// The error that tile a of the column's tiles makes when it is transposed.
		tile := func(i, a int) float64 {
			sum := 0.0
			for k := a * n; k < (a+1)*n; k++ {
				sum += float64(t.x[k]) * (t.at(flip(k, t.cols[i])) - t.w[i][k])
			}
			return sum
		}
		add := func(numbers int, in func(k, j int) bool, format string, args ...any) {
			all = append(all, Hypothesis{ID: PatternInputs, Numbers: numbers, Text: fmt.Sprintf(format, args...), Output: func(s *Stage) []float32 {
				own, ok := matrixOf(s.Model, s.Name)
				x := s.In(model.Reads(s.Model.Config(), s.Name)[0])
				if !ok || len(x) == 0 {
					return nil
				}
				w := make([]float32, len(own.w))
				for k := range own.in {
					for j := range own.out {
						at, v := k*own.out+j, own.at(k, j)
						if own.byOut {
							at = j*own.in + k
						}
						if in(k, j) {
							v = own.at(flip(k, j))
						}
						w[at] = float32(v)
					}
				}
				own.w = w
				sums := own.times(x)
				for i := range sums {
					sums[i] += own.biasAt(i % own.out)
				}
				return rounded(sums)
			}})
		}
		every := true
		one := -1
		for i := 0; i < len(t.cols) && every; i++ {
			sum := 0.0
			for a := range t.in / n {
				sum += tile(i, a)
			}
			every = math.Abs(sum-t.err[i]) <= t.tol[i]
		}
		if every && (n < t.in || t.in != t.out) {
			add(1, func(int, int) bool { return true }, "tiles of %d×%d of its weight are transposed", n, n)
			return all
		}
		b := t.cols[0] / n
		if slices.ContainsFunc(t.cols, func(j int) bool { return j/n != b }) {
			continue
		}
		for a := 0; a < t.in/n && one < 0; a++ {
			ok := true
			for i := 0; i < len(t.cols) && ok; i++ {
				ok = math.Abs(tile(i, a)-t.err[i]) <= t.tol[i]
			}
			if ok {
				one = a
			}
		}
		if one >= 0 {
			add(3, func(k, j int) bool { return k/n == one && j/n == b },
				"a tile of %d×%d of its weight is transposed: inputs %d to %d, outputs %d to %d", n, n, one*n, (one+1)*n-1, b*n, (b+1)*n-1)
		}
	}
	return all
}
