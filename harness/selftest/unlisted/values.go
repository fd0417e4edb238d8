package unlisted

import (
	"math"
	"slices"

	"checkpoint12/model"
)

// column changes one column of the right output.
func (s *site) column(at int, f func(row int, v float64) float64) []float32 {
	width := len(s.Right()) / (s.B * s.T)
	return s.edit(func(i int, v float64) float64 {
		if i%width == at {
			return f(i/width, v)
		}
		return v
	})
}

const (
	aColumn = "column|channel|unit|output|neuron"
)

var values = []Fault{
	{ID: "weight_with_flipped_bit", Stages: "h.*.mlp.c_fc", Words: []string{aColumn + "|weight", "7", "3"},
		Output: func(s *site) []float32 {
			w := s.weight("weight")[3*s.F+7]
			wrong := math.Float32frombits(math.Float32bits(w) ^ 1<<31)
			return s.column(7, func(row int, v float64) float64 {
				return v + float64(s.in(0)[row*s.C+3])*float64(wrong-w)
			})
		}},
	{ID: "bias_with_wrong_element", Stages: "h.1.attn.c_attn", Words: []string{aColumn + "|bias", "5"},
		Output: func(s *site) []float32 {
			return s.column(5, func(_ int, v float64) float64 { return v + 0.75 })
		}},
	{ID: "column_of_zeros", Stages: "h.*.mlp.c_fc", Words: []string{aColumn, "11", zeros},
		Output: func(s *site) []float32 { return s.column(11, func(int, float64) float64 { return 0 }) }},
	{ID: "column_of_neighbour", Stages: "h.*.mlp.c_proj", Words: []string{aColumn, "9", "10|neighbour|next"},
		Output: func(s *site) []float32 {
			return s.columns(s.Right(), func(c int) int {
				if c == 9 {
					return 10
				}
				return c
			})
		}},
	{ID: "columns_of_bias_alone", Stages: "h.*.mlp.c_fc", Number: share(hidden, 0.75), Words: []string{"bias", "#|column|channel|unit|output"},
		Output: func(s *site) []float32 {
			bias := s.weight("bias")
			return s.edit(func(i int, v float64) float64 {
				if c := i % s.F; c >= int(float64(s.F)*0.75) {
					return float64(bias[c])
				}
				return v
			})
		}},
	{ID: "tail_of_vocabulary_0", Stages: "logits", Number: share(vocab, 0.9), Words: []string{zeros + "|never", "#|id|ids|tail|vocab"},
		Output: func(s *site) []float32 {
			return s.edit(func(i int, v float64) float64 {
				if i%s.V >= int(float64(s.V)*0.9) {
					return 0
				}
				return v
			})
		}},
	{ID: "token_row_of_zeros", Stages: "wte", Words: []string{zeros, "row|position|token|id"},
		Output: func(s *site) []float32 {
			return s.edit(func(i int, v float64) float64 {
				if s.fed[0][i/s.C%s.T] == repeated(s.Config) {
					return 0
				}
				return v
			})
		}},
	{ID: "last_partial_sum_twice", Stages: "h.*.mlp.c_proj", Number: share(hidden, 0.75), Words: []string{double, "#|" + anInput},
		Output: func(s *site) []float32 {
			n := int(float64(s.F) * 0.75)
			return s.product(func(k int) float64 {
				if k >= n {
					return 2
				}
				return 1
			})
		}},
	{ID: "accumulator_not_cleared", Stages: "h.*.attn.c_proj", Words: []string{
		"position|row", "before|previous|accumul|added|sum|earlier|plus"},
		Output: func(s *site) []float32 {
			out := slices.Clone(s.Right())
			for i := s.C; i < len(out); i++ {
				out[i] += out[i-s.C]
			}
			return out
		}},
	{ID: "bias_added_by_every_split", Stages: "h.*.mlp.c_fc", Words: []string{"bias", "4|3|four|three"},
		Output: func(s *site) []float32 {
			bias := s.weight("bias")
			return s.edit(func(i int, v float64) float64 { return v + 3*float64(bias[i%s.F]) })
		}},
	{ID: "bias_subtracted_in_product", Stages: "h.*.mlp.c_proj", Words: []string{"bias", "-1|subtract|minus|sign|negat"},
		Output: func(s *site) []float32 {
			bias := s.weight("bias")
			return s.edit(func(i int, v float64) float64 { return v - 2*float64(bias[i%s.C]) })
		}},
	{ID: "slice_of_zeros_once", Stages: "h.1.attn.context", Words: []string{"position 4|row 4|4", zeros + "|never"},
		Output: func(s *site) []float32 {
			if s.P > 0 {
				return nil
			}
			return s.edit(func(i int, v float64) float64 {
				if i/s.C%s.T == 4 && i%s.C >= 8 && i%s.C < 16 {
					return 0
				}
				return v
			})
		}},
	{ID: "mlp_of_last_position_only", Stages: "h.*.mlp.c_proj", Not: []string{"written over", "comes later"}, Words: []string{zeros + "|never", "position|row|last|token"},
		Output: func(s *site) []float32 {
			return s.edit(func(i int, v float64) float64 {
				if i/s.C%s.T < s.T-1 {
					return 0
				}
				return v
			})
		}},
	{ID: "one_head_negated", Stages: "h.*.attn.context", Words: []string{"head", "-1|sign|minus|negat|subtract"},
		Output: func(s *site) []float32 {
			return s.edit(func(i int, v float64) float64 {
				if i%s.C/s.D == 1 {
					return -v
				}
				return v
			})
		}},
	{ID: "one_channel_scaled", Stages: "h.*.attn.c_attn", Number: func(c model.Config) float64 { return float64(13 % (c.Embd / c.Heads)) },
		Words:  []string{aColumn, "13|#", "1.5|0.667"}, // of a head
		Output: func(s *site) []float32 { return s.column(13, func(_ int, v float64) float64 { return 1.5 * v }) }},
	{ID: "values_absolute", Stages: "h.*.attn.v", Words: []string{"absolute|abs(|negative|below 0|less than 0"},
		Output: func(s *site) []float32 { return of(s.Right(), math.Abs) }},
	{ID: "first_of_batch_computed_alone", Stages: "h.*.mlp.act", Batch: 2, Words: []string{"row 1|batch", zeros + "|never"},
		Output: func(s *site) []float32 {
			return s.edit(func(i int, v float64) float64 {
				if i >= len(s.Right())/2 {
					return 0
				}
				return v
			})
		}},
	{ID: "embedding_in_8_bits", Stages: "wte", Words: []string{"int8|8 bits|8-bit|127|256|quantis"}, Not: []string{"float16"},
		Output: func(s *site) []float32 {
			most := 0.0
			for _, v := range s.weightOf("wte.weight") {
				most = max(most, math.Abs(float64(v)))
			}
			return s.edit(func(_ int, v float64) float64 { return math.Round(v/most*127) * most / 127 })
		}},
}
