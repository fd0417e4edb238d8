package unlisted

import (
	"math"
	"slices"

	"checkpoint12/model"
)

// hide puts -inf at keys that a query of the causal mask sees.
func (s *site) hide(hidden func(q query, key int) bool) []float32 {
	return s.queries(s.Right(), func(q query, row []float64) {
		for key := range q.seen {
			if hidden(q, key) {
				row[key] = -inf
			}
		}
	})
}

// biased adds a term to scores that are not masked.
func (s *site) biased(term func(q query, key int) float64) []float32 {
	return s.queries(s.Right(), func(q query, row []float64) {
		for key := range q.seen {
			row[key] += term(q, key)
		}
	})
}

// largest keeps the n largest values of a row.
func largest(row []float64, n int) {
	sorted := slices.Sorted(slices.Values(row))
	for i, v := range row {
		if len(row) > n && v < sorted[len(row)-n] {
			row[i] = 0
		}
	}
}

// sumTo divides a row by its sum.
func sumTo1(row []float64) {
	sum := 0.0
	for _, v := range row {
		sum += v
	}
	for i := range row {
		row[i] /= sum
	}
}

const (
	slope  = "scores|slope|temperature|scale|factor|times|divided|multiplied"
	rowSum = "sum|add up|normalis|denominator"
	aKey   = "key|position|column"
)

