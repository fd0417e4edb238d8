package faults_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/gpt2/fit"
	"checkpoint12/model"
)

// normalise is a LayerNorm of each row with another centre and divisor.
func normalise(c *faults.Context, centre, divisor func(x []float32, mean, variance float64) float64, factors func(gain, bias float64) (float64, float64)) []float32 {
	x, out := c.In(model.Reads(c.Model.Config(), c.Stage)[0]), []float32{}
	gain, _, _ := c.Model.Weight(c.Stage + ".weight")
	bias, _, _ := c.Model.Weight(c.Stage + ".bias")
	C := len(gain)
	for lo := 0; lo < len(x); lo += C {
		row := x[lo:][:C]
		mean, variance := 0.0, 0.0
		for _, v := range row {
			mean += float64(v) / float64(C)
		}
		for _, v := range row {
			variance += (float64(v) - mean) * (float64(v) - mean) / float64(C)
		}
		for i, v := range row {
			g, b := factors(float64(gain[i]), float64(bias[i]))
			out = append(out, float32((float64(v)-centre(row, mean, variance))/divisor(row, mean, variance)*g+b))
		}
	}
	return out
}

// ofBatch is a LayerNorm whose statistics are those of the batch's rows at each position.
func ofBatch(c *faults.Context) []float32 {
	x := c.In(model.Reads(c.Model.Config(), c.Stage)[0])
	C, T := c.Model.Config().Embd, c.Dims.T
	of := func(t int, f func(v float64) float64) (mean float64) {
		for b := range c.Dims.B {
			for _, v := range x[(b*T+t)*C:][:C] {
				mean += f(float64(v)) / float64(c.Dims.B*C)
			}
		}
		return mean
	}
	k := 0 // centre and divisor are asked for of each value
	mean := func() float64 { return of(k/C%T, func(v float64) float64 { return v }) }
	return normalise(c, func([]float32, float64, float64) float64 { return mean() }, func([]float32, float64, float64) float64 {
		m := mean()
		variance := of(k/C%T, func(v float64) float64 { return (v - m) * (v - m) })
		k++
		return math.Sqrt(variance + 1e-5)
	}, func(g, b float64) (float64, float64) { return g, b })
}

