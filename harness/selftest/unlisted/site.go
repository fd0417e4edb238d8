package unlisted

import (
	"math"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/model"
)

// A site is a stage at a step with its inputs, where a fault is planted.
type site struct {
	*faults.Context
	step  int
	layer int     // -1 outside the blocks
	fed   [][]int // the ids of the step, by row

	model.Config
	B, T, P, S, C, H, D, F, V, L int
}

// newSite returns the site of a place of a run, whose rows were fed these ids.
func newSite(at harness.Place, c *faults.Context, rows [][]int) *site {
	name, _ := model.ParseStage(at.Stage)
	cfg, d := c.Model.Config(), c.Dims
	s := &site{
		Context: c, step: at.Step, layer: name.Layer, Config: cfg,
		B: d.B, T: d.T, P: d.P, S: d.P + d.T, C: cfg.Embd, H: cfg.Heads, D: cfg.Embd / cfg.Heads,
		F: cfg.Inner, V: cfg.Vocab, L: cfg.Layers,
	}
	for _, row := range rows {
		s.fed = append(s.fed, row[d.P:d.P+d.T])
	}
	return s
}

// block returns the name of another stage of the same block.
func (s *site) block(word string) string { return stageOf(s.layer, word) }

// stageOf returns the name of a stage of a block.
func stageOf(layer int, word string) string {
	return model.StageName{Layer: layer, Word: word}.String()
}

// in returns the i-th input of the stage.
func (s *site) in(i int) []float32 { return s.In(model.Reads(s.Config, s.Stage)[i]) }

// here returns another stage of the same block.
func (s *site) here(word string) []float32 { return s.In(s.block(word)) }

// weight returns a weight of the stage, or of another.
func (s *site) weight(word string) []float32 { return s.weightOf(s.Stage + "." + word) }

func (s *site) weightOf(name string) []float32 {
	w, _, _ := s.Model.Weight(name)
	return w
}

// compute returns what another stage, or this, puts out on other inputs.
func (s *site) compute(stage string, in ...[]float32) []float32 {
	shape, err := model.Shape(s.Config, stage, s.Dims)
	if err != nil {
		return nil
	}
	n := 1
	for _, d := range shape {
		n *= d
	}
	reads, out := model.Reads(s.Config, stage), make([]float32, n)
	err = s.Model.Apply(stage, s.Dims, func(name string) []float32 { return in[slices.Index(reads, name)] }, out)
	if err != nil {
		panic(err)
	}
	return out
}

// edit returns the right output, changed value by value.
func (s *site) edit(f func(i int, v float64) float64) []float32 {
	out := slices.Clone(s.Right())
	for i, v := range out {
		out[i] = float32(f(i, float64(v)))
	}
	return out
}

// moved returns a copy of x [..., width] in which row i is row from(i).
func moved(x []float32, width int, from func(i int) int) []float32 {
	out := slices.Clone(x)
	for i := 0; i*width < len(x); i++ {
		copy(out[i*width:(i+1)*width], x[from(i)*width:])
	}
	return out
}

// heads returns a copy of x [B,H,rows,width] in which head h is head from(h).
func (s *site) heads(x []float32, from func(h int) int) []float32 {
	return moved(x, len(x)/(s.B*s.H), func(i int) int { return i/s.H*s.H + from(i%s.H) })
}

// mix returns a·x + b·y, y being repeated.
func mix(a float64, x []float32, b float64, y []float32) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(a*float64(v) + b*float64(y[i%len(y)]))
	}
	return out
}

// of returns a function of each value.
func of(x []float32, f func(v float64) float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(f(float64(v)))
	}
	return out
}

// linear returns x·w + bias of w [K,N], with a factor for each row of w.
func linear(x, w, bias []float32, factor func(k int) float64) []float32 {
	n := len(bias)
	K := len(w) / n
	out := make([]float32, len(x)/K*n)
	for r := range len(x) / K {
		for j := range n {
			sum := float64(bias[j])
			for k, v := range x[r*K : (r+1)*K] {
				sum += factor(k) * float64(v) * float64(w[k*n+j])
			}
			out[r*n+j] = float32(sum)
		}
	}
	return out
}

