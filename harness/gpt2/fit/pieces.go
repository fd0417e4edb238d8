package fit

import (
	"fmt"
	"math"

	"checkpoint12/model/activation"
)

// inputCaps proposes the function of an input that is cut at numbers.
func (p *values) inputCaps(src source, x []float32) (all []Hypothesis) {
	f := p.Model.Config().ActivationFunction().Of
	lo, hi := p.beyond(x)
	if lo != nil && few(len(lo.all)) || hi != nil && few(len(hi.all)) {
		return nil
	}
	try := func(words string, numbers int, cut func(x float64) float64) bool {
		if !p.holds(func(i int) float64 { return f(cut(float64(x[i]))) }) {
			return false
		}
		text := fmt.Sprintf("the input, %s, is cut %s before the function", src.name, words)
		all = append(all, src.hypothesis(PatternClipped, text, numbers, func(x, _ float64) float64 { return f(cut(x)) }))
		return true
	}
	// The value beyond a cut says where it is, to rounding.
	refined := func(w *side) float64 {
		if w == nil {
			return 0
		}
		v, a, b := float64(p.Got[w.at]), w.inner, w.outer
		for range 100 {
			if m := a + (b-a)/2; (f(m) < v) == (f(a) < f(b)) {
				a = m
			} else {
				b = m
			}
		}
		if t := roundest(w.inner, w.outer); p.agrees(w.at, f(t), left) {
			return t
		}
		return a
	}
	h, l := refined(hi), refined(lo)
	if hi != nil {
		if text, _, ok := p.read(h, func(k float64) bool { return p.holds(func(i int) float64 { return f(min(float64(x[i]), k)) }) }); ok {
			try("at "+text+" from above", 1, func(x float64) float64 { return min(x, h) })
		}
	}
	if lo != nil {
		try("at "+decimal(l)+" from below", 1, func(x float64) float64 { return max(x, l) })
	}
	// Of a function that is flat below, the lower cut does not show.
	if hi != nil {
		try("at ±"+decimal(h), 1, func(x float64) float64 { return max(-h, min(x, h)) })
	}
	if lo != nil && hi != nil && l != -h {
		try("at "+decimal(l)+" and "+decimal(h), 2, func(x float64) float64 { return max(l, min(x, h)) })
	}
	return all
}

// A side is the wrong places beyond a threshold of what a function is of.
type side struct {
	inner, outer float64 // the threshold lies between: the last that is right, the first that is wrong
	at           int     // a wrong place of it
	all          []int   // its wrong places
}

// beyond returns the wrong places of negative and positive x, each if it has any, as sides: of x
// below one threshold and above another.
func (p *values) beyond(x []float32) (lo, hi *side) {
	var sides [2]*side
	for _, i := range p.wrong {
		v, k := float64(x[i]), 0
		if v > 0 {
			k = 1
		}
		if sides[k] == nil {
			sides[k] = &side{outer: v, at: i}
		}
		s := sides[k]
		if s.all = append(s.all, i); math.Abs(v) < math.Abs(s.outer) {
			s.outer = v
		}
	}
	isWrong := make([]bool, len(x))
	for _, i := range p.wrong {
		isWrong[i] = true
	}
	for _, i := range p.at {
		for k, s := range sides {
			v := float64(x[i])
			if s == nil || isWrong[i] || (v > 0) != (k == 1) {
				continue
			}
			if math.Abs(v) < math.Abs(s.outer) && math.Abs(v) > math.Abs(s.inner) {
				s.inner = v
			}
		}
	}
	return sides[0], sides[1]
}

// flushed proposes the correct output with what is small in it set to 0.
func (p *values) flushed() (all []Hypothesis) {
	switch stageName(p.Name).Word {
	case "attn.probs", "probs_t": // in which so many of the largest are kept, or a part of the sum
		return nil
	}
	if p.Whole != nil {
		if whole := newValues(p.Whole); whole != nil {
			all = whole.flushed()
		}
		for i := range all {
			all[i].Whole = true
		}
		return all
	}
	worst, least := 0.0, math.Inf(1) // of what is 0 and of what is not
	for _, i := range p.wrong {
		if worst = max(worst, math.Abs(float64(p.Right[i]))); p.Got[i] != 0 {
			return nil
		}
	}
	for _, i := range p.at {
		if p.Got[i] != 0 {
			least = min(least, math.Abs(float64(p.Right[i])))
		}
	}
	if few(len(p.wrong)) || !(worst < least) || math.IsInf(least, 1) {
		return nil
	}
	t, numbers := roundest(worst, least), 1
	if len(decimal(t)) > 6 {
		numbers++ // which nobody wrote
	}
	text := fmt.Sprintf("what is below %s in size is set to 0, elsewhere the output is correct", decimal(t))
	return []Hypothesis{ofRight(PatternFunction, text, numbers, func(_ *Stage, v float64, _ int) float64 {
		if math.Abs(v) < t {
			return 0
		}
		return v
	})}
}

