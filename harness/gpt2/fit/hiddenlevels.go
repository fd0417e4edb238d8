package fit

import (
	"fmt"
	"math"
	"slices"
)

func init() {
	blind["attn.cache_k"] = append(blind["attn.cache_k"], hiddenRoundings)
	blind["attn.probs"] = append(blind["attn.probs"], hiddenSteps)
}

// A rowRounding is what the values of each row of a tensor may be rounded to.
type rowRounding struct {
	text string
	of   func(row []float32)
}

// rowRoundings lists those that engines store keys and values in.
func rowRoundings() (all []rowRounding) {
	for _, n := range slices.Concat(float16s, float8s) {
		all = append(all, rowRounding{"the output is rounded to " + n.text, func(row []float32) {
			for i, v := range row {
				row[i] = float32(n.round(float64(v)))
			}
		}})
	}
	for _, most := range []float64{127, 7} {
		text := fmt.Sprintf("the output is rounded to %v bits, integers times the largest absolute value of each row over %v", math.Log2(most+1)+1, most)
		all = append(all, rowRounding{text, func(row []float32) {
			var top float32
			for _, v := range row {
				top = max(top, v, -v)
			}
			if h := float64(float32(float64(top) / most)); h > 0 {
				for i, v := range row {
					row[i] = float32(math.RoundToEven(float64(v)/h) * h)
				}
			}
		}})
	}
	return all
}

// hiddenRoundings proposes that the rows of caches that the dump lacks, or those of earlier steps
// alone, are stored in few bits.
func hiddenRoundings(r *Row) (all []Hypothesis) {
	x, ok := r.hiddenCaches()
	if !ok {
		return nil
	}
	for _, to := range rowRoundings() {
		whole := Hypothesis{ID: PatternLevels, Text: to.text + ": keep it in float32", Stages: bothCaches,
			Output: ofHeads(func(row []float32, _ int) { to.of(row) })}
		for _, h := range []Hypothesis{whole, past.alone(whole)} {
			if x.give(func(right []float32) []float32 {
				s := r.Stage
				s.Correct = func() []float32 { return right }
				return h.Output(&s)
			}) {
				return append(all, h)
			}
			if r.Dims.P == 0 {
				break
			}
		}
	}
	return all
}

// hiddenSteps proposes that probabilities that the dump lacks are multiples of a fixed step.
func hiddenSteps(r *Row) []Hypothesis {
	c, p := r.chain(), (*values)(nil)
	if r.Recovered {
		p = newValues(r)
	}
	right := r.In(r.Name)
	if c == nil && p == nil || len(right) == 0 {
		return nil
	}
	for _, n := range []float64{255, 256, 127, 128, 1023, 1024, 32767, 32768, 65535, 65536, 100, 1000, 15, 16} {
		of := func(v float32) float32 { return float32(math.RoundToEven(float64(v)*n) / n) }
		output := func(right []float32) []float32 {
			out := make([]float32, len(right))
			for i, v := range right {
				out[i] = of(v)
			}
			return out
		}
		if p != nil && p.holds(func(i int) float64 { return float64(of(right[i])) }) ||
			p == nil && c.gives(map[string][]float32{r.Name: output(right)}) {
			return []Hypothesis{{ID: PatternLevels, Numbers: 1, Output: func(s *Stage) []float32 { return output(s.Correct()) },
				Text: fmt.Sprintf("the output is rounded to multiples of 1/%v, a fixed step whatever their size: keep it in float32", n)}}
		}
	}
	return nil
}
