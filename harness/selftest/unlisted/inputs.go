package unlisted

import (
	"fmt"
	"slices"

	"checkpoint12/model"
)

// reading returns what the stage puts out when its first input is another.
func (s *site) reading(in []float32) []float32 { return s.compute(s.Stage, in) }

// inThirds returns c_attn's right output with some of q, k, v of another output.
func (s *site) inThirds(other []float32, thirds string) []float32 {
	return s.edit(func(i int, v float64) float64 {
		if slices.Contains([]rune(thirds), rune("qkv"[i%(3*s.C)/s.C])) {
			return float64(other[i])
		}
		return v
	})
}

// share returns a part of a dimension of the config.
func share(of func(c model.Config) int, part float64) func(model.Config) float64 {
	return func(c model.Config) float64 { return float64(int(float64(of(c)) * part)) }
}

func width(c model.Config) int  { return c.Embd }
func hidden(c model.Config) int { return c.Inner }
func vocab(c model.Config) int  { return c.Vocab }

// layersLess returns the number of a layer counted from the last.
func layersLess(n int) func(model.Config) float64 {
	return func(c model.Config) float64 { return float64(c.Layers - n) }
}

const (
	leftOut   = "left out|missing|not |without|only|dropped|ignored|0 |zero|never|lacks"
	anInput   = "input|channel|row|column|unit|mlp.act|context|K"
	unNormed  = "block's input|block input|before the norm|un-normed|not normalised|stream|resid|embed|instead of ln"
	ownBlocks = "some layers only"
)

