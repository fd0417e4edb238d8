package fit

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/model"
)

// The ids of rows of the correct output that went through something else.
const (
	PatternRows   = "pattern_rows"   // each row is normalised, or multiplied by what follows from its position
	PatternUndone = "pattern_undone" // some positions are not computed
	PatternLevels = "pattern_levels" // rounded to the levels of a few bits
)

// A rowFactor is what every row of the correct output may be divided by, once something is taken off.
type rowFactor struct {
	text string
	less func(row []float32) float64 // nil is nothing
	of   func(row []float32, less float64) float64
}

// byLargest divides a row of probabilities as if exponentials had not been divided by their sum.
const byLargest = "divided by its largest absolute value"

// rowFactors lists them, with an epsilon where norms have one.
func rowFactors(eps float64) []rowFactor {
	return []rowFactor{
		{"divided by its length, √Σy², as by an L2 norm", nil, func(row []float32, _ float64) float64 { return math.Sqrt(squaresOf(row, 0)) }},
		{"divided by the root of its mean square, as by RMSNorm", nil, func(row []float32, _ float64) float64 {
			return math.Sqrt(squaresOf(row, 0) / float64(len(row)))
		}},
		{"normalised, its mean taken off and divided by its deviation, as by a LayerNorm", meanOf, func(row []float32, mean float64) float64 {
			return math.Sqrt(squaresOf(row, mean) / float64(len(row)))
		}},
		{"less its mean", meanOf, asItIs},
		{"less its largest value", largestOf, asItIs},
		{"less its least value", func(row []float32) float64 { return float64(slices.Min(row)) }, asItIs},
		{"less the logarithm of its Σe^y, as by a log-softmax", func(row []float32) float64 {
			sum, top := 0.0, largestOf(row)
			for _, v := range row {
				sum += math.Exp(float64(v) - top)
			}
			return top + math.Log(sum)
		}, asItIs},
		{"divided by its sum", nil, func(row []float32, _ float64) float64 { return meanOf(row) * float64(len(row)) }},
		{byLargest, nil, func(row []float32, _ float64) float64 {
			s := 0.0
			for _, v := range row {
				s = max(s, math.Abs(float64(v)))
			}
			return s
		}},
		{"normalised, its mean taken off and divided by √(variance + eps), as by a LayerNorm", meanOf, func(row []float32, mean float64) float64 {
			return math.Sqrt(squaresOf(row, mean)/float64(len(row)) + eps)
		}},
		{"divided by √(mean square + eps), as by RMSNorm", nil, func(row []float32, _ float64) float64 {
			return math.Sqrt(squaresOf(row, 0)/float64(len(row)) + eps)
		}},
	}
}

func asItIs([]float32, float64) float64 { return 1 }

func largestOf(row []float32) float64 { return float64(slices.Max(row)) }

func meanOf(row []float32) (mean float64) {
	for _, v := range row {
		mean += float64(v) / float64(len(row))
	}
	return mean
}

// squaresOf returns the sum of squares of what differs from a mean.
func squaresOf(row []float32, mean float64) (s float64) {
	for _, v := range row {
		s += (float64(v) - mean) * (float64(v) - mean)
	}
	return s
}

// byRows returns a function of each row of the last axis, of so many values.
func byRows(right []float32, width int, f rowFactor) func(i int) float64 {
	at, less, by := -1, 0.0, 1.0
	return func(i int) float64 {
		if r := i / width; r != at {
			row := right[r*width:][:width]
			at, less = r, 0
			if f.less != nil {
				less = f.less(row)
			}
			by = f.of(row, less)
		}
		return (float64(right[i]) - less) / by
	}
}

// ofRows proposes functions of the rows of the correct output.
func (p *values) ofRows() (all []Hypothesis) {
	all = append(all, p.undone()...)
	all = append(all, slices.Concat(p.narrowed(), p.fixedSteps())...)
	if p.width < perNumber || p.Part != nil {
		return all
	}
	widths := []int{p.width}
	if D := p.Model.Config().Embd / p.Model.Config().Heads; p.width%D == 0 && p.width != D && D >= perNumber {
		widths = append(widths, D)
	}
	at, factors := p.some(mostRead, nil), rowFactors(p.Model.Config().Eps)
	switch word := stageName(p.Name).Word; {
	case word == "attn.q" || word == "attn.k":
		factors = factors[3:] // ofLengthOne has the first
	case word == "attn.probs" || strings.HasPrefix(word, "probs_t"): // of which otherSoftmaxes has it
		factors = slices.DeleteFunc(factors, func(f rowFactor) bool { return f.text == byLargest })
	}
	for _, f := range factors {
		for _, width := range widths {
			g := byRows(p.Right, width, f)
			if !slices.ContainsFunc(at, func(i int) bool { return math.Abs(g(i)-float64(p.Right[i])) > 1e-5*math.Abs(float64(p.Right[i])) }) {
				continue // it is so already, as probabilities add up to 1
			}
			c := p.fit(at, func(i int) float64 { return float64(p.Got[i]) }, g)
			if c == nil {
				continue
			}
			text, k, ok := p.read(c[0], func(k float64) bool { return p.holds(func(i int) float64 { return k * g(i) }) })
			if !ok || k == 0 {
				continue
			}
			what, numbers := "every row is "+f.text, 0
			if width != p.width {
				what = "the part of every row that is a head's is " + f.text
			}
			if k != 1 {
				what, numbers = what+", and multiplied by "+text, 1
			}
			all = append(all, Hypothesis{ID: PatternRows, Text: what + ": it does not belong there", Numbers: numbers, Output: func(s *Stage) []float32 {
				right, width := s.Correct(), width
				if shape, err := model.Shape(s.Model.Config(), s.Name, s.Dims); err == nil && width == p.width {
					width = shape[len(shape)-1] // of scores, that grows from step to step
				}
				g, out := byRows(right, width, f), make([]float32, len(right))
				for i := range out {
					out[i] = float32(k * g(i))
				}
				return out
			}})
		}
	}
	return append(all, p.levels()...)
}

