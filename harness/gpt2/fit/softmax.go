package fit

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"checkpoint12/model"
)

// PatternSoftmax is the id of a softmax with another exponent, denominator, or set of keys.
const PatternSoftmax = "pattern_softmax"

func init() {
	for _, word := range []string{"attn.probs", "probs_t"} {
		searches[word] = append(searches[word], slopes, denominators, keptKeys, distances, cappedScores, mixed)
		blind[word] = append(blind[word], otherSoftmaxes)
	}
}

// A softmaxRow is one row of a softmax: its scores, and what the engine has for them.
type softmaxRow struct {
	b, head int
	query   int       // position of the query; of the logits, that of the row's last token
	x       []float64 // scores, -Inf where masked; logits over the temperature
	t       float64   // the temperature; 1 in attention
	raw     []float64 // scores before the temperature
	n       int       // scores that are not masked

	got, right []float64
	known      []bool    // whether got is more than what rounding leaves of it
	off        []float64 // what rounding may do to got; nil is nothing
}

// softmaxRows calls do with each row of a stage's softmax; with got too if r is not nil.
func softmaxRows(s *Stage, r *Row, do func(row *softmaxRow, lo int)) bool {
	cfg := s.Model.Config()
	name, _ := model.ParseStage(s.Name)
	reads := model.Reads(cfg, s.Name)
	raw := s.In(reads[0])
	width, t := s.Dims.P+s.Dims.T, 1.0
	if name.Temperature > 0 {
		width, t = cfg.Vocab, name.Temperature
	}
	if len(raw) == 0 || len(raw)%width > 0 {
		return false
	}
	row := &softmaxRow{t: t, x: make([]float64, width), raw: make([]float64, width), right: make([]float64, width)}
	if r != nil {
		row.got, row.known, row.off = make([]float64, width), make([]bool, width), make([]float64, width)
	}
	for lo := 0; lo < len(raw); lo += width {
		i := lo / width
		row.b, row.head, row.query = i, 0, s.Dims.P+s.Dims.T-1
		if name.Temperature == 0 {
			row.b, row.head, row.query = i/s.Dims.T/cfg.Heads, i/s.Dims.T%cfg.Heads, s.Dims.P+i%s.Dims.T
		}
		row.n = 0
		for j, v := range raw[lo : lo+width] {
			row.raw[j], row.x[j] = float64(v), float64(v)/t
			if !math.IsInf(row.x[j], -1) {
				row.n++
			}
			if r != nil {
				row.got[j] = float64(r.Got[lo+j])
				if r.Recovered {
					row.off[j] = float64(r.Bound[lo+j])
				}
				row.known[j] = row.got[j] > 10*row.off[j]
			}
		}
		copy(row.right, row.x)
		normalise(row.right)
		do(row, lo)
	}
	return true
}

// normalise makes scores probabilities, in place; of nothing but masked scores zeros.
func normalise(x []float64) {
	top, sum := math.Inf(-1), 0.0
	for _, v := range x {
		top = math.Max(top, v)
	}
	for i, v := range x {
		if x[i] = math.Exp(v - top); v != v || math.IsInf(v, -1) {
			x[i] = 0
		}
		sum += x[i]
	}
	for i := range x {
		if sum > 0 {
			x[i] /= sum
		}
	}
}

// ofRows returns the Output of a function of each row, which makes probabilities of row.right or
// of row.x in place of out, which holds the correct ones.
func ofRows(f func(s *Stage, row *softmaxRow, out []float64)) func(s *Stage) []float32 {
	return func(s *Stage) []float32 {
		var all []float32
		ok := softmaxRows(s, nil, func(row *softmaxRow, lo int) {
			out := append([]float64(nil), row.right...)
			f(s, row, out)
			all = append(all, rounded(out)...)
		})
		if !ok {
			return nil
		}
		return all
	}
}

// softmaxOf returns the Output of the softmax of other scores: add is called with a copy of them.
func softmaxOf(change func(row *softmaxRow, x []float64)) func(s *Stage) []float32 {
	return ofRows(func(_ *Stage, row *softmaxRow, out []float64) {
		copy(out, row.x)
		change(row, out)
		normalise(out)
	})
}

// regression is a weighted line through points.
type regression struct{ n, w, x, y, xx, xy, yy float64 }

func (r *regression) add(x, y, w float64) {
	r.n++
	r.w, r.x, r.y, r.xx, r.xy, r.yy = r.w+w, r.x+w*x, r.y+w*y, r.xx+w*x*x, r.xy+w*x*y, r.yy+w*y*y
}

// within returns the sums about the means, of which slopes of several rows are made.
func (r *regression) within() (xx, xy float64) {
	if r.w == 0 {
		return 0, 0
	}
	return r.xx - r.x*r.x/r.w, r.xy - r.x*r.y/r.w
}

