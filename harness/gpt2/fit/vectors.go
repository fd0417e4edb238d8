package fit

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/model"
)

// A vector is one of the model's weights that has a value for each channel, by a name that is
// the same as seen from every layer.
type vector struct {
	name   string // as weightSeen has it
	values []float32
}

// alikeVectors returns the model's vectors of n channels as seen from a stage, those of its own
// layer first.
func alikeVectors(m *model.Model, from model.StageName, n int) (all []vector) {
	for name, shape := range m.Config().Weights() {
		if len(shape) != 1 || shape[0] != n {
			continue
		}
		if w, _, ok := m.Weight(name); ok {
			all = append(all, vector{weightSeen(from, name), w})
		}
	}
	slices.SortStableFunc(all, func(a, b vector) int {
		return strings.Count(a.name, " of layer ") - strings.Count(b.name, " of layer ")
	})
	return all
}

// weightSeen returns a weight's name as seen from a stage: "attn.c_proj.bias", "ln_1.weight of
// layer -1".
func weightSeen(from model.StageName, name string) string {
	rest, inBlock := strings.CutPrefix(name, "h.")
	if !inBlock || from.Layer < 0 {
		return name
	}
	var layer int
	number, word, _ := strings.Cut(rest, ".")
	fmt.Sscan(number, &layer)
	if layer == from.Layer {
		return word
	}
	return fmt.Sprintf("%s of layer %+d", word, layer-from.Layer)
}

// seenWeight returns the weight that has a name of weightSeen as seen from a stage; nil if the
// model has none.
func seenWeight(m *model.Model, from model.StageName, name string) []float32 {
	if !strings.HasPrefix(name, "ln_f.") && !strings.HasPrefix(name, "lm_head.") && !strings.HasPrefix(name, "h.") &&
		!strings.HasPrefix(name, "wpe.") && !strings.HasPrefix(name, "wte.") && from.Layer >= 0 {
		word, offset, _ := strings.Cut(name, " of layer ")
		d := 0
		fmt.Sscan(offset, &d)
		name = fmt.Sprintf("h.%d.%s", from.Layer+d, word)
	}
	w, _, _ := m.Weight(name)
	return w
}

// withoutLayer returns a weight's name without its layer.
func withoutLayer(name string) string {
	s, _ := model.ParseStage(strings.TrimSuffix(strings.TrimSuffix(name, ".bias"), ".weight"))
	if s.Layer < 0 {
		return name
	}
	return s.Word + name[strings.LastIndexByte(name, '.'):]
}

// powers are what a vector of the model's may be used as.
var powers = []struct {
	text string // with %s for the vector
	of   func(v float64) float64
}{
	{"%s", func(v float64) float64 { return v }},
	{"1 + %s", func(v float64) float64 { return 1 + v }},
	{"the square of %s", func(v float64) float64 { return v * v }},
	{"1/%s", func(v float64) float64 { return 1 / v }},
}

// vectors proposes a vector added to every row of the output, or multiplied with it: of the
// model's, or whichever it is where there are rows enough.
func (p *values) vectors() (all []Hypothesis) {
	s, _ := model.ParseStage(p.Name)
	n := p.width
	if n < 2 {
		return nil
	}
	known := alikeVectors(p.Model, s, n)
	right := func(i int) float64 { return float64(p.Right[i]) }
	for _, x := range known {
		v := func(i int) float64 { return float64(x.values[i%n]) }
		if x.name == weightSeen(s, ownBias(p.Model, p.Name)) {
			continue // of which biases has any number of times
		}
		for _, sign := range []float64{1, -1} {
			if p.holds(func(i int) float64 { return right(i) + sign*v(i) }) {
				text := fmt.Sprintf("%s is added to every row: it does not belong there", x.name)
				if sign < 0 {
					text = fmt.Sprintf("%s is subtracted from every row: it does not belong there", x.name)
				}
				all = append(all, withVector(PatternChannelOffset, text, x.name, func(right, v float64) float64 { return right + sign*v }))
			}
		}
		own, name := ownBiasOf(&p.Stage), weightSeen(s, ownBias(p.Model, p.Name))
		searched := strings.HasPrefix(s.Word, "ln_") || strings.HasPrefix(x.name, name+" of ") // by otherOperands and otherNorms
		if own != nil && !searched && p.holds(func(i int) float64 { return right(i) - float64(own[i%n]) + v(i) }) {
			text := fmt.Sprintf("its bias is %s, where %s belongs", x.name, name)
			all = append(all, Hypothesis{ID: PatternBias, Text: text, Output: func(at *Stage) []float32 {
				w, own := seenWeight(at.Model, stageName(at.Name), x.name), ownBiasOf(at)
				out := slices.Clone(at.Correct())
				if len(w) != len(own) || len(w) == 0 {
					return nil
				}
				for i, v := range out {
					out[i] = float32(float64(v) - float64(own[i%len(own)]) + float64(w[i%len(w)]))
				}
				return out
			}})
		}
		for _, power := range powers {
			if p.holds(func(i int) float64 { return right(i) * power.of(v(i)) }) {
				text := fmt.Sprintf("every row is multiplied by "+power.text+": it does not belong there", x.name)
				all = append(all, withVector(PatternChannelRatio, text, x.name, func(right, v float64) float64 { return right * power.of(v) }))
			}
		}
	}
	all = append(all, p.partBiases()...)
	all = append(all, p.tableRow("wpe", "position")...)
	all = append(all, p.tableRow("wte", "id")...)
	if len(all) == 0 {
		all = append(all, p.anyVector()...)
	}
	return all
}