// pieces proposes another function beyond a threshold of a source, on one side of it or both,
// or between two, and the correct one elsewhere.
func (p *values) pieces(src source, x []float32) (all []Hypothesis) {
	lo, hi := p.beyond(x)
	if lo != nil && few(len(lo.all)) || hi != nil && few(len(hi.all)) {
		return nil
	}
	in := func(i int) float64 { return float64(x[i]) }
	type region struct {
		words string
		has   func(x float64) bool
	}
	var regions []region
	threshold := func(s *side) float64 {
		a, b := s.inner, s.outer
		if a == 0 {
			return 0
		}
		return roundest(min(a, b), max(a, b))
	}
	if hi != nil && lo == nil {
		t := threshold(hi)
		regions = append(regions, region{"is above " + decimal(t), func(x float64) bool { return x > t }})
	}
	if lo != nil && hi == nil {
		t := threshold(lo)
		regions = append(regions, region{"is below " + decimal(t), func(x float64) bool { return x < t }})
	}
	if lo != nil && hi != nil {
		if a, b := max(-lo.inner, hi.inner), min(-lo.outer, hi.outer); a < b && a > 0 {
			t := roundest(a, b)
			regions = append(regions, region{"is beyond ±" + decimal(t), func(x float64) bool { return math.Abs(x) > t }})
		}
		// Wrong inside of a threshold: what is furthest out is right.
		worst, least := 0.0, math.Inf(1)
		for _, i := range p.wrong {
			worst = max(worst, math.Abs(in(i)))
		}
		for _, i := range p.at {
			if v := math.Abs(in(i)); v > worst {
				least = min(least, v)
			}
		}
		if !math.IsInf(least, 1) {
			t := roundest(worst, least)
			regions = append(regions, region{"is within ±" + decimal(t), func(x float64) bool { return math.Abs(x) < t }})
		}
	}
	for _, r := range regions {
		try := func(words string, numbers int, f func(x, right float64) float64) bool {
			g := func(x, right float64) float64 {
				if r.has(x) {
					return f(x, right)
				}
				return right
			}
			if !p.holds(func(i int) float64 { return g(in(i), float64(p.Right[i])) }) {
				return false
			}
			text := fmt.Sprintf("where %s %s the output is %s, elsewhere it is correct", src.name, r.words, words)
			all = append(all, src.hypothesis(PatternFunction, text, numbers, g))
			return true
		}
		if try("0", 1, func(_, _ float64) float64 { return 0 }) || src.name != correct.name && try(src.name+" itself", 1, func(x, _ float64) float64 { return x }) {
			continue
		}
		at := p.some(mostRead, func(i int) bool { return r.has(in(i)) })
		got := func(i int) float64 { return float64(p.Got[i]) }
		if c := p.fit(at, got, func(i int) float64 { return float64(p.Right[i]) }); c != nil {
			text, _ := Spell(p.Model.Config(), c[0], 0)
			if _, k, ok := p.read(c[0], func(k float64) bool {
				return p.holds(func(i int) float64 {
					if r.has(in(i)) {
						return k * float64(p.Right[i])
					}
					return float64(p.Right[i])
				})
			}); ok {
				try(text+" times the correct one", 2, func(_, right float64) float64 { return k * right })
			}
		}
		if c := p.fit(at, got, in); c != nil && src.name != correct.name {
			if text, k, ok := p.read(c[0], func(k float64) bool {
				return p.holds(func(i int) float64 {
					if r.has(in(i)) {
						return k * in(i)
					}
					return float64(p.Right[i])
				})
			}); ok {
				try(text+" times "+src.name, 2, func(x, _ float64) float64 { return k * x })
			}
		}
	}
	if len(all) == 0 && lo != nil && hi != nil && src.name != correct.name {
		a, b := threshold(lo), threshold(hi)
		g := func(x, right float64) float64 {
			switch {
			case x > b:
				return x
			case x < a:
				return 0
			}
			return right
		}
		if p.holds(func(i int) float64 { return g(in(i), float64(p.Right[i])) }) {
			text := fmt.Sprintf("where %s is above %s the output is %[1]s itself, where it is below %[3]s it is 0, elsewhere it is correct", src.name, decimal(b), decimal(a))
			all = append(all, src.hypothesis(PatternFunction, text, 2, g))
		}
	}
	return all
}

