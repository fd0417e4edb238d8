package fit

import (
	"fmt"

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
