package gpt2test

import (
	"math"
	"slices"

	"checkpoint12/model"
	"checkpoint12/model/sample"
)

// Bug is a fault planted through the tap: the live buffer of one stage is
// replaced by what a faulty stage would have put there.
type Bug struct {
	Name, Stage string
	Reason      string // why this is a fault that somebody makes
	Checkpoint  int
	Step        int // the first step that shows it
	Plant       func(p *Planter, shape []int, data []float32)
}

// Bugs are faults that people make, one for each kind of stage.
var Bugs = []Bug{
	{"unbiased variance", "h.1.ln_1", "the default of torch.var and of many a statistics library", 1, 0,
		func(p *Planter, _ []int, data []float32) {
			x, gain, bias := p.Seen["h.0.resid_post"], p.Weight("h.1.ln_1.weight"), p.Weight("h.1.ln_1.bias")
			c := len(gain)
			for row := 0; row < len(x); row += c {
				var mean, variance float64
				for _, v := range x[row : row+c] {
					mean += float64(v) / float64(c)
				}
				for _, v := range x[row : row+c] {
					variance += (float64(v) - mean) * (float64(v) - mean) / float64(c-1)
				}
				for i, v := range x[row : row+c] {
					data[row+i] = float32((float64(v)-mean)/math.Sqrt(variance+p.Model.Config().Eps))*gain[i] + bias[i]
				}
			}
		}},
	{"missing c_attn bias", "h.1.attn.c_attn", "h.N.attn.bias, the mask buffer, is taken for it", 2, 0,
		func(p *Planter, _ []int, data []float32) {
			bias := p.Weight("h.1.attn.c_attn.bias")
			for i := range data {
				data[i] -= bias[i%len(bias)]
			}
		}},
	{"q/k/v order", "h.0.attn.q", "k, q, v is as plausible a split", 2, 0,
		func(p *Planter, shape []int, data []float32) {
			h, t, d := shape[1], shape[2], shape[3]
			for i := range data {
				head, row := i/(t*d)%h, i/d%t
				data[i] = p.Seen["h.0.attn.c_attn"][row*3*h*d+h*d+head*d+i%d]
			}
		}},
	{"scale 1/D", "h.2.attn.scores", "the root is forgotten", 4, 0,
		func(p *Planter, _ []int, data []float32) {
			d := float64(p.Model.Config().Embd / p.Model.Config().Heads)
			for i := range data {
				data[i] = float32(float64(data[i]) / math.Sqrt(d))
			}
		}},
	{"mask hides the diagonal", "h.0.attn.scores", "j < i for j <= i", 4, 0,
		func(p *Planter, shape []int, data []float32) {
			t, s := shape[2], shape[3]
			for i := range data {
				if i%s == s-t+i/s%t {
					data[i] = float32(math.Inf(-1))
				}
			}
		}},
	{"mask shows one to come", "h.0.attn.scores", "j <= i+1 for j <= i", 4, 0,
		func(p *Planter, shape []int, data []float32) {
			h, t, s := shape[1], shape[2], shape[3]
			q, k := p.Seen["h.0.attn.q"], p.Seen["h.0.attn.cache_k"]
			d := len(q) / (shape[0] * h * t)
			for i := range data {
				if i%s == s-t+i/s%t+1 {
					head, row := i/(t*s), i/s%t
					data[i] = float32(dot(q[(head*t+row)*d:][:d], k[(head*s+i%s)*d:][:d]) / math.Sqrt(float64(d)))
				}
			}
		}},
	{"erf GELU", "h.1.mlp.act", "the default of torch.nn.GELU", 6, 0,
		func(p *Planter, _ []int, data []float32) {
			for i, x := range p.Seen["h.1.mlp.c_fc"] {
				data[i] = float32(0.5 * float64(x) * (1 + math.Erf(float64(x)/math.Sqrt2)))
			}
		}},
	{"cache written at 0", "h.1.attn.cache_k", "the position is not passed on to the append", 3, 1,
		func(p *Planter, shape []int, data []float32) {
			s, d := shape[2], shape[3]
			if s == len(p.Seen["h.1.attn.k"])/(shape[0]*shape[1]*d) {
				return // the prompt: position 0 is right
			}
			for head := range shape[0] * shape[1] {
				rows := data[head*s*d : (head+1)*s*d]
				copy(rows[:d], rows[(s-1)*d:])
				clear(rows[(s-1)*d:])
			}
		}},
	{"missing residual", "h.0.resid_mid", "attention's output is taken for the block's", 7, 0,
		func(p *Planter, _ []int, data []float32) { copy(data, p.Seen["h.0.attn.c_proj"]) }},
	{"missing residual, later block", "h.2.resid_post", "the same, where only the last block does it", 8, 0,
		func(p *Planter, _ []int, data []float32) { copy(data, p.Seen["h.2.mlp.c_proj"]) }},
	{"last-but-one logits", "logits_last", "the prompt's length is taken for an index from 1", 9, 0,
		func(p *Planter, shape []int, data []float32) {
			all, v := p.Seen["logits"], shape[1]
			if rows := len(all) / v; rows > 1 {
				copy(data, all[(rows-2)*v:])
			}
		}},
	{"argmin", "next_token", "the sign of the score", 10, 0,
		func(p *Planter, _ []int, data []float32) {
			logits := p.Seen["logits_last"]
			data[0] = float32(slices.Index(logits, slices.Min(logits)))
		}},
	{"inverted temperature", "probs_t2", "logits are multiplied by it", 11, 0,
		func(p *Planter, _ []int, data []float32) {
			sample.Softmax(data, p.Seen["logits_last"], 0.5)
		}},
}

// Planter is a tap that remembers what the stages before have put out.
type Planter struct {
	Model *model.Model
	Bug   Bug
	Seen  map[string][]float32
}

// Weight returns a weight of the model.
func (p *Planter) Weight(name string) []float32 {
	data, _, ok := p.Model.Weight(name)
	if !ok {
		panic(name)
	}
	return data
}

// Tap plants the bug and remembers the stage.
func (p *Planter) Tap(stage string, shape []int, data []float32) {
	if stage == p.Bug.Stage {
		p.Bug.Plant(p, shape, data)
	}
	p.Seen[stage] = append(p.Seen[stage][:0], data...)
}

func dot(a, b []float32) float64 {
	var s float64
	for i, v := range a {
		s += float64(v) * float64(b[i])
	}
	return s
}