var inputs = []Fault{
	{ID: "tail_of_k_left_out", Stages: "h.*.attn.c_attn", Number: share(width, 0.875), Words: []string{"#", anInput, leftOut},
		Output: func(s *site) []float32 {
			n := int(float64(s.C) * 0.875)
			return s.product(keep(func(k int) bool { return k < n }))
		}},
	{ID: "half_of_hidden_units", Stages: "h.*.mlp.c_proj", Number: share(hidden, 0.5), Words: []string{"#|half", anInput, leftOut},
		Output: func(s *site) []float32 { return s.product(keep(func(k int) bool { return k < s.F/2 })) }},
	{ID: "every_fourth_input", Stages: "h.1.mlp.c_fc", Words: []string{anInput, leftOut, "4|every|0, 4"},
		Output: func(s *site) []float32 { return s.product(keep(func(k int) bool { return k%4 != 0 })) }},
	{ID: "half_of_heads", Stages: "h.*.attn.c_proj", Number: func(c model.Config) float64 { return float64(c.Heads / 2 * (c.Embd / c.Heads)) },
		Words: []string{"head|#", leftOut},
		Output: func(s *site) []float32 {
			return s.product(keep(func(k int) bool { return k/s.D < s.H/2 }))
		}},
	{ID: "keys_from_3_on", Stages: "h.*.attn.context", Words: []string{aKey, "3|0 to 2|0-2|0–2|first 3|0, 1|2", leftOut},
		Output: func(s *site) []float32 {
			p := s.queries(s.in(0), func(_ query, row []float64) { clear(row[:min(3, len(row))]) })
			return s.compute(s.Stage, p, s.in(1))
		}},
	{ID: "newest_key_left_out", Stages: "h.*.attn.context", Words: []string{aKey + "|diagonal|itself", "own|last|newest|diagonal|itself|its own", leftOut},
		Output: func(s *site) []float32 {
			p := s.queries(s.in(0), func(q query, row []float64) { row[q.position] = 0 })
			return s.compute(s.Stage, p, s.in(1))
		}},
	{ID: "context_of_keys", Stages: "h.*.attn.context", Words: []string{"attn.k|cache_k|keys"}, Alike: []string{"cache_k_for_v"}, // without caches
		Output: func(s *site) []float32 { return s.compute(s.Stage, s.in(0), s.here("attn.cache_k")) }},
	{ID: "context_of_one_head_of_keys", Stages: "h.1.attn.context", Words: []string{"head", "0|first"},
		Output: func(s *site) []float32 {
			p := s.heads(s.in(0), func(int) int { return 0 })
			return s.compute(s.Stage, p, s.in(1))
		}},
	{ID: "bias_of_layer_0", Stages: "h.1.attn.c_proj", Words: []string{"bias", "h.0|layer 0|previous layer|layer before|layer below|layer -1|other layer"},
		Output: func(s *site) []float32 {
			return linear(s.in(0), s.weight("weight"), s.weightOf("h.0.attn.c_proj.bias"), keep(func(int) bool { return true }))
		}},
	{ID: "matrix_of_layer_0", Stages: "h.1.attn.c_proj", Words: []string{"weight|matrix", "h.0|layer 0|previous layer|layer before|layer below|layer -1"},
		Output: func(s *site) []float32 {
			return linear(s.in(0), s.weightOf("h.0.attn.c_proj.weight"), s.weight("bias"), keep(func(int) bool { return true }))
		}},
	{ID: "layer_off_by_two", Stages: "h.2.mlp.c_fc", Identity: ownBlocks, Words: []string{"h.0|layer 0|two layers|layer -2"},
		Output: func(s *site) []float32 { return s.compute("h.0.mlp.c_fc", s.in(0)) }},
	{ID: "attention_reads_other_ln_1", Stages: "h.1.attn.c_attn", Words: []string{"h.0.ln_1|ln_1 of layer 0|layer 0|layer -1|layer before|inputs of h.0"},
		Output: func(s *site) []float32 { return s.reading(s.In("h.0.ln_1")) }},
	{ID: "attention_reads_own_stream", Stages: "h.*.attn.c_attn", Words: []string{unNormed},
		Output: func(s *site) []float32 { return s.reading(s.In(model.Reads(s.Config, s.block("ln_1"))[0])) }},
	{ID: "parallel_block", Stages: "h.*.mlp.c_fc", Words: []string{"ln_1|parallel"},
		Output: func(s *site) []float32 { return s.reading(s.here("ln_1")) }},
	{ID: "mlp_reads_own_stream", Stages: "h.*.mlp.c_fc", Words: []string{"resid_mid|" + unNormed},
		Output: func(s *site) []float32 { return s.reading(s.here("resid_mid")) }},
	{ID: "ln_2_of_branch_alone", Stages: "h.*.ln_2", Words: []string{"attn.c_proj|branch|attention's output|without the stream"}, Alike: []string{"resid_missing"}, // without resid_mid
		Output: func(s *site) []float32 { return s.reading(s.here("attn.c_proj")) }},
	{ID: "mlp_reads_block_input", Stages: "h.1.mlp.c_fc", Words: []string{"h.0.resid_post|block's input|block input|input of the block"},
		Output: func(s *site) []float32 { return s.reading(s.In("h.0.resid_post")) }},
	{ID: "mlp_without_activation", Stages: "h.*.mlp.c_proj", Words: []string{"mlp.c_fc|activation|before gelu|without gelu"},
		Output: func(s *site) []float32 { return s.reading(s.here("mlp.c_fc")) }},
	{ID: "mlp_of_layer_below", Stages: "h.1.mlp.c_proj", Words: []string{"h.0.mlp.act|layer 0|h.0|layer -1|layer before"},
		Output: func(s *site) []float32 { return s.reading(s.In("h.0.mlp.act")) }},
	{ID: "queries_of_stream", Stages: "h.*.attn.c_attn", Words: []string{unNormed, "q |q's|q,|q:|queries|third"},
		Output: func(s *site) []float32 {
			return s.inThirds(s.reading(s.In(model.Reads(s.Config, s.block("ln_1"))[0])), "q")
		}},
	{ID: "values_without_bias", Stages: "h.*.attn.c_attn", Words: []string{"bias", "v|values|third"},
		Output: func(s *site) []float32 {
			bias := s.weight("bias")
			return s.edit(func(i int, v float64) float64 {
				if c := i % (3 * s.C); c >= 2*s.C {
					return v - float64(bias[c])
				}
				return v
			})
		}},
	{ID: "keys_of_layer_below_in_head_0", Stages: "h.1.attn.k", Words: []string{"head 0|head", "h.0|layer 0|layer -1|layer below|layer before|previous layer"},
		Output: func(s *site) []float32 {
			below := s.In("h.0.attn.k")
			return s.edit(func(i int, v float64) float64 {
				if i/(s.T*s.D)%s.H == 0 {
					return float64(below[i])
				}
				return v
			})
		}},
	{ID: "final_norm_skipped_by_head", Stages: "logits", Words: []string{"resid_post|stream|ln_f|norm"},
		Output: func(s *site) []float32 { return s.reading(s.In(model.Reads(s.Config, "ln_f")[0])) }},
	{ID: "final_norm_of_layer_before_last", Stages: "ln_f", Number: layersLess(2), Words: []string{"h.#.resid_post|layer #|last but one|layer before|layer -1|layer -2"},
		Output: func(s *site) []float32 { return s.reading(s.In(fmt.Sprintf("h.%d.resid_post", s.L-2))) }},
	{ID: "final_norm_of_resid_mid", Stages: "ln_f", Words: []string{"resid_mid|without the mlp|mlp"},
		Output: func(s *site) []float32 { return s.reading(s.In(stageOf(s.L-1, "resid_mid"))) }},
	{ID: "final_norm_twice_for_head", Stages: "logits", Words: []string{"twice|two times|again|a second time|ln_f|norm"},
		Output: func(s *site) []float32 { return s.reading(s.compute("ln_f", s.in(0))) }},
	{ID: "head_tail_of_k_left_out", Stages: "logits", Number: share(width, 0.5), Words: []string{"#|half", anInput + "|ln_f", leftOut},
		Output: func(s *site) []float32 {
			x := slices.Clone(s.in(0))
			for i := range x {
				if i%s.C >= s.C/2 {
					x[i] = 0
				}
			}
			return s.reading(x)
		}},
	{ID: "scores_of_values", Stages: "h.*.attn.scores", Words: []string{"cache_v|attn.v|values"}, Alike: []string{"cache_k_for_v"}, // without caches
		Output: func(s *site) []float32 { return s.compute(s.Stage, s.in(0), s.here("attn.cache_v")) }},
}