// TestNorms: what is otherwise in a LayerNorm is found, at every step and layer.
func TestNorms(t *testing.T) {
	e := engine{judge: oddModel(t), tokens: [][]int{{104, 268, 17, 301, 9}, {15, 11, 295, 77, 210}}, steps: 3,
		keep: func(stage string) bool { return !strings.HasPrefix(stage, "logits") }}
	type statistic = func(x []float32, mean, variance float64) float64
	type weights = func(g, b float64) (float64, float64)
	mean := func(_ []float32, mean, _ float64) float64 { return mean }
	right := func(_ []float32, _, v float64) float64 { return math.Sqrt(v + 1e-5) }
	own := func(g, b float64) (float64, float64) { return g, b }
	of := func(centre, divisor statistic, factors weights) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 { return normalise(c, centre, divisor, factors) }
	}
	var lasts [2][2]float64 // statistics of each batch row's last position
	median := func(x []float32, _, _ float64) float64 {
		x = slices.Clone(x)
		slices.Sort(x)
		return (float64(x[(len(x)-1)/2]) + float64(x[len(x)/2])) / 2
	}
	about := func(centre statistic) func(c *faults.Context) []float32 {
		return of(centre, func(x []float32, mean, v float64) float64 {
			off := centre(x, mean, v) - mean
			return math.Sqrt(v + off*off + 1e-5)
		}, own)
	}
	testFits(t, e, []fitCase{
		{"another epsilon", ".ln_1", fit.PatternEpsilon, []string{"epsilon is 0.001, where config.json has 1e-05"},
			of(mean, func(_ []float32, _, v float64) float64 { return math.Sqrt(v + 1e-3) }, own)},
		{"epsilon outside", ".ln_2", fit.PatternEpsilon, []string{"epsilon outside of the root"},
			of(mean, func(_ []float32, _, v float64) float64 { return math.Sqrt(v) + 1e-5 }, own)},
		{"another epsilon outside", ".ln_2", fit.PatternEpsilon, []string{"epsilon is 0.0003 and outside of the root"},
			of(mean, func(_ []float32, _, v float64) float64 { return math.Sqrt(v) + 3e-4 }, own)},
		{"a root in bfloat16", ".ln_2", fit.PatternStatistics, []string{"the inverse of the divisor, 1/√(var + eps), is rounded to bfloat16"},
			of(mean, func(_ []float32, _, v float64) float64 {
				return 1 / float64(bfloat16([]float32{float32(1 / math.Sqrt(v+1e-5))})[0])
			}, own)},
		{"absolute deviation", ".ln_1", fit.PatternStatistics, []string{"mean absolute deviation"},
			of(mean, func(x []float32, mean, _ float64) float64 {
				sum := 0.0
				for _, v := range x {
					sum += math.Abs(float64(v)-mean) / float64(len(x))
				}
				return sum
			}, own)},
		{"variance over half", ".ln_2", fit.PatternStatistics, []string{"the variance is that of the first half of the channels"},
			of(mean, func(x []float32, _, _ float64) float64 {
				m, v, n := 0.0, 0.0, float64(len(x)/2)
				for _, y := range x[:len(x)/2] {
					m += float64(y) / n
				}
				for _, y := range x[:len(x)/2] {
					v += (float64(y) - m) * (float64(y) - m) / n
				}
				return math.Sqrt(v + 1e-5)
			}, own)},
		{"a part of the mean", ".ln_1", fit.PatternStatistics, []string{"0.5", "times the row's mean"},
			of(func(_ []float32, mean, _ float64) float64 { return mean / 2 }, right, own)},
		{"a median", ".ln_1", fit.PatternStatistics, []string{"the median of the row is taken off, where its mean belongs"}, about(median)},
		{"a median, the divisor its own", ".ln_2", fit.PatternStatistics, []string{"the median of the row is taken off", "the divisor is the row's own"}, of(median, right, own)},
		{"a mean without the ends", "ln_f", fit.PatternStatistics, []string{"the mean of the row without its 3 largest and 3 least values is taken off"},
			about(func(x []float32, _, _ float64) float64 {
				x = slices.Clone(x)
				slices.Sort(x)
				sum := 0.0
				for _, v := range x[3 : len(x)-3] {
					sum += float64(v) / float64(len(x)-6)
				}
				return sum
			})},
		{"root mean square", ".ln_2", fit.PatternStatistics, []string{"RMSNorm", "root of the mean square"},
			of(func([]float32, float64, float64) float64 { return 0 }, func(_ []float32, m, v float64) float64 { return math.Sqrt(v + m*m + 1e-5) }, own)},
		{"root mean square without bias", ".ln_1", fit.PatternStatistics, []string{"RMSNorm", "the mean is not taken off; the divisor is √(mean of x² + eps); the bias is not added"},
			of(func([]float32, float64, float64) float64 { return 0 }, func(_ []float32, m, v float64) float64 { return math.Sqrt(v + m*m + 1e-5) },
				func(g, _ float64) (float64, float64) { return g, 0 })},
		{"no gain, no bias, no root", ".ln_2", fit.PatternStatistics, []string{"the root is missing", "the gain is not applied, the bias is not added"},
			of(mean, func(_ []float32, _, v float64) float64 { return v + 1e-5 }, func(_, _ float64) (float64, float64) { return 1, 0 })},
		{"the gain before", ".ln_1", fit.PatternGain, []string{"the gain is applied before the norm"}, func(c *faults.Context) []float32 {
			gain := weightOf(c, c.Stage+".weight")
			x := slices.Clone(c.In(model.Reads(c.Model.Config(), c.Stage)[0]))
			for i := range x {
				x[i] *= gain[i%len(gain)]
			}
			scaled := *c
			scaled.In = func(string) []float32 { return x }
			return normalise(&scaled, mean, right, func(_, b float64) (float64, float64) { return 1, b })
		}},
		{"another variance", ".ln_2", fit.PatternStatistics, []string{"the divisor is √(0.8·var + 0.2)"},
			of(mean, func(_ []float32, _, v float64) float64 { return math.Sqrt(0.8*v + 0.2) }, own)},
		{"a least variance", ".ln_2", fit.PatternStatistics, []string{"the variance is taken to be 9 at the least"},
			of(mean, func(_ []float32, _, v float64) float64 { return math.Sqrt(max(v, 9) + 1e-5) }, own)},
		{"a variance below the least", ".ln_2", fit.PatternStatistics, []string{"every row is divided by one number, 100", "as if that were 10000, or 10000 at the least"},
			of(mean, func(_ []float32, _, v float64) float64 { return math.Sqrt(max(v, 1e4) + 1e-5) }, own)},
		{"a mean square", ".ln_1", fit.PatternStatistics, []string{"the divisor is √(mean(x²) + 0.02)"},
			of(mean, func(_ []float32, m, v float64) float64 { return math.Sqrt(v + m*m + 0.02) }, own)},
		{"a mean cube", ".ln_2", fit.PatternStatistics, []string{"the divisor is the mean of |x - mean|^p", "p = 3"},
			of(mean, func(x []float32, mean, _ float64) float64 {
				sum := 0.0
				for _, v := range x {
					sum += math.Pow(math.Abs(float64(v)-mean), 3) / float64(len(x))
				}
				return math.Cbrt(sum)
			}, own)},
		{"a part of the range", ".ln_1", fit.PatternStatistics, []string{"0.25 times another divisor", "largest value less the least"},
			of(mean, func(x []float32, _, _ float64) float64 { return float64(slices.Max(x)-slices.Min(x)) / 4 }, own)},
		{"gain halfway to 1", ".ln_2", fit.PatternGain, []string{"the gain is applied as 0.5·gain + 0.5"}, of(mean, right, func(g, b float64) (float64, float64) { return (g + 1) / 2, b })},
		{"another gain", ".ln_1", fit.PatternGain, []string{"another gain than ln_1.weight"}, of(mean, right, func(g, b float64) (float64, float64) { return g + math.Cos(50*g), b })},
		{"another gain and bias of some channels", ".ln_1", fit.PatternRatio, []string{"the output is 1.05 times the correct one, in channels 0 to 9"}, func(c *faults.Context) []float32 {
			out := append([]float32{}, c.Right()...)
			for i := range out {
				if i%c.Model.Config().Embd < 10 {
					out[i] *= 1.05
				}
			}
			return out
		}},
		{"another gain and bias", ".ln_1", fit.PatternGain, []string{"another gain and bias than ln_1"},
			of(mean, right, func(g, b float64) (float64, float64) { return g + math.Cos(50*g), b + math.Sin(40*b) })},
		{"gain plus one", ".ln_1", fit.PatternGain, []string{"1 + gain"}, of(mean, right, func(g, b float64) (float64, float64) { return 1 + g, b })},
		{"gain squared", ".ln_2", fit.PatternGain, []string{"the gain is squared"}, of(mean, right, func(g, b float64) (float64, float64) { return g * g, b })},
		{"swapped", ".ln_2", fit.PatternGain, []string{"gain and bias are swapped"}, of(mean, right, func(g, b float64) (float64, float64) { return b, g })},
		{"gain rolled", ".ln_1", fit.PatternGain, []string{"the gain is read 3 channels on"}, func(c *faults.Context) []float32 {
			gain, _, _ := c.Model.Weight(c.Stage + ".weight")
			k := -1
			return normalise(c, mean, right, func(_, b float64) (float64, float64) {
				k++
				return float64(gain[(k+3)%len(gain)]), b
			})
		}},
		{"running statistics", ".ln_2", fit.PatternStatistics, []string{"every row has the same mean, 0.1, and deviation, 2"},
			of(func([]float32, float64, float64) float64 { return 0.1 }, func([]float32, float64, float64) float64 { return 2 }, own)},
		{"twice", "ln_f", fit.PatternTwice, []string{"applied twice"}, func(c *faults.Context) []float32 {
			first := normalise(c, mean, right, own)
			again := *c
			in := c.In
			again.In = func(name string) []float32 {
				if name == model.Reads(c.Model.Config(), c.Stage)[0] {
					return first
				}
				return in(name)
			}
			return normalise(&again, mean, right, own)
		}},
		{"a fast inverse root", ".ln_2", fit.PatternStatistics, []string{"fast approximate inverse root", "one Newton step"},
			of(mean, func(_ []float32, _, v float64) float64 {
				x := float32(v + 1e-5)
				y := math.Float32frombits(0x5f3759df - math.Float32bits(x)>>1)
				return 1 / float64(y*(1.5-0.5*x*y*y))
			}, own)},
		{"the bias is subtracted", "ln_f", fit.PatternGain, []string{"the bias is subtracted"}, of(mean, right, func(g, b float64) (float64, float64) { return g, -b })},
		{"of the position before", "h.1.ln_1", fit.PatternStatistics, []string{"of the position before, which for a step's first is the last of the step before"}, func(c *faults.Context) []float32 {
			var m, v []float64
			normalise(c, mean, func(x []float32, mean, variance float64) float64 {
				m, v = append(m, mean), append(v, variance)
				return 1
			}, own)
			n, C := c.Dims.T, c.Model.Config().Embd
			stats := make([][2]float64, len(m)/C) // of each row that of the one before
			for r := range stats {
				if r%n > 0 {
					stats[r] = [2]float64{m[(r-1)*C], v[(r-1)*C]}
				} else if stats[r] = lasts[r/n]; c.Dims.P == 0 {
					stats[r] = [2]float64{m[r*C], v[r*C]}
				}
				if r%n == n-1 {
					lasts[r/n] = [2]float64{m[r*C], v[r*C]}
				}
			}
			k := 0
			return normalise(c, func([]float32, float64, float64) float64 { k++; return stats[(k-1)/C][0] },
				func([]float32, float64, float64) float64 { return math.Sqrt(stats[(k-1)/C][1] + 1e-5) }, own)
		}},
		{"of the prompt's last position", "h.1.ln_2", fit.PatternStatistics, []string{"of the prompt's last position, at every later step"}, func(c *faults.Context) []float32 {
			var m, v []float64
			normalise(c, mean, func(x []float32, mean, variance float64) float64 {
				m, v = append(m, mean), append(v, variance)
				return 1
			}, own)
			if n, C := c.Dims.T, c.Model.Config().Embd; c.Dims.P == 0 {
				for b := range lasts {
					lasts[b] = [2]float64{m[(b*n+n-1)*C], v[(b*n+n-1)*C]}
				}
				return nil
			}
			k, each := 0, len(m)/len(lasts)
			return normalise(c, func([]float32, float64, float64) float64 { k++; return lasts[(k-1)/each][0] },
				func([]float32, float64, float64) float64 { return math.Sqrt(lasts[(k-1)/each][1] + 1e-5) }, own)
		}},
		{"of the batch", ".ln_1", fit.PatternStatistics, []string{"are those of the batch's rows at the position, over B and C, where"}, ofBatch},
		{"of the batch, from step 1 on", ".ln_2", fit.PatternStatistics, []string{"over B and C or over B, T and C, which a step of one position does not tell apart"}, func(c *faults.Context) []float32 {
			if c.Dims.P == 0 {
				return nil
			}
			return ofBatch(c)
		}},
		{"of the first position", ".ln_1", fit.PatternStatistics, []string{"of the first position, at every position"}, func(c *faults.Context) []float32 {
			x := c.In(model.Reads(c.Model.Config(), c.Stage)[0])
			n := c.Dims.T
			if n == 1 {
				return nil
			}
			var m, v []float64
			normalise(c, mean, func(x []float32, mean, variance float64) float64 {
				m, v = append(m, mean), append(v, variance)
				return 1
			}, own)
			C, k := len(x)/c.Dims.B/n, 0
			return normalise(c, func([]float32, float64, float64) float64 { k++; return m[(k-1)/C/n*n*C] },
				func([]float32, float64, float64) float64 { return math.Sqrt(v[(k-1)/C/n*n*C] + 1e-5) }, own)
		}},
	})
}

