package gpt2

// labels are short names for the heads of columns, by what a stage is within its
// layer. The two projections called c_proj would look the same without.
var labels = map[string]string{
	"attn.cache_k": "ck", "attn.cache_v": "cv", "attn.scores": "score", "attn.probs": "prob", "attn.context": "ctx",
	"attn.c_proj": "proj", "resid_mid": "mid", "mlp.c_proj": "down", "resid_post": "post",
}

// Label is a short name of a stage for the head of a column; "" where the last
// part of its name is short enough.
func Label(stage string) string { return labels[wordOf(stage)] }
