package faults

import (
	"slices"
	"strings"

	"checkpoint12/harness/gpt2/fit"
)

// keyMirrors are the stages in which what one does to the rows of keys gives the same as what another does to
// its own: a mix of rows does not show whether the rows or the weights are elsewhere.
var keyMirrors = map[string]string{"attn.cache_v": "attn.probs", "attn.probs": "attn.cache_v", "attn.cache_k": "attn.scores"}

// mirrorKeys returns the hypothesis that gives the same scores, or the same context, in another stage as one
// on some keys of a row; nil if there is none.
func (g *rowGroup) mirrorKeys(e *wrongRow, h hypothesis, m match) []hypothesis {
	if h.ID != fit.PatternPermuted && h.ID != fit.PatternZero && h.ID != fit.PatternCache || len(m.stages) != 1 || h.event && h.ID != fit.PatternCache {
		return nil
	}
	own := wordOf(m.stages[0])
	other := keyMirrors[own]
	d, ok := g.dims(e.Step)
	if other == "" || !ok {
		return nil
	}
	of := h.variants[0]
	orders, ok := (&Context{Model: g.model, Dims: d, Stage: m.stages[0], step: e.Step}).keyOrders(of)
	if !ok {
		return nil
	}
	x := h
	x.Text = orders.text(h.Text, own != "attn.cache_k")
	x.unparted = nil
	if h.ID == fit.PatternCache {
		zeros := orders.zeros()
		if !h.event || len(zeros) == 0 {
			return nil
		}
		x.Text = "the output is 0 in " + fit.KeyPositions(zeros)
	}
	x.variants = []variant{func(c *Context) []float32 {
		sibling := *c
		sibling.Stage, sibling.got = c.block(own), nil
		o, ok := sibling.keyOrders(of)
		if !ok {
			return nil
		}
		return o.mirrored(c, other)
	}}
	return []hypothesis{x.only(other)}
}

// keyOrders are orders of the keys of each head of each batch row: which key's values stand in each place; -1
// is zeros.
type keyOrders [][]int

// keyOrders returns the orders that a fault gives a stage; ok is false if it does something else.
func (c *Context) keyOrders(of variant) (all keyOrders, ok bool) {
	S, H := c.Dims.P+c.Dims.T, c.heads()
	rows, width := c.Dims.T, 1 // of keys, and values of a key
	if strings.HasPrefix(wordOf(c.Stage), "attn.cache_") {
		rows, width = 1, c.width()
	}
	probe := *c
	probe.got, probe.right = nil, make([]float32, c.Dims.B*H*rows*S*width)
	for i := range probe.right {
		probe.right[i] = float32(i + 1)
	}
	out := of(&probe)
	if len(out) != len(probe.right) {
		return nil, false
	}
	for lo := 0; lo < len(out); lo += rows * S * width {
		order := make([]int, S)
		for i, v := range out[lo : lo+rows*S*width] {
			j, from := i/width%S, -1
			if v != 0 {
				k := int(v) - 1 - lo
				if k < 0 || k >= rows*S*width || float32(k+lo+1) != v || k%width != i%width || k/(S*width) != i/(S*width) {
					return nil, false
				}
				from = k / width % S
			}
			if first := i < S*width && i%width == 0; !first && order[j] != from {
				return nil, false
			}
			order[j] = from
		}
		all = append(all, order)
	}
	return all, true
}

// mirrored returns the correct output of a stage as the orders of another change it: probabilities go with
// the values that they weight, values with the probabilities, and scores are those of other keys.
func (o keyOrders) mirrored(c *Context, word string) []float32 {
	right, S, D := c.Right(), c.Dims.P+c.Dims.T, c.width()
	rows, width := c.Dims.T, 1
	if word == "attn.cache_v" {
		rows, width = 1, D
	}
	if len(right) != len(o)*rows*S*width {
		return nil
	}
	out := make([]float32, len(right))
	for r, order := range o {
		for t := range rows {
			lo := (r*rows + t) * S * width
			for j, from := range order {
				for i := range width {
					switch own := right[lo+j*width+i]; {
					case word == "attn.scores" && !finite(own):
						out[lo+j] = own
					case from < 0:
					case word == "attn.scores":
						if out[lo+j] = right[lo+from]; !finite(right[lo+from]) {
							return nil
						}
					default:
						out[lo+from*width+i] += own
					}
				}
			}
		}
	}
	return out
}

// zeros lists the keys that are zeros in any order.
func (o keyOrders) zeros() (all []int) {
	for _, order := range o {
		for j, from := range order {
			if from < 0 && !slices.Contains(all, j) {
				all = append(all, j)
			}
		}
	}
	slices.Sort(all)
	return all
}

// text words what gives the same as orders of some words; undone, the order that undoes them.
func (o keyOrders) text(words string, undone bool) string {
	for _, order := range o {
		for j, from := range order {
			if undone && from >= 0 && order[from] >= 0 && order[from] != j {
				return undo(words, "rows")
			}
		}
	}
	return words
}
