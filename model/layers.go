package model

import "checkpoint12/model/internal/kernel"

// embedTokens copies a row of wte for each token: [B,T] to [B,T,C].
func (c *call) embedTokens() {
	C := c.m.cfg.Embd
	for i, id := range c.in[0] {
		copy(c.out[i*C:(i+1)*C], c.m.wte[int(id)*C:])
	}
}

// embedPositions copies the rows of wpe for positions P to P+T-1: [1] to [T,C].
func (c *call) embedPositions() {
	C := c.m.cfg.Embd
	copy(c.out[:c.T*C], c.m.wpe[int(c.in[0][0])*C:])
}

// addPositions adds the positions [T,C] to every row of the batch [B,T,C].
func (c *call) addPositions() {
	n := c.T * c.m.cfg.Embd
	for b := range c.B {
		kernel.Add(c.out[b*n:(b+1)*n], c.in[0][b*n:(b+1)*n], c.in[1])
	}
}

// norm normalises the rows of [B,T,C].
func (c *call) norm(n norm) {
	kernel.LayerNorm(c.pool, c.out, c.in[0], n.gain, n.bias, c.m.cfg.Eps)
}

// linear multiplies rows with a weight matrix and adds a bias: [B,T,in] to [B,T,out].
func (c *call) linear(l linear) {
	l.weight.Mul(c.pool, c.out, c.in[0], l.bias, c.B*c.T)
}

// gelu is the activation between the two feed-forward layers, [B,T,F].
func (c *call) gelu() {
	kernel.GELU(c.pool, c.out, c.in[0])
}

// add is a residual connection, [B,T,C].
func (c *call) add() {
	kernel.Add(c.out, c.in[0], c.in[1])
}

// unembed multiplies rows with the head's matrix, wte or the model's own:
// [B,T,C] to [B,T,V].
func (c *call) unembed() {
	c.m.head.Mul(c.pool, c.out, c.in[0], nil, c.B*c.T)
}

// unembedLast is unembed for the last position of each row alone: [B,T,C] to [B,V].
func (c *call) unembedLast() {
	lastRows(c.last, c.in[0], c.T, c.m.cfg.Embd)
	c.m.head.Mul(c.pool, c.out, c.last, nil, c.B)
}

// lastPosition selects the logits of the last position: [B,T,V] to [B,V].
func (c *call) lastPosition() { lastRows(c.out, c.in[0], c.T, c.m.cfg.Vocab) }

// lastRows copies row T-1 of each [T,width] in x.
func lastRows(out, x []float32, T, width int) {
	for b := 0; b*width < len(out); b++ {
		copy(out[b*width:(b+1)*width], x[(b*T+T-1)*width:])
	}
}

// argmax chooses the most probable token of each row, -1 if logits are NaN: [B,V]
// to [B].
func (c *call) argmax() {
	V := c.m.cfg.Vocab
	for b := range c.B {
		c.out[b] = float32(kernel.Argmax(c.in[0][b*V : (b+1)*V]))
	}
}

// distribution is the softmax of the last logits over a temperature, [B,V].
func (c *call) distribution() {
	V := c.m.cfg.Vocab
	for b := range c.B {
		kernel.Softmax(c.out[b*V:(b+1)*V], c.in[0][b*V:(b+1)*V], c.temp)
	}
}
