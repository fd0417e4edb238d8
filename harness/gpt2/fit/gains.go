package fit

import (
	"fmt"
	"math"
	"strconv"

	"checkpoint12/model"
)

// gains lists norms whose gain or bias is applied otherwise, or stands elsewhere.
func gains(m *model.Model, from model.StageName) (all []normCase) {
	type factor struct {
		text string // "" is the right one
		of   func(n *norming, c int) float64
	}
	gain := func(n *norming, c int) float64 { return float64(n.gain[c]) }
	bias := func(n *norming, c int) float64 { return float64(n.bias[c]) }
	gs := []factor{
		{"", gain},
		{"the gain is applied as 1 + gain", func(n *norming, c int) float64 { return 1 + gain(n, c) }},
		{"the gain is squared: applied twice", func(n *norming, c int) float64 { return gain(n, c) * gain(n, c) }},
		{"the gain is applied as 1/gain: the rows are divided by it", func(n *norming, c int) float64 { return 1 / gain(n, c) }},
		{"the gain is applied without its sign, as |gain|", func(n *norming, c int) float64 { return math.Abs(gain(n, c)) }},
		{"the gain is applied as √gain", func(n *norming, c int) float64 { return math.Sqrt(gain(n, c)) }},
		{"the gain is applied as 1 - gain", func(n *norming, c int) float64 { return 1 - gain(n, c) }},
		{"the gain is applied as exp(gain)", func(n *norming, c int) float64 { return math.Exp(gain(n, c)) }},
		{"the gain is not applied", func(*norming, int) float64 { return 1 }},
		{"the bias stands in the place of the gain", bias},
		{"the gain is read in reverse", func(n *norming, c int) float64 { return gain(n, n.C-1-c) }},
	}
	bs := []factor{
		{"", bias},
		{"the bias is not added", func(*norming, int) float64 { return 0 }},
		{"the bias is subtracted", func(n *norming, c int) float64 { return -bias(n, c) }},
		{"the gain stands in the place of the bias", gain},
		{"the bias is multiplied by the gain: it is added before the gain is applied", func(n *norming, c int) float64 { return bias(n, c) * gain(n, c) }},
		{"the bias is added twice", func(n *norming, c int) float64 { return 2 * bias(n, c) }},
		{"the bias is read in reverse", func(n *norming, c int) float64 { return bias(n, n.C-1-c) }},
	}
	for shift := 1; shift < m.Config().Embd; shift++ {
		text := fmt.Sprintf("is read %d channels on: that of channel c+%[1]d for channel c, beginning again at the end", shift)
		if back := m.Config().Embd - shift; back < shift {
			text = fmt.Sprintf("is read %d channels back: that of channel c-%[1]d for channel c, beginning again at the end", back)
		}
		gs = append(gs, factor{"the gain " + text, func(n *norming, c int) float64 { return gain(n, (c+shift)%n.C) }})
		bs = append(bs, factor{"the bias " + text, func(n *norming, c int) float64 { return bias(n, (c+shift)%n.C) }})
	}
	const few = 11 // of which each is looked at with each
	for i, g := range gs {
		for j, b := range bs {
			if i == 0 && j == 0 || i >= few && j > 0 && j != i-few+7 || j >= 7 && i > 0 && j != i-few+7 {
				continue
			}
			text := g.text
			switch {
			case g.text == "":
				text = b.text
			case i >= few && j > 0:
				text += ", and so is the bias"
			case b.text != "":
				text += ", and " + b.text
			}
			if i == 9 && j == 3 {
				text = "gain and bias are swapped: each stands in the place of the other"
			}
			all = append(all, normCase{PatternGain, text, 0, func(n *norming) func(int) float64 {
				centre, divisor := n.own()
				at, m, d := -1, 0.0, 1.0
				return func(i int) float64 {
					r, c := i/n.C, i%n.C
					if r != at {
						at, m, d = r, centre(r), divisor(r)
					}
					return (float64(n.x[i])-m)/d*g.of(n, c) + b.of(n, c)
				}
			}})
		}
	}
	return all
}

// read returns norms with a number that is read off the row.
func (n *norming) read(p *values) (all []normCase) {
	at := p.some(mostRead, nil)
	got := func(i int) float64 { return float64(p.Got[i]) }
	gain := func(i int) float64 { return float64(n.gain[i%n.C]) }
	bare := func(i int) float64 { return got(i) - float64(n.bias[i%n.C]) }
	// Epsilon, inside of the root and outside.
	for _, e := range []struct {
		text string
		of   func(variance, eps float64) float64
	}{
		{"epsilon is %s, where config.json has %v", func(v, eps float64) float64 { return math.Sqrt(v + eps) }},
		{"epsilon is %s and outside of the root, √var + eps, where √(var + %v) belongs", func(v, eps float64) float64 { return math.Sqrt(v) + eps }},
	} {
		of := func(eps float64) func(n *norming) func(i int) float64 {
			return func(n *norming) func(i int) float64 {
				centre, _ := n.own()
				return n.output(centre, func(r int) float64 { return e.of(n.variance[r], eps) })
			}
		}
		k, ok := p.solve(at, func(i int, eps float64) float64 { return of(eps)(n)(i) }, n.eps)
		if !ok || k < 0 {
			continue
		}
		for digits := range 7 {
			text := strconv.FormatFloat(k, 'g', digits+1, 64)
			eps, _ := strconv.ParseFloat(text, 64)
			if p.holds(of(eps)(n)) {
				all = append(all, normCase{PatternEpsilon, fmt.Sprintf(e.text, text, n.eps), 1, of(eps)})
				break
			}
		}
	}
	// A part of the mean: got - right is (1 - k)·mean/divisor·gain.
	_, divisor := n.own()
	shift := func(i int) float64 { return n.mean[i/n.C] / divisor(i/n.C) * gain(i) }
	partly := func(k float64) func(n *norming) func(i int) float64 {
		return func(n *norming) func(i int) float64 {
			_, divisor := n.own()
			return n.output(func(r int) float64 { return k * n.mean[r] }, divisor)
		}
	}
	if c := p.fit(at, func(i int) float64 { return got(i) - float64(p.Right[i]) }, shift); c != nil {
		if text, k, ok := p.Row.read(1-c[0], func(k float64) bool { return p.holds(partly(k)(n)) }); ok {
			all = append(all, normCase{PatternStatistics, "the mean that is taken off is " + text + " times the row's mean: a part of the mean is kept", 1, partly(k)})
		}
	}
	// One mean and one deviation for all rows.
	fixed := func(scale, shift float64) func(n *norming) func(i int) float64 {
		return func(n *norming) func(i int) float64 {
			return func(i int) float64 {
				c := i % n.C
				return (float64(n.x[i])*scale+shift)*float64(n.gain[c]) + float64(n.bias[c])
			}
		}
	}
	if c := p.fit(at, bare, func(i int) float64 { return float64(n.x[i]) * gain(i) }, gain); c != nil && len(n.mean) > 2 {
		text := fmt.Sprintf("every row has the same mean, %.6g, and deviation, %.6g: running or fixed statistics in the place of each row's own", -c[1]/c[0], 1/c[0])
		all = append(all, normCase{PatternStatistics, text, 2, fixed(c[0], c[1])})
	}
	return all
}