// unread returns hypotheses of an activation without a number that is read off.
func (r *Row) unread(f func(x float64) float64) (all []Hypothesis) {
	src, own := inputOfStage(r), r.Model.Config().ActivationFunction()
	add := func(id, text string, g func(x, right float64) float64) {
		all = append(all, src.hypothesis(id, text, 0, g))
	}
	for _, g := range functionsOfInput(own)[:10] {
		add(PatternFunction, "the output is "+g.text, func(x, _ float64) float64 { return g.of(x, 0) })
	}
	for _, c := range []float64{1, 2, 3, 4, 6} {
		add(PatternClipped, fmt.Sprintf("the output is clipped at %v: no value is above", c), func(_, right float64) float64 { return min(right, c) })
	}
	return all
}

// tables proposes a table of the function's values at equal distances, looked up by the input.
func (p *values) tables(src source, x []float32, own *activation.Function) (all []Hypothesis) {
	f := own.Of
	modes := []struct {
		text string
		at   func(q float64) (node, next, part float64)
	}{
		{"at the nearest entry", func(q float64) (float64, float64, float64) { n := math.Floor(q + 0.5); return n, n, 0 }},
		{"at the entry below", func(q float64) (float64, float64, float64) { n := math.Floor(q); return n, n, 0 }},
		{"with the entry of the middle of the step", func(q float64) (float64, float64, float64) { n := math.Floor(q) + 0.5; return n, n, 0 }},
		{"with a straight line between entries", func(q float64) (float64, float64, float64) { n := math.Floor(q); return n, n + 1, q - n }},
	}
	outside := []struct {
		text string
		of   func(x, r float64) float64
	}{
		{"its end", func(x, r float64) float64 { return f(max(-r, min(x, r))) }},
		{"0 below and x above", func(x, r float64) float64 {
			if x > 0 {
				return x
			}
			return 0
		}},
		{"the function itself", func(x, r float64) float64 { return f(x) }},
	}
	most := 0.0
	for _, i := range p.at {
		most = max(most, math.Abs(float64(x[i])))
	}
	try := func(r float64, n int) []Hypothesis {
		h := 2 * r / float64(n)
		for _, m := range modes {
			for _, o := range outside {
				g := func(x float64) float64 {
					if x <= -r || x >= r {
						return o.of(x, r)
					}
					a, b, part := m.at((x + r) / h)
					y := f(min(a*h, 2*r) - r)
					if part > 0 {
						y += part * (f(b*h-r) - y)
					}
					return y
				}
				if p.holds(func(i int) float64 { return g(float64(x[i])) }) {
					text := fmt.Sprintf("the output is looked up in a table of %s, whose entries from %v to %v are %s apart, in %d intervals, %s, and beyond it is %s",
						own.Name(), -r, r, decimal(h), n, m.text, o.text)
					if most < r {
						text = fmt.Sprintf("the output is looked up in a table of %s, whose entries are %s apart, %s: %d intervals if they go from %v to %v, where no input shows an end",
							own.Name(), decimal(h), m.text, n, -r, r)
					}
					return []Hypothesis{src.hypothesis(PatternTable, text, 1, func(x, _ float64) float64 { return g(x) })}
				}
			}
		}
		return nil
	}
	ranges := []float64{1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20}
	for _, r := range ranges {
		for _, n := range []int{16, 32, 64, 100, 128, 200, 250, 255, 256, 257, 500, 511, 512, 513, 1000, 1023, 1024, 1025, 2000, 2047, 2048, 4095, 4096, 8192, 16384, 32768, 65535, 65536} {
			if all := try(r, n); all != nil {
				return all
			}
		}
	}
	for _, r := range ranges {
		for _, toUnit := range []float64{2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 10, 20, 50, 100, 200, 500, 1000} {
			if all := try(r, int(2*r*toUnit)); all != nil {
				return all
			}
		}
	}
	return nil
}
