package fit

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"checkpoint12/model"
)

// left is how many rounding bounds a hypothesis may leave.
const left = 2

// values are the places of a row that are to be explained, against which functions are held: the
// most wrong first, so that what does not hold is seen at once.
type values struct {
	*Row
	at    []int   // flat indices of the places
	wrong []int   // those of them at which rounding does not account for the error
	worst []int   // a few of those, of the largest errors in different parts of the row
	width int     // of the last axis
	size  float64 // root mean square of the engine's values
}

// newValues returns nil where the row has no wrong finite place, or where values that are not
// finite are wrong too.
func newValues(r *Row) *values {
	shape, err := model.Shape(r.Model.Config(), r.Name, r.Dims)
	if err != nil || len(shape) == 0 || r.Name == "next_token" || len(r.Got) == 0 || len(r.Got) != len(r.Right) {
		return nil
	}
	p := &values{Row: r, width: shape[len(shape)-1]}
	off := func(i int) float64 {
		d := math.Abs(float64(r.Got[i]) - float64(r.Right[i]))
		if b := r.bound(i); d > b {
			return d / (b + math.SmallestNonzeroFloat32)
		}
		return 0
	}
	for i, g := range r.Got {
		switch {
		case r.Part != nil && !r.Part[i], r.bound(i) != r.bound(i):
		case finite(g) && finite(r.Right[i]):
			p.at = append(p.at, i)
			if off(i) > 0 {
				p.wrong = append(p.wrong, i)
			}
		case g != r.Right[i] && !(g != g && r.Right[i] != r.Right[i]):
			return nil
		}
	}
	if len(p.wrong) == 0 {
		return nil
	}
	for _, i := range p.at {
		p.size += float64(r.Got[i]) * float64(r.Got[i]) / float64(len(p.at))
	}
	p.size = math.Sqrt(p.size)
	// The worst few first, of places strewn over the row.
	const few = 16
	for k := range few {
		lo, hi := k*len(p.wrong)/few, (k+1)*len(p.wrong)/few
		if lo < hi {
			p.worst = append(p.worst, slices.MaxFunc(p.wrong[lo:hi], func(a, b int) int { return cmp.Compare(off(a), off(b)) }))
		}
	}
	return p
}

// bound returns what rounding may do at a place.
func (r *Row) bound(i int) float64 {
	if r.Bound == nil {
		return 0
	}
	return float64(r.Bound[i])
}

// agrees reports whether v is the engine's value at a place up to so many rounding bounds.
func (r *Row) agrees(i int, v, bounds float64) bool {
	v = float64(float32(v))
	got, right := float64(r.Got[i]), float64(r.Right[i])
	if v == got {
		return true
	}
	b := r.bound(i)
	if g := math.Abs(v) / math.Abs(right); g > 1 && !math.IsInf(g, 0) {
		b *= g
	}
	return math.Abs(v-got) <= bounds*b
}

// holds reports whether a function of the flat index gives the row where it is to be explained, up to
// rounding and what a few operations on a value come to.
func (p *values) holds(f func(i int) float64) bool {
	const operations = 4.0 / (1 << 24)
	for _, at := range [][]int{p.worst, p.at} {
		for _, i := range at {
			v := f(i)
			if !p.agrees(i, v, left) && !(math.Abs(v-float64(p.Got[i])) <= operations*(math.Abs(v)+p.size)) {
				return false
			}
		}
	}
	return true
}

// some returns at most n of the places that are to be explained, evenly strewn over all that
// keep chooses; nil chooses all.
func (p *values) some(n int, keep func(i int) bool) (at []int) {
	for _, i := range p.at {
		if keep == nil || keep(i) {
			at = append(at, i)
		}
	}
	if len(at) <= n {
		return at
	}
	for k := range n {
		at[k] = at[k*len(at)/n]
	}
	return at[:n]
}

// most values that numbers are read off.
const mostRead = 4096

// fit returns the coefficients of least squares of values y over terms, each by the flat index.
func (p *values) fit(at []int, y func(i int) float64, terms ...func(i int) float64) []float64 {
	x, v := make([][]float64, len(terms)), make([]float64, len(at))
	for j, term := range terms {
		x[j] = make([]float64, len(at))
		for k, i := range at {
			x[j][k] = term(i)
		}
	}
	for k, i := range at {
		v[k] = y(i)
	}
	return linear(v, x...)
}

// read returns a number that was read off the row as it is to be written and what it is: an
// expression or a number of few digits where holds says that it may be that, else as it was read.
func (r *Row) read(k float64, holds func(k float64) bool) (text string, value float64, ok bool) {
	if math.Abs(k) < 1e-5 && holds(0) {
		return "0", 0, true
	}
	for _, slack := range []float64{sameNumber, 1e-5, 1e-6} {
		if text, meant := Spell(r.Model.Config(), k, slack); holds(meant) {
			return text, meant, true
		}
	}
	for _, k := range []float64{k, float64(float32(k))} {
		if holds(k) {
			return strconv.FormatFloat(k, 'g', 7, 64), k, true
		}
	}
	return "", 0, false
}

// roundest returns the number of fewest digits from lo to hi, which are of one sign; of those
// of as many digits the one nearest to the middle.
func roundest(lo, hi float64) float64 {
	middle := lo + (hi-lo)/2
	for digits := 1; digits <= 17; digits++ {
		v, _ := strconv.ParseFloat(strconv.FormatFloat(middle, 'e', digits-1, 64), 64)
		if lo <= v && v <= hi {
			return v
		}
		// The last digit may have to be another than the middle's.
		unit := math.Pow(10, math.Floor(math.Log10(math.Abs(middle)))-float64(digits-1))
		for _, v := range []float64{math.Ceil(lo/unit) * unit, math.Floor(hi/unit) * unit} {
			v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'e', digits-1, 64), 64)
			if lo <= v && v <= hi {
				return v
			}
		}
	}
	return middle
}

// decimal writes a number of few digits.
func decimal(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// ofRight returns a hypothesis of a function of the correct output and the flat index.
func ofRight(id, text string, numbers int, f func(s *Stage, right float64, i int) float64) Hypothesis {
	return Hypothesis{ID: id, Text: text, Numbers: numbers, Output: func(s *Stage) []float32 {
		right := s.Correct()
		out := make([]float32, len(right))
		for i, v := range right {
			if out[i] = v; finite(v) {
				out[i] = float32(f(s, float64(v), i))
			}
		}
		return out
	}}
}
