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
