package faults

import (
	"checkpoint12/model"
	"checkpoint12/model/sample"
)

var unembedVariants = map[string]variant{
	"head_untied": func(c *Context) [][]float32 { return one(c.empty()) },
	"head_shifted": func(c *Context) [][]float32 {
		right, out, V := c.Right(), c.empty(), c.vocab()
		for lo := 0; lo < len(out); lo += V {
			copy(out[lo+1:lo+V], right[lo:])
			out[lo] = right[lo+V-1]
		}
		return one(out)
	},
	"head_transposed": func(c *Context) [][]float32 {
		return one(times(c.reads(0), c.unembedding(), nil, c.vocab(), nil))
	},
}

var choiceVariants = map[string]variant{
	"position_before_last": func(c *Context) [][]float32 { return c.selected(c.Dims.T - 2) },
	"position_first": func(c *Context) [][]float32 {
		if c.Dims.T == 1 {
			return nil
		}
		return c.selected(0)
	},
	"argmin":               func(c *Context) [][]float32 { return c.chosen(func(v, best float32) bool { return v < best }) },
	"tie_rule":             func(c *Context) [][]float32 { return c.chosen(func(v, best float32) bool { return v >= best }) },
	"temperature_inverted": func(c *Context) [][]float32 { return c.distribution(1 / c.temperature()) },
	"temperature_ignored":  func(c *Context) [][]float32 { return c.distribution(1) },
}

// selected is the logits of one position of the step, if there is one.
func (c *Context) selected(t int) [][]float32 {
	if t < 0 {
		return nil
	}
	x, V := c.reads(0), c.vocab()
	var out []float32
	for b := range c.Dims.B {
		out = append(out, x[(b*c.Dims.T+t)*V:][:V]...)
	}
	return one(out)
}

// chosen is for each row the id whose logit beats all before it; nil where a logit
// is NaN, which beats none and is beaten by none.
func (c *Context) chosen(beats func(v, best float32) bool) [][]float32 {
	x, V, out := c.reads(0), c.vocab(), c.empty()
	for b := range out {
		row, best := x[b*V:(b+1)*V], 0
		for id, v := range row {
			if v != v {
				return nil
			}
			if id > 0 && beats(v, row[best]) {
				best = id
			}
		}
		out[b] = float32(best)
	}
	return one(out)
}

// temperature is the one in the stage's name.
func (c *Context) temperature() float64 {
	s, _ := model.ParseStage(c.Stage)
	return s.Temperature
}

// distribution is the softmax at another temperature than the stage's.
func (c *Context) distribution(t float64) [][]float32 {
	x, V, out := c.reads(0), c.vocab(), c.empty()
	for lo := 0; lo < len(out); lo += V {
		sample.Softmax(out[lo:lo+V], x[lo:lo+V], t)
	}
	return one(out)
}
