package faults

import (
	"math"
	"slices"
)

// normalising is a LayerNorm with its faults; the zero ones are none.
type normalising struct {
	x          []float32 // [rows, width]
	gain, bias []float32 // [width]
	width      int
	eps        float64
	unbiased   bool // divides by width-1
	keepMean   bool // the mean is not taken off the values
	aroundZero bool // nor is it for the variance
}

// norm is the stage's LayerNorm with a fault.
func norm(fault func(c *Context, n *normalising)) variant {
	return func(c *Context) []float32 {
		n := normalising{x: c.reads(0), gain: c.gain(), bias: c.bias(), width: c.embd(), eps: c.Model.Config().Eps}
		fault(c, &n)
		return n.run()
	}
}

// epsilon is the stage's LayerNorm with another epsilon, unless it is the right one.
func epsilon(eps float64) variant {
	other := norm(func(_ *Context, n *normalising) { n.eps = eps })
	return func(c *Context) []float32 {
		if c.Model.Config().Eps == eps {
			return nil
		}
		return other(c)
	}
}

// rootMeanSquare is RMSNorm: the mean is taken off nowhere.
func rootMeanSquare(_ *Context, n *normalising) { n.keepMean, n.aroundZero = true, true }

// filled is n times one number.
func filled(n int, v float32) []float32 { return slices.Repeat([]float32{v}, n) }

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
			y[i] = float32((float64(v)-mean)*scale*float64(n.gain[i]) + float64(n.bias[i]))
		}
	}
	return out
}
