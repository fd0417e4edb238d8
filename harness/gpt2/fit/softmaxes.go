package fit

import (
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
				terms.add(lo, row.query-j, w, w*(math.Log(row.got[j]/row.right[j])-own))
			}
		}
	}))
	for _, c := range terms.courses("d", 0) {
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
