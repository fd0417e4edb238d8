package model

import "checkpoint12/model/internal/kernel"

// embedTokens copies a row of wte for each token.
//
//	in[0] tokens [B,T]   out [B,T,C]
func (c *call) embedTokens() {
	C := c.m.cfg.Embd
	for i, id := range c.in[0] {
		copy(c.out[i*C:(i+1)*C], c.m.wte[int(id)*C:])
	}
}

// embedPositions copies the rows of wpe for positions P to P+T-1.
//
//	in[0] P [1]   out [T,C]
func (c *call) embedPositions() {
	C := c.m.cfg.Embd
	copy(c.out[:c.T*C], c.m.wpe[int(c.in[0][0])*C:])
}

// addPositions adds the position embedding to every row of the batch.
//
//	in[0] wte [B,T,C]   in[1] wpe [T,C]   out [B,T,C]
func (c *call) addPositions() {
	n := c.T * c.m.cfg.Embd
	for b := range c.B {
		kernel.Add(c.out[b*n:(b+1)*n], c.in[0][b*n:(b+1)*n], c.in[1])
	}
}

// norm normalises rows over C.
//
//	in[0] [B,T,C]   out [B,T,C]
func (c *call) norm(n norm) {
	kernel.LayerNorm(c.pool, c.out, c.in[0], n.gain, n.bias, c.m.cfg.Eps)
}

// linear multiplies rows with a weight matrix and adds a bias.
//
//	in[0] [B,T,in]   out [B,T,out]
func (c *call) linear(l linear) {
	l.weight.Mul(c.pool, c.out, c.in[0], l.bias, c.B*c.T)
}

// gelu is the activation between the two feed-forward layers.
//
//	in[0] [B,T,F]   out [B,T,F]
func (c *call) gelu() {
	kernel.GELU(c.pool, c.out, c.in[0])
}

// add is a residual connection.
//
//	in[0] [B,T,C]   in[1] [B,T,C]   out [B,T,C]
func (c *call) add() {
	kernel.Add(c.out, c.in[0], c.in[1])
}

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
		c.out[b] = float32(kernel.Argmax(c.in[0][b*V : (b+1)*V]))
	}
}

// distribution is the softmax of the last logits over a temperature.
//
//	in[0] logits_last [B,V]   out [B,V]
func (c *call) distribution() {
	V := c.m.cfg.Vocab
	for b := range c.B {
		kernel.Softmax(c.out[b*V:(b+1)*V], c.in[0][b*V:(b+1)*V], c.temp)
	}
}
