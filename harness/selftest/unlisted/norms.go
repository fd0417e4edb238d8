package unlisted

import (
	"math"
	"slices"

	"checkpoint12/model"
)

const (
	theGain = "gain|gamma|weight"
	theBias = "bias|beta|shift"
	perRow  = "row|position|token"
	epsilon = "eps|epsilon"
	toSee   = "the variance is far above epsilon unless config.json has a large one"
)

var norms = []Fault{
	{ID: "eps_outside_root", Stages: "h.*.ln_1", Identity: toSee,
		Words: []string{epsilon, "outside|after the root|root|std|deviation|√"},
		Output: func(s *site) []float32 {
			return s.normalised(func(x []float64) (float64, float64) {
				m, v := moments(x)
				return m, 1 / (math.Sqrt(v) + s.Eps)
			})
		}},
	{ID: "eps_tenfold", Stages: "h.0.ln_1", Identity: toSee,
		Number: func(c model.Config) float64 { return 10 * c.Eps },
		Words:  []string{epsilon, "#|10"},
		Output: func(s *site) []float32 {
			return s.normalised(func(x []float64) (float64, float64) {
				m, v := moments(x)
				return m, 1 / math.Sqrt(v+10*s.Eps)
			})
		}},
	{ID: "mean_absolute_deviation", Stages: "h.*.ln_2",
		Words: []string{perRow + "|scale|factor", "variance|deviation|scale|factor|divi"},
		Output: func(s *site) []float32 {
			return s.normalised(func(x []float64) (float64, float64) {
				m, _ := moments(x)
				sum := 0.0
				for _, v := range x {
					sum += math.Abs(v-m) / float64(len(x))
				}
				return m, 1 / sum
			})
		}},
	{ID: "mean_half_kept", Stages: "h.*.ln_1", Words: []string{"mean", half + "|part|partly"},
		Output: func(s *site) []float32 {
			return s.normalised(func(x []float64) (float64, float64) {
				m, v := moments(x)
				return m / 2, 1 / math.Sqrt(v+s.Eps)
			})
		}},
	{ID: "rms_norm", Stages: "h.*.ln_2", Words: []string{"rms|root mean square|mean square|mean", "subtract|kept|rms|mean"},
		Output: func(s *site) []float32 {
			return s.normalised(func(x []float64) (float64, float64) {
				m, v := moments(x)
				return 0, 1 / math.Sqrt(v+m*m+s.Eps)
			})
		}},
	{ID: "norm_twice", Stages: "ln_f", Words: []string{"twice|two times|again|a second time|own output"},
		Output: func(s *site) []float32 { return s.compute(s.Stage, s.Right()) }},
	{ID: "gain_squared", Stages: "h.*.ln_1", Words: []string{theGain, "square|twice|²|^2|times itself"},
		Output: func(s *site) []float32 {
			return s.affine(func(_ int, v, g, b float64) float64 { return v*g*g + b })
		}},
	{ID: "gain_plus_one", Stages: "h.*.ln_*", Words: []string{theGain, "1+|1 +|+ 1|+1|plus 1|plus one|one more|added 1|1 is added"},
		Output: func(s *site) []float32 {
			return s.affine(func(_ int, v, g, b float64) float64 { return v*(1+g) + b })
		}},
	{ID: "gain_rolled", Stages: "h.*.ln_2", Words: []string{theGain, "channel|roll|shift|neighbour|next|by one|by 1|column|another order"},
		Output: func(s *site) []float32 {
			gain := s.weight("weight")
			return s.affine(func(c int, v, _, b float64) float64 { return v*float64(gain[(c+1)%s.C]) + b })
		}},
	{ID: "bias_negated", Stages: "h.*.ln_1", Words: []string{theBias, "-1|subtract|minus|sign|negat"},
		Output: func(s *site) []float32 {
			return s.affine(func(_ int, v, g, b float64) float64 { return v*g - b })
		}},
	{ID: "bias_twice_in_norm", Stages: "ln_f", Words: []string{theBias, double},
		Output: func(s *site) []float32 {
			return s.affine(func(_ int, v, g, b float64) float64 { return v*g + 2*b })
		}},
	{ID: "bias_before_gain", Stages: "h.*.ln_2", Words: []string{theBias, "gain|gamma|weight|multiplied|before"},
		Output: func(s *site) []float32 {
			return s.affine(func(_ int, v, g, b float64) float64 { return (v + b) * g })
		}},
	{ID: "bias_of_other_norm", Stages: "h.*.ln_2", Words: []string{theBias, "ln_1"},
		Output: func(s *site) []float32 {
			other := s.weightOf(s.block("ln_1") + ".bias")
			return s.affine(func(c int, v, g, _ float64) float64 { return v*g + float64(other[c]) })
		}},
	{ID: "norms_of_layers_swapped", Stages: "h.0.ln_1", Words: []string{"h.1.ln_1|layer 1|next layer|layer +1"},
		Output: func(s *site) []float32 { return s.compute("h.1.ln_1", s.in(0)) }},
	{ID: "ln_2_of_layer_below", Stages: "h.1.ln_2", Words: []string{"h.0.ln_2|layer 0|layer -1|layer below|layer before|previous layer"},
		Output: func(s *site) []float32 { return s.compute("h.0.ln_2", s.in(0)) }},
	{ID: "norm_over_half", Stages: "h.*.ln_1",
		Number: func(c model.Config) float64 { return float64(c.Embd / 2) },
		Words:  []string{half + "|#|C/2|part|first", "mean|variance|deviation|statistic|norm|channel"},
		Output: func(s *site) []float32 {
			return s.normalised(func(x []float64) (float64, float64) {
				m, v := moments(x[:len(x)/2])
				return m, 1 / math.Sqrt(v+s.Eps)
			})
		}},
	{ID: "norm_per_head", Stages: "h.*.ln_1", Words: []string{"head|group|block of|blocks of|D channels|parts"},
		Output: func(s *site) []float32 {
			return s.norm(func(x []float64) {
				for part := range slices.Chunk(x, s.D) {
					m, v := moments(part)
					for i := range part {
						part[i] = (part[i] - m) / math.Sqrt(v+s.Eps)
					}
				}
			}, func(_ int, v, g, b float64) float64 { return v*g + b })
		}},
	{ID: "norm_over_positions_too", Stages: "h.*.ln_2", Words: []string{
		"position|rows|T and C|all tokens|together", "mean|variance|deviation|statistic|scale|shift|norm"},
		Output: func(s *site) []float32 {
			var all []float64
			for _, v := range s.in(0) {
				all = append(all, float64(v))
			}
			m, v := moments(all)
			return s.normalised(func([]float64) (float64, float64) { return m, 1 / math.Sqrt(v+s.Eps) })
		}},
	{ID: "fast_inverse_root", Stages: "h.*.ln_2", Words: []string{perRow + "|scale|factor", "root|rsqrt|scale|factor|variance|deviation"},
		Output: func(s *site) []float32 {
			return s.normalised(func(x []float64) (float64, float64) {
				m, v := moments(x)
				h := float32(v + s.Eps)
				y := math.Float32frombits(0x5f3759df - math.Float32bits(h)>>1)
				return m, float64(y * (1.5 - 0.5*h*y*y))
			})
		}},
	{ID: "statistics_of_first_row", Stages: "h.1.ln_2", Words: []string{
		"position|row|first|step", "mean|variance|deviation|statistic|scale|shift"},
		Output: func(s *site) []float32 {
			var first []float64
			for _, v := range s.in(0)[:s.C] {
				first = append(first, float64(v))
			}
			m, v := moments(first)
			return s.normalised(func([]float64) (float64, float64) { return m, 1 / math.Sqrt(v+s.Eps) })
		}},
	{ID: "query_rows_normalised", Stages: "h.*.attn.q", Words: []string{perRow + "|head|length", "norm|length|scale|factor|unit"},
		Output: func(s *site) []float32 {
			out := slices.Clone(s.Right())
			for row := range slices.Chunk(out, s.D) {
				sum := 0.0
				for _, v := range row {
					sum += float64(v) * float64(v)
				}
				for i := range row {
					row[i] /= float32(math.Sqrt(sum / float64(s.D)))
				}
			}
			return out
		}},
}
