package model

import (
	"math"

	"github.com/tphakala/simd/f32"

	"checkpoint12/model/internal/kernel"
)

// embedTokens copies a row of wte for each token: [B,T] to [B,T,C].
func (c *call) embedTokens() {
	C := c.m.cfg.Embd
	for i, id := range c.in[0] {
		copy(c.out[i*C:(i+1)*C], c.m.wte[int(id)*C:])
	}
}

// embedPositions copies the rows of wpe for positions P to P+T-1: [1] to [T,C], or with
// padding for those of each row of the batch, [B,T,C].
func (c *call) embedPositions() {
	C := c.m.cfg.Embd
	for i := 0; c.Mask != nil && i < c.B*c.T; i++ {
		copy(c.out[i*C:(i+1)*C], c.m.wpe[c.position(i/c.T, c.P+i%c.T)*C:])
	}
	if c.Mask != nil {
		return
	}
	copy(c.out[:c.T*C], c.m.wpe[int(c.in[0][0])*C:])
}

// addPositions adds the positions [T,C], or [B,T,C], to every row of the batch [B,T,C].
func (c *call) addPositions() {
	n := c.T * c.m.cfg.Embd
	for b := range c.B {
		f32.Add(c.out[b*n:(b+1)*n], c.in[0][b*n:(b+1)*n], c.in[1][b*n%len(c.in[1]):][:n])
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

// activate is the function between the two feed-forward layers, [B,T,F].
func (c *call) activate() {
	kernel.Activate(c.pool, c.out, c.in[0], c.m.cfg.ActivationFunction())
}

// add is a residual connection, [B,T,C].
func (c *call) add() { c.parts((*call).addRow, c.B*c.T, c.m.cfg.Embd) }

func (c *call) addRow(i int) {
	lo, hi := i*c.m.cfg.Embd, (i+1)*c.m.cfg.Embd
	f32.Add(c.out[lo:hi], c.in[0][lo:hi], c.in[1][lo:hi])
}

// unembed multiplies rows with the head's matrix and adds its bias, if it has one: [B,T,C] to
// [B,T,V].
func (c *call) unembed() {
	c.m.head.Mul(c.pool, c.out, c.in[0], c.m.headBias, c.B*c.T)
}

// unembedLast is unembed for the last position of each row alone: [B,T,C] to [B,V].
func (c *call) unembedLast() {
	c.lastRows(c.last, c.m.cfg.Embd)
	c.m.head.Mul(c.pool, c.out, c.last, c.m.headBias, c.B)
}

// lastPosition selects the logits of the last position: [B,T,V] to [B,V].
func (c *call) lastPosition() { c.lastRows(c.out, c.m.cfg.Vocab) }

// lastRows copies the last row that is a token's of each [T,width]; NaN if none is.
func (c *call) lastRows(out []float32, width int) {
	for b := range c.B {
		t := c.T - 1
		for t >= 0 && !c.isToken(b, c.P+t) {
			t--
		}
		row := out[b*width:][:width]
		if t >= 0 {
			copy(row, c.in[0][(b*c.T+t)*width:])
			continue
		}
		for i := range row {
			row[i] = float32(math.NaN())
		}
	}
}

// argmax chooses the most probable token, -1 if logits are NaN: [B,V] to [B].
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

// splitHeads takes one third of c_attn's columns (0 is q, 1 is k, 2 is v) and
// puts heads before positions: [B,T,3C] to [B,H,T,D].
func (c *call) splitHeads(third int) {
	c.third = third
	c.perHead((*call).splitHead, c.T)
}

func (c *call) splitHead(i int) {
	C, H := c.m.cfg.Embd, c.m.cfg.Heads
	D := C / H
	b, h := i/H, i%H
	for t := range c.T {
		copy(c.out[(i*c.T+t)*D:][:D], c.in[0][(b*c.T+t)*3*C+c.third*C+h*D:])
	}
}

// appendCache writes the earlier positions and after them the new ones. In a session
// without a tap out and in[0] are the same.
//
//	in[0] earlier cache [B,H,P,D], heads prev positions apart
//	in[1] k or v [B,H,T,D]
//	out   [B,H,S,D], heads stride positions apart
func (c *call) appendCache() { c.perHead((*call).appendHead, c.P+c.T) }

func (c *call) appendHead(i int) {
	D := c.m.cfg.Embd / c.m.cfg.Heads
	old, add := c.P*D, c.T*D
	from, to := c.in[0][i*c.prev*D:], c.out[i*c.stride*D:]
	if old > 0 && &from[0] != &to[0] {
		copy(to[:old], from)
	}
	copy(to[old:old+add], c.in[1][i*add:])
}

// perHead calls f for every head of the batch, which works on so many rows of D values.
func (c *call) perHead(f func(*call, int), rows int) {
	H := c.m.cfg.Heads
	c.parts(f, c.B*H, rows*max(16, c.m.cfg.Embd/H)) // an exponential costs as much as 16 multiplications
}

// parts calls f for 0 to n-1, each of which is about so many multiplications.
func (c *call) parts(f func(*call, int), n, work int) {
	c.part = f
	c.pool.Do(c, n, n*work)
}

// Part implements kernel.Task.
func (c *call) Part(i int) { c.part(c, i) }

// scores multiplies queries and keys, by head; later places are -Inf, and those at
// padding, but for a query at padding its own.
//
//	in[0] q [B,H,T,D]   in[1] cache_k [B,H,S,D]   out [B,H,T,S]
func (c *call) scores() { c.perHead((*call).scoresOfHead, c.T*(c.P+c.T)) }

func (c *call) scoresOfHead(i int) { c.scoresOf(i, c.out[i*c.T*(c.P+c.T):], 0, c.T) }

// scoresOf writes the scores of n queries of a head, from query first on, to out [n,S], S being
// as many as the last of them sees.
func (c *call) scoresOf(i int, out []float32, first, n int) {
	D := c.m.cfg.Embd / c.m.cfg.Heads
	S := c.P + first + n
	scale := c.m.cfg.AttentionScale(c.layer)
	masked := float32(math.Inf(-1))
	kernel.Scores(out, c.in[0][(i*c.T+first)*D:], c.in[1][i*c.stride*D:], n, S, D, scale)
	for t := range n {
		row := out[t*S:][:S]
		seen := S - n + t + 1
		for s := seen; s < S; s++ {
			row[s] = masked
		}
		for s := 0; c.Mask != nil && s < seen-1; s++ {
			if !c.isToken(i/c.m.cfg.Heads, s) {
				row[s] = masked
			}
		}
	}
}

// softmax turns each query's scores into probabilities, [B,H,T,S].
func (c *call) softmax() { c.perHead((*call).softmaxOfHead, c.T*(c.P+c.T)) }

func (c *call) softmaxOfHead(i int) {
	S := c.P + c.T
	for t := range c.T {
		at := (i*c.T + t) * S
		kernel.Softmax(c.out[at:at+S], c.in[0][at:at+S], 1)
	}
}

// context adds up the values, weighted by the probabilities, and puts the heads
// side by side again. A probability of exactly 0 adds nothing whatever the value.
//
//	in[0] probs [B,H,T,S]   in[1] cache_v [B,H,S,D]   out [B,T,C]
func (c *call) context() { c.perHead((*call).contextOfHead, c.T*(c.P+c.T)) }

func (c *call) contextOfHead(i int) {
	c.contextOf(i, c.in[0][i*c.T*(c.P+c.T):], c.in[1], 0, c.T)
}

// contextOf adds up the values for n queries of a head, from query first on, whose
// probabilities are x [n,S], S being as many as the last of them sees.
func (c *call) contextOf(i int, x, v []float32, first, n int) {
	C, H := c.m.cfg.Embd, c.m.cfg.Heads
	D, S := C/H, c.P+first+n
	b, h := i/H, i%H
	kernel.Context(c.pool, c.out[(b*c.T+first)*C+h*D:], C, x, v[i*c.stride*D:], n, S, D)
}

// attendRows is the number of queries whose scores and probabilities stay in the second cache.
const attendRows = 48

// attend is scores, softmax and context, of some queries of a head at a time.
//
//	in[0] q [B,H,T,D]   in[1] cache_k [B,H,S,D]   in[2] cache_v [B,H,S,D]   out [B,T,C]
func (c *call) attend() { c.perHead((*call).attendHead, 3*c.T*(c.P+c.T)) }

func (c *call) attendHead(i int) {
	room := len(c.scratch) / (c.B * c.m.cfg.Heads)
	for first := 0; first < c.T; first += attendRows {
		n := min(attendRows, c.T-first)
		S := c.P + first + n
		x := c.scratch[i*room:][:n*S]
		c.scoresOf(i, x, first, n)
		for t := range n {
			kernel.Softmax(x[t*S:][:S], x[t*S:][:S], 1)
		}
		c.contextOf(i, x, c.in[2], first, n)
	}
}
