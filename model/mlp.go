package model

import "checkpoint12/model/internal/kernel"

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
