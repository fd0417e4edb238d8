package fit

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// rows returns the number k of each row of a norm by which it is k times the correct one but for the
// bias; ok if that, and no number for all, is what is wrong.
func (n *norming) rows(p *values) (k []float64, ok bool) {
	if p.Part != nil || len(n.x) != len(p.Got) {
		return nil, false
	}
	bare := func(x []float32, i int) float64 { return float64(x[i]) - float64(n.bias[i%n.C]) }
	k = make([]float64, len(n.mean))
	for r := range k {
		var xy, xx float64
		for i := r * n.C; i < (r+1)*n.C; i++ {
			x := bare(p.Right, i)
			xy, xx = xy+x*bare(p.Got, i), xx+x*x
		}
		k[r] = xy / xx
	}
	return k, p.holds(func(i int) float64 { return k[i/n.C]*bare(p.Right, i) + float64(n.bias[i%n.C]) })
}

// NormRows describes a norm whose rows are scaled by numbers of their own; "" if it is none.
func NormRows(r *Row) string {
	p, n := newValues(r), newNorming(&r.Stage)
	if p == nil || n == nil {
		return ""
	}
	k, ok := n.rows(p)
	if off, moved := n.offCentre(p); !ok && moved {
		if len(off) == 1 {
			return fmt.Sprintf("the one row is as if another number were taken off than its mean, %+.5g off it, and its divisor may be another too", off[0])
		}
		why := "of something else than the row's channels, or not their mean"
		if n.isLittle(off) {
			why = "computed in few bits, or of something else than the row's channels"
		}
		return fmt.Sprintf("each row is as if another number were taken off than its mean, from %+.5g to %+.5g off it: as where the statistics are %s", slices.Min(off), slices.Max(off), why)
	}
	if !ok {
		return ""
	}
	if len(k) == 1 {
		return fmt.Sprintf("the one row, without the bias, is %.5g times the correct one, as where its divisor is another than √(var + eps): which cannot be told by one row", k[0])
	}
	return fmt.Sprintf("each row, without the bias, is the correct one times a number of its own, from %.5g to %.5g, as where the divisor of the rows is another than √(var + eps)", slices.Min(k), slices.Max(k))
}

// isLittle reports whether what is taken off each row is so near to its mean as rounding to bfloat16 leaves it.
func (n *norming) isLittle(off []float64) bool {
	for r, d := range off {
		if math.Abs(d) > 0x1p-8*(math.Abs(n.mean[r])+math.Sqrt(n.variance[r])) {
			return false
		}
	}
	return true
}

// line returns what is taken off each row of a norm, and what it is then divided by, as they are read off
// its output.
func (n *norming) line(p *values) (centre, divisor []float64) {
	for lo := 0; lo < len(n.x); lo += n.C {
		var line regression
		for c := range n.C {
			if g := float64(n.gain[c]); g != 0 {
				line.add(float64(n.x[lo+c]), (float64(p.Got[lo+c])-float64(n.bias[c]))/g, g*g)
			}
		}
		xx, xy := line.within()
		k := xy / xx
		centre, divisor = append(centre, (line.x-line.y/k)/line.w), append(divisor, 1/k)
	}
	return centre, divisor
}

// offCentre returns how far from its mean is what is taken off each row; ok if that, and another divisor
// at most, is what is wrong.
func (n *norming) offCentre(p *values) (off []float64, ok bool) {
	if p.Part != nil || len(n.x) != len(p.Got) {
		return nil, false
	}
	centre, divisor := n.line(p)
	for r, c := range centre {
		off = append(off, c-n.mean[r])
	}
	return off, p.holds(n.output(func(r int) float64 { return centre[r] }, func(r int) float64 { return divisor[r] }))
}

// sorted returns a row's values in order.
func (n *norming) sorted(r int) []float32 {
	row := slices.Clone(n.x[r*n.C:][:n.C])
	slices.Sort(row)
	return row
}

// centres are what may be taken off a row in the place of its mean.
var centres = []struct {
	text string
	of   func(n *norming, r int) float64
}{
	{"the median of the row", func(n *norming, r int) float64 {
		row := n.sorted(r)
		return (float64(row[(n.C-1)/2]) + float64(row[n.C/2])) / 2
	}},
	{"the lower median of the row", func(n *norming, r int) float64 { return float64(n.sorted(r)[(n.C-1)/2]) }},
	{"the middle between the row's least and largest value", func(n *norming, r int) float64 {
		row := n.sorted(r)
		return (float64(row[0]) + float64(row[n.C-1])) / 2
	}},
	{"the row's largest value", func(n *norming, r int) float64 { return float64(n.sorted(r)[n.C-1]) }},
	{"the row's least value", func(n *norming, r int) float64 { return float64(n.sorted(r)[0]) }},
	{"the row's first channel", func(n *norming, r int) float64 { return float64(n.x[r*n.C]) }},
}

