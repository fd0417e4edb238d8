package gpt2

import (
	"math"
	"slices"

	"checkpoint12/harness/replay"
)

// The rounding bound of a stage: how far apart two correct engines may be at its
// output, given the same stored inputs.
//
// TF32 and float16 hide in a sum's worst case, K·u·Σ|terms|. But rounding errors
// behave like independent random numbers of mean zero, so the error grows with √K
// in any order of summation (Higham and Mary, "A new approach to probabilistic
// rounding error analysis", SIAM J. Sci. Comput. 41(5), 2019), and with the partial
// sums in place of Σ|terms| (the same, "Sharper probabilistic backward error
// analysis for basic linear algebra kernels with random data", 42(5), 2020). Partial
// sums of terms t are at most about |Σt| + ‖t‖₂; each of K additions rounds by u:
//
//	sum:  u·√K·(|Σt| + ‖t‖₂)
//
// Added are the roundings of the stage's other operations, and u of each input,
// carried to the output, for engines that keep more digits than they store. The
// result is one standard deviation; a place may be off by lambda of them.
//
// The bound of an input that was computed, for want of the candidate's, adds as the
// root of the sum of squares: plain sums would grow tenfold a layer, errors do not.
const (
	unit     = 1.0 / (1 << 24) // float32's unit roundoff u, relative
	smallest = 0x1p-126        // the smallest normal float32: engines may flush what is below to 0
)

// lambda is the number of standard deviations of rounding that a correct engine may be off.
// Measured with lambda at 4, by go test ./harness/gpt2 -run TestReplay -v:
//
//   - Correct engines use at most 0.37 of their bounds at any stage of any golden:
//     tinygrad 0.37 (h.18.mlp.c_proj of synthetic-medium, 4096 terms), candle 0.36,
//     float64 0.33, mistralrs 0.31; on six models of random weights, three with
//     heavy tails and channels of 2800, at most 0.35.
//   - Less precision is 21 bounds off or more: float16 21 (logits of synthetic-medium),
//     TF32 38, bfloat16 38, an epsilon of 1e-6 42; of one input or the output alone
//     float16 is 18 off, and 5 at probs_t*.
const lambda = 4

// moved returns the bound of a stage that only moves values: its inputs' bounds, moved
// alike, or nil.
func (s *stageCall) moved() []float32 {
	if p := s.precision; p.weight > 0 && (s.stage == "wte" || s.stage == "wpe") { // rows of a table that was rounded
		out := make([]float32, len(s.out))
		for i, y := range s.out {
			out[i] = p.limit(y, p.weight*abs(y))
		}
		return out
	}
	if !slices.ContainsFunc(s.in, func(v replay.Value) bool { return v.Bound != nil }) {
		return nil
	}
	out := make([]float32, len(s.out))
	err := s.apply(out, func(v replay.Value) []float32 {
		if v.Bound == nil {
			return make([]float32, len(v.F32))
		}
		return v.Bound
	})
	if err != nil {
		panic("gpt2: " + err.Error()) // the values went through
	}
	return out
}

// boundAdd returns the bound of a + b: the sum is rounded, and so were a and b when
// stored, except for the embedding's, which are rows of a table.
func (s *stageCall) boundAdd() []float32 {
	a, b := s.in[0], s.in[1]
	out := make([]float32, len(s.out))
	n := len(b.F32) // the position embedding is added to every row of the batch
	for i, y := range s.out {
		e := abs(y)
		if s.stage != "embed" || s.precision.weight > 0 {
			e += abs(a.F32[i]) + abs(b.F32[i%n])
		}
		e = sq(e * lambda * s.precision.step)
		if a.Bound != nil {
			e += sq(float64(a.Bound[i]))
		}
		if b.Bound != nil {
			e += sq(float64(b.Bound[i%n]))
		}
		out[i] = s.precision.limit(y, math.Sqrt(e))
	}
	return out
}

// boundNorm returns the bound of LayerNorm, y = (x-m)·r·g + b with r = 1/√(v+eps), over C:
//
//	mean       δm = u·(√C·(|m| + rms x/√C·…) + |m|), a sum of C terms, over C
//	variance   δv = u·(√C+2)·E[x²] + 2·|m|·δm: the sum of C squares, also where an
//	           engine takes E[x²] - m², which cancels
//	root       δr/r = δv/(v+eps)/2 + 3u: root, reciprocal, the product with it
//	output     |g|·r·(δm + u·(|x|+|m|)) + |g·x̂|·δr/r + u·(|b| + |y|)
//
// x̂ = (x-m)·r. A bound δx of the input moves the output at its own place by
// |g|·r·δx, the mean by ‖δx‖/C, and the root by ‖x̂δx‖/C of itself.
func (s *stageCall) boundNorm() []float32 {
	C := s.cfg.Embd
	g, _, _ := s.m.Weight(s.stage + ".weight")
	bias, _, _ := s.m.Weight(s.stage + ".bias")
	in, out := s.in[0].Bound, make([]float32, len(s.out))
	p, root := s.precision, math.Sqrt(float64(C))
	parts := p.partial * math.Sqrt(math.Ceil(float64(C)/summed))
	for row := 0; row < len(out); row += C {
		x, y := s.in[0].F32[row:row+C], s.out[row:row+C]
		var sum, squares, variance float64
		for _, v := range x {
			sum, squares = sum+float64(v), squares+float64(v)*float64(v)
		}
		m, square := sum/float64(C), squares/float64(C)
		for _, v := range x {
			variance += (float64(v) - m) * (float64(v) - m) / float64(C)
		}
		inverse := 1 / (variance + s.cfg.Eps)
		r := math.Sqrt(inverse)
		dm := unit*(root*math.Abs(m)+math.Sqrt(square)) + p.step*math.Abs(m) + parts*(math.Abs(m)+math.Sqrt(square)/root)
		dv := (unit*root+2*p.step+parts)*square + 2*math.Abs(m)*dm + p.tiny
		dr := dv*inverse/2 + 3*p.step + p.weight
		var inMean, inVariance float64
		if in != nil {
			for i, d := range in[row : row+C] {
				h := (float64(x[i]) - m) * r
				inMean += sq(float64(d) / float64(C))
				inVariance += sq(h * float64(d) / float64(C))
			}
		}
		for i, v := range x {
			gain, h := abs(g[i]), math.Abs(float64(v)-m)*r
			e := gain*r*(dm+p.step*(abs(v)+math.Abs(m))) + gain*h*dr + p.step*(abs(bias[i])+abs(y[i]))
			e = sq(e * lambda)
			if in != nil {
				e += sq(gain*r) * (sq(float64(in[row+i])) + inMean + h*h*inVariance)
			}
			out[row+i] = p.limit(y[i], math.Sqrt(e))
		}
	}
	return out
}

// boundActivation returns the bound of y = f(x), of the config's activation: what f's own
// operations are off by (see activation.Function), and the input's u, carried to the output.
func (s *stageCall) boundActivation() []float32 {
	f, out := s.cfg.ActivationFunction(), make([]float32, len(s.out))
	for i, v := range s.in[0].F32 {
		slope, off := f.Rounding(float64(v), float64(s.out[i]))
		e := sq((off + math.Abs(slope)*abs(v)) * lambda * s.precision.step)
		if s.in[0].Bound != nil {
			e += sq(slope * float64(s.in[0].Bound[i]))
		}
		out[i] = s.precision.limit(s.out[i], math.Sqrt(e))
	}
	return out
}

func abs(x float32) float64 { return math.Abs(float64(x)) }
func sq(x float64) float64  { return x * x }
