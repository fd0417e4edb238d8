package selftest

import (
	"math"
	"slices"

	"checkpoint12/model"
)

// naive is a right engine as somebody would write it first: every operation in
// float32, with sums added up in an order of its own. As a tap it computes each
// stage anew from what the stages before have put out, and writes it in the live
// buffer's place.
type naive struct {
	*planter
	sum     func(terms []float32) float32
	onePass bool // LayerNorm's variance is E[x²] - m²

	terms []float32
}

// Orders of summation.

// forwards adds one after the other.
func forwards(terms []float32) (s float32) {
	for _, t := range terms {
		s += t
	}
	return s
}

// backwards begins with the last.
func backwards(terms []float32) (s float32) {
	for _, t := range slices.Backward(terms) {
		s += t
	}
	return s
}

// pairwise adds the sums of two halves.
func pairwise(terms []float32) float32 {
	if n := len(terms); n > 2 {
		return pairwise(terms[:n/2]) + pairwise(terms[n/2:])
	}
	return forwards(terms)
}

func (n *naive) tap(stage string, shape []int, data []float32) {
	if stage == "wte" {
		n.planter.tap(stage, shape, data)
		return // a row of a table
	}
	if n.match == nil || n.match(n.step, stage) {
		n.compute(stage, data)
	}
	n.planter.tap(stage, shape, data)
}

// compute is a stage; those that only move values are left as they are.
func (n *naive) compute(stage string, out []float32) {
	cfg, d := n.model.Config(), n.dims
	reads := model.Reads(cfg, stage)
	x := n.in(reads[0])
	name, _ := model.ParseStage(stage)
	H, D, S := cfg.Heads, cfg.Embd/cfg.Heads, d.P+d.T
	switch name.Word {
	case "embed", "resid_mid", "resid_post":
		y := n.in(reads[1])
		for i := range out {
			out[i] = x[i] + y[i%len(y)]
		}
	case "ln_1", "ln_2", "ln_f":
		gain, bias := n.weight(stage+".weight"), n.weight(stage+".bias")
		for lo := 0; lo < len(out); lo += len(gain) {
			n.norm(out[lo:lo+len(gain)], x[lo:lo+len(gain)], gain, bias, float32(cfg.Eps))
		}
	case "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj":
		w, bias := n.weight(stage+".weight"), n.weight(stage+".bias")
		N := len(bias)
		for j := range N {
			column := make([]float32, len(w)/N)
			for k := range column {
				column[k] = w[k*N+j]
			}
			for r := 0; r*N < len(out); r++ {
				out[r*N+j] = n.dot(x[r*len(column):][:len(column)], column) + bias[j]
			}
		}
	case "attn.scores":
		k := n.in(reads[1])
		scale := float32(1 / math.Sqrt(float64(D)))
		for i := range out {
			head, t, s := i/(d.T*S), i/S%d.T, i%S
			if out[i] = float32(math.Inf(-1)); s <= d.P+t {
				out[i] = n.dot(x[(head*d.T+t)*D:][:D], k[(head*S+s)*D:][:D]) * scale
			}
		}
	case "attn.probs":
		for lo := 0; lo < len(out); lo += S {
			n.softmax(out[lo:lo+S], x[lo:lo+S], 1)
		}
	case "attn.context":
		v := n.in(reads[1])
		for i := range out {
			b, t, h, c := i/(d.T*H*D), i/(H*D)%d.T, i/D%H, i%D
			column := make([]float32, S)
			for s := range column {
				column[s] = v[((b*H+h)*S+s)*D+c]
			}
			out[i] = n.dot(x[((b*H+h)*d.T+t)*S:][:S], column)
		}
	case "mlp.act":
		for i, v := range x {
			const c, a = 0.7978845608, 0.044715
			out[i] = 0.5 * v * (1 + float32(math.Tanh(float64(c*(v+a*(v*v*v))))))
		}
	case "logits":
		w := n.weight("wte.weight")
		C, V := cfg.Embd, cfg.Vocab
		for i := range out {
			out[i] = n.dot(x[i/V*C:][:C], w[i%V*C:][:C])
		}
	case "probs_t":
		for lo := 0; lo < len(out); lo += cfg.Vocab {
			n.softmax(out[lo:lo+cfg.Vocab], x[lo:lo+cfg.Vocab], float32(name.Temperature))
		}
	}
}

// dot is a·b.
func (n *naive) dot(a, b []float32) float32 {
	n.terms = n.terms[:0]
	for i, v := range a {
		n.terms = append(n.terms, v*b[i])
	}
	return n.sum(n.terms)
}

func (n *naive) norm(out, x, gain, bias []float32, eps float32) {
	C := float32(len(x))
	mean := n.sum(x) / C
	n.terms = n.terms[:0]
	for _, v := range x {
		if !n.onePass {
			v -= mean
		}
		n.terms = append(n.terms, v*v)
	}
	variance := n.sum(n.terms) / C
	if n.onePass {
		variance -= mean * mean
	}
	scale := 1 / float32(math.Sqrt(float64(variance+eps)))
	for i, v := range x {
		out[i] = (v-mean)*scale*gain[i] + bias[i]
	}
}

func (n *naive) softmax(out, x []float32, temperature float32) {
	top := slices.Max(x)
	for i, v := range x {
		out[i] = float32(math.Exp(float64((v - top) / temperature)))
	}
	sum := n.sum(out)
	for i := range out {
		out[i] /= sum
	}
}

func (n *naive) weight(name string) []float32 {
	w, _, _ := n.model.Weight(name)
	return w
}
