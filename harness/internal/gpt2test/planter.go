package gpt2test

import (
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/model"
)

// Fault is a fault in one stage, at every step.
type Fault struct {
	Name, Stage string
	Reason      string // why this is a fault that somebody makes
	Checkpoint  int
	Step        int // the first step that shows it

	ID    string                            // its id in the catalogue, or
	Plant func(c *faults.Context) []float32 // returns the faulty stage's output
}

// Faults lists faults of the catalogue, one for each kind of stage.
var Faults = []Fault{
	{"unbiased variance", "h.1.ln_1", "the default of torch.var and of many a statistics library", 1, 0, "ln_unbiased", nil},
	{"missing c_attn bias", "h.1.attn.c_attn", "h.N.attn.bias, the mask buffer, is taken for it", 2, 0, "bias_dropped", nil},
	{"q/k/v order", "h.0.attn.q", "k, q, v is as plausible a split", 2, 0, "qkv_order_kqv", nil},
	{"scale 1/D", "h.2.attn.scores", "the root is forgotten", 4, 0, "scale_d", nil},
	{"mask hides the diagonal", "h.0.attn.scores", "j < i for j <= i", 4, 0, "mask_diagonal_hidden", nil},
	{"mask shows one to come", "h.0.attn.scores", "j <= i+1 for j <= i", 4, 0, "mask_one_ahead", nil},
	{"erf GELU", "h.1.mlp.act", "the default of torch.nn.GELU", 6, 0, "gelu_erf", nil},
	{"cache written at 0", "h.1.attn.cache_k", "the position is not passed on to the append", 3, 1, "cache_overwritten", nil},
	{"missing residual", "h.0.resid_mid", "attention's output is taken for the block's", 7, 0, "resid_missing", nil},
	{"missing residual, later block", "h.2.resid_post", "the same, where only the last block does it", 8, 0, "resid_missing", nil},
	{"last-but-one logits", "logits_last", "the prompt's length is taken for an index from 1", 9, 0, "position_before_last", nil},
	{"argmin", "next_token", "the sign of the score", 10, 0, "argmin", nil},
	{"inverted temperature", "probs_t2", "logits are multiplied by it", 11, 0, "temperature_inverted", nil},
}

// Named returns the fault of a name.
func Named(name string) Fault {
	return Faults[slices.IndexFunc(Faults, func(b Fault) bool { return b.Name == name })]
}

// Edit is the Plant of a fault that changes what the correct stage puts out.
func Edit(change func(data []float32)) func(c *faults.Context) []float32 {
	return func(c *faults.Context) []float32 {
		data := slices.Clone(c.Right())
		change(data)
		return data
	}
}

// Planter returns a planter of faults.
func Planter(m *model.Model, planted ...Fault) *faults.Planter {
	return &faults.Planter{Model: m, Plant: func(at harness.Place, c *faults.Context) []float32 {
		for _, b := range planted {
			if b.Stage == at.Stage {
				return b.output(c)
			}
		}
		return nil
	}}
}

// output returns the faulty stage's output.
func (b Fault) output(c *faults.Context) []float32 {
	if b.Plant != nil {
		return b.Plant(c)
	}
	f, err := faults.ByID(b.ID)
	if err != nil {
		panic(err)
	}
	return f.Output(c)
}
