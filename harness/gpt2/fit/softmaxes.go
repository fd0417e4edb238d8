package fit

import (
	"fmt"
	"math"
	"slices"

	"checkpoint12/model"
)

// otherSoftmaxes proposes other functions of a row of scores, which have no number in them.
func otherSoftmaxes(r *Row) (all []Hypothesis) {
	add := func(text string, f func(row *softmaxRow, out []float64)) {
		all = append(all, Hypothesis{ID: PatternSoftmax, Text: text, Output: ofRows(func(_ *Stage, row *softmaxRow, out []float64) { f(row, out) })})
	}
	each := func(f func(x float64) float64) func(row *softmaxRow, out []float64) {
		return func(row *softmaxRow, out []float64) {
			for j, x := range row.x {
				if out[j] = 0; !math.IsInf(x, -1) {
					out[j] = f(x)
				}
			}
		}
	}
	scaled := func(f func(row *softmaxRow, out []float64)) func(row *softmaxRow, out []float64) {
		return func(row *softmaxRow, out []float64) {
			f(row, out)
			if sum := sumOf(out); sum != 0 {
				for j := range out {
					out[j] /= sum
				}
			}
		}
	}
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	relu := func(x float64) float64 { return math.Max(x, 0) }
	add("the softmax is taken twice: of the probabilities once more", func(row *softmaxRow, out []float64) {
		for j, x := range row.x {
			if math.IsInf(x, -1) {
				out[j] = x
			}
		}
		normalise(out)
	})
	add("a sigmoid of each score stands in the place of the softmax", each(sigmoid))
	add("a sigmoid of each score, divided by their sum, stands in the place of the softmax", scaled(each(sigmoid)))
	add("every key has the same probability: no softmax, the mean of all", scaled(each(func(float64) float64 { return 1 })))
	add("every key has the same probability, the hidden ones too: no softmax and no mask", func(_ *softmaxRow, out []float64) {
		for j := range out {
			out[j] = 1 / float64(len(out))
		}
	})
	add("scores below 0 are cut to 0 and divided by their sum: no exponential is taken", scaled(each(relu)))
	add("scores are divided by their sum: no exponential is taken", scaled(each(func(x float64) float64 { return x })))
	add("the rows do not sum to 1: exponentials are not divided by their sum", each(math.Exp))
	add("the rows do not sum to 1: exponentials of what is below the maximum are not divided by their sum", func(row *softmaxRow, out []float64) {
		top := slices.Max(row.x)
		each(func(x float64) float64 { return math.Exp(x - top) })(row, out)
	})
	add("the logarithm of the softmax is put out", func(_ *softmaxRow, out []float64) {
		for j, p := range out {
			out[j] = math.Log(p)
		}
	})
	of := func(f func(x float64) float64) func(row *softmaxRow, out []float64) {
		return func(row *softmaxRow, out []float64) {
			for j, x := range row.x {
				if out[j] = x; !math.IsInf(x, -1) {
					out[j] = f(x)
				}
			}
			normalise(out)
		}
	}
	add("the softmax is of the absolute values of the scores", of(math.Abs))
	add("the softmax is of the squares of the scores", of(func(x float64) float64 { return x * x }))
	add("scores below 0 are cut to 0 before the softmax", of(relu))
	add("ln(1 + e^score), divided by their sum, stand in the place of the softmax", scaled(each(func(x float64) float64 { return math.Log1p(math.Exp(x)) })))
	add("squares of scores above 0, divided by their sum, stand in the place of the softmax", scaled(each(func(x float64) float64 { return relu(x) * relu(x) })))
	add("the whole probability goes to the largest score: argmax, no softmax", func(row *softmaxRow, out []float64) {
		for j := range out {
			out[j] = 0
			if rank(row.x, j) == 0 {
				out[j] = 1
			}
		}
	})
	add("hidden keys take part with a score of 0, and their probabilities are cut to 0 after the softmax: the rows do not sum to 1", func(row *softmaxRow, out []float64) {
		for j := range out {
			if out[j] = row.x[j]; math.IsInf(row.x[j], -1) {
				out[j] = 0
			}
		}
		normalise(out)
		for j, x := range row.x {
			if math.IsInf(x, -1) {
				out[j] = 0
			}
		}
	})
	if stageName(r.Name).Temperature == 0 {
		all = append(all, Hypothesis{ID: PatternSoftmax, Output: maskedAfter,
			Text: "the mask is applied after the softmax: hidden keys are in its sum, and the rows do not sum to 1; mask the scores"})
	}
	return all
}

