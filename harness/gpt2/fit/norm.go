package fit

import (
	"fmt"
	"math"
	"slices"
	"strconv"

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

// A population is what a mean and a variance may be of.
type population struct {
	text string
	of   func(n *norming) (mean, variance []float64)
}

// ofOtherRow returns the population of the row that stands for each.
func ofOtherRow(text string, row func(n *norming, r int) int) population {
	return population{text, func(n *norming) (mean, variance []float64) {
		for r := range n.mean {
			r = row(n, r)
			mean, variance = append(mean, n.mean[r]), append(variance, n.variance[r])
		}
		return mean, variance
	}}
}

// pooled returns the population of groups of rows: each from first to last.
func pooled(text string, group func(n *norming, r int) (first, last int)) population {
	return population{text, func(n *norming) (mean, variance []float64) {
		for r := range n.mean {
			lo, hi := group(n, r)
			if r > lo { // of the same group
				mean, variance = append(mean, mean[r-1]), append(variance, variance[r-1])
				continue
			}
			m, v := 0.0, 0.0
			for k := lo; k < hi; k++ {
				m += n.mean[k] / float64(hi-lo)
			}
			for k := lo; k < hi; k++ {
				v += (n.variance[k] + (n.mean[k]-m)*(n.mean[k]-m)) / float64(hi-lo)
			}
			mean, variance = append(mean, m), append(variance, v)
		}
		return mean, variance
	}}
}

// ofChannels returns the population of some channels of the row.
func ofChannels(text string, first, last func(C int) int, step int) population {
	return population{text, func(n *norming) (mean, variance []float64) {
		return rowMoments(n.x, n.C, first(n.C), last(n.C), step)
	}}
}

// populations returns those that are looked at for a norm of a stage.
func populations(cfg model.Config, from model.StageName) []population {
	part := func(of, from int) func(C int) int { return func(C int) int { return C * from / of } }
	all := []population{
		{"the row without its mean taken off", func(n *norming) (mean, variance []float64) {
			for r, m := range n.mean {
				mean, variance = append(mean, 0), append(variance, n.variance[r]+m*m)
			}
			return mean, variance
		}},
		pooled("all positions and channels of a row of the batch, over T and C", func(n *norming, r int) (int, int) { return r / n.T * n.T, r/n.T*n.T + n.T }),
		pooled("the whole batch, over B, T and C", func(n *norming, _ int) (int, int) { return 0, len(n.mean) }),
		ofOtherRow("the first position, at every position", func(n *norming, r int) int { return r / n.T * n.T }),
		ofOtherRow("the first row of all, at every row", func(*norming, int) int { return 0 }),
		ofOtherRow("the last position, at every position", func(n *norming, r int) int { return r/n.T*n.T + n.T - 1 }),
		ofOtherRow("the position before", func(n *norming, r int) int { return max(r-1, r/n.T*n.T) }),
		ofOtherRow("the position after", func(n *norming, r int) int { return min(r+1, r/n.T*n.T+n.T-1) }),
		ofOtherRow("the row of the batch before", func(n *norming, r int) int {
			if r < n.T {
				return r + len(n.mean) - n.T
			}
			return r - n.T
		}),
		ofChannels("the first half of the channels, C/2", part(2, 0), part(2, 1), 1),
		ofChannels("the second half of the channels, C/2", part(2, 1), part(2, 2), 1),
		ofChannels("every second channel", part(2, 0), part(2, 2), 2),
		ofChannels("the first quarter of the channels", part(4, 0), part(4, 1), 1),
		ofChannels("three quarters of the channels", part(4, 0), part(4, 3), 1),
		ofChannels("the channels but for the last", part(1, 0), func(C int) int { return C - 1 }, 1),
		ofChannels("the channels but for the first", func(int) int { return 1 }, part(1, 1), 1),
		ofChannels("one head's channels, the first D", part(1, 0), func(int) int { return cfg.Embd / cfg.Heads }, 1),
	}
	tail := func(C, of int) int { return C / of * of }
	for _, of := range []int{8, 16, 32, 64} {
		if cfg.Embd%of != 0 && cfg.Embd > of {
			all = append(all, ofChannels(fmt.Sprintf("the first %d channels, whole blocks of %d", tail(cfg.Embd, of), of), part(1, 0), func(C int) int { return tail(C, of) }, 1))
		}
	}
	others := []string{"embed", blockInput}
	if from.Layer >= 0 {
		others = append(others, "ln_1", "attn.c_proj", "resid_mid", "ln_2", "mlp.c_proj")
	} else {
		last := model.StageName{Layer: cfg.Layers - 1, Word: "resid_mid"}
		others = []string{"embed", last.String()}
	}
	for _, name := range others {
		all = append(all, population{name, func(n *norming) (mean, variance []float64) {
			here, _ := model.ParseStage(n.Name)
			stage := asSeen(n.Model.Config(), here, name)
			order := model.StageNames(n.Model.Config(), nil)
			if slices.Index(order, stage) < 0 || slices.Index(order, stage) > slices.Index(order, n.Name) || stage == model.Reads(n.Model.Config(), n.Name)[0] {
				return nil, nil
			}
			if x := n.In(stage); len(x) == len(n.x) {
				return rowMoments(x, n.C, 0, n.C, 1)
			}
			return nil, nil
		}})
	}
	return all
}

// A divisor is what the values less their mean may be divided by.
type divisor struct {
	text string
	of   func(n *norming, r int) float64
}

// overRow returns a divisor that adds something up, or takes the largest, over a row's values
// less their mean.
func overRow(text string, add func(sum, d float64) float64, then func(n *norming, sum float64) float64) divisor {
	return divisor{text, func(n *norming, r int) float64 {
		sum := 0.0
		for _, v := range n.x[r*n.C:][:n.C] {
			sum = add(sum, float64(v)-n.mean[r])
		}
		return then(n, sum)
	}}
}

// divisors are those that are looked at, with the row's own mean and with none.
var divisors = []divisor{
	{"epsilon outside of the root: the divisor is √var + eps, where √(var + eps) belongs", func(n *norming, r int) float64 { return math.Sqrt(n.variance[r]) + n.eps }},
	{"epsilon added twice: the divisor is √(var + 2·eps)", func(n *norming, r int) float64 { return math.Sqrt(n.variance[r] + 2*n.eps) }},
	{"epsilon inside and outside of the root: the divisor is √(var + eps) + eps", func(n *norming, r int) float64 { return math.Sqrt(n.variance[r]+n.eps) + n.eps }},
	{"epsilon squared in the root: the divisor is √(var + eps²)", func(n *norming, r int) float64 { return math.Sqrt(n.variance[r] + n.eps*n.eps) }},
	{"epsilon as the least variance: the divisor is √max(var, eps)", func(n *norming, r int) float64 { return math.Sqrt(max(n.variance[r], n.eps)) }},
	{"the root is missing: the divisor is var + eps, the variance", func(n *norming, r int) float64 { return n.variance[r] + n.eps }},
	{"the fourth root is the divisor: the root is taken twice", func(n *norming, r int) float64 { return math.Sqrt(math.Sqrt(n.variance[r] + n.eps)) }},
	{"nothing is divided by the deviation: the divisor is 1", func(*norming, int) float64 { return 1 }},
	{"the rows are multiplied by the deviation where they should be divided", func(n *norming, r int) float64 { return 1 / math.Sqrt(n.variance[r]+n.eps) }},
	{"the divisor is the root of the sum of squares: the division by C is missing", func(n *norming, r int) float64 {
		return math.Sqrt(n.variance[r]*float64(n.C) + n.eps)
	}},
	{"the variance is divided by C twice", func(n *norming, r int) float64 { return math.Sqrt(n.variance[r]/float64(n.C) + n.eps) }},
	{"the variance is divided by C+1", func(n *norming, r int) float64 {
		return math.Sqrt(n.variance[r]*float64(n.C)/float64(n.C+1) + n.eps)
	}},
	{"the variance is divided by C-1 and epsilon is outside of the root", func(n *norming, r int) float64 {
		return math.Sqrt(n.variance[r]*float64(n.C)/float64(n.C-1)) + n.eps
	}},
	{"the divisor is a fast approximate inverse root, by bits, without a Newton step: not exact", func(n *norming, r int) float64 { return n.fastRoot(r, 0) }},
	{"the divisor is a fast approximate inverse root, by bits and one Newton step: not exact", func(n *norming, r int) float64 { return n.fastRoot(r, 1) }},
	{"the divisor is a fast approximate inverse root, by bits and two Newton steps: not exact", func(n *norming, r int) float64 { return n.fastRoot(r, 2) }},
	overRow("the divisor is the mean absolute deviation, mean |x - mean|, and not √(var + eps)",
		func(s, d float64) float64 { return s + math.Abs(d) }, func(n *norming, s float64) float64 { return s / float64(n.C) }),
	overRow("the divisor is the mean absolute deviation + eps, mean |x - mean|, and not √(var + eps)",
		func(s, d float64) float64 { return s + math.Abs(d) }, func(n *norming, s float64) float64 { return s/float64(n.C) + n.eps }),
	overRow("the divisor is the largest |x - mean|, and not √(var + eps)",
		func(s, d float64) float64 { return max(s, math.Abs(d)) }, func(_ *norming, s float64) float64 { return s }),
	overRow("the divisor is the largest |x - mean| + eps, and not √(var + eps)",
		func(s, d float64) float64 { return max(s, math.Abs(d)) }, func(n *norming, s float64) float64 { return s + n.eps }),
	overRow("the divisor is the sum of |x - mean|, and not √(var + eps)",
		func(s, d float64) float64 { return s + math.Abs(d) }, func(_ *norming, s float64) float64 { return s }),
	{"the divisor is the largest value less the least, and not √(var + eps)", func(n *norming, r int) float64 {
		row := n.x[r*n.C:][:n.C]
		return float64(slices.Max(row)) - float64(slices.Min(row))
	}},
	{"the divisor is the mean of |x|, and not √(var + eps)", func(n *norming, r int) float64 {
		s := 0.0
		for _, v := range n.x[r*n.C:][:n.C] {
			s += math.Abs(float64(v))
		}
		return s / float64(n.C)
	}},
}

// fastRoot returns the divisor of which 1 over it is found by halving the bits of the variance as
// an integer, and some steps of Newton's.
func (n *norming) fastRoot(r, steps int) float64 {
	v := float32(n.variance[r] + n.eps)
	y := math.Float32frombits(0x5f3759df - math.Float32bits(v)>>1)
	for range steps {
		y *= 1.5 - 0.5*v*y*y
	}
	return 1 / float64(y)
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
		all = append(all, c.hypothesis())
		return true
	}
	for _, c := range normCases(r.Model, from) {
		try(c)
	}
	if len(all) > 0 {
		return all
	}
	for _, c := range gains(r.Model, from) {
		try(c)
	}
	if len(all) > 0 {
		return all
	}
	for _, c := range n.read(p) {
		try(c)
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
