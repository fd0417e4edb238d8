package fit

import (
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model"
)

func init() {
	blind["attn.q"] = append(blind["attn.q"], hiddenColumns)
	for _, word := range []string{"attn.q", "attn.k", "attn.v", "attn.cache_k", "attn.cache_v", "attn.context"} {
		blind[word] = append(blind[word], hiddenMoves)
	}
}

// A chain computes what a row shows, at its most wrong position alone, from other values of
// stages within its span.
type chain struct {
	*Row
	position
	names  []string // the stages from the first that may be other to that of the row
	places []int    // of the position in the row

	of    map[string][]int     // the position's places by stage
	known map[string][]float32 // what is there where nothing is other
	left  int                  // how many values may be computed yet
}

// mostHidden is the number of values that are computed to try what a stage has whose output is
// not known.
const mostHidden = 1e7

// chain returns the chain from a stage of the span to the row that shows it; nil where it is not
// one of attention, within a layer.
func (r *Row) chain() *chain {
	if r.End == nil || r.End.Got == nil {
		return nil
	}
	p, ok := r.End.worst()
	if !ok {
		return nil
	}
	c := &chain{Row: r, position: p, of: map[string][]int{}, known: map[string][]float32{}, left: mostHidden}
	cfg := r.Model.Config()
	here, _ := model.ParseStage(r.Name)
	end, _ := model.ParseStage(r.End.Name)
	if here.Layer != end.Layer || here.Layer < 0 {
		return nil
	}
	all := model.StageNames(cfg, nil)
	first := slices.Index(all, model.StageName{Layer: here.Layer, Word: "attn.q"}.String())
	last := slices.Index(all, r.End.Name)
	if last < first {
		return nil
	}
	c.names, c.places = all[first:last+1], p.places(cfg, r.End.Name)
	return c
}

// gives reports whether other values of stages give what the row shows.
func (c *chain) gives(full map[string][]float32) bool {
	cfg := c.Model.Config()
	for _, x := range full {
		c.left -= len(x)
	}
	if c.left -= (c.d.P + c.t) * cfg.Embd; c.left < 0 {
		return false
	}
	made := map[string][]float32{}
	in := func(name string) []float32 {
		if x, ok := made[name]; ok {
			return x
		}
		x, ok := c.known[name]
		if !ok {
			x = c.cut(name, c.In(name))
			c.known[name] = x
		}
		return x
	}
	for _, name := range c.names {
		if x, ok := full[name]; ok {
			made[name] = c.cut(name, x)
			continue
		}
		s, _ := model.ParseStage(name)
		reads := model.Reads(cfg, name)
		if strings.HasPrefix(s.Word, "attn.cache_") {
			if x, ok := full[reads[1]]; ok {
				made[name] = c.cut(name, c.appended(c.In(name), x))
			}
			continue
		}
		if !slices.ContainsFunc(reads, func(name string) bool { return made[name] != nil }) {
			continue
		}
		shape, err := model.Shape(cfg, name, c.dims())
		if err != nil {
			return false
		}
		out := make([]float32, shapes.Product(shape))
		if c.Model.Apply(name, c.dims(), in, out) != nil {
			return false
		}
		made[name] = out
	}
	out := made[c.End.Name]
	return len(out) == len(c.places) && c.End.near(out, c.places)
}

// cut returns a stage's values of the position; nil where they are not known.
func (c *chain) cut(name string, x []float32) []float32 {
	places, ok := c.of[name]
	if !ok {
		places = c.position.places(c.Model.Config(), name)
		c.of[name] = places
	}
	if len(places) == 0 || places[len(places)-1] >= len(x) {
		return nil
	}
	out := make([]float32, len(places))
	for i, at := range places {
		out[i] = x[at]
	}
	return out
}

// appended returns a cache [B,H,S,D] with other rows of this step, [B,H,T,D].
func (c *chain) appended(cache, rows []float32) []float32 {
	out := slices.Clone(cache)
	D := c.Model.Config().Embd / c.Model.Config().Heads
	T, S := c.d.T, c.d.P+c.d.T
	for i := range rows {
		head, t, d := i/(T*D), i/D%T, i%D
		if at := (head*S+c.d.P+t)*D + d; at < len(out) {
			out[at] = rows[i]
		}
	}
	return out
}