// maskedAfter is the softmax over all keys, of which the hidden ones are then cut to 0.
func maskedAfter(s *Stage) []float32 {
	cfg, name := s.Model.Config(), stageName(s.Name)
	word := func(w string) string { return model.StageName{Layer: name.Layer, Word: w}.String() }
	q, k := s.In(word("attn.q")), s.In(word("attn.cache_k"))
	D, S := cfg.Embd/cfg.Heads, s.Dims.P+s.Dims.T
	if len(q) != s.Dims.B*s.Dims.T*cfg.Embd || len(k) != s.Dims.B*S*cfg.Embd || s.Dims.T < 2 {
		return nil
	}
	scale := cfg.AttentionScale(name.Layer)
	i := -1
	return ofRows(func(s *Stage, row *softmaxRow, out []float64) {
		i++
		query := q[i*D : (i+1)*D]
		for j := range out {
			out[j] = 0
			for c, v := range k[(i/s.Dims.T*S+j)*D:][:D] {
				out[j] += float64(query[c]) * float64(v) * scale
			}
		}
		normalise(out)
		for j := range out {
			if j > row.query {
				out[j] = 0
			}
		}
	})(s)
}

// distances proposes a term of the scores that grows with the distance from query to key.
func distances(r *Row) (all []Hypothesis) {
	cfg, name := r.Model.Config(), stageName(r.Name)
	if name.Temperature > 0 {
		return nil
	}
	slopes := make([]float64, cfg.Heads)
	for h := range slopes {
		k, ok := logSlope(r, true, func(row *softmaxRow, j int) float64 {
			if row.head != h || row.right[j] == 0 {
				return math.NaN()
			}
			return float64(row.query - j)
		})
		if !ok {
			return nil
		}
		slopes[h] = k
	}
	add := func(numbers int, text string, of func(head, distance int) float64) {
		all = append(all, Hypothesis{ID: PatternSoftmax, Text: text + noDistance, Numbers: numbers, Output: softmaxOf(func(row *softmaxRow, x []float64) {
			for j := range x {
				if j <= row.query {
					x[j] += of(row.head, row.query-j)
				}
			}
		})})
	}
	headSlopes(cfg, name.Layer, slopes, func(numbers int, text string, of func(h int) float64) {
		add(numbers, text, func(head, distance int) float64 { return of(head) * float64(distance) })
	})
	terms := newByPosition() // by the distance, over that of the query's own key
	softmaxRows(&r.Stage, r, r.ofPart(func(row *softmaxRow, lo int) {
		if row.query >= len(row.known) || !row.known[row.query] {
			return
		}
		own := math.Log(row.got[row.query] / row.right[row.query])
		for j, known := range row.known[:row.query] {
			if w := row.got[j] * row.got[j]; known && row.right[j] > 0 {
				terms.sum(lo, row.query-j, w, w*(math.Log(row.got[j]/row.right[j])-own), row.got[j]*r.rounding(lo+j))
			}
		}
	}))
	for _, c := range terms.courses("d", 0) {
		if c.where != "" && !terms.repeated {
			continue // any numbers are a function of the distance
		}
		add(c.numbers, "the scores have "+c.text+" added, at the distance d from query to key"+c.where, func(_, distance int) float64 {
			k, known := c.of(distance)
			switch {
			case distance == 0 && !known:
				return 0
			case !known:
				return math.NaN()
			}
			return k
		})
	}
	return all
}

// A cap is a function of a row's scores with one number in it.
type cap struct {
	text   string // with %s for the number
	of     func(x, top, c float64) float64
	from   func(x, top float64) float64 // the numbers of which it may be one: all from the least to the largest
	factor float64                      // or that many times as large
}

func absolute(x, _ float64) float64 { return math.Abs(x) }

func itself(x, _ float64) float64 { return x }

var caps = []cap{
	{"the scores are capped softly before the softmax: %[1]s·tanh(score/%[1]s); GPT-2 caps none",
		func(x, _, c float64) float64 { return c * math.Tanh(x/c) }, absolute, 16},
	{"the scores are capped at %s before the softmax: GPT-2 caps none",
		func(x, _, c float64) float64 { return math.Min(x, c) }, itself, 1},
	{"the scores are capped at %s from below before the softmax: GPT-2 caps none",
		func(x, _, c float64) float64 { return math.Max(x, c) }, itself, 1},
	{"the scores are clipped at ±%s before the softmax: GPT-2 clips none",
		func(x, _, c float64) float64 { return math.Max(-c, math.Min(x, c)) }, absolute, 1},
	{"the scores less the row's largest are capped at %s from below before the softmax: GPT-2 caps none",
		func(x, top, c float64) float64 { return math.Max(x-top, c) }, func(x, top float64) float64 { return x - top }, 1},
}

