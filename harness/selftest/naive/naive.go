// Package naive is a correct engine with every operation in float32, in an order of sums of its
// own: what rounding alone does to a run.
package naive

import (
	"math"
	"slices"

	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/model"
	"checkpoint12/model/activation"
)

// An Engine computes the stages of a model.
type Engine struct {
	Sum     func(terms []float32) float32
	OnePass bool // LayerNorm's variance is E[x²] - m²
}

// Forwards adds one after the other.
func Forwards(terms []float32) (s float32) {
	for _, t := range terms {
		s += t
	}
	return s
}

// Backwards begins with the last.
func Backwards(terms []float32) (s float32) {
	for _, t := range slices.Backward(terms) {
		s += t
	}
	return s
}

// Pairwise adds the sums of two halves.
func Pairwise(terms []float32) float32 {
	if n := len(terms); n > 2 {
		return Pairwise(terms[:n/2]) + Pairwise(terms[n/2:])
	}
	return Forwards(terms)
}

// A stage is a stage with its sizes, inputs and output.
type stage struct {
	Engine
	*faults.Context
	T, P, S, C, H, D, V int

	x, y, out []float32 // the first input and the second, if there is one; the output
	terms     []float32 // scratch
}

// Output computes a stage; nil for one that only moves values.
func (n Engine) Output(c *faults.Context) []float32 {
	cfg, d := c.Model.Config(), c.Dims
	s := &stage{
		Engine: n, Context: c, out: make([]float32, len(c.Right())),
		T: d.T, P: d.P, S: d.P + d.T, C: cfg.Embd, H: cfg.Heads, D: cfg.Embd / cfg.Heads, V: cfg.Vocab,
	}
	var compute func()
	switch name, _ := model.ParseStage(c.Stage); name.Word {
	case "embed", "resid_mid", "resid_post":
		compute = s.add
	case "ln_1", "ln_2", "ln_f":
		compute = s.norm
	case "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj":
		compute = s.linear
	case "attn.scores":
		compute = s.scores
	case "attn.probs":
		compute = func() { s.softmax(s.S, 1) }
	case "attn.context":
		compute = s.context
	case "mlp.act":
		compute = s.activate
	case "logits":
		compute = s.unembed
	case "probs_t":
		compute = func() { s.softmax(s.V, float32(name.Temperature)) }
	default:
		return nil
	}
	reads := model.Reads(cfg, c.Stage)
	s.x = c.In(reads[0])
	if len(reads) > 1 {
		s.y = c.In(reads[1])
	}
	compute()
	return s.out
}

// weight returns the stage's "weight" or "bias".
func (n *stage) weight(word string) []float32 {
	w, _, _ := n.Model.Weight(n.Stage + "." + word)
	return w
}

// dot returns a·b.
func (n *stage) dot(a, b []float32) float32 {
	n.terms = n.terms[:0]
	for i, v := range a {
		n.terms = append(n.terms, v*b[i])
	}
	return n.Sum(n.terms)
}

// add adds [B,T,C] and [B,T,C], or [T,C] for every row of the batch.
func (n *stage) add() {
	for i := range n.out {
		n.out[i] = n.x[i] + n.y[i%len(n.y)]
	}
}

// norm computes (x-mean)/sqrt(variance+eps)*gain + bias, row by row.
func (n *stage) norm() {
	gain, bias := n.weight("weight"), n.weight("bias")
	C, eps := float32(n.C), float32(n.Model.Config().Eps)
	for lo := 0; lo < len(n.out); lo += n.C {
		x, out := n.x[lo:lo+n.C], n.out[lo:lo+n.C]
		mean := n.Sum(x) / C
		n.terms = n.terms[:0]
		for _, v := range x {
			if !n.OnePass {
				v -= mean
			}
			n.terms = append(n.terms, v*v)
		}
		variance := n.Sum(n.terms) / C
		if n.OnePass {
			variance -= mean * mean
		}
		scale := 1 / float32(math.Sqrt(float64(variance+eps)))
		for i, v := range x {
			out[i] = (v-mean)*scale*gain[i] + bias[i]
		}
	}
}

// linear computes x*W + bias, of W [in,out].
func (n *stage) linear() {
	w, bias := n.weight("weight"), n.weight("bias")
	N := len(bias)
	column := make([]float32, len(w)/N)
	for j := range N {
		for k := range column {
			column[k] = w[k*N+j]
		}
		for r := 0; r*N < len(n.out); r++ {
			n.out[r*N+j] = n.dot(n.x[r*len(column):][:len(column)], column) + bias[j]
		}
	}
}

// scores computes q*k/sqrt(D), or what the config has for it, -inf where the key comes after
// the query.
func (n *stage) scores() {
	name, _ := model.ParseStage(n.Stage)
	scale := float32(n.Model.Config().AttentionScale(name.Layer))
	for i := range n.out {
		head, t, s := i/(n.T*n.S), i/n.S%n.T, i%n.S
		if n.out[i] = float32(math.Inf(-1)); s <= n.P+t {
			n.out[i] = n.dot(n.x[(head*n.T+t)*n.D:][:n.D], n.y[(head*n.S+s)*n.D:][:n.D]) * scale
		}
	}
}

// softmax computes exp(x/temperature) over its sum, row by row.
func (n *stage) softmax(width int, temperature float32) {
	for lo := 0; lo < len(n.out); lo += width {
		x, out := n.x[lo:lo+width], n.out[lo:lo+width]
		top := slices.Max(x)
		for i, v := range x {
			out[i] = float32(math.Exp(float64((v - top) / temperature)))
		}
		sum := n.Sum(out)
		for i := range out {
			out[i] /= sum
		}
	}
}

// context computes probs*v, the heads side by side.
func (n *stage) context() {
	column := make([]float32, n.S)
	for i := range n.out {
		b, t, h, c := i/(n.T*n.C), i/n.C%n.T, i/n.D%n.H, i%n.D
		for s := range column {
			column[s] = n.y[((b*n.H+h)*n.S+s)*n.D+c]
		}
		n.out[i] = n.dot(n.x[((b*n.H+h)*n.T+t)*n.S:][:n.S], column)
	}
}

// activate computes GELU in its tanh form, or the config's activation.
func (n *stage) activate() {
	f := n.Model.Config().ActivationFunction()
	for i, v := range n.x {
		if f != activation.Released {
			n.out[i] = float32(f.Of(float64(v)))
			continue
		}
		const c, a = 0.7978845608, 0.044715
		n.out[i] = 0.5 * v * (1 + float32(math.Tanh(float64(c*(v+a*(v*v*v))))))
	}
}

// unembed computes x*wteᵀ, or with a head's own weights.
func (n *stage) unembed() {
	w, _, own := n.Model.Weight("lm_head.weight")
	if !own {
		w, _, _ = n.Model.Weight("wte.weight")
	}
	bias, _, _ := n.Model.Weight("lm_head.bias")
	for i := range n.out {
		n.out[i] = n.dot(n.x[i/n.V*n.C:][:n.C], w[i%n.V*n.C:][:n.C])
		if bias != nil {
			n.out[i] += bias[i%n.V]
		}
	}
}
