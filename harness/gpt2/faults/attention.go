package faults

import (
	"math"

	"github.com/tphakala/simd/f32"
)

var scoreVariants = map[string]variant{
	"scale_missing": func(c *Context) [][]float32 { return one(c.scores(1, 0)) },
	"scale_d":       func(c *Context) [][]float32 { return one(c.scores(1/float64(c.width()), 0)) },
	"scale_c":       func(c *Context) [][]float32 { return one(c.scores(1/math.Sqrt(float64(c.embd())), 0)) },
	"mask_missing": func(c *Context) [][]float32 {
		if c.Dims.T == 1 {
			return nil
		}
		return one(c.scores(c.scale(), c.keys()))
	},
	"mask_diagonal_hidden": func(c *Context) [][]float32 { return one(c.scores(c.scale(), -1)) },
	"mask_one_ahead": func(c *Context) [][]float32 {
		if c.Dims.T == 1 {
			return nil
		}
		return one(c.scores(c.scale(), 1))
	},
	"mask_without_past": func(c *Context) [][]float32 {
		if c.Dims.P == 0 {
			return nil
		}
		return one(c.scores(c.scale(), -c.Dims.P))
	},
	"mask_leaking": maskLeaking,
}

// scale is what q*k is multiplied with.
func (c *Context) scale() float64 { return 1 / math.Sqrt(float64(c.width())) }

// scores is [B,H,T,S] of q and cache_k, times scale; query t sees the keys up to
// P+t+ahead and has -inf at the others.
func (c *Context) scores(scale float64, ahead int) []float32 {
	q, k, out := c.reads(0), c.reads(1), c.empty()
	T, S, D := c.Dims.T, c.keys(), c.width()
	for head := range c.Dims.B * c.heads() {
		for t := range T {
			query := q[(head*T+t)*D:][:D]
			for s := range S {
				v := math.Inf(-1)
				if s <= c.Dims.P+t+ahead {
					v = float64(f32.DotProduct(query, k[(head*S+s)*D:][:D])) * scale
				}
				out[(head*T+t)*S+s] = float32(v)
			}
		}
	}
	return out
}

// usualLeak is the number that a leaking mask holds where none is known.
const usualLeak = -10

// maskLeaking puts one finite number at the masked places, or adds it to the
// product there. The number is the engine's own where its output is at hand.
func maskLeaking(c *Context) [][]float32 {
	if c.Dims.T == 1 {
		return nil
	}
	right := c.Right()
	masked := func(i int) bool { return math.IsInf(float64(right[i]), -1) }
	if c.got == nil {
		return one(filled(right, masked, func(int) float32 { return usualLeak }))
	}
	open := c.scores(c.scale(), c.keys())
	i := 0
	for !masked(i) {
		i++
	}
	put, added := c.got[i], c.got[i]-open[i]
	if !finite(put) || added > -1 {
		return nil // no mask at all is another fault
	}
	return [][]float32{
		filled(right, masked, func(int) float32 { return put }),
		filled(right, masked, func(i int) float32 { return open[i] + added }),
	}
}

// filled is x with other values at some places.
func filled(x []float32, at func(i int) bool, value func(i int) float32) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		if out[i] = v; at(i) {
			out[i] = value(i)
		}
	}
	return out
}

func finite(v float32) bool { return v-v == 0 }

var probVariants = map[string]variant{
	"softmax_axis": func(c *Context) [][]float32 {
		x, out := c.reads(0), c.empty()
		T, S := c.Dims.T, c.keys()
		for head := range c.Dims.B * c.heads() {
			for s := range S {
				softmaxAlong(out, x, head*T*S+s, T, S, false)
			}
		}
		return one(out)
	},
	"softmax_axis_heads": func(c *Context) [][]float32 {
		x, out := c.reads(0), c.empty()
		H, n := c.heads(), c.Dims.T*c.keys()
		for b := range c.Dims.B {
			for i := range n {
				softmaxAlong(out, x, b*H*n+i, H, n, true)
			}
		}
		return one(out)
	},
	"heads_not_merged": func(c *Context) [][]float32 {
		if c.Dims.T == 1 {
			return nil
		}
		right, out := c.Right(), c.empty()
		H, T, D := c.heads(), c.Dims.T, c.width()
		for i := range out { // [B,H,T,D] as it lies, of [B,T,H,D]
			b, h, t, d := i/(H*T*D), i/(T*D)%H, i/D%T, i%D
			out[i] = right[((b*T+t)*H+h)*D+d]
		}
		return one(out)
	},
}

// softmaxAlong is the softmax of n values, stride apart from first on. A masked
// value has probability 0; with open it takes part as a 0 all the same, since a
// softmax over an axis that is masked as a whole would be NaN.
func softmaxAlong(out, x []float32, first, n, stride int, open bool) {
	top, sum := math.Inf(-1), 0.0
	e := make([]float64, n)
	for i := range e {
		e[i] = float64(x[first+i*stride])
		if open && math.IsInf(e[i], -1) {
			e[i] = 0
		}
		top = math.Max(top, e[i])
	}
	for i := range e {
		e[i] = math.Exp(e[i] - top)
		sum += e[i]
	}
	for i := range e {
		p := float32(e[i] / sum)
		if math.IsInf(float64(x[first+i*stride]), -1) {
			p = 0
		}
		out[first+i*stride] = p
	}
}
