package fit

import (
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness/internal/rounding"
	"checkpoint12/model"
)

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

// before returns the row of the position before, in the same step.
func before(n *norming, r int) int { return max(r-1, r/n.T*n.T) }

// ofEarlier returns the population of the position before or, for some rows, of an earlier step's last.
func ofEarlier(text string, earlier func(n *norming, r int) bool, from func(step int) int) population {
	return population{text, func(n *norming) (mean, variance []float64) {
		if mean, variance = ofOtherRow("", before).of(n); n.Step == 0 {
			if !earlier(n, 0) {
				return nil, nil
			}
			return mean, variance
		}
		if n.At == nil {
			return nil, nil
		}
		x, B := n.At(from(n.Step), model.Reads(n.Model.Config(), n.Name)[0]), len(n.mean)/n.T
		if len(x) == 0 || len(x)%(B*n.C) != 0 {
			return nil, nil
		}
		for r := range mean {
			if earlier(n, r) {
				m, v := rowMoments(x[(r/n.T+1)*len(x)/B-n.C:][:n.C], n.C, 0, n.C, 1)
				mean[r], variance[r] = m[0], v[0]
			}
		}
		return mean, variance
	}}
}

// pooled returns the population of groups of rows: each from first to last, every step-th.
func pooled(text string, group func(n *norming, r int) (first, last, step int)) population {
	return population{text, func(n *norming) (mean, variance []float64) {
		for r := range n.mean {
			lo, hi, step := group(n, r)
			if r > lo { // of the same group
				mean, variance = append(mean, mean[lo]), append(variance, variance[lo])
				continue
			}
			m, v, rows := 0.0, 0.0, float64((hi-lo+step-1)/step)
			for k := lo; k < hi; k += step {
				m += n.mean[k] / rows
			}
			for k := lo; k < hi; k += step {
				v += (n.variance[k] + (n.mean[k]-m)*(n.mean[k]-m)) / rows
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
		pooled("all positions and channels of a row of the batch, over T and C", func(n *norming, r int) (int, int, int) { return r / n.T * n.T, r/n.T*n.T + n.T, 1 }),
		{"the whole batch, over B and C or over B, T and C, which a step of one position does not tell apart", func(n *norming) (mean, variance []float64) {
			if n.T > 1 {
				return nil, nil
			}
			return pooled("", func(*norming, int) (int, int, int) { return 0, len(n.mean), 1 }).of(n)
		}},
		pooled("the whole batch, over B, T and C", func(n *norming, _ int) (int, int, int) { return 0, len(n.mean), 1 }),
		pooled("the batch's rows at the position, over B and C", func(n *norming, r int) (int, int, int) { return r % n.T, len(n.mean), n.T }),
		ofOtherRow("the first position, at every position", func(n *norming, r int) int { return r / n.T * n.T }),
		ofOtherRow("the first row of all, at every row", func(*norming, int) int { return 0 }),
		ofOtherRow("the last position, at every position", func(n *norming, r int) int { return r/n.T*n.T + n.T - 1 }),
		ofOtherRow("the position before", before),
		ofEarlier("the position before, which for a step's first is the last of the step before", func(n *norming, r int) bool { return r%n.T == 0 }, func(step int) int { return step - 1 }),
		ofEarlier("the prompt's last position, at every later step", func(n *norming, _ int) bool { return n.Step > 0 }, func(int) int { return 0 }),
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
			first := ofChannels(fmt.Sprintf("the first %d channels, whole blocks of %d", tail(cfg.Embd, of), of), part(1, 0), func(C int) int { return tail(C, of) }, 1)
			all = append(all, first, population{first.text + ", though divided by C: the sums leave the last channels out", func(n *norming) (mean, variance []float64) {
				mean, variance = first.of(n)
				k := float64(tail(n.C, of)) / float64(n.C)
				for r, m := range mean {
					variance[r], mean[r] = k*(variance[r]+(m-k*m)*(m-k*m)), k*m
				}
				return mean, variance
			}})
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

const undivided = "nothing is divided by the deviation: the divisor is 1"

// divisors are those that are looked at, with the row's own mean and with none.
var divisors = append(narrowDivisors, []divisor{
	{"epsilon outside of the root: the divisor is √var + eps, where √(var + eps) belongs", func(n *norming, r int) float64 { return math.Sqrt(n.variance[r]) + n.eps }},
	{"epsilon added twice: the divisor is √(var + 2·eps)", func(n *norming, r int) float64 { return math.Sqrt(n.variance[r] + 2*n.eps) }},
	{"epsilon inside and outside of the root: the divisor is √(var + eps) + eps", func(n *norming, r int) float64 { return math.Sqrt(n.variance[r]+n.eps) + n.eps }},
	{"epsilon squared in the root: the divisor is √(var + eps²)", func(n *norming, r int) float64 { return math.Sqrt(n.variance[r] + n.eps*n.eps) }},
	{"epsilon as the least variance: the divisor is √max(var, eps)", func(n *norming, r int) float64 { return math.Sqrt(max(n.variance[r], n.eps)) }},
	{"the root is missing: the divisor is var + eps, the variance", func(n *norming, r int) float64 { return n.variance[r] + n.eps }},
	{"the fourth root is the divisor: the root is taken twice", func(n *norming, r int) float64 { return math.Sqrt(math.Sqrt(n.variance[r] + n.eps)) }},
	{undivided, func(*norming, int) float64 { return 1 }},
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
}...)

// narrowDivisors are those that are right but for the few bits in which they are kept.
var narrowDivisors = func() (all []divisor) {
	for _, n := range []struct {
		name string
		rounding.Rounding
	}{{"bfloat16", rounding.BFloat16}, {"float16", rounding.Float16}} {
		in := func(v float64) float64 { return float64(n.Of([]float32{float32(v)})[0]) }
		all = append(all,
			divisor{"the inverse of the divisor, 1/√(var + eps), is rounded to " + n.name, func(m *norming, r int) float64 { return 1 / in(1/math.Sqrt(m.variance[r]+m.eps)) }},
			divisor{"the divisor, √(var + eps), is rounded to " + n.name, func(m *norming, r int) float64 { return in(math.Sqrt(m.variance[r] + m.eps)) }},
			divisor{"the variance is rounded to " + n.name, func(m *norming, r int) float64 { return math.Sqrt(in(m.variance[r]) + m.eps) }},
		)
	}
	return all
}()

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
