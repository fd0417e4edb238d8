package verify

import "fmt"

// Checkpoint describes one of the twelve.
type Checkpoint struct {
	Number int      // 1 to 12; 0 for the embeddings, CheckWeights for the weights
	Title  string   // a few words, "attention scores"
	Stages string   // the stages it looks at, as patterns
	Bound  string   // its tolerance in words; the numbers are in the table of tolerances
	Causes []string // the usual causes of a failure, likeliest first
	Fix    string   // where to look
}

// String returns the checkpoint's number and title.
func (c Checkpoint) String() string {
	if c.Number == CheckWeights {
		return c.Title
	}
	return fmt.Sprintf("checkpoint %d (%s)", c.Number, c.Title)
}

// Numbers of the checks before the twelve, and of the twelve.
const (
	CheckWeights    = -1 // the weights are those that the figures are of
	CheckEmbeddings = 0  // the embeddings, which no checkpoint names and all of them read
	CheckpointCount = 12
)

// Info returns checkpoint n, 1 to 12, or one of the checks before them.
func Info(n int) Checkpoint {
	if n == CheckWeights {
		return weights
	}
	return checkpoints[n]
}

var weights = Checkpoint{CheckWeights, "weights", "the file, and sums of its tensors", "hashes exactly, sums within the digits they are given with", []string{
	"another model, or another revision of it, under this name",
	"a file cut short or damaged in transit",
	"weights that were trained further, converted or quantised",
}, "the weights: these are not the ones that the figures are of, so nothing else could be judged"}

var checkpoints = [CheckpointCount + 1]Checkpoint{
	{0, "embeddings", "wte wpe embed", "rows exact, their sum within 1e-6", []string{
		"positions restart at 0 on a decode step instead of going on at P",
		"position embedding not added, or one position off",
		"tokens or weights other than the golden's",
	}, "the embedding lookup: wte[token] + wpe[P+t]"},
	{1, "LayerNorm", "h.*.ln_1", "1e-5", []string{
		"variance over C-1 instead of C (unbiased)",
		"an eps other than config.json's, or eps outside the root",
		"mean not subtracted, gain or bias left out",
		"ln_2's weights in ln_1's place",
	}, "LayerNorm: (x-mean)/sqrt(var+eps)*gain+bias over the last axis, var divided by C"},
	{2, "QKV", "h.*.attn.c_attn .q .k .v", "1e-4", []string{
		"c_attn.bias not added, or the mask buffer h.N.attn.bias taken for it",
		"Conv1D weight is [in,out]: x*W, not x*Wᵀ",
		"split in an order other than q, k, v",
		"heads interleaved: head h is columns h*D to (h+1)*D of its third",
	}, "the fused projection and its split into q, k, v and heads"},
	{3, "KV cache", "h.*.attn.cache_k .cache_v", "own k and v exactly, old rows unchanged bit for bit, the golden within checkpoint 2's tolerance", []string{
		"new rows written at position 0 instead of P",
		"k stored in the place of v",
		"cache shared between layers or rows of the batch",
		"old rows recomputed or overwritten",
	}, "the append: rows P to P+T-1 are this step's k and v, nothing else changes"},
	{4, "attention scores", "h.*.attn.scores", "1e-4, -inf where masked", []string{
		"scaled by 1/D or not at all instead of 1/sqrt(D)",
		"mask hides the diagonal, or lets one future position through: key j is seen when j <= P+t",
		"mask built for P=0 used on a decode step",
	}, "q*kᵀ/sqrt(D) and the causal mask"},
	{5, "attention output", "h.*.attn.probs .context .c_proj", "1e-4", []string{
		"softmax over heads or queries instead of keys",
		"heads merged without moving H behind T",
		"c_proj.bias not added, or c_proj's weight transposed",
	}, "softmax over S, probs*v, merging the heads, the output projection"},
	{6, "feed-forward", "h.*.ln_2 .mlp.c_fc .mlp.act .mlp.c_proj", "1e-4", []string{
		"erf form of GELU: GPT-2 as released uses the tanh form",
		"ln_2 reads the block's input instead of resid_mid, or has ln_1's weights",
		"a bias left out, a weight transposed",
	}, "ln_2 of resid_mid, c_fc, 0.5*x*(1+tanh(sqrt(2/pi)*(x+0.044715*x³))), c_proj"},
	{7, "first block", "h.0.resid_mid .resid_post", "1e-4", []string{
		"a residual left out",
		"residual added to the normed input instead of the block's own",
	}, "the two residual sums of block 0"},
	{8, "all layers, logits", "h.*.resid_mid .resid_post (after block 0) ln_f logits", "1e-3", []string{
		"ln_f left out",
		"a layer reads another layer's weights, or a layer runs twice or not at all",
		"head not tied to wte, or shifted by a row",
		"a residual left out",
	}, "the loop over the layers, ln_f, and logits = ln_f*wteᵀ"},
	{9, "last-position logits", "logits_last", "own last row of logits exactly, the golden within checkpoint 8's tolerance", []string{
		"the position before the last selected, or the first",
		"last position of the padded length instead of the prompt's",
	}, "the selection logits[:, T-1]"},
	{10, "argmax", "next_token", "the same id", []string{
		"argmin, or argmax over another axis",
		"a tie not won by the lowest id",
		"a near tie: rounding moves the logits by more than the margin",
	}, "argmax over V, lowest id first"},
	{11, "softmax", "probs_t*", "1e-6 of the softmax of own logits_last in float64", []string{
		"multiplied by the temperature instead of divided",
		"temperature ignored",
		"maximum not subtracted before exp",
	}, "softmax(logits_last/t)"},
	{12, "end to end", "the generated tokens and their text", "the same text", []string{
		"one of checkpoints 1 to 11",
	}, "the first of checkpoints 1 to 11 that fails"},
}