// withVector returns the hypothesis of a function of the correct output and one of the model's
// vectors.
func withVector(id, text, name string, f func(right, v float64) float64) Hypothesis {
	return Hypothesis{ID: id, Text: text, Output: func(at *Stage) []float32 {
		here, _ := model.ParseStage(at.Name)
		w := seenWeight(at.Model, here, name)
		right := at.Correct()
		if len(w) == 0 || len(right)%len(w) != 0 {
			return nil
		}
		out := make([]float32, len(right))
		for i, v := range right {
			out[i] = float32(f(float64(v), float64(w[i%len(w)])))
		}
		return out
	}}
}

// tableRow proposes one row of a table of weights added to every row of the output.
func (p *values) tableRow(name, of string) []Hypothesis {
	w, _, ok := p.Model.Weight(name + ".weight")
	n := p.Model.Config().Embd
	if !ok || p.width != n {
		return nil
	}
	for row := range len(w) / n {
		v := w[row*n:][:n]
		if p.holds(func(i int) float64 { return float64(p.Right[i]) + float64(v[i%n]) }) {
			text := fmt.Sprintf("the row of %s for %s %d is added to every row: it does not belong there", name, of, row)
			return []Hypothesis{ofRight(PatternChannelOffset, text, 1, func(_ *Stage, right float64, i int) float64 { return right + float64(v[i%n]) })}
		}
	}
	return nil
}

// anyVector proposes a vector that is none of the model's, in the row's own layer, where there
// are rows enough to see that it is the same in each.
func (p *values) anyVector() (all []Hypothesis) {
	n := p.width
	in := map[int]bool{}
	for _, i := range p.wrong {
		in[i%n] = true
	}
	if len(p.at) < perNumber*n || 2*len(in) <= n {
		return nil // then it is a part of the channels that has something
	}
	try := func(id, words string, basis func(i int) float64, apply func(right, k float64) float64) {
		k, squares, rounding := make([]float64, n), make([]float64, n), make([]float64, n)
		for _, i := range p.at {
			b := basis(i)
			k[i%n] += (float64(p.Got[i]) - float64(p.Right[i])) * b
			squares[i%n] += b * b
			rounding[i%n] += math.Abs(b) * p.rounding(i)
		}
		for c := range k {
			if squares[c] > 0 {
				k[c] /= squares[c]
			}
			if math.Abs(k[c])*squares[c] <= rounding[c] {
				k[c] = 0
			}
		}
		if !p.holds(func(i int) float64 { return apply(float64(p.Right[i]), k[i%n]) }) {
			return
		}
		var few []string
		for c := 0; c < n && len(few) < 3; c++ {
			few = append(few, fmt.Sprintf("%.4g", apply(basis(0)-basis(0), k[c])))
		}
		h := ofRight(id, fmt.Sprintf(words, strings.Join(few, ", ")), n, func(_ *Stage, right float64, i int) float64 { return apply(right, k[i%n]) })
		h.Stages = []string{p.Name}
		all = append(all, h)
	}
	try(PatternChannelOffset, "the same vector, %s, …, is added to every row, and it is none of the model's: another bias, or one too many",
		func(int) float64 { return 1 }, func(right, k float64) float64 { return right + k })
	try(PatternChannelRatio, "every row is multiplied by the same vector, and it is none of the model's: another gain, or one too many%.0s",
		func(i int) float64 { return float64(p.Right[i]) }, func(right, k float64) float64 { return right * (1 + k) })
	return all
}
