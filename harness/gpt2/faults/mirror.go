package faults

import (
	"math"
	"slices"
	"strings"

	"checkpoint12/harness/gpt2/fit"
	"checkpoint12/model"
)

// A headOrder is an order of the channels within each head, with signs: channel i of all C has so
// many times the value that belongs in channel from[i].
type headOrder struct {
	from []int
	sign []float32
}

// headOrder returns the order that a hypothesis gives a stage of queries or keys; ok is false if it
// is no such order, the same in every position.
func (h hypothesis) headOrder(m *model.Model, stage string) (o headOrder, ok bool) {
	if h.ID != fit.PatternColumns && h.ID != fit.PatternPermuted && h.ID != fit.PatternHeads {
		return o, false
	}
	cfg := m.Config()
	const T = 2 // positions with a number of its own for each value
	C, D := cfg.Embd, cfg.Embd/cfg.Heads
	third := 1
	if wordOf(stage) == "attn.q" {
		third = 0
	}
	columns, right := make([]float32, T*3*C), make([]float32, T*C)
	for s := range 3 {
		for i := range T * C { // [H,T,D]
			head, t, d := i/(T*D), i/D%T, i%D
			v := float32(1 + s*T*C + i)
			if columns[t*3*C+s*C+head*D+d] = v; s == third {
				right[i] = v
			}
		}
	}
	c := &Context{Model: m, Dims: model.Dims{B: 1, T: T}, Stage: stage, right: right}
	c.In = func(name string) []float32 {
		if wordOf(name) == "attn.c_attn" {
			return columns
		}
		return nil
	}
	out := h.output(c, 0)
	if len(out) != len(right) {
		return o, false
	}
	o.from, o.sign = make([]int, C), make([]float32, C)
	for i, v := range out {
		sign := float32(math.Copysign(1, float64(v)))
		j := int(v*sign) - 1 - third*T*C
		if j < 0 || j >= len(right) || right[j] != v*sign || j/D != i/D {
			return o, false
		}
		at := i/(T*D)*D + i%D
		from := i/(T*D)*D + j%D
		if t := i / D % T; t > 0 && (o.from[at] != from || o.sign[at] != sign) {
			return o, false
		}
		o.from[at], o.sign[at] = from, sign
		ok = ok || from != at || sign < 0
	}
	return o, ok
}

// inverse returns the order that undoes one; ok is false if two channels have the value of one.
func (o headOrder) inverse() (x headOrder, ok bool) {
	x = headOrder{make([]int, len(o.from)), make([]float32, len(o.from))}
	for i, from := range o.from {
		if x.sign[from] != 0 {
			return x, false
		}
		x.from[from], x.sign[from] = i, o.sign[i]
	}
	return x, true
}

// output returns the correct queries or keys in the order.
func (o headOrder) output(c *Context) []float32 {
	right := c.Right()
	D := c.width()
	rows := len(right) / c.Dims.B / c.heads() / D
	out := make([]float32, len(right))
	for i := range out {
		at := i/(rows*D)%c.heads()*D + i%D
		out[i] = o.sign[at] * right[i-i%D+o.from[at]%D]
	}
	return out
}

// mirrored are the stages by the order in which they are told, of which what one does to the
// channels of a head another does to q·k too.
var mirrored = []string{"attn.q", "attn.k", "attn.cache_k"}

// channelFactors returns the numbers by which a hypothesis multiplies the channels of attention's output,
// the same in every position; ok is false if it does something else.
func (h hypothesis) channelFactors(m *model.Model, stage string) (k []float32, ok bool) {
	if h.ID != fit.PatternZero && h.ID != fit.PatternRatio && h.ID != fit.PatternChannelRatio {
		return nil, false
	}
	const T = 3
	C := m.Config().Embd
	right := make([]float32, T*C)
	for i := range right {
		right[i] = float32(int(1) << (i / C)) // of which the factors show exactly
	}
	out := h.output(&Context{Model: m, Dims: model.Dims{B: 1, T: T}, Stage: stage, right: right, In: func(string) []float32 { return nil }}, 0)
	if len(out) != len(right) {
		return nil, false
	}
	for i, v := range out {
		if v != out[i%C]*right[i] {
			return nil, false
		}
	}
	return out[:C], true
}

// inValues returns a hypothesis that multiplies channels of attention's output as one of the values, which
// gives the same.
func (g *rowGroup) inValues(e *wrongRow, h hypothesis, stage string) (x hypothesis, ok bool) {
	k, ok := h.channelFactors(g.model, stage)
	if !ok || h.unparted == nil {
		return x, false
	}
	o := headOrder{make([]int, len(k)), k}
	for i := range o.from {
		o.from[i] = i
	}
	x = h.only("attn.cache_v")
	if e.dims.P == 0 || g.wrongAtPrompt(e.Place) { // else the values that the prompt left are right
		x.Stages = append(x.Stages, "h.*.attn.v")
	}
	x.variants, x.unparted = []variant{o.output}, nil
	return x, true
}

// mirrors returns a hypothesis and those that give the same: where it is an order of the channels of
// each head of q, the order of k's that undoes it, and the other way round; where it multiplies channels
// of attention's output, the same of the values.
func (g *rowGroup) mirrors(e *wrongRow, h hypothesis, m match) []hypothesis {
	all := []hypothesis{h}
	if len(m.stages) == 1 && wordOf(m.stages[0]) == "attn.context" {
		if x, ok := g.inValues(e, h, m.stages[0]); ok {
			all = append(all, x)
		}
	}
	if len(m.stages) != 1 || !slices.Contains(mirrored, wordOf(m.stages[0])) {
		return all
	}
	own := wordOf(m.stages[0])
	order, ok := h.headOrder(g.model, m.stages[0])
	if !ok {
		return all
	}
	undone, ok := order.inverse()
	if !ok {
		return all
	}
	for _, word := range mirrored[:2] {
		if word == own {
			continue
		}
		x, o := h, order
		if word == "attn.q" || own == "attn.q" {
			if o = undone; !slices.Equal(order.from, undone.from) {
				x.Text = undo(h.Text, "channels")
			}
		}
		x.variants = []variant{o.output}
		all = append(all, x.only(word))
	}
	slices.SortStableFunc(all, func(a, b hypothesis) int { return mirrorRank(a) - mirrorRank(b) })
	return all
}

// mirrorRank returns which of the mirrored stages a hypothesis sits in.
func mirrorRank(h hypothesis) int {
	return slices.IndexFunc(mirrored, func(word string) bool { return h.At("h.0." + word) })
}

// undo words the order that undoes one.
func undo(text, what string) string {
	const before, after = " before it", " after it"
	switch {
	case strings.Contains(text, before):
		return strings.ReplaceAll(text, before, after)
	case strings.Contains(text, after):
		return strings.ReplaceAll(text, after, before)
	}
	return "the " + what + " are in the order that undoes this one: " + text
}

// alone returns a hypothesis that may sit in several stages of a layer as one on that in which it
// holds of a row, so that it is the same stage in all rows.
func (h hypothesis) alone(m match, span []string) hypothesis {
	if len(m.stages) != 1 {
		return h
	}
	word := wordOf(m.stages[0])
	if slices.ContainsFunc(span, func(stage string) bool { return wordOf(stage) != word && h.At(stage) }) {
		return h.only(word)
	}
	return h
}

// only returns a hypothesis as one on one stage.
func (h hypothesis) only(word string) hypothesis {
	h.Stages, h.relation = []string{"h.*." + word}, h.Text+" in "+word
	return h
}
