package fit

import (
	"fmt"
	"math"
	"slices"

	"checkpoint12/model"
)

func init() {
	for _, word := range []string{"attn.scores", "attn.context"} {
		searches[word] = append(searches[word], movedInputs)
	}
}

// movedInputs proposes products of attention that read heads, or channels of heads, of an input in
// other places than it is dumped, or leave channels out.
func movedInputs(r *Row) (all []Hypothesis) {
	p, ok := r.worst()
	if !ok || r.hides() {
		return nil
	}
	cfg, left := r.Model.Config(), int(4*mostHidden)
	places, own := p.places(cfg, r.Name), model.Reads(cfg, r.Name)
	cut := map[string][]float32{} // of the position
	for _, name := range own {
		x := r.In(name)
		for _, at := range p.places(cfg, name) {
			if at >= len(x) {
				return nil
			}
			cut[name] = append(cut[name], x[at])
		}
	}
	out := make([]float32, len(places))
	for i, name := range own {
		if r.Has != nil && !r.Has(r.Step, name) {
			continue // of which other searches tell more
		}
		at := r.Stage
		at.Name, at.Dims, at.Correct = name, p.dims(), func() []float32 { return cut[name] }
		try := func(text string, numbers int, change func(s *Stage) []float32) {
			x := change(&at)
			if left -= len(x) + len(cut[own[1]]); left < 0 || x == nil || r.Model.Apply(r.Name, p.dims(), func(of string) []float32 {
				if of == name {
					return x
				}
				return cut[of]
			}, out) != nil || !r.near(out, places) {
				return
			}
			all = append(all, Hypothesis{ID: PatternInputs, Numbers: numbers, Text: text, Output: func(s *Stage) []float32 {
				reads, in := model.Reads(cfg, s.Name), *s
				in.Name, in.Correct = reads[i], func() []float32 { return s.In(reads[i]) }
				x, out := change(&in), make([]float32, len(s.Correct()))
				if x == nil || s.Model.Apply(s.Name, s.Dims, func(of string) []float32 {
					if of == reads[i] {
						return x
					}
					return s.In(of)
				}, out) != nil {
					return nil
				}
				return out
			}})
		}
		word := stageName(name).Word
		axes, _ := at.axes()
		for a, axis := range axes {
			if axis.N < 2 || axis.Letter != "H" && axis.Letter != "D" {
				continue
			}
			for _, o := range axis.guesses() {
				try(fmt.Sprintf("it does not read %s as it is dumped: %s", word, o.text), o.numbers, moving(a, o, nil, false))
			}
			if axis.Letter != "D" || i > 0 {
				continue
			}
			for _, h := range channelsLeftOut(axis.N) {
				try(h.Text, h.Numbers, h.Output)
			}
		}
		if len(all) > 0 {
			break
		}
	}
	return all
}

// channelsLeftOut returns queries, or keys, of which some channels are 0.
func channelsLeftOut(D int) (all []Hypothesis) {
	add := func(text string, has func(d int) bool) {
		all = append(all, Hypothesis{ID: PatternInputs, Numbers: 1, Text: fmt.Sprintf(text, fmt.Sprintf("of each head's %d", D)) + " left out of q·k", Output: ofHeads(func(x []float32, _ int) {
			for d := range x {
				if has(d) {
					x[d] = 0
				}
			}
		})})
	}
	for n := 1; n < D; n++ {
		count := fmt.Sprintf("%d channels", n)
		if n == 1 {
			count = "channel"
		}
		verb := map[bool]string{true: " %s is", false: " %s are"}[n == 1]
		add("the last "+count+verb, func(d int) bool { return d >= D-n })
		add("the first "+count+verb, func(d int) bool { return d < n })
		add(fmt.Sprintf("channel %d %%s is", n-1), func(d int) bool { return d == n-1 })
	}
	return all
}

