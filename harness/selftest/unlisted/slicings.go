package unlisted

import (
	"math"
	"slices"

	"checkpoint12/model"
)

// positions returns rows of wpe.
func (s *site) positions(of func(position int) int) []float32 {
	wpe, out := s.weightOf("wpe.weight"), []float32{}
	for t := range s.T {
		out = append(out, wpe[of(s.P+t)*s.C:][:s.C]...)
	}
	return out
}

// tokens returns rows of wte.
func (s *site) tokens(of func(b, id int) int) []float32 {
	wte, out := s.weightOf("wte.weight"), []float32{}
	for b, row := range s.fed {
		for _, id := range row {
			out = append(out, wte[of(b, id)*s.C:][:s.C]...)
		}
	}
	return out
}

// ofRow0 gives every row of the batch what row 0 has.
func (s *site) ofRow0() []float32 {
	return moved(s.Right(), len(s.Right())/s.B, func(int) int { return 0 })
}

// columns returns x [B,T,width] with its columns moved.
func (s *site) columns(x []float32, from func(column int) int) []float32 {
	width := len(x) / (s.B * s.T)
	return moved(x, 1, func(i int) int { return i/width*width + from(i%width) })
}

// positionsOf returns a cache [B,H,S,D] with its positions moved.
func (s *site) positionsOf(x []float32, from func(position int) int) []float32 {
	return moved(x, s.D, func(i int) int { return i/s.S*s.S + from(i%s.S) })
}

// shard is the column of c_attn where two shards lie one after the other, each with its q, k
// and v, that is read as this column.
func (s *site) shard(column int) int {
	third, rest, w := column/s.C, column%s.C, s.C/2
	return rest/w*3*w + third*w + rest%w
}

const (
	aRow    = "row|position|wpe"
	ofRow0s = "row 0|first row|other row|another row"
	aHead   = "head"
)

