package faults

import (
	"strings"

	"github.com/tphakala/simd/f32"
)

// product is a linear stage: reads(0)*weight + bias, where the input and the matrix
// go through roundings, nil for none. A nil bias is not added.
func (c *Context) product(input, matrix rounding, bias []float32) []float32 {
	return times(input.of(c.reads(0)), c.gain(), bias, len(c.bias()), matrix)
}

// sumsOf is how many products are added up before their sum joins the others.
const sumsOf = 128

// times is x*w + bias in float32, summed in blocks: x [rows,in], w [in,out] which
// goes through round, bias [out] or nil.
func times(x, w, bias []float32, out int, round rounding) []float32 {
	in := len(w) / out
	rows := len(x) / max(in, 1)
	y, sums, scratch := make([]float32, rows*out), make([]float32, rows*out), make([]float32, out)
	for r := range rows {
		copy(y[r*out:(r+1)*out], bias)
	}
	for k0 := 0; k0 < in; k0 += sumsOf {
		clear(sums)
		for k := k0; k < min(k0+sumsOf, in); k++ {
			row := round.in(scratch, w[k*out:(k+1)*out])
			for r := range rows {
				f32.AddScaled(sums[r*out:(r+1)*out], x[r*in+k], row)
			}
		}
		f32.Add(y, y, sums)
	}
	return y
}

// timesTransposed is x*wᵀ + bias: x [rows,in], w [out,in] which goes through
// round, bias [out] or nil.
func timesTransposed(x, w, bias []float32, in int, round rounding) []float32 {
	rows, out := len(x)/in, len(w)/in
	y, scratch := make([]float32, rows*out), make([]float32, in)
	for o := range out {
		row := round.in(scratch, w[o*in:(o+1)*in])
		for r := range rows {
			s := f32.DotProduct(row, x[r*in:(r+1)*in])
			if bias != nil {
				s += bias[o]
			}
			y[r*out+o] = s
		}
	}
	return y
}

// third is which of q, k and v the stage is.
func (c *Context) third() int { return strings.Index("qkv", word(c.Stage)) }

// splitInOrder takes the stage's third of c_attn in another order of the three;
// nil where that is the right one.
func (c *Context) splitInOrder(order string) []float32 {
	third := strings.Index(order, word(c.Stage))
	if third == c.third() {
		return nil
	}
	return c.split(c.width(), third*c.embd(), 1)
}

// split is [B,H,T,D] of c_attn [B,T,3C], whose columns for the stage begin at
// first: those of the heads are perHead apart, and the values of one are perValue
// apart.
func (c *Context) split(perHead, first, perValue int) []float32 {
	x, out := c.reads(0), c.empty()
	T, H, D := c.Dims.T, c.heads(), c.width()
	for i := range out {
		b, h, t, d := i/(H*T*D), i/(T*D)%H, i/D%T, i%D
		out[i] = x[(b*T+t)*3*c.embd()+first+h*perHead+d*perValue]
	}
	return out
}