// product is linear of the stage's own input and weights.
func (s *site) product(factor func(k int) float64) []float32 {
	return linear(s.in(0), s.weight("weight"), s.weight("bias"), factor)
}

// keep is a factor of 1 where a row of weights is kept, else 0.
func keep(kept func(k int) bool) func(k int) float64 {
	return func(k int) float64 {
		if kept(k) {
			return 1
		}
		return 0
	}
}

// moments returns the mean and the biased variance.
func moments(x []float64) (mean, variance float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / float64(len(x))
	}
	return mean, variance
}

// normalised returns a LayerNorm with another shift and scale of rows.
func (s *site) normalised(stats func(x []float64) (shift, scale float64)) []float32 {
	return s.norm(func(x []float64) {
		shift, scale := stats(x)
		for i := range x {
			x[i] = (x[i] - shift) * scale
		}
	}, func(_ int, v, gain, bias float64) float64 { return v*gain + bias })
}

// affine returns a LayerNorm with another use of gain and bias.
func (s *site) affine(f func(c int, v, gain, bias float64) float64) []float32 {
	return s.norm(func(x []float64) {
		mean, variance := moments(x)
		for i := range x {
			x[i] = (x[i] - mean) / math.Sqrt(variance+s.Eps)
		}
	}, f)
}

// norm returns rows that are normalised in place, and then have gain and bias.
func (s *site) norm(rows func(x []float64), f func(c int, v, gain, bias float64) float64) []float32 {
	in, gain, bias := s.in(0), s.weight("weight"), s.weight("bias")
	out := make([]float32, len(in))
	x := make([]float64, s.C)
	for lo := 0; lo < len(in); lo += s.C {
		for i := range x {
			x[i] = float64(in[lo+i])
		}
		rows(x)
		for i, v := range x {
			out[lo+i] = float32(f(i, v, float64(gain[i]), float64(bias[i])))
		}
	}
	return out
}

// A query is a row of scores or probabilities.
type query struct{ head, position, seen int }

// queries calls f for each row [S] of x [B,H,T,S], of which keys before seen are not masked.
func (s *site) queries(x []float32, f func(q query, row []float64)) []float32 {
	out := slices.Clone(x)
	row := make([]float64, s.S)
	for r := 0; r*s.S < len(x); r++ {
		for i := range row {
			row[i] = float64(x[r*s.S+i])
		}
		q := query{head: r / s.T % s.H, position: s.P + r%s.T}
		q.seen = q.position + 1
		f(q, row)
		for i, v := range row {
			out[r*s.S+i] = float32(v)
		}
	}
	return out
}

// softmax puts the softmax of a row in its place, with more in the denominator.
func softmax(row []float64, more float64) {
	top, sum := slices.Max(row), 0.0
	for i, v := range row {
		row[i] = math.Exp(v - top)
		sum += row[i]
	}
	for i := range row {
		row[i] /= sum + more*math.Exp(-top)
	}
}

// softmaxOf returns the softmax of a function of the scores.
func (s *site) softmaxOf(f func(v float64) float64) []float32 {
	return s.queries(s.in(0), func(_ query, row []float64) {
		for i, v := range row {
			row[i] = f(v)
		}
		softmax(row, 0)
	})
}

// falls reports by a hash of the element whether dropout makes it 0.
func (s *site) falls(i int, p float64) bool {
	h := uint64(i+1)*0x9e3779b97f4a7c15 ^ uint64(s.step+1)*0xbf58476d1ce4e5b9 ^ uint64(len(s.Stage)+s.layer)<<32
	h = (h ^ h>>31) * 0x94d049bb133111eb
	return float64((h^h>>29)>>11)/(1<<53) < p
}

// dropped returns the right output with dropout, and what is left times a factor.
func (s *site) dropped(p, factor float64) []float32 {
	return s.edit(func(i int, v float64) float64 {
		if s.falls(i, p) {
			return 0
		}
		return v * factor
	})
}

var inf = math.Inf(1)
