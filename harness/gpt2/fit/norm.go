package fit

import (
	"fmt"
	"math"

	"checkpoint12/model"
)

// The ids of a LayerNorm with other statistics or other factors.
const (
	PatternStatistics = "pattern_statistics" // the mean or the deviation is taken otherwise, or of something else
	PatternEpsilon    = "pattern_epsilon"    // epsilon is another number, or stands elsewhere
	PatternGain       = "pattern_gain"       // the gain or the bias is applied otherwise
	PatternTwice      = "pattern_norm_twice" // the norm is applied to its own output
)

func init() {
	for _, word := range []string{"ln_1", "ln_2", "ln_f"} {
		searches[word] = append(searches[word], norms)
		blind[word] = append(blind[word], blindNorms)
	}
}

// A norming is a LayerNorm at one step: its input, weights and statistics.
type norming struct {
	*Stage
	x              []float32 // [B·T, C]
	gain, bias     []float32
	C, T           int
	eps            float64
	mean, variance []float64 // of each row
}

// newNorming returns nil where the input or a weight is not known.
func newNorming(s *Stage) *norming {
	n := &norming{Stage: s, C: s.Model.Config().Embd, T: s.Dims.T, eps: s.Model.Config().Eps}
	n.gain, _, _ = s.Model.Weight(s.Name + ".weight")
	n.bias, _, _ = s.Model.Weight(s.Name + ".bias")
	n.x = s.In(model.Reads(s.Model.Config(), s.Name)[0])
	if len(n.x) == 0 || len(n.gain) != n.C || len(n.bias) != n.C || n.T == 0 {
		return nil
	}
	n.mean, n.variance = rowMoments(n.x, n.C, 0, n.C, 1)
	return n
}

// rowMoments returns the means and variances of rows of C values, of every step-th from first on to
// last.
func rowMoments(x []float32, C, first, last, step int) (mean, variance []float64) {
	for lo := 0; lo+C <= len(x); lo += C {
		m, v, k := 0.0, 0.0, 0.0
		for c := first; c < last; c += step {
			m, k = m+float64(x[lo+c]), k+1
		}
		m /= k
		for c := first; c < last; c += step {
			d := float64(x[lo+c]) - m
			v += d * d
		}
		mean, variance = append(mean, m), append(variance, v/k)
	}
	return mean, variance
}

// moments returns a row's mean and 1/√(variance + eps).
func moments(x []float32, eps float64) (mean, scale float64) {
	means, variances := rowMoments(x, len(x), 0, len(x), 1)
	return means[0], 1 / math.Sqrt(variances[0]+eps)
}

// output returns (x - centre)/divisor·gain + bias by the flat index.
func (n *norming) output(centre, divisor func(r int) float64) func(i int) float64 {
	at, m, d := -1, 0.0, 1.0
	return func(i int) float64 {
		r, c := i/n.C, i%n.C
		if r != at {
			at, m, d = r, centre(r), divisor(r)
		}
		return (float64(n.x[i])-m)/d*float64(n.gain[c]) + float64(n.bias[c])
	}
}

// own returns the correct mean and divisor.
func (n *norming) own() (centre, divisor func(r int) float64) {
	return func(r int) float64 { return n.mean[r] }, func(r int) float64 { return math.Sqrt(n.variance[r] + n.eps) }
}

// A normCase is a norm with something else in it: what gives its output by the flat index, nil
// where that cannot be computed.
type normCase struct {
	id, text string
	numbers  int
	of       func(n *norming) func(i int) float64
}

// hypothesis returns the case as one.
func (c normCase) hypothesis() Hypothesis {
	return Hypothesis{ID: c.id, Text: c.text, Numbers: c.numbers, Output: func(s *Stage) []float32 {
		n := newNorming(s)
		if n == nil {
			return nil
		}
		f := c.of(n)
		if f == nil {
			return nil
		}
		out := make([]float32, len(n.x))
		for i := range out {
			out[i] = float32(f(i))
		}
		return out
	}}
}

