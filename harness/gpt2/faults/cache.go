package faults

var cacheVariants = map[string]variant{
	"cache_overwritten": func(c *Context) [][]float32 {
		if c.Dims.P == 0 {
			return nil
		}
		old, add := c.cacheParts()
		return one(c.cacheRows(func(head, s int) []float32 {
			if s < c.Dims.T {
				return add(head, s)
			}
			return old(head, s)
		}))
	},
	"cache_stale": func(c *Context) [][]float32 {
		old, _ := c.cacheParts()
		return one(c.cacheRows(old))
	},
	"cache_k_for_v": func(c *Context) [][]float32 {
		other := map[string]string{"cache_k": "cache_v", "cache_v": "cache_k"}[word(c.Stage)]
		whole := c.apply(c.block("attn."+other), c.in)
		// Or in this step's rows alone, or what the engine itself has there.
		old, _ := c.cacheParts()
		return [][]float32{whole, c.cacheRows(func(head, s int) []float32 {
			if s < c.Dims.P {
				return old(head, s)
			}
			return whole[(head*c.keys()+s)*c.width():][:c.width()]
		}), c.optional(c.block("attn." + other))}
	},
	"cache_shifted": func(c *Context) [][]float32 {
		if c.Dims.P == 0 {
			return nil
		}
		old, add := c.cacheParts()
		return one(c.cacheRows(func(head, s int) []float32 {
			if s < c.Dims.P-1 {
				return old(head, s)
			}
			return add(head, s-c.Dims.P+1)
		}))
	},
	"cache_rolled": func(c *Context) [][]float32 {
		S, D := c.keys(), c.width()
		if S < 2 {
			return nil
		}
		right := c.Right()
		return one(c.cacheRows(func(head, s int) []float32 {
			return right[(head*S+(s+S-1)%S)*D:][:D]
		}))
	},
}

// cacheParts are the rows [D] before this step, by head of the batch and
// position, and this step's own, by head and place in the step; nil for a row
// that is not there.
func (c *Context) cacheParts() (old, add func(head, s int) []float32) {
	D := c.width()
	part := func(x []float32, rows int) func(head, s int) []float32 {
		return func(head, s int) []float32 {
			if s >= rows {
				return nil
			}
			return x[(head*rows+s)*D:][:D]
		}
	}
	return part(c.reads(0), c.Dims.P), part(c.reads(1), c.Dims.T)
}

// cacheRows is a cache [B,H,S,D] of rows; a nil row is zeros.
func (c *Context) cacheRows(row func(head, s int) []float32) []float32 {
	out, S, D := c.empty(), c.keys(), c.width()
	for head := range c.Dims.B * c.heads() {
		for s := range S {
			copy(out[(head*S+s)*D:][:D], row(head, s))
		}
	}
	return out
}