// hiddenColumns proposes other columns of c_attn for q, k and v, or all of them, that the dump
// lacks.
func hiddenColumns(r *Row) (all []Hypothesis) {
	c := r.chain()
	if c == nil {
		return nil
	}
	cfg := r.Model.Config()
	H := cfg.Heads
	here, _ := model.ParseStage(r.Name)
	stage := func(third int) *Stage {
		s := r.Stage
		s.Name = model.StageName{Layer: here.Layer, Word: "attn." + "qkv"[third:third+1]}.String()
		return &s
	}
	c.left *= 10 // this is asked once, the others for each stage
	for _, x := range splits(H, cfg.Embd/H) {
		if c.left < 0 {
			break
		}
		h := x.hypothesis(cfg)
		full, found := map[string][]float32{}, false
		for third := range 3 {
			s := stage(third)
			out := h.Output(s)
			if out == nil {
				return all
			}
			full[s.Name] = out
			found = found || c.gives(map[string][]float32{s.Name: out})
		}
		if found || c.gives(full) {
			all = append(all, h)
		}
	}
	return all
}

// mostPairs is the length of an axis up to which every two of its indices are tried.
const mostPairs = 16

// guesses returns orders of an axis that engines have, whatever the output.
func (a Axis) guesses() (all []order) {
	n := a.N
	add := func(numbers int, f func(j, n int) int, format string, args ...any) {
		all = append(all, order{fmt.Sprintf(format, args...), numbers, func(_ *Stage, j, n int) int { return f(j, n) }})
	}
	add(0, func(j, n int) int { return n - 1 - j }, "%s in reverse order", a.Many)
	add(0, func(j, n int) int { return 0 }, "every %s has the values of %s %s", a.One, a.One, a.at(0))
	add(0, func(j, n int) int { return n - 1 }, "every %s has the values of the last", a.One)
	for _, by := range []int{-1, 1, -2, 2} {
		add(max(by, -by)-1, func(j, n int) int { return ((j+by)%n + n) % n }, "each %s has the values that belong %s, rolled over the end", a.One, away(by))
		add(max(by, -by)-1, func(j, n int) int { return min(max(j+by, 0), n-1) }, "each %s has the values that belong %s", a.One, away(by))
	}
	for _, g := range []int{2, 4, 8, 16} {
		if g < n {
			if n > g+1 { // one that repeats shows no period
				add(1, func(j, _ int) int { return j % g }, "%s repeat after %d: %s j has the values of j mod %d", a.Many, g, a.One, g)
			}
			add(1, func(j, _ int) int { return j / g }, "each %s stands for %d: %s j has the values of j/%d", a.One, g, a.One, g)
			why := ""
			if a.Letter == "H" {
				why = ", as in grouped-query attention"
			}
			add(1, func(j, _ int) int { return j - j%g }, "of every %d %s all have the values of the first%s", g, a.Many, why)
		}
	}
	if n%2 == 0 && n > 2 {
		add(0, func(j, n int) int { return (j + n/2) % n }, "the two halves of the %s are exchanged", a.Many)
	}
	if n > 2 {
		add(0, func(j, n int) int {
			if j|1 < n {
				return j ^ 1
			}
			return j
		}, "every two %s are exchanged", a.Many)
	}
	if a.Letter == "S" {
		add(1, func(j, n int) int {
			if j == n-1 {
				return n - 2
			}
			return j
		}, "the newest row is that of the position before")
	}
	for i := range min(n, mostPairs) {
		for k := range i {
			add(2, func(j, _ int) int {
				switch j {
				case i:
					return k
				case k:
					return i
				}
				return j
			}, "%s %s and %s are exchanged", a.Many, a.at(k), a.at(i))
		}
	}
	for i := range min(n, mostPairs) {
		for k := range min(n, mostPairs) {
			if i != k {
				add(2, func(j, _ int) int {
					if j == i {
						return k
					}
					return j
				}, "%s %s has the values of %s %s", a.One, a.at(i), a.One, a.at(k))
			}
		}
	}
	return all
}

// hiddenMoves proposes the correct values of a stage that the dump lacks in other places along
// one of its axes.
func hiddenMoves(r *Row) (all []Hypothesis) {
	c := r.chain()
	if c == nil {
		return nil
	}
	shape, err := model.Shape(r.Model.Config(), r.Name, r.Dims)
	if err != nil {
		return nil
	}
	right := make([]float32, shapes.Product(shape))
	if r.Model.Apply(r.Name, r.Dims, r.In, right) != nil {
		return nil
	}
	correct := r.Stage
	correct.Correct = func() []float32 { return right }
	axes, _ := r.axes()
	split := model.Axes(r.Name) == "B H T D"
	for a, x := range axes {
		if x.N < 2 || split && (x.Letter == "H" || x.Letter == "D") && x.N > mostPairs {
			continue
		}
		for _, o := range x.guesses() {
			output := moving(a, o, nil, false)
			if out := output(&correct); out != nil && c.gives(map[string][]float32{r.Name: out}) {
				all = append(all, Hypothesis{ID: PatternPermuted, Text: o.text, Numbers: o.numbers, Output: output})
			}
			if len(all) >= 4 || c.left < 0 {
				return all
			}
		}
	}
	return all
}
