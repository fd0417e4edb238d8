package fit

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"checkpoint12/model"
)

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