var slicings = []Fault{
	{ID: "positions_wrap_at_4", Stages: "wpe", From: 1, Words: []string{"wrap|mod |modulo|% 4|& 3|row 2|position 2|wpe[2|mod 4|by 4|4"},
		Output: func(s *site) []float32 { return s.positions(func(p int) int { return p % 4 }) }},
	{ID: "positions_clamped_at_5", Stages: "wpe", From: 1, Words: []string{"5", "clamp|clip|row|position|wpe[|limit|at most|never above"}, Not: []string{"not written again"},
		Output: func(s *site) []float32 { return s.positions(func(p int) int { return min(p, 5) }) }},
	{ID: "positions_plus_2", Stages: "wpe", Words: []string{"2|two", aRow + "|late|offset"},
		Output: func(s *site) []float32 { return s.positions(func(p int) int { return p + 2 }) }},
	{ID: "positions_one_less_when_decoding", Stages: "wpe", From: 1, Words: []string{
		"P-1|P - 1|early|less|before|-1|previous|row 5|position 5|wpe[5|wpe row 5"},
		Output: func(s *site) []float32 { return s.positions(func(p int) int { return p - 1 }) }},
	{ID: "positions_reversed", Stages: "wpe", Words: []string{"revers|backward|order|row|position 5"},
		Output: func(s *site) []float32 {
			if s.T == 1 {
				return nil
			}
			return s.positions(func(p int) int { return s.T - 1 - p })
		}},
	{ID: "positions_of_sines", Stages: "wpe", Words: []string{"sin|not a row|no row|none of|not in the table|other table"},
		Output: func(s *site) []float32 {
			return s.edit(func(i int, _ float64) float64 {
				c := i % s.C
				angle := float64(s.P+i/s.C) * math.Pow(10000, -float64(c/2*2)/float64(s.C))
				return math.Sin(angle + float64(c%2)*math.Pi/2)
			})
		}},
	{ID: "ids_plus_1", Stages: "wte", Number: func(c model.Config) float64 { return float64(tokens(c, 1)[0][0] + 1) },
		Words:  []string{"1|one|next|#", "id|row|token|ids|wte["},
		Output: func(s *site) []float32 { return s.tokens(func(_, id int) int { return (id + 1) % s.V }) }},
	{ID: "ids_wrap_at_256", Stages: "wte", Words: []string{"256|2^8|wrap|uint8|8 bits|byte|row|id"},
		Identity: "a vocabulary of less than 256",
		Output:   func(s *site) []float32 { return s.tokens(func(_, id int) int { return id & 255 }) }},
	{ID: "ids_clamped_at_200", Stages: "wte", Words: []string{"200", "id|row|token|ids|wte[|clamp"},
		Output: func(s *site) []float32 { return s.tokens(func(_, id int) int { return min(id, 200) }) }},
	{ID: "tokens_of_row_0", Stages: "wte", Batch: 2, Words: []string{ofRow0s},
		Output: (*site).ofRow0},
	{ID: "keys_of_row_0", Stages: "h.*.attn.cache_k", Batch: 2, Words: []string{ofRow0s},
		Output: (*site).ofRow0},
	{ID: "values_of_other_row", Stages: "h.*.attn.v", Batch: 2, Words: []string{"batch|row", "swap|other|another|row 0|row 1|exchang|order"},
		Output: func(s *site) []float32 {
			return moved(s.Right(), len(s.Right())/s.B, func(b int) int { return 1 - b })
		}},
	{ID: "last_logits_of_row_0", Stages: "logits_last", Batch: 2, Words: []string{ofRow0s},
		NotFromModules: "logits_last is no module's output", Output: (*site).ofRow0},
	{ID: "last_logits_third_from_end", Stages: "logits_last", Words: []string{"3|T-3|third", "row|position|logits"},
		NotFromModules: "logits_last is no module's output",
		Output: func(s *site) []float32 {
			if s.T < 4 {
				return nil
			}
			return slices.Clone(s.in(0)[3*s.V:][:s.V])
		}},
	{ID: "choice_of_row_1", Stages: "next_token", Batch: 2, Words: []string{"row 1|other row|another row|batch|second row"},
		NotFromModules: "next_token is no module's output",
		Output:         func(s *site) []float32 { return []float32{s.Right()[1], s.Right()[1]} }},
	{ID: "second_choice", Stages: "next_token", Words: []string{"second|2nd|rank|next highest|runner|1 logit above|one logit"},
		NotFromModules: "next_token is no module's output",
		Output: func(s *site) []float32 {
			x := slices.Clone(s.in(0))
			x[int(s.Right()[0])] = float32(-inf)
			return s.compute(s.Stage, x)
		}},
	{ID: "choice_of_last_step", Stages: "next_token", From: 1, Words: []string{"step|before|previous|earlier|stale"},
		NotFromModules: "next_token is no module's output",
		Output:         func(s *site) []float32 { return s.In("prev:next_token") }},
	{ID: "key_heads_shared", Stages: "h.*.attn.k", Words: []string{aHead, "0|same|repeat|shared|group|copies|copy"},
		Output: func(s *site) []float32 { return s.heads(s.Right(), func(h int) int { return h / 2 * 2 }) }},
	{ID: "query_heads_swapped", Stages: "h.*.attn.q", Words: []string{aHead, "swap|exchang|order|permut|head 0|head 1"},
		Output: func(s *site) []float32 {
			return s.heads(s.Right(), func(h int) int {
				if h|1 < s.H {
					return h ^ 1
				}
				return h
			})
		}},
	{ID: "context_heads_reversed", Stages: "h.*.attn.context", Words: []string{aHead, "revers|order|permut|swap|head 0|is head|of head"},
		Output: func(s *site) []float32 {
			return s.columns(s.Right(), func(c int) int { return (s.H-1-c/s.D)*s.D + c%s.D })
		}},
	{ID: "query_channels_reversed", Stages: "h.*.attn.q", Words: []string{"channel|column|order|revers|permut", "revers|order|permut|column|last"},
		Output: func(s *site) []float32 {
			return moved(s.Right(), 1, func(i int) int { return i/s.D*s.D + s.D - 1 - i%s.D })
		}},
	{ID: "c_attn_in_two_shards", Stages: "h.*.attn.[qkv]", Identity: "an odd number of heads; of two, a shard is a head, as in qkv_per_head", Words: []string{"shard|parallel|block|group|column|order", "shard|parallel|2|two|column|order"},
		Output: func(s *site) []float32 {
			if s.H%2 == 1 || s.H == 2 {
				return nil
			}
			name, _ := model.ParseStage(s.Stage)
			third := slices.Index([]string{"attn.q", "attn.k", "attn.v"}, name.Word)
			x := s.columns(s.in(0), func(c int) int { return s.shard(c) })
			for i, stage := range []string{"attn.q", "attn.k", "attn.v"} {
				if i == third {
					return s.compute(s.block(stage), x)
				}
			}
			return nil
		}},
	{ID: "c_attn_thirds_rotated", Stages: "h.*.attn.c_attn", Words: []string{"order|third|block|rotat|column|k, v, q", "q|order|k|rotat|moved|column"},
		Output: func(s *site) []float32 {
			return s.columns(s.Right(), func(c int) int { return (c + s.C) % (3 * s.C) })
		}},
	{ID: "mlp_of_last_step", Stages: "h.1.mlp.c_proj", From: 2, Words: []string{"step", "before|previous|earlier|last|stale|written|step 1|of step"},
		Output: func(s *site) []float32 { return s.In("prev:" + s.Stage) }},
	{ID: "context_of_last_step", Stages: "h.*.attn.context", From: 2, Words: []string{"step", "before|previous|earlier|last|stale|written|step 1|of step"},
		Output: func(s *site) []float32 { return s.In("prev:" + s.Stage) }},
	{ID: "cache_row_repeated", Stages: "h.*.attn.cache_k", From: 1, Words: []string{"row|position|key", "3", "2|earlier|before"},
		Output: func(s *site) []float32 {
			return s.positionsOf(s.Right(), func(p int) int {
				if p == 3 {
					return 2
				}
				return p
			})
		}},
	{ID: "value_lags_by_one", Stages: "h.*.attn.cache_v", From: 1, Words: []string{"row|position|value", "before|previous|earlier|lag|last|one|repeat|twice|copy"},
		Output: func(s *site) []float32 {
			return s.positionsOf(s.Right(), func(p int) int { return min(p, s.S-2) })
		}},
	{ID: "cache_of_layer_below", Stages: "h.1.attn.cache_k", Words: []string{"h.0|layer 0|layer -1|layer below|layer before|previous layer|other layer"},
		Output: func(s *site) []float32 { return s.In("h.0.attn.cache_k") }},
	{ID: "cache_swapped_at_2", Stages: "h.*.attn.cache_v", From: 1, Words: []string{"row|position|value", "1", "2"},
		Output: func(s *site) []float32 {
			return s.positionsOf(s.Right(), func(p int) int {
				if p == 1 || p == 2 {
					return 3 - p
				}
				return p
			})
		}},
	{ID: "ring_of_8", Stages: "h.*.attn.cache_k", From: 1, Words: []string{"row|position|key", "0|first|oldest", "8|ring|newest|last|new "},
		Output: func(s *site) []float32 {
			return s.positionsOf(s.Right(), func(p int) int {
				if p+8 < s.S {
					return p + 8
				}
				return p
			})
		}},
	{ID: "rows_in_reverse", Stages: "h.1.mlp.c_fc", Words: []string{"position|row|token", "revers|order|other|last|0|is that of"},
		Output: func(s *site) []float32 {
			if s.T == 1 {
				return nil
			}
			return moved(s.Right(), s.F, func(t int) int { return s.T - 1 - t })
		}},
}
