package faults

import "math"

var normVariants = map[string]variant{
	"ln_unbiased": func(c *Context) [][]float32 {
		n := c.norm()
		n.unbiased = true
		return one(n.run())
	},
	"ln_eps_1e-6": func(c *Context) [][]float32 { return c.normWithEps(1e-6) },
	"ln_eps_1e-12": func(c *Context) [][]float32 {
		return append(c.normWithEps(1e-12), c.normWithEps(0)...)
	},
	"ln_mean_kept": func(c *Context) [][]float32 {
		n := c.norm()
		n.keepMean = true
		root := n
		root.aroundZero = true // RMSNorm: the mean is taken off nowhere
		return [][]float32{n.run(), root.run()}
	},
	"ln_gain_dropped": func(c *Context) [][]float32 {
		n := c.norm()
		n.gain = nil
		return one(n.run())
	},
	"ln_bias_dropped": func(c *Context) [][]float32 {
		n := c.norm()
		n.bias = nil
		return one(n.run())
	},
	"ln2_with_ln1_weights": func(c *Context) [][]float32 {
		n := c.norm()
		n.gain, n.bias = c.weight(c.block("ln_1.weight")), c.weight(c.block("ln_1.bias"))
		return one(n.run())
	},
	"ln2_of_block_input": func(c *Context) [][]float32 {
		n := c.norm()
		n.x = c.in(c.blockInput())
		return one(n.run())
	},
	"final_norm_missing": func(c *Context) [][]float32 { return one(c.reads(0)) },
}

// normalising is a LayerNorm with its faults; the zero ones are none.
type normalising struct {
	x          []float32 // [rows, width]
	gain, bias []float32 // [width]; nil is 1 and 0
	width      int
	eps        float64
	unbiased   bool // divides by width-1
	keepMean   bool // the mean is not taken off the values
	aroundZero bool // nor is it for the variance
}

// norm is the stage's own LayerNorm, without a fault.
func (c *Context) norm() normalising {
	return normalising{x: c.reads(0), gain: c.gain(), bias: c.bias(), width: c.embd(), eps: c.Model.Config().Eps}
}

// normWithEps is the stage with another epsilon, unless it is the right one.
func (c *Context) normWithEps(eps float64) [][]float32 {
	n := c.norm()
	if n.eps == eps {
		return nil
	}
	n.eps = eps
	return one(n.run())
}

// run computes in float64 and rounds once.
func (n normalising) run() []float32 {
	out := make([]float32, len(n.x))
	for lo := 0; lo+n.width <= len(n.x); lo += n.width {
		x, y := n.x[lo:lo+n.width], out[lo:lo+n.width]
		var sum, squares float64
		for _, v := range x {
			sum += float64(v)
		}
		mean := sum / float64(n.width)
		centre, by := mean, float64(n.width)
		if n.aroundZero {
			centre = 0
		}
		for _, v := range x {
			d := float64(v) - centre
			squares += d * d
		}
		if n.unbiased {
			by--
		}
		scale := 1 / math.Sqrt(squares/by+n.eps)
		if n.keepMean {
			mean = 0
		}
		for i, v := range x {
			f := (float64(v) - mean) * scale
			if n.gain != nil {
				f *= float64(n.gain[i])
			}
			if n.bias != nil {
				f += float64(n.bias[i])
			}
			y[i] = float32(f)
		}
	}
	return out
}
