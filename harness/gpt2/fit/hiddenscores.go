package fit

import (
	"fmt"
	"math"
	"slices"

	"checkpoint12/model"
)

func init() {
	searches["attn.scores"] = append(searches["attn.scores"], otherMasks)
	blind["attn.scores"] = append(blind["attn.scores"], onDiagonal, otherMasks)
}

// onDiagonal proposes numbers that are added to the score of each query with its own key, where the
// dump lacks the scores.
func onDiagonal(r *Row) (all []Hypothesis) {
	c := r.chain()
	right := r.In(r.Name)
	if c == nil || len(right) == 0 {
		return nil
	}
	for _, k := range []float32{1, -1, 2, -2, 5, -5, 10, -10, 0.5, -0.5, 0.1, -0.1} {
		output := func(right []float32, s *Stage) []float32 {
			out := slices.Clone(right)
			if !scoreRows(s, out, func(row *softmaxRow, lo int) { out[lo+row.query] += k }) {
				return nil
			}
			return out
		}
		if x := output(right, &r.Stage); x != nil && c.gives(map[string][]float32{r.Name: x}) {
			return []Hypothesis{{ID: PatternScores, Numbers: 1, Output: func(s *Stage) []float32 { return output(s.Correct(), s) },
				Text: fmt.Sprintf("the score of each query with its own key, on the diagonal, has %v added: GPT-2 adds nothing", k)}}
		}
	}
	return nil
}

// otherMasks proposes scores in which some keys after the query are not hidden, by the last position
// that is wrong: a position that sees all of these keys is right.
func otherMasks(r *Row) (all []Hypothesis) {
	cfg, T, end := r.Model.Config(), r.Dims.T, r.End
	if end == nil {
		end = r
	}
	if end.Got == nil || end.Part != nil || T < 2 || r.Dims.P > 0 || end.Whole != nil || len(end.Got)%(r.Dims.B*T) != 0 {
		return nil
	}
	last, width := -1, len(end.Got)/(r.Dims.B*T) // the last wrong position
	if end == r {
		width = T // of [B,H,T,S]
	}
	for i, v := range end.Got {
		if math.Abs(float64(v)-float64(end.Right[i])) > end.bound(i) {
			last = max(last, i/width%T)
		}
	}
	if last < 0 || last == T-1 {
		return nil
	}
	add := func(numbers int, text string, of func(s *Stage, query, key int, v float64) float64) {
		all = append(all, Hypothesis{ID: PatternScores, Text: text, Numbers: numbers, Output: func(s *Stage) []float32 {
			reads := model.Reads(cfg, s.Name)
			q, k, out := s.In(reads[0]), s.In(reads[1]), slices.Clone(s.Correct())
			D, S, scale := cfg.Embd/cfg.Heads, s.Dims.P+s.Dims.T, cfg.AttentionScale(stageName(s.Name).Layer)
			if len(q) != s.Dims.B*s.Dims.T*cfg.Embd || len(k) != s.Dims.B*S*cfg.Embd || len(out) != len(q)/D*S {
				return nil
			}
			for i := range out {
				query, key := s.Dims.P+i/S%s.Dims.T, i%S
				if key <= query {
					continue
				}
				sum := 0.0
				for d, v := range q[i/S*D:][:D] {
					sum += float64(v) * float64(k[(i/S/s.Dims.T*S+key)*D+d])
				}
				out[i] = float32(of(s, query, key, sum*scale))
			}
			return out
		}})
	}
	if last == T-2 {
		add(0, "the scores of hidden keys are 0, not -inf: they keep a probability; add the mask, do not multiply by it", func(*Stage, int, int, float64) float64 { return 0 })
	}
	n := last + 2
	add(1, fmt.Sprintf("each of the first %d positions sees all of these, those after it too: a prefix without a causal mask", n), func(_ *Stage, query, key int, v float64) float64 {
		if query < n && key < n {
			return v
		}
		return math.Inf(-1)
	})
	return all
}