// A logged is the logarithm of what the engine has for a score of a row, and what it weighs.
type logged struct{ y, x, w float64 }

// logs returns those of a sample of rows with the largest score of each.
func (r *Row) logs() (rows [][]logged, tops []float64) {
	width := r.Dims.P + r.Dims.T
	if stageName(r.Name).Temperature > 0 {
		width = r.Model.Config().Vocab
	}
	every, some := max(1, len(r.Got)/mostRead/max(1, width/mostRead)), max(1, width/mostRead)
	i := 0
	softmaxRows(&r.Stage, r, r.ofPart(func(row *softmaxRow, _ int) {
		if i++; i%every > 0 && every > 1 {
			return
		}
		var all []logged
		for j := 0; j < len(row.known); j += some {
			if row.known[j] && row.x[j]-row.x[j] == 0 {
				all = append(all, logged{math.Log(row.got[j]), row.x[j], row.got[j] * row.got[j]})
			}
		}
		if len(all) > 1 {
			rows, tops = append(rows, all), append(tops, slices.Max(row.x))
		}
	}))
	return rows, tops
}

// cappedScores proposes softmaxes of a function of each score with a number in it: that by which least is
// left of the logarithms within rows.
func cappedScores(r *Row) (all []Hypothesis) {
	rows, tops := r.logs()
	for _, f := range caps {
		var at []float64
		for i, row := range rows {
			for _, v := range row {
				at = append(at, f.from(v.x, tops[i]))
			}
		}
		if len(at) < 2*perNumber {
			continue
		}
		left := func(c float64) (sum float64) {
			for i, row := range rows {
				var line regression
				for _, v := range row {
					line.add(0, v.y-f.of(v.x, tops[i], c), v.w)
				}
				sum += line.yy - line.y*line.y/line.w
			}
			return sum
		}
		lo, hi := slices.Min(at), slices.Max(at)*f.factor
		if f.factor > 1 {
			lo = hi / f.factor / 4
		}
		const cells = 64
		best, step := lo, (hi-lo)/cells
		for i := range cells + 1 {
			c := lo + float64(i)*step
			if f.factor > 1 {
				c = lo * math.Pow(hi/lo, float64(i)/cells)
			}
			if left(c) < left(best) {
				best = c
			}
		}
		if f.factor > 1 {
			step = best * (math.Pow(hi/lo, 1.0/cells) - 1)
		}
		for lo, hi := best-step, best+step; hi-lo > 1e-7*(math.Abs(best)+sameNumber); {
			a, b := lo+(hi-lo)*0.382, lo+(hi-lo)*0.618
			if left(a) < left(b) {
				hi = b
			} else {
				lo = a
			}
			best = (lo + hi) / 2
		}
		for i, c := range written(best) {
			all = append(all, Hypothesis{ID: PatternSoftmax, Numbers: 1 + i, Text: fmt.Sprintf(f.text, decimal(c)), Output: softmaxOf(func(row *softmaxRow, x []float64) {
				top := slices.Max(row.x)
				for j, v := range x {
					if !math.IsInf(v, 0) {
						x[j] = f.of(v, top, c)
					}
				}
			})})
		}
	}
	return all
}

// mixed proposes the softmax mixed with equal probabilities of what a row sees.
func mixed(r *Row) (all []Hypothesis) {
	var got, right, equal []float64
	softmaxRows(&r.Stage, r, r.ofPart(func(row *softmaxRow, _ int) {
		for j, g := range row.got {
			if row.x[j]-row.x[j] == 0 && row.n > 1 && g-g == 0 {
				got, right, equal = append(got, g), append(right, row.right[j]), append(equal, 1/float64(row.n))
			}
		}
	}))
	c := linear(got, right, equal)
	if c == nil || math.Abs(c[1]) < sameNumber {
		return nil
	}
	b := written(c[1])
	for i, a := range written(c[0]) {
		b := b[min(i, len(b)-1)]
		all = append(all, Hypothesis{ID: PatternSoftmax, Numbers: 2 + 2*i,
			Text: fmt.Sprintf("the output is %s times the softmax plus %s/n, the mean over the n that the row sees", decimal(a), decimal(b)),
			Output: ofRows(func(_ *Stage, row *softmaxRow, out []float64) {
				for j, p := range out {
					if !math.IsInf(row.x[j], -1) {
						out[j] = a*p + b/float64(row.n)
					}
				}
			})})
	}
	return all
}
