package fit

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

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
	order   int    // the plainer the lower
	ends    [2]int // of a range of some of the inputs
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
	found := append(t.ranges(r), t.residues(r.Model.Config(), r.Name)...)
	if len(found) == 0 {
		found = append(r.fewInputs(t), r.solved(t)...)
	}
	for _, c := range found {
		text, meant := Spell(r.Model.Config(), c.times, 1e-3)
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
func (t *terms) ranges(r *Row) (all []counted) {
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
				c.ends = [2]int{a, b}
			}
			if all = append(all, c); len(all) > 4096 {
				return nil // of next to no inputs, or no error
			}
		}
	}
	slices.SortStableFunc(all, func(a, b counted) int {
		return cmp.Or(cmp.Compare(distance(a.times), distance(b.times)), a.numbers-b.numbers, a.order-b.order)
	})
	if all = all[:min(len(all), 3)]; len(all) == 0 {
		return nil
	}
	silent := r.silent(K)
	for i, c := range all {
		if c.ends[1] > 0 {
			all[i].text = rangeText(r.Model.Config(), r.Name, c.ends[0], c.ends[1], silent)
		}
	}
	return slices.CompactFunc(all, func(a, b counted) bool { return a.text == b.text })
}

// silent reports which of a product's K inputs are 0 in every row of the run's steps nearby, which
// no sum shows.
func (r *Row) silent(K int) []bool {
	all, name := slices.Repeat([]bool{true}, K), model.Reads(r.Model.Config(), r.Name)[0]
	for step := max(0, r.Step-stepsRead); step <= r.Step+stepsRead; step++ {
		if step != r.Step && !r.Has(step, r.Name) {
			continue
		}
		for i, v := range r.step(step).In(name) {
			all[i%K] = all[i%K] && v == 0
		}
	}
	return all
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

// rangeText names a range of a product's inputs, with % for what is wrong with it; silent inputs at
// an end may be of it or not.
func rangeText(cfg model.Config, stage string, a, b int, silent []bool) string {
	K, more := len(silent), ""
	low, high := a, b
	for low > 0 && silent[low-1] {
		low--
	}
	for high < K && silent[high] {
		high++
	}
	for a < b && silent[b-1] {
		b--
	}
	for a < b && silent[a] {
		a++
	}
	if low < a {
		more = fmt.Sprintf(" down to %d", low)
	}
	if high > b {
		more += fmt.Sprintf(" up to %d", high-1)
	}
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
	if more != "" {
		text, verb = text+", and perhaps more"+more+", which are 0,", "are"
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