// norms proposes LayerNorms with other statistics or factors.
func norms(r *Row) (all []Hypothesis) {
	p, n := newValues(r), newNorming(&r.Stage)
	if p == nil || n == nil || len(n.x) != len(r.Got) {
		return nil
	}
	from, _ := model.ParseStage(r.Name)
	try := func(c normCase) bool {
		f := c.of(n)
		if f == nil || !p.holds(f) {
			return false
		}
		h := c.hypothesis()
		if c.numbers > 2 { // of channels, which are of one layer
			h.Stages = []string{r.Name}
		}
		all = append(all, h)
		return true
	}
	for _, c := range normCases(r.Model, from) {
		try(c)
	}
	if len(all) > 0 {
		return all
	}
	for _, list := range [][]normCase{gains(r.Model, from), severalParts()} {
		for _, c := range list {
			try(c)
		}
		if len(all) > 0 {
			return all
		}
	}
	for _, look := range []func(p *values) []normCase{n.read, n.divided, n.centred, n.channels} {
		if len(all) == 0 {
			for _, c := range look(p) {
				try(c)
			}
		}
	}
	return all
}

// blindNorms proposes the plainest of them where no output is known.
func blindNorms(r *Row) (all []Hypothesis) {
	if r.Got != nil {
		return nil
	}
	from, _ := model.ParseStage(r.Name)
	for _, c := range normCases(r.Model, from) {
		all = append(all, c.hypothesis())
	}
	return all
}

