package faults

import "github.com/tphakala/simd/f32"

var linearVariants = map[string]variant{
	"conv1d_transposed": func(c *Context) [][]float32 {
		x, w, bias := c.reads(0), c.gain(), c.bias()
		return one(timesTransposed(x, w, bias, len(w)/len(bias), nil))
	},
	"bias_dropped": func(c *Context) [][]float32 {
		return one(c.product(nil, nil, nil))
	},
}

// product is a linear stage: reads(0)*weight + bias, where the input, the matrix
// and the bias go through roundings, nil for none. A nil bias is not added.
func (c *Context) product(input, matrix *rounding, bias []float32) []float32 {
	out := c.shape()
	return times(input.of(c.reads(0)), c.gain(), bias, out[len(out)-1], matrix)
}

// sumsOf is how many products are added up before their sum joins the others.
const sumsOf = 128

// times is x*w + bias in float32, summed in blocks: x [rows,in], w [in,out] which
// goes through round, bias [out] or nil.
func times(x, w, bias []float32, out int, round *rounding) []float32 {
	in := len(w) / out
	rows := len(x) / max(in, 1)
	y := make([]float32, rows*out)
	for r := range rows {
		copy(y[r*out:(r+1)*out], bias)
	}
	sums := make([]float32, rows*out)
	var scratch []float32
	if round != nil {
		scratch = make([]float32, out)
	}
	for k0 := 0; k0 < in; k0 += sumsOf {
		clear(sums)
		for k := k0; k < min(k0+sumsOf, in); k++ {
			row := w[k*out : (k+1)*out]
			if round != nil {
				round.into(scratch, row)
				row = scratch
			}
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
func timesTransposed(x, w, bias []float32, in int, round *rounding) []float32 {
	rows, out := len(x)/in, len(w)/in
	y := make([]float32, rows*out)
	var scratch []float32
	if round != nil {
		scratch = make([]float32, in)
	}
	for o := range out {
		row := w[o*in : (o+1)*in]
		if round != nil {
			round.into(scratch, row)
			row = scratch
		}
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

var headVariants = map[string]variant{
	"qkv_order_kqv": func(c *Context) [][]float32 { return c.splitInOrder("kqv") },
	"qkv_order_vkq": func(c *Context) [][]float32 { return c.splitInOrder("vkq") },
	"qkv_per_head": func(c *Context) [][]float32 {
		D := c.width()
		return one(c.split(func(h, d int) int { return (3*h+c.third())*D + d }))
	},
	"heads_interleaved": func(c *Context) [][]float32 {
		C, H := c.embd(), c.heads()
		return one(c.split(func(h, d int) int { return c.third()*C + d*H + h }))
	},
}

// third is which of q, k and v the stage is.
func (c *Context) third() int {
	switch word(c.Stage) {
	case "q":
		return 0
	case "k":
		return 1
	}
	return 2
}

// splitInOrder takes the stage's third of c_attn in another order of the three;
// nil where that is the right one.
func (c *Context) splitInOrder(order string) [][]float32 {
	third := 0
	for order[third] != word(c.Stage)[0] {
		third++
	}
	if third == c.third() {
		return nil
	}
	C, D := c.embd(), c.width()
	return one(c.split(func(h, d int) int { return third*C + h*D + d }))
}

// split is [B,H,T,D] of c_attn [B,T,3C]; from returns the column in which a
// head's value is.
func (c *Context) split(from func(h, d int) int) []float32 {
	x, out := c.reads(0), c.empty()
	C, H, D := c.embd(), c.heads(), c.width()
	for b := range c.Dims.B {
		for h := range H {
			for t := range c.Dims.T {
				row := x[(b*c.Dims.T+t)*3*C:][:3*C]
				to := out[((b*H+h)*c.Dims.T+t)*D:][:D]
				for d := range to {
					to[d] = row[from(h, d)]
				}
			}
		}
	}
	return out
}
