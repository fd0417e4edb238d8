package fit

import (
	"fmt"
	"math"
	"slices"
)

// leastSteps is how many values it takes to see that all are multiples of a step.
const leastSteps = 16

// FixedStep returns the largest power of two of which all values are multiples, or a power of ten
// where they are that; ok if there are values enough to tell, and the step is none of float32's own.
func FixedStep(x []float32) (h float64, text string, ok bool) {
	x = slices.DeleteFunc(slices.Clone(x), func(v float32) bool { return v == 0 })
	if len(x) < leastSteps {
		return 0, "", false
	}
	of := func(h float64) bool { // of values that float32 has between multiples
		small := slices.DeleteFunc(slices.Clone(x), func(v float32) bool { return math.Abs(float64(v)) > h*(1<<20) })
		return len(small) >= leastSteps && MultiplesOf(x, h) == len(x)
	}
	for k := 6; k >= -12; k-- {
		if h = math.Ldexp(1, k); of(h) {
			switch text = fmt.Sprint(h); {
			case h == 1:
				text = "1, integers"
			case h < 1:
				text = fmt.Sprintf("1/%v", 1/h)
			}
			return h, text, true
		}
	}
	for _, h := range []float64{0.1, 0.01, 0.001} {
		if of(h) {
			return h, fmt.Sprint(h), true
		}
	}
	return 0, "", false
}

// MultiplesOf returns how many of some values are multiples of a step, as float32 has them.
func MultiplesOf(x []float32, h float64) (n int) {
	for _, v := range x {
		if float32(math.Round(float64(v)/h)*h) == v {
			n++
		}
	}
	return n
}

// fixedSteps proposes that the output was rounded to multiples of one step.
func (p *values) fixedSteps() (all []Hypothesis) {
	if p.Part != nil {
		return nil
	}
	var seen []float32
	for _, i := range p.at {
		seen = append(seen, p.Got[i])
	}
	h, step, ok := FixedStep(seen)
	if !ok {
		return nil
	}
	for _, mode := range []struct {
		text string
		of   func(q float64) float64
	}{{"rounded to multiples of", math.RoundToEven}, {"cut down to multiples of", math.Floor}, {"cut towards 0 to multiples of", math.Trunc}} {
		output := func(right, got float64) float64 {
			n := mode.of(right / h)
			for _, near := range []float64{right*(1-1e-6) - 1e-3*h, right*(1+1e-6) + 1e-3*h} { // rounding decides
				if other := mode.of(near / h); math.Abs(got-other*h) < math.Abs(got-n*h) {
					n = other
				}
			}
			return n * h
		}
		if !p.holds(func(i int) float64 { return output(float64(p.Right[i]), float64(p.Got[i])) }) {
			continue
		}
		text := fmt.Sprintf("the output is %s %s, a fixed step whatever their size: keep it in float32", mode.text, step)
		all = append(all, Hypothesis{ID: PatternLevels, Text: text, Numbers: 1, Output: func(s *Stage) []float32 {
			out := slices.Clone(s.Correct())
			for i, v := range out {
				got := float64(v)
				if len(s.Seen) == len(out) {
					got = float64(s.Seen[i])
				}
				if finite(v) {
					out[i] = float32(output(float64(v), got))
				}
			}
			return out
		}})
	}
	return all
}