// normCases lists norms without a number that is read off.
func normCases(m *model.Model, from model.StageName) (all []normCase) {
	own := func(n *norming) (func(int) float64, func(int) float64) { return n.own() }
	for _, d := range divisors {
		all = append(all, normCase{PatternStatistics, d.text, 0, func(n *norming) func(int) float64 {
			centre, _ := own(n)
			return n.output(centre, func(r int) float64 { return d.of(n, r) })
		}})
		if all[len(all)-1].text[0] == 'e' {
			all[len(all)-1].id = PatternEpsilon
		}
	}
	for _, x := range populations(m.Config(), from) {
		for _, k := range []struct {
			text           string
			mean, variance bool
		}{
			{"the mean and the variance are those of %s, where each row's own belong", true, true},
			{"the variance is that of %s, where the row's own belongs; the mean is the row's own", false, true},
			{"the mean is that of %s, where the row's own belongs; the variance is the row's own", true, false},
		} {
			text := fmt.Sprintf(k.text, x.text)
			if x.text == "the row without its mean taken off" {
				switch {
				case k.mean && k.variance:
					text = "RMSNorm in the place of LayerNorm: the mean is not taken off, and the divisor is √(mean of x² + eps), the root of the mean square"
				case k.mean:
					continue // which the catalogue has
				default:
					text = "the variance is the mean of x², without the mean taken off: take it of x - mean"
				}
			}
			all = append(all, normCase{PatternStatistics, text, 0, func(n *norming) func(int) float64 {
				mean, variance := x.of(n)
				if len(mean) != len(n.mean) {
					return nil
				}
				centre, divisor := n.own()
				if k.mean {
					centre = func(r int) float64 { return mean[r] }
				}
				if k.variance {
					divisor = func(r int) float64 { return math.Sqrt(variance[r] + n.eps) }
				}
				return n.output(centre, divisor)
			}})
		}
	}
	return append(all,
		normCase{PatternGain, "the gain is applied before the norm, to its input: the mean and the variance are those of x·gain", 0, func(n *norming) func(i int) float64 {
			y := &norming{Stage: n.Stage, x: make([]float32, len(n.x)), C: n.C, eps: n.eps}
			for i, v := range n.x {
				y.x[i] = v * n.gain[i%n.C]
			}
			y.mean, y.variance = rowMoments(y.x, y.C, 0, y.C, 1)
			centre, divisor := y.own()
			return func(i int) float64 {
				return (float64(y.x[i])-centre(i/n.C))/divisor(i/n.C) + float64(n.bias[i%n.C])
			}
		}},
		normCase{PatternStatistics, "the mean that is taken off is that of each channel along the positions, not that of each position along the channels; the variance is the row's own", 0, func(n *norming) func(i int) float64 {
			means := make([]float64, len(n.x)/n.T) // [B, C]
			for i, v := range n.x {
				means[i/(n.C*n.T)*n.C+i%n.C] += float64(v) / float64(n.T)
			}
			_, divisor := n.own()
			return func(i int) float64 {
				c := i % n.C
				return (float64(n.x[i])-means[i/(n.C*n.T)*n.C+c])/divisor(i/n.C)*float64(n.gain[c]) + float64(n.bias[c])
			}
		}},
		normCase{PatternTwice, "the norm is applied twice: to its own output once more", 0, func(n *norming) func(int) float64 {
			y := &norming{Stage: n.Stage, x: n.Correct(), gain: n.gain, bias: n.bias, C: n.C, T: n.T, eps: n.eps}
			y.mean, y.variance = rowMoments(y.x, y.C, 0, y.C, 1)
			return y.output(y.own())
		}},
		normCase{PatternTwice, "the norm is applied twice: first without gain and bias of its own", 0, func(n *norming) func(int) float64 {
			y := &norming{Stage: n.Stage, gain: n.gain, bias: n.bias, C: n.C, T: n.T, eps: n.eps, x: make([]float32, len(n.x))}
			for i := range y.x {
				r := i / n.C
				y.x[i] = float32((float64(n.x[i]) - n.mean[r]) / math.Sqrt(n.variance[r]+n.eps))
			}
			y.mean, y.variance = rowMoments(y.x, y.C, 0, y.C, 1)
			return y.output(y.own())
		}},
		normCase{PatternStatistics, "each head's channels are normalised by themselves, over D channels and not over C", 0, func(n *norming) func(int) float64 {
			return n.inGroups(n.C / n.Model.Config().Heads)
		}},
		normCase{PatternStatistics, "each half of the channels is normalised by itself, over C/2 channels", 0, func(n *norming) func(int) float64 {
			return n.inGroups(n.C / 2)
		}},
		normCase{PatternStatistics, "the statistics are taken along the positions, of each channel by itself, and not along the channels of each position", 0, func(n *norming) func(int) float64 {
			return n.ofChannels(func(r int) (int, int) { return r / n.T * n.T, r/n.T*n.T + n.T })
		}},
		normCase{PatternStatistics, "the statistics are taken over the batch and its positions, of each channel by itself, as BatchNorm takes them", 0, func(n *norming) func(int) float64 {
			return n.ofChannels(func(int) (int, int) { return 0, len(n.mean) })
		}},
	)
}

// inGroups returns the norm of each group of so many channels by itself.
func (n *norming) inGroups(width int) func(i int) float64 {
	if width < 2 || n.C%width != 0 {
		return nil
	}
	mean, variance := rowMoments(n.x, width, 0, width, 1)
	return func(i int) float64 {
		g, c := i/width, i%n.C
		return (float64(n.x[i])-mean[g])/math.Sqrt(variance[g]+n.eps)*float64(n.gain[c]) + float64(n.bias[c])
	}
}

// ofChannels returns the norm of each channel over the rows of a group.
func (n *norming) ofChannels(group func(r int) (first, last int)) func(i int) float64 {
	return func(i int) float64 {
		lo, hi := group(i / n.C)
		c, m, v := i%n.C, 0.0, 0.0
		for r := lo; r < hi; r++ {
			m += float64(n.x[r*n.C+c]) / float64(hi-lo)
		}
		for r := lo; r < hi; r++ {
			d := float64(n.x[r*n.C+c]) - m
			v += d * d / float64(hi-lo)
		}
		return (float64(n.x[i])-m)/math.Sqrt(v+n.eps)*float64(n.gain[c]) + float64(n.bias[c])
	}
}
