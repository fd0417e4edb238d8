package model

// unembed multiplies rows with the head's matrix: wte, unless the model has
// one of its own.
//
//	in[0] ln_f [B,T,C]   out [B,T,V]
func (c *call) unembed() {
	c.m.head.Mul(c.pool, c.out, c.in[0], nil, c.B*c.T)
}

// unembedLast is unembed for the last position of each row alone.
//
//	in[0] ln_f [B,T,C]   out [B,V]
func (c *call) unembedLast() {
	lastRows(c.last, c.in[0], c.T, c.m.cfg.Embd)
	c.m.head.Mul(c.pool, c.out, c.last, nil, c.B)
}

// lastPosition selects the logits of the last position of each row.
//
//	in[0] logits [B,T,V]   out [B,V]
func (c *call) lastPosition() { lastRows(c.out, c.in[0], c.T, c.m.cfg.Vocab) }

// lastRows copies row T-1 of each [T,width] in x.
func lastRows(out, x []float32, T, width int) {
	for b := 0; b*width < len(out); b++ {
		copy(out[b*width:(b+1)*width], x[(b*T+T-1)*width:])
	}
}

// argmax chooses the most probable token of each row; -1 if logits are NaN.
//
//	in[0] logits_last [B,V]   out ids [B]
func (c *call) argmax() {
	V := c.m.cfg.Vocab
	for b := range c.B {
		c.out[b] = float32(Argmax(c.in[0][b*V : (b+1)*V]))
	}
}

// distribution is the softmax of the last logits over a temperature.
//
//	in[0] logits_last [B,V]   out [B,V]
func (c *call) distribution() {
	V := c.m.cfg.Vocab
	for b := range c.B {
		Softmax(c.out[b*V:(b+1)*V], c.in[0][b*V:(b+1)*V], c.temp)
	}
}