// centred returns norms of which another number than the mean is taken off, read off the rows.
func (n *norming) centred(p *values) (all []normCase) {
	if _, ok := n.offCentre(p); !ok {
		return nil
	}
	some := slices.Clone(centres)
	for k := 1; 2*k < n.C; k++ { // without so many at each end
		some = append(some, struct {
			text string
			of   func(n *norming, r int) float64
		}{fmt.Sprintf("the mean of the row without its %d largest and %[1]d least values", k), func(n *norming, r int) float64 {
			return meanOf(n.sorted(r)[k : n.C-k])
		}})
	}
	read, _ := n.line(p)
	for i, c := range some {
		slack := 1e-3 * math.Sqrt(n.variance[0])
		if math.Abs(c.of(n, 0)-read[0]) > slack || math.Abs(c.of(n, len(read)-1)-read[len(read)-1]) > slack {
			continue
		}
		for _, about := range []bool{true, false} {
			text, numbers := c.text+" is taken off, where its mean belongs", min(max(0, i-len(centres)+1), 1)
			if !about {
				text += "; the divisor is the row's own"
			}
			all = append(all, normCase{PatternStatistics, text, numbers, func(n *norming) func(i int) float64 {
				centre := func(r int) float64 { return c.of(n, r) }
				_, divisor := n.own()
				if about {
					divisor = func(r int) float64 {
						off := c.of(n, r) - n.mean[r]
						return math.Sqrt(n.variance[r] + off*off + n.eps)
					}
				}
				return n.output(centre, divisor)
			}})
		}
	}
	return all
}

// divided returns norms by a divisor that is read off the rows, of each of which it is a number.
func (n *norming) divided(p *values) (all []normCase) {
	k, ok := n.rows(p)
	if !ok || len(k) < 2*perNumber {
		return nil
	}
	_, own := n.own()
	squares, one := make([]float64, len(k)), make([]float64, len(k)) // of the divisors
	for r := range k {
		squares[r], one[r] = math.Pow(own(r)/k[r], 2), 1
	}
	add := func(text string, numbers int, of func(n *norming, r int) float64) {
		all = append(all, normCase{PatternStatistics, text, numbers, func(n *norming) func(i int) float64 {
			centre, _ := n.own()
			return n.output(centre, func(r int) float64 { return of(n, r) })
		}})
	}
	holds := func(of func(n *norming, r int) float64) bool {
		centre, _ := n.own()
		return p.holds(n.output(centre, func(r int) float64 { return of(n, r) }))
	}
	for _, s := range []struct {
		text string
		of   func(n *norming, r int) float64
	}{
		{"var", func(n *norming, r int) float64 { return n.variance[r] }},
		{"mean(x²)", func(n *norming, r int) float64 { return n.variance[r] + n.mean[r]*n.mean[r] }},
	} {
		x := make([]float64, len(k))
		for r := range x {
			x[r] = s.of(n, r)
		}
		c := linear(squares, x, one)
		if c == nil {
			continue
		}
		of := func(a, b float64) func(n *norming, r int) float64 {
			return func(n *norming, r int) float64 { return math.Sqrt(a*s.of(n, r) + b) }
		}
		a, ta, okA := shortest(c[0], func(a float64) bool { return holds(of(a, c[1])) })
		b, tb, okB := shortest(c[1], func(b float64) bool { return holds(of(a, b)) })
		if ta += "·"; a == 1 {
			ta = ""
		}
		if okA && okB && a > 0 {
			add(fmt.Sprintf("the divisor is √(%s%s + %s), where √(var + eps) belongs: another variance", ta, s.text, tb), 2, of(a, b))
		}
	}
	least := func(v float64) func(n *norming, r int) float64 {
		return func(n *norming, r int) float64 { return math.Sqrt(max(n.variance[r], v) + n.eps) }
	}
	if v := slices.Min(squares) - n.eps; v > slices.Min(n.variance) && v < slices.Max(n.variance) {
		if v, text, ok := shortest(v, func(v float64) bool { return holds(least(v)) }); ok {
			add(fmt.Sprintf("the divisor is √(max(var, %s) + eps): the variance is taken to be %[1]s at the least", text), 1, least(v))
		}
	}
	for _, d := range divisors { // times a number
		c := own(0) / k[0] / d.of(n, 0)
		of := func(c float64) func(n *norming, r int) float64 {
			return func(n *norming, r int) float64 { return c * d.of(n, r) }
		}
		if c, text, ok := shortest(c, func(c float64) bool { return holds(of(c)) }); ok && d.text == undivided {
			_, v, _ := shortest(c*c-n.eps, func(v float64) bool { return math.Abs(math.Sqrt(v+n.eps)-c) < 1e-4*c })
			add(fmt.Sprintf("every row is divided by one number, %s, whatever its variance, where √(var + eps) belongs: as if that were %s, or %s at the least", text, v, v), 1, of(c))
		} else if ok {
			add(text+" times another divisor: "+d.text, 1, of(c))
		}
	}
	// The mean of a power, by which the ratio of two rows' divisors is a function of the power alone.
	power := func(e float64) func(n *norming, r int) float64 {
		return func(n *norming, r int) float64 {
			s := 0.0
			for _, v := range n.x[r*n.C:][:n.C] {
				s += math.Pow(math.Abs(float64(v)-n.mean[r]), e)
			}
			return math.Pow(s/float64(n.C), 1/e)
		}
	}
	at := p.some(mostRead, nil)
	e, ok := p.solve(at, func(i int, e float64) float64 {
		r := i / n.C
		return (float64(n.x[i])-n.mean[r])/power(e)(n, r)*float64(n.gain[i%n.C]) + float64(n.bias[i%n.C])
	}, 2.5)
	if e, text, held := shortest(e, func(e float64) bool { return holds(power(e)) }); ok && held && e > 0 {
		add("the divisor is the mean of |x - mean|^p to the power of 1/p with p = "+text+", where √(var + eps) belongs", 1, power(e))
	}
	return all
}