// TestRows: what is made of whole rows is found.
func TestRows(t *testing.T) {
	e := engine{judge: oddModel(t), tokens: [][]int{{104, 268, 17, 301, 9}, {15, 11, 295, 77, 210}}, steps: 2,
		keep: func(stage string) bool { return !strings.HasPrefix(stage, "logits") }}
	rows := func(width int, f func(row []float32)) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 {
			out := append([]float32{}, c.Right()...)
			for lo := 0; lo < len(out); lo += width {
				f(out[lo:][:width])
			}
			return out
		}
	}
	eightBits := func(row []float32) {
		most := float32(0)
		for _, v := range row {
			most = max(most, v, -v)
		}
		s := most / 127
		for i, v := range row {
			row[i] = float32(math.RoundToEven(float64(v/s))) * s
		}
	}
	ofLengthOne := func(row []float32) {
		sum := 0.0
		for _, v := range row {
			sum += float64(v) * float64(v)
		}
		for i, v := range row {
			row[i] = float32(float64(v) / math.Sqrt(sum))
		}
	}
	byPosition := func(f func(v, position float64) float64) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 {
			out := append([]float32{}, c.Right()...)
			width := len(out) / c.Dims.B / c.Dims.T
			if strings.HasSuffix(c.Stage, "attn.v") {
				width = 8
			}
			for i, v := range out {
				out[i] = float32(f(float64(v), float64(c.Dims.P+i/width%c.Dims.T)))
			}
			return out
		}
	}
	testFits(t, e, []fitCase{
		{"lengths of 1", ".attn.v", fit.PatternRows, []string{"every row is divided by its length"}, rows(8, ofLengthOne)},
		{"queries' lengths of 1", ".attn.q", fit.PatternHeads, []string{"QK-norm: each head's vector is divided by its length"}, rows(8, ofLengthOne)},
		{"embeddings' lengths of 1", "wte", fit.PatternRows, []string{"every row is divided by its length"}, rows(48, ofLengthOne)},
		{"less the largest", ".mlp.c_fc", fit.PatternRows, []string{"every row is less its largest value"}, rows(112, func(row []float32) {
			most := slices.Max(row)
			for i := range row {
				row[i] -= most
			}
		})},
		{"a log-softmax", ".attn.c_proj", fit.PatternRows, []string{"log-softmax"}, rows(48, func(row []float32) {
			sum := 0.0
			for _, v := range row {
				sum += math.Exp(float64(v))
			}
			for i := range row {
				row[i] -= float32(math.Log(sum))
			}
		})},
		{"a line of positions", ".attn.v", fit.PatternRatio, []string{"(1 + 0.02·p) times the correct one, at position p"}, byPosition(func(v, p float64) float64 { return v * (1 + 0.02*p) })},
		{"one over the position", ".mlp.act", fit.PatternRatio, []string{"1/(p + 1) times the correct one, at position p"}, byPosition(func(v, p float64) float64 { return v / (p + 1) })},
		{"one more in each layer", ".mlp.c_proj", fit.PatternRatio, []string{"the output is n+1 times the correct one, in layer n counted from 0"}, func(c *faults.Context) []float32 {
			s, _ := model.ParseStage(c.Stage)
			return each(func(x float64) float64 { return x * float64(s.Layer+1) })(c)
		}},
		{"numbers of positions", ".mlp.c_fc", fit.PatternRatio, []string{"k(p) times the correct one, at position p; k(p) is 1.1 at 0"}, byPosition(func(v, p float64) float64 { return v * (1 + 0.1*math.Cos(5*p)) })},
		{"plus numbers of positions", ".mlp.c_proj", fit.PatternOffset, []string{"the correct one plus 0.1·p, at position p"}, byPosition(func(v, p float64) float64 { return v + 0.1*p })},
		{"8 bits by row", "wte", fit.PatternLevels, []string{"8 bits", "of each row"}, rows(48, eightBits)},
		{"8 bits of activations", ".mlp.c_fc", fit.PatternLevels, []string{"8 bits", "of each row"}, rows(112, eightBits)},
		{"the last position alone", ".mlp.c_proj", fit.PatternUndone, []string{"only the last position is computed", "the output is 0"}, func(c *faults.Context) []float32 {
			out := append([]float32{}, c.Right()...)
			if c.Dims.T == 1 {
				return nil
			}
			for i := range out {
				if i/48%c.Dims.T < c.Dims.T-1 {
					out[i] = 0
				}
			}
			return out
		}},
	})
}
