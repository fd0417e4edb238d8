package gpt2

import "checkpoint12/harness"

// bound is one row of the tolerance table.
type bound struct {
	stages     string  // pattern as harness.Match takes it
	checkpoint int     // 0: a stage that no checkpoint names
	abs, rel   float64 // |got-want| <= abs + rel*max|want|
	reason     string
}

// outliers is the relative part of every bound that has one. The absolute parts
// are the owner's, meant for values of order one; GPT-2 pushes a few channels of
// its residual stream into the thousands, where one float32 rounding alone is
// 1.2e-4. Around float64, tinygrad stays within 2.3e-6 of each tensor's maximum
// and Candle within 1.1e-6 (random weights, all stages): on opposite sides of it
// they are 3.4e-6 apart.
const outliers = 4e-6

// table is the tolerance table: the first row that matches a stage is its bound.
var table = []bound{
	{"wte", 0, 0, 0, "rows copied from a table"},
	{"wpe", 0, 0, 0, "rows copied from a table"},
	{"embed", 0, 1e-6, 0, "one addition of values below 4"},
	{"h.*.ln_1", 1, 1e-5, outliers, "checkpoint 1"},
	{"h.*.attn.c_attn", 2, 1e-4, outliers, "checkpoint 2"},
	{"h.*.attn.[qkv]", 2, 1e-4, outliers, "checkpoint 2; a split of c_attn"},
	{"h.*.attn.cache_[kv]", 3, 1e-4, outliers, "checkpoint 2's, for the cache is a copy of k and v; that it is an exact copy of this engine's own is checked apart"},
	{"h.*.attn.scores", 4, 1e-4, outliers, "checkpoint 4; masked places are -inf on both sides"},
	{"h.*.attn.probs", 5, 1e-4, 0, "checkpoint 5; probabilities are at most 1"},
	{"h.*.attn.context", 5, 1e-4, outliers, "checkpoint 5"},
	{"h.*.attn.c_proj", 5, 1e-4, outliers, "checkpoint 5"},
	{"h.*.ln_2", 6, 1e-4, outliers, "checkpoint 6"},
	{"h.*.mlp.c_fc", 6, 1e-4, outliers, "checkpoint 6"},
	{"h.*.mlp.act", 6, 1e-4, 0, "checkpoint 6; absolute whatever the maximum, since the erf form of GELU differs by 4.7e-4 at most"},
	{"h.*.mlp.c_proj", 6, 1e-4, outliers, "checkpoint 6"},
	{"h.0.resid_*", 7, 1e-4, outliers, "checkpoint 7, the first block"},
	{"h.*.resid_*", 8, 1e-3, outliers, "checkpoint 8; a block adds to what the blocks before it were off"},
	{"ln_f", 8, 1e-3, outliers, "checkpoint 8"},
	{"logits", 8, 1e-3, outliers, "checkpoint 8"},
	{"logits_last", 9, 1e-3, outliers, "checkpoint 8's, for it is a selection of logits; that it is this engine's own last row is checked apart"},
	{"next_token", 10, 0, 0, "a token is the same or another"},
	{"probs_t*", 11, 1e-6, 0, "checkpoint 11; 1e-6 of the softmax, in float64, of the same dump's logits_last, and of the golden's plus what the difference of the logits accounts for, 2*max|dlogit|/t*max p"},
}

// boundOf is the row for a stage; ok is false for a name that is no stage.
func boundOf(stage string) (b bound, ok bool) {
	for _, b := range table {
		if harness.Match(b.stages, stage) {
			return b, true
		}
	}
	return bound{}, false
}