// logSlope returns the slope, within rows, of the logarithm of what the engine has, over the
// correct one's if relative, along f of its place; false where there is too little to tell.
func logSlope(r *Row, relative bool, f func(row *softmaxRow, j int) float64) (k float64, ok bool) {
	var xx, xy, n float64
	softmaxRows(&r.Stage, r, func(row *softmaxRow, lo int) {
		var line regression
		for j, known := range row.known {
			x := f(row, j)
			if !known || x-x != 0 || relative && row.right[j] == 0 || r.Part != nil && !r.Part[lo+j] {
				continue
			}
			y := math.Log(row.got[j])
			if relative {
				y -= math.Log(row.right[j])
			}
			line.add(x, y, row.got[j]*row.got[j])
		}
		if line.n > 1 {
			a, b := line.within()
			xx, xy, n = xx+a, xy+b, n+line.n-1
		}
	})
	if n < perNumber || !(xx > 0) {
		return 0, false
	}
	return xy / xx, true
}

// ofAnyTemperature reports whether the probabilities of all other temperatures that the engine has at the
// step are those of one; false if it has none.
func (r *Row) ofAnyTemperature(one float64) bool {
	others := 0
	for _, name := range r.Stages {
		s := stageName(name)
		if s.Temperature == 0 || name == r.Name {
			continue
		}
		logits, got := r.In(model.Reads(r.Model.Config(), name)[0]), r.In(name)
		if len(logits) != len(got) || len(got) == 0 {
			return false
		}
		n := len(got) / r.Dims.B
		for lo := 0; lo < len(got); lo += n {
			sum, top := 0.0, largestOf(logits[lo:][:n])
			for _, x := range logits[lo:][:n] {
				sum += math.Exp((float64(x) - top) / one)
			}
			for j, x := range logits[lo:][:n] {
				if p := math.Exp((float64(x)-top)/one) / sum; math.Abs(p-float64(got[lo+j])) > 10*sameNumber*p {
					return false
				}
			}
		}
		others++
	}
	return others > 0
}

// slopes proposes softmaxes of the scores times a number, and powers of the correct one.
func slopes(r *Row) (all []Hypothesis) {
	cfg, name := r.Model.Config(), stageName(r.Name)
	propose := func(text string, numbers int, factor func(t float64) float64) {
		all = append(all, Hypothesis{ID: PatternSoftmax, Text: text, Numbers: numbers, Output: softmaxOf(func(row *softmaxRow, x []float64) {
			for i := range x {
				x[i] = row.raw[i] * factor(row.t)
			}
		})})
	}
	k, ok := logSlope(r, false, func(row *softmaxRow, j int) float64 { return row.raw[j] })
	switch t := name.Temperature; {
	case !ok:
	case t > 0 && math.Abs(k*t-1) > sameNumber:
		for _, of := range []struct {
			exponent float64
			text     string
		}{{-2, "the temperature is applied twice: logits over t²"}, {-0.5, "the logits are divided by √t"}, {0.5, "the logits are multiplied by √t"}, {2, "the logits are multiplied by t²"}} {
			if math.Abs(k/math.Pow(t, of.exponent)-1) < 10*sameNumber && t != 1 {
				propose(of.text+", where logits over t belong", 0, func(t float64) float64 { return math.Pow(t, of.exponent) })
			}
		}
		factor, of := Spell(cfg, k*t, 10*sameNumber)
		propose("the softmax is of "+factor+" times the logits over t", 1, func(t float64) float64 { return of / t })
		fixed, as := Spell(cfg, 1/k, 10*sameNumber)
		text := "the temperature is " + fixed
		if r.ofAnyTemperature(as) {
			text += ", whichever was asked for"
		}
		propose(text, 1, func(float64) float64 { return 1 / as })
	case t == 0 && math.Abs(k-1) > sameNumber:
		text, as := Spell(cfg, k, 10*sameNumber)
		const remedy = " times the scores: look for another scale of q·k, or a temperature"
		if math.Abs(k/math.Ln2-1) < 10*sameNumber {
			text, as = "the softmax is to base 2: 2^score in the place of e^score, which is of ln 2 = 0.69315 times the scores", math.Ln2
		} else {
			text = "the softmax is of " + text + remedy + r.divided(as)
		}
		propose(text, 1, func(float64) float64 { return as })
		propose("the softmax is of "+strconv.FormatFloat(k, 'g', 6, 64)+remedy, 2, func(float64) float64 { return k })
	}
	if e, ok := power(r); ok {
		text, as := Spell(cfg, e, 10*sameNumber)
		after := func(float64) float64 { return as }
		if t := name.Temperature; t > 0 && t != 1 && math.Abs(e*t-1) < 10*sameNumber {
			text, after = "1/t, the temperature after the softmax", func(t float64) float64 { return 1 / t }
		} else if t == 1 {
			return all
		}
		all = append(all, Hypothesis{ID: PatternSoftmax, Numbers: 1,
			Text: "the rows do not sum to 1: the output is the softmax to the power of " + text + ": scale the scores before the softmax",
			Output: ofRows(func(_ *Stage, row *softmaxRow, out []float64) {
				if name.Temperature > 0 {
					copy(out, row.raw)
					normalise(out)
				}
				for i, p := range out {
					out[i] = math.Pow(p, after(row.t))
				}
			})})
	}
	return all
}