// shortest returns a number of as few digits as will do for one that was read off.
func shortest(k float64, holds func(k float64) bool) (short float64, text string, ok bool) {
	for digits := 1; digits < 8; digits++ {
		text = strconv.FormatFloat(k, 'g', digits, 64)
		if short, _ = strconv.ParseFloat(text, 64); holds(short) {
			return short, strconv.FormatFloat(short, 'g', -1, 64), true
		}
	}
	return k, strconv.FormatFloat(k, 'g', 8, 64), holds(k)
}

// channels returns norms with another gain, or gain and bias, of each channel, read off the rows.
func (n *norming) channels(p *values) (all []normCase) {
	if p.Part != nil || len(n.mean) < perNumber {
		return nil
	}
	_, divisor := n.own()
	normed := func(i int) float64 { return (float64(n.x[i]) - n.mean[i/n.C]) / divisor(i/n.C) }
	gain, bias := make([]float64, n.C), make([]float64, n.C)
	output := func(gain, bias func(n *norming, c int) float64) func(n *norming) func(i int) float64 {
		return func(n *norming) func(i int) float64 {
			_, divisor := n.own()
			return func(i int) float64 {
				r, c := i/n.C, i%n.C
				return (float64(n.x[i])-n.mean[r])/divisor(r)*gain(n, c) + bias(n, c)
			}
		}
	}
	read := func(v []float64) func(n *norming, c int) float64 {
		return func(_ *norming, c int) float64 { return v[c] }
	}
	ownBias := func(n *norming, c int) float64 { return float64(n.bias[c]) }
	for _, both := range []bool{false, true} {
		for c := range n.C {
			var line regression
			for i := c; i < len(p.Got); i += n.C {
				line.add(normed(i), float64(p.Got[i])-float64(n.bias[c]), 1)
			}
			gain[c], bias[c] = line.xy/line.xx, float64(n.bias[c])
			if xx, xy := line.within(); both {
				gain[c] = xy / xx
				bias[c] += (line.y - gain[c]*line.x) / line.w
			}
		}
		own := stageName(p.Name)
		if !both && p.holds(output(read(gain), ownBias)(n)) {
			// What the model's gain has to do with it.
			a, x := make([]float64, n.C), make([]float64, n.C)
			for c := range x {
				a[c], x[c] = 1, float64(n.gain[c])
			}
			if k := linear(gain, x, a); k != nil {
				of := func(k, l float64) func(n *norming) func(i int) float64 {
					return output(func(n *norming, c int) float64 { return k*float64(n.gain[c]) + l }, ownBias)
				}
				k0, t0, ok0 := shortest(k[0], func(v float64) bool { return p.holds(of(v, k[1])(n)) })
				k1, t1, ok1 := shortest(k[1], func(v float64) bool { return p.holds(of(k0, v)(n)) })
				if ok0 && ok1 {
					return []normCase{{id: PatternGain, text: "the gain is applied as " + t0 + "·gain + " + t1, numbers: 2, of: of(k0, k1)}}
				}
			}
			text := fmt.Sprintf("the norm has another gain than %s.weight, none of the model's: %s, …, where %s, … belong",
				own.Word, firstThree(gain), firstThree(n.gain))
			return []normCase{{id: PatternGain, text: text, numbers: n.C, of: output(read(gain), ownBias)}}
		}
		if both && len(n.mean) >= 2*perNumber && p.holds(output(read(gain), read(bias))(n)) {
			text := fmt.Sprintf("the norm has another gain and bias than %s has, none of the model's: a gain of %s, … and a bias of %s, …", own.Word, firstThree(gain), firstThree(bias))
			return []normCase{{id: PatternGain, text: text, numbers: 2 * n.C, of: output(read(gain), read(bias))}}
		}
	}
	return nil
}

// firstThree writes the first three of some numbers.
func firstThree[T float32 | float64](x []T) string {
	var parts []string
	for _, v := range x[:min(len(x), 3)] {
		parts = append(parts, fmt.Sprintf("%.4g", v))
	}
	return strings.Join(parts, ", ")
}