// undone proposes that positions are not computed: but for the last, or for the first.
func (p *values) undone() (all []Hypothesis) {
	const most = 1 << 22 // values, of a row that a sample is of
	if p.Whole != nil {
		if len(p.Whole.Got) > most {
			return nil
		}
		if p = newValues(p.Whole); p == nil {
			return nil
		}
	}
	s, _ := model.ParseStage(p.Name)
	T := p.Dims.T
	if T < 2 || p.Part != nil || !strings.HasPrefix(model.Axes(p.Name), "B T") || len(p.Got)%(p.Dims.B*T) != 0 {
		return nil
	}
	row := len(p.Got) / (p.Dims.B * T)
	reads := model.Reads(p.Model.Config(), p.Name)
	sources := []source{{"0", func(s *Stage) []float32 { return nil }}}
	for i, name := range reads {
		if x := p.In(name); len(x) == len(p.Got) {
			sources = append(sources, source{seenFrom(p.Model.Config(), s, name) + " alone", func(s *Stage) []float32 {
				return s.In(model.Reads(s.Model.Config(), s.Name)[i])
			}})
		}
	}
	for _, src := range sources {
		x := src.of(&p.Stage)
		value := func(x []float32, i int) float64 {
			if x == nil {
				return 0
			}
			return float64(x[i])
		}
		for _, which := range []struct {
			text string
			done func(t, T int) bool
		}{
			{"only the last position is computed", func(t, T int) bool { return t == T-1 }},
			{"only the first position is computed", func(t, T int) bool { return t == 0 }},
			{"the last position is not computed", func(t, T int) bool { return t < T-1 }},
			{"the first position is not computed", func(t, T int) bool { return t > 0 }},
		} {
			if !p.holds(func(i int) float64 {
				if which.done(i/row%T, T) {
					return float64(p.Right[i])
				}
				return value(x, i)
			}) {
				continue
			}
			text := fmt.Sprintf("%s: at the others the output is %s", which.text, src.name)
			if strings.Contains(which.text, "not computed") {
				text = fmt.Sprintf("%s: there the output is %s", which.text, src.name)
			}
			all = append(all, Hypothesis{ID: PatternUndone, Text: text, Whole: true, Output: func(s *Stage) []float32 {
				out := append([]float32{}, s.Correct()...)
				x, row := src.of(s), len(out)/(s.Dims.B*s.Dims.T)
				if x != nil && len(x) != len(out) {
					return nil
				}
				for i := range out {
					if !which.done(i/row%s.Dims.T, s.Dims.T) {
						out[i] = float32(value(x, i))
					}
				}
				return out
			}})
		}
	}
	return all
}

// levels proposes that the output was rounded to levels of a few bits, whose distance follows
// from the largest value of a row or of all.
func (p *values) levels() (all []Hypothesis) {
	scopes := []string{"of each row", "of the whole"}
	if p.Name == "wte" || p.Name == "wpe" {
		scopes = append(scopes, "of the table")
	}
	largest := func(x []float32) float64 {
		s := 0.0
		for _, v := range x {
			if finite(v) {
				s = max(s, math.Abs(float64(v)))
			}
		}
		return s
	}
	table := 0.0
	if len(scopes) > 2 {
		w, _, _ := p.Model.Weight(p.Name + ".weight")
		table = largest(w)
	}
	for _, most := range []float64{127, 128, 127.5, 7, 8} {
		for _, of := range scopes {
			step := func(right []float32, i, width int) float64 {
				s := table
				switch of {
				case "of each row":
					s = largest(right[i/width*width:][:width])
				case "of the whole":
					s = largest(right)
				}
				return float64(float32(s / most))
			}
			output := func(right, seen []float32, width int) func(i int) float64 {
				at, h := -1, 0.0
				return func(i int) float64 {
					if r := i / width; r != at && (of == "of each row" || at < 0) {
						at, h = r, step(right, i, width)
					}
					if h == 0 {
						return float64(right[i])
					}
					q := float64(right[i]) / h
					n := math.RoundToEven(q)
					if seen != nil && math.Abs(math.Abs(q-n)-0.5) < 1e-3 { // rounding decides
						if other := n + math.Copysign(1, q-n); math.Abs(float64(seen[i])-other*h) < math.Abs(float64(seen[i])-n*h) {
							n = other
						}
					}
					return max(-most, min(n, most)) * h
				}
			}
			if !p.holds(output(p.Right, p.Got, p.width)) {
				continue
			}
			bits := 8
			if most < 10 {
				bits = 4
			}
			text := fmt.Sprintf("the output is rounded to %d bits, integers times the largest absolute value %s over %v: keep it in float32", bits, of, most)
			all = append(all, Hypothesis{ID: PatternLevels, Text: text, Whole: of == "of the whole", Output: func(s *Stage) []float32 {
				right := s.Correct()
				shape, err := model.Shape(s.Model.Config(), s.Name, s.Dims)
				if err != nil {
					return nil
				}
				f, out := output(right, s.Seen, shape[len(shape)-1]), make([]float32, len(right))
				for i := range out {
					out[i] = float32(f(i))
				}
				return out
			}})
		}
	}
	return all
}