// power returns e such that what the engine has is the softmax, of the bare logits, to the power of
// e; false if the rows sum to 1.
func power(r *Row) (e float64, ok bool) {
	var line regression
	one := true
	softmaxRows(&r.Stage, r, func(row *softmaxRow, _ int) {
		right, sum := row.right, 0.0
		if row.t != 1 {
			right = append([]float64(nil), row.raw...)
			normalise(right)
		}
		for j, g := range row.got {
			if sum += g; row.known[j] && right[j] > 0 {
				line.add(math.Log(right[j]), math.Log(g), g*g)
			}
		}
		one = one && math.Abs(sum-1) < 1e-4
	})
	if one || line.n < perNumber || !(line.xx > 0) {
		return 0, false
	}
	return line.xy / line.xx, true
}

// denominators proposes softmaxes over another sum, from what the rows sum to.
func denominators(r *Row) (all []Hypothesis) {
	cfg := r.Model.Config()
	var sums, sinks, bare, keys []float64
	softmaxRows(&r.Stage, r, func(row *softmaxRow, lo int) {
		sum, top, z := 0.0, math.Inf(-1), 0.0
		for j, x := range row.x {
			sum, top = sum+row.got[j], math.Max(top, x)
		}
		for _, x := range row.x {
			z += math.Exp(x - top)
		}
		if sum-sum != 0 || sum <= 0 || z != z || r.Part != nil && !r.Part[lo] {
			return
		}
		sums, keys = append(sums, sum), append(keys, float64(row.n))
		sinks = append(sinks, z*(1/sum-1))
		bare = append(bare, z*(1/sum-1)*math.Exp(top))
	})
	if len(sums) == 0 || math.Abs(slices.Max(sums)-1) < 1e-4 && math.Abs(slices.Min(sums)-1) < 1e-4 {
		return nil
	}
	const off = "the rows do not sum to 1: "
	propose := func(text string, numbers int, divide func(row *softmaxRow) float64) {
		all = append(all, Hypothesis{ID: PatternSoftmax, Text: off + text, Numbers: numbers,
			Output: ofRows(func(_ *Stage, row *softmaxRow, out []float64) {
				by := divide(row)
				for i := range out {
					out[i] /= by
				}
			})})
	}
	topOf := func(row *softmaxRow) (top, z float64) {
		top = slices.Max(row.x)
		for _, x := range row.x {
			z += math.Exp(x - top)
		}
		return top, z
	}
	if c, ok := constant(bare); ok && c > 0 {
		added := func(text string, numbers int, as float64) {
			propose(text+" is added to the denominator, as softmax1 and attention sinks do: e^x / ("+strings.Fields(text)[0]+" + Σe^x)", numbers, func(row *softmaxRow) float64 {
				top, z := topOf(row)
				return 1 + as*math.Exp(-top)/z
			})
		}
		text, as := Spell(cfg, c, 1e-3)
		added(text, 1, as)
		short := strconv.FormatFloat(math.Log(c), 'g', 3, 64)
		x, _ := strconv.ParseFloat(short, 64)
		added(fmt.Sprintf("%.5g = e^%s", math.Exp(x), short), 1, math.Exp(x))
		added(fmt.Sprintf("%.6g", c), 2, c)
	}
	if c, ok := constant(sinks); ok && c > 0 {
		text, as := Spell(cfg, c, 1e-3)
		propose(text+" is added to the denominator after the maximum is taken off: e^(x-max) / ("+text+" + Σe^(x-max))", 1, func(row *softmaxRow) float64 {
			_, z := topOf(row)
			return 1 + as/z
		})
	}
	if c, ok := constant(sums); ok {
		text, as := Spell(cfg, c, 1e-3)
		propose("each sums to "+text+", the softmax times that", 1, func(*softmaxRow) float64 { return 1 / as })
	}
	per := make([]float64, len(sums))
	for _, of := range []struct {
		exponent float64
		text     string
	}{{-1, "divided by the number of keys that the query sees"}, {1, "multiplied by the number of keys that the query sees"}, {-0.5, "divided by the root of the number of keys that the query sees"}} {
		for i, s := range sums {
			per[i] = s / math.Pow(keys[i], of.exponent)
		}
		if c, ok := constant(per); ok && math.Abs(c-1) < 1e-3 {
			propose("the softmax is "+of.text, 0, func(row *softmaxRow) float64 { return math.Pow(float64(row.n), -of.exponent) })
		}
	}
	return all
}

// constant returns the mean of numbers that are one, to a thousandth; false if they are not, or
// are fewer than perNumber.
func constant(x []float64) (mean float64, ok bool) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	return mean, len(x) >= perNumber && !slices.ContainsFunc(x, func(v float64) bool { return !(math.Abs(v-mean) <= 1e-3*math.Abs(mean)) })
}

// stageName returns the parts of a stage's name.
func stageName(stage string) model.StageName {
	s, _ := model.ParseStage(stage)
	return s
}