// ofQueriesAndKeys proposes functions of each head's queries or keys, or of both where the dump lacks
// them.
func ofQueriesAndKeys(r *Row) (all []Hypothesis) {
	all = append(rotated(r), ofLengthOne(r)...)
	if r.Got != nil {
		return all
	}
	c, word := r.chain(), stageName(r.Name).Word
	if c == nil || word != "attn.q" { // with which keys are looked at
		return nil
	}
	c.left *= 4
	all = append(all, channelsLeftOut(r.Model.Config().Embd/r.Model.Config().Heads)...)
	var found []Hypothesis
	for _, h := range all {
		both := map[string][]float32{}
		for _, word := range []string{"attn.q", "attn.k"} {
			s := r.Stage
			s.Name = model.StageName{Layer: stageName(r.Name).Layer, Word: word}.String()
			right := r.In(s.Name)
			if len(right) == 0 {
				return nil
			}
			s.Correct = func() []float32 { return right }
			both[s.Name] = h.Output(&s)
		}
		gives := c.gives(both)
		for name, x := range both {
			gives = gives || c.gives(map[string][]float32{name: x})
		}
		if gives {
			h.Stages = []string{"h.*.attn.[qk]"}
			found = append(found, h)
		}
	}
	return found
}

// rotated proposes queries or keys that are turned by their position.
func rotated(r *Row) (all []Hypothesis) {
	D := r.Model.Config().Embd / r.Model.Config().Heads
	for _, n := range []int{D, D / 2, D / 4} {
		for _, halves := range []bool{true, false} {
			if n < 2 {
				continue
			}
			pairs := "of neighbouring channels"
			if halves {
				pairs = "of the two halves of a head"
			}
			all = append(all, Hypothesis{ID: PatternHeads,
				Text: fmt.Sprintf("RoPE: each head's vector is rotated by its position, in pairs %s (%d of %d channels, base 10000): GPT-2 has learned positions and rotates nothing", pairs, n/2*2, D),
				Output: ofHeads(func(x []float32, position int) {
					rotate(x[:n/2*2], position, halves)
				})})
		}
	}
	return all
}

// rotate turns pairs of values by angles that grow with the position.
func rotate(x []float32, position int, halves bool) {
	n := len(x) / 2
	for i := range n {
		a, b := 2*i, 2*i+1
		if halves {
			a, b = i, n+i
		}
		sin, cos := math.Sincos(float64(position) * math.Pow(10000, -float64(i)/float64(n)))
		u, v := float64(x[a]), float64(x[b])
		x[a], x[b] = float32(u*cos-v*sin), float32(u*sin+v*cos)
	}
}

// ofHeads returns the Output of a function that changes the vector of each head and position of
// the correct [B,H,T,D].
func ofHeads(change func(x []float32, position int)) func(s *Stage) []float32 {
	return func(s *Stage) []float32 {
		out := slices.Clone(s.Correct())
		D := s.Model.Config().Embd / s.Model.Config().Heads
		for lo := 0; lo+D <= len(out); lo += D {
			change(out[lo:lo+D], s.Dims.P+lo/D%s.Dims.T)
		}
		return out
	}
}

// ofLengthOne proposes queries or keys that are normalised.
func ofLengthOne(r *Row) (all []Hypothesis) {
	D := float64(r.Model.Config().Embd / r.Model.Config().Heads)
	for _, of := range []struct {
		text   string
		length float64
		mean   bool
	}{
		{"divided by its length", 1, false}, {"divided by its root mean square", math.Sqrt(D), false}, {"normalised to mean 0 and variance 1", math.Sqrt(D), true},
	} {
		all = append(all, Hypothesis{ID: PatternHeads, Text: "QK-norm: each head's vector is " + of.text + ": GPT-2 normalises no queries or keys",
			Output: ofHeads(func(x []float32, _ int) {
				var sum, squares float64
				for _, v := range x {
					sum += float64(v)
				}
				if !of.mean {
					sum = 0
				}
				for _, v := range x {
					squares += (float64(v) - sum/D) * (float64(v) - sum/D)
				}
				for i, v := range x {
					x[i] = float32((float64(v) - sum/D) * of.length / math.Sqrt(squares))
				}
			})})
	}
	return all
}
