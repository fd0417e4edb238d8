package faults

import (
	"math"
	"slices"

	"github.com/tphakala/simd/f32"

	"checkpoint12/harness/gpt2/fit"
	"checkpoint12/model"
)

// scale returns what q·k is multiplied by, 1/√D in GPT-2 as released.
func (c *Context) scale() float64 {
	s, _ := model.ParseStage(c.Stage)
	return c.Model.Config().AttentionScale(s.Layer)
}

// scores returns q·k times scale, [B,H,T,S]; query t sees the keys up to P+t+ahead and
// has -inf at the others.
func (c *Context) scores(scale float64, ahead int) []float32 {
	q, k, out := c.reads(0), c.reads(1), c.empty()
	T, S, D := c.Dims.T, c.keys(), c.width()
	for i := range out {
		head, t, s := i/(T*S), i/S%T, i%S
		v := math.Inf(-1)
		if s <= c.Dims.P+t+ahead {
			v = float64(f32.DotProduct(q[(head*T+t)*D:][:D], k[(head*S+s)*D:][:D])) * scale
		}
		out[i] = float32(v)
	}
	return out
}

// withFirst returns scores in which a query that sees no key sees the first, as some engines
// have it so that no softmax is over nothing.
func (c *Context) withFirst(scores []float32) []float32 {
	open := c.scores(c.scale(), c.keys())
	for lo := 0; lo < len(scores); lo += c.keys() {
		if !slices.ContainsFunc(scores[lo:][:c.keys()], finite) {
			scores[lo] = open[lo]
		}
	}
	return scores
}

// usualLeak is the number that a leaking mask holds where none is known.
const usualLeak = -10

// leaking returns scores with one finite number at the masked places, the engine's own where its
// output is at hand; or, if added, the engine's number added to the product.
func leaking(added bool) variant {
	masked := func(v float32) bool { return math.IsInf(float64(v), -1) }
	return ofSeveral(func(c *Context) []float32 {
		put, more := float32(usualLeak), float32(usualLeak)
		right, open := c.Right(), c.scores(c.scale(), c.keys())
		switch at := slices.IndexFunc(right, masked); {
		case c.got != nil:
			put, more = c.got[at], c.got[at]-open[at]
		case added:
			return nil
		}
		if !finite(put) || more > -1 {
			return nil // no mask at all is another fault
		}
		out := slices.Clone(right)
		for i, v := range right {
			switch {
			case masked(v) && added:
				out[i] = open[i] + more
			case masked(v):
				out[i] = put
			}
		}
		return out
	})
}

// finite reports whether v is neither NaN nor an infinity.
func finite(v float32) bool { return v-v == 0 }

// softmaxAlong returns the softmax over an axis of n places that are stride apart. A masked
// value has probability 0; with open it takes part as a 0 all the same, since a softmax
// over an axis that is masked as a whole would be NaN.
func (c *Context) softmaxAlong(n, stride int, open bool) []float32 {
	x, out, e := c.reads(0), c.empty(), make([]float64, n)
	for first := range x {
		if first/stride%n > 0 {
			continue // not the first along the axis
		}
		top, sum := math.Inf(-1), 0.0
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
			if at := first + i*stride; !math.IsInf(float64(x[at]), -1) {
				out[at] = float32(e[i] / sum)
			}
		}
	}
	return out
}

// headsNotMerged returns the context [B,T,H,D] as it lies before heads are merged, [B,H,T,D].
func headsNotMerged(c *Context) []float32 {
	right, out := c.Right(), c.empty()
	shape, order := []int{c.Dims.B, c.Dims.T, c.heads(), c.width()}, []int{0, 2, 1, 3}
	for i := range out {
		out[i] = right[fit.Exchanged(i, shape, order)]
	}
	return out
}

// cacheRows returns a cache [B,H,S,D] of rows [D] by head of the batch and position; a
// nil row is zeros.
func (c *Context) cacheRows(row func(head, s int) []float32) []float32 {
	out, S, D := c.empty(), c.keys(), c.width()
	for head := range c.Dims.B * c.heads() {
		for s := range S {
			copy(out[(head*S+s)*D:][:D], row(head, s))
		}
	}
	return out
}

// cached returns a row from before this step; nil for a later one.
func (c *Context) cached(head, s int) []float32 { return c.row(c.reads(0), c.Dims.P, head, s) }

// added returns one of this step's own rows, by place in the step.
func (c *Context) added(head, t int) []float32 { return c.row(c.reads(1), c.Dims.T, head, t) }

// row returns row s of a head of x, which has so many rows for each; nil if there is none.
func (c *Context) row(x []float32, rows, head, s int) []float32 {
	if s >= rows {
		return nil
	}
	return x[(head*rows+s)*c.width():][:c.width()]
}

// rolled returns the cache with every row at the next position.
func rolled(c *Context) []float32 {
	right, S := c.Right(), c.keys()
	if S < 2 {
		return nil
	}
	return c.cacheRows(func(head, s int) []float32 { return c.row(right, S, head, (s+S-1)%S) })
}

// otherCache returns the name of the values' cache for that of the keys, and back.
func (c *Context) otherCache() string {
	return c.block(map[string]string{"attn.cache_k": "attn.cache_v", "attn.cache_v": "attn.cache_k"}[wordOf(c.Stage)])
}

// otherWhole returns the other cache.
func otherWhole(c *Context) []float32 { return c.apply(c.otherCache(), c.in) }

// otherRows returns the cache with the other's rows at this step's positions.
func otherRows(c *Context) []float32 {
	other := otherWhole(c)
	return c.cacheRows(func(head, s int) []float32 {
		if s < c.Dims.P {
			return c.cached(head, s)
		}
		return c.row(other, c.keys(), head, s)
	})
}