var softmaxes = []Fault{
	{ID: "softmax_base_2", Stages: "h.*.attn.probs", Number: number(math.Ln2),
		Words:  []string{"#|1/#|base 2|2^|ln 2|ln(2)|ln2|log 2|exp2"},
		Output: func(s *site) []float32 { return s.softmaxOf(func(v float64) float64 { return v * math.Ln2 }) }},
	{ID: "softmax_temperature", Stages: "h.*.attn.probs", Words: []string{"0.8|1.25", slope},
		Output: func(s *site) []float32 { return s.softmaxOf(func(v float64) float64 { return v * 0.8 }) }},
	{ID: "scores_divided_again", Stages: "h.*.attn.probs", Number: rootHead,
		Words: []string{"#|1/#|√D|sqrt(D)|√(D)|by D", slope}, Alike: []string{"scale_d"}, // without scores
		Output: func(s *site) []float32 { return s.softmaxOf(func(v float64) float64 { return v / rootHead(s.Config) }) }},
	{ID: "softmax_off_by_one", Stages: "h.*.attn.probs",
		Words: []string{"+1|+ 1|plus 1|plus one|a 1 |one in the|1 in the|1 is added|1 more|off by one", rowSum + "|softmax"},
		Output: func(s *site) []float32 {
			return s.queries(s.in(0), func(_ query, row []float64) { softmax(row, 1) })
		}},
	{ID: "masked_after_softmax", Stages: "h.*.attn.probs", Words: []string{rowSum + "|ratio"},
		Output: func(s *site) []float32 {
			q, k := s.here("attn.q"), s.here("attn.cache_k")
			r := -1
			return s.queries(s.in(0), func(at query, row []float64) {
				r++
				h := r / s.T
				for key := range row {
					sum := 0.0
					for d := range s.D {
						sum += float64(q[(h*s.T+r%s.T)*s.D+d]) * float64(k[(h*s.S+key)*s.D+d])
					}
					row[key] = sum / rootHead(s.Config)
				}
				softmax(row, 0)
				clear(row[at.seen:])
			})
		}},
	{ID: "top_3_probs_kept", Stages: "h.*.attn.probs", Words: []string{"3", "largest|top|highest|most probable"},
		Output: func(s *site) []float32 {
			return s.queries(s.Right(), func(_ query, row []float64) { largest(row, 3); sumTo1(row) })
		}},
	{ID: "small_probs_cut", Stages: "h.*.attn.probs", Words: []string{"0", "below|smaller|less than|under|small|threshold|lowest"},
		Output: func(s *site) []float32 {
			return s.edit(func(_ int, v float64) float64 {
				if v < 0.02 {
					return 0
				}
				return v
			})
		}},
	{ID: "key_2_dropped", Stages: "h.*.attn.probs", Words: []string{aKey, "2", "0|zero|dropped|left out|missing|lost"},
		Output: func(s *site) []float32 {
			return s.queries(s.Right(), func(q query, row []float64) {
				if q.position > 2 {
					row[2] = 0
				}
			})
		}},
	{ID: "probs_squared", Stages: "h.*.attn.probs", Words: []string{"2|twice|squared|square|0.5|half", slope + "|squared|square"},
		Output: func(s *site) []float32 { return s.softmaxOf(func(v float64) float64 { return v * 2 }) }},
	{ID: "row_ratio", Stages: "h.*.attn.probs", Words: []string{rowSum + "|ratio|factor", "row|quer|position"},
		Output: func(s *site) []float32 {
			return s.queries(s.Right(), func(q query, row []float64) {
				for i := range row {
					row[i] *= 1 + 0.1*float64(q.position%4)
				}
			})
		}},
	{ID: "alibi", Stages: "h.*.attn.scores", Words: []string{"distance|alibi|relative|linear in|apart|away"},
		Output: func(s *site) []float32 {
			return s.biased(func(q query, key int) float64 {
				return -math.Pow(2, -8*float64(q.head+1)/float64(s.H)) * float64(q.position-key)
			})
		}},
	{ID: "relative_bias", Stages: "h.*.attn.scores", Words: []string{"distance|relative|apart|away"},
		Output: func(s *site) []float32 {
			return s.biased(func(q query, key int) float64 { return math.Sin(float64(3*(q.position-key) + q.head)) })
		}},
	{ID: "sliding_window_of_4", Stages: "h.*.attn.scores", Words: []string{
		"window|distance|last 4|older|farther|far|nearest|before|behind|away", "4|3|four|three"}, Not: []string{"overflow"},
		Output: func(s *site) []float32 {
			return s.hide(func(q query, key int) bool { return q.position-key >= 4 })
		}},
	{ID: "first_key_hidden", Stages: "h.*.attn.scores", Words: []string{"key 0|first key|position 0|column 0|sink"}, Not: []string{"overflow"},
		Output: func(s *site) []float32 {
			return s.hide(func(q query, key int) bool { return key == 0 && q.position > 0 })
		}},
	{ID: "first_key_lost_after_8", Stages: "h.*.attn.scores", From: 1, Words: []string{
		"key 0|first key|position 0|column 0|oldest|window"}, Not: []string{"overflow"},
		Output: func(s *site) []float32 {
			return s.hide(func(q query, key int) bool { return key < q.seen-7 })
		}},
	{ID: "logit_softcap_scores", Stages: "h.*.attn.scores", Words: []string{"tanh|cap|capped|softcap|saturat|flat|bounded|function of"},
		Output: func(s *site) []float32 { // before the mask
			return s.queries(s.Right(), func(q query, row []float64) {
				for key := range q.seen {
					row[key] = capped(row[key], 5)
				}
			})
		}},
	{ID: "scores_over_layer", Stages: "h.*.attn.scores", Words: []string{"layer|inverse_layer|" + half, half + "|layer+1|layer + 1|N+1|N + 1|inverse_layer|2"},
		Alike: []string{"scale_c"}, // in layer 1 of four heads
		Output: func(s *site) []float32 {
			return s.edit(func(_ int, v float64) float64 { return v / float64(s.layer+1) })
		}},
	{ID: "scale_of_one_head", Stages: "h.*.attn.scores", Words: []string{"head", "1.1|0.909"},
		Output: func(s *site) []float32 {
			return s.queries(s.Right(), func(q query, row []float64) {
				for i := range row {
					if q.head == 1 {
						row[i] *= 1.1
					}
				}
			})
		}},
	{ID: "quarter_roots_on_q_alone", Stages: "h.*.attn.scores", Number: func(c model.Config) float64 { return math.Sqrt(rootHead(c)) },
		Words: []string{"#|1/#|D^0.25|D^-0.25|D^(1/4)|√√D|fourth root"},
		Output: func(s *site) []float32 {
			return s.edit(func(_ int, v float64) float64 { return v * math.Sqrt(rootHead(s.Config)) })
		}},
	{ID: "table_of_exponentials", Stages: "h.*.attn.probs", Words: []string{"table|step|rounded|grid|quantis|entries|function of|exp|few values|sum"},
		Output: func(s *site) []float32 {
			return s.queries(s.in(0), func(_ query, row []float64) {
				top := slices.Max(row)
				for i, v := range row {
					row[i] = math.Exp(math.Round((v-top)*16) / 16)
				}
				sumTo1(row)
			})
		}},
	{ID: "rotary_positions_too", Stages: "h.*.attn.[qk]", Words: []string{"rotat|rope|rotary|angle"},
		Output: func(s *site) []float32 {
			out, x := slices.Clone(s.Right()), s.Right()
			for r := range len(x) / s.D {
				for i := range s.D / 2 {
					sin, cos := math.Sincos(float64(s.P+r%s.T) * math.Pow(10000, -2*float64(i)/float64(s.D)))
					a, b := float64(x[r*s.D+i]), float64(x[r*s.D+s.D/2+i])
					out[r*s.D+i], out[r*s.D+s.D/2+i] = float32(a*cos-b*sin), float32(a*sin+b*cos)
				}
			}
			return out
		}},
	{ID: "temperature_after_softmax", Stages: "probs_t0.5", Words: []string{rowSum}, Not: []string{"never computed"},
		NotFromModules: "no module puts probabilities of tokens out",
		Output: func(s *site) []float32 {
			return of(s.compute("probs_t1", s.in(0)), func(v float64) float64 { return v * v })
		}},
	{ID: "top_50_tokens", Stages: "probs_t*", Words: []string{"50", "largest|top|highest|most probable"},
		NotFromModules: "no module puts probabilities of tokens out",
		Output: func(s *site) []float32 {
			var out []float32
			for row := range slices.Chunk(s.Right(), s.V) {
				wide := make([]float64, s.V)
				for i, v := range row {
					wide[i] = float64(v)
				}
				largest(wide, 50)
				sumTo1(wide)
				for _, v := range wide {
					out = append(out, float32(v))
				}
			}
			return out
		}},
}
