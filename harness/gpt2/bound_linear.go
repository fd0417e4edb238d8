package gpt2

import (
	"math"
	"runtime"

	"github.com/tphakala/simd/f32"

	"checkpoint12/model/parallel"
)

// boundLinear returns the bound of y = x·W + b: a sum of K products and a bias, from
// which some engines start. ‖t‖₂ of the terms is √(x²·W²). A bound δx of the input becomes
// √(δx²·W²) and, for what the errors of all places have in common with x, as much
// of x·W.
//
//	x [B,T,K]   W [K,N], or [N,K] if outIn   out [B,T,N]
func (s *stageCall) boundLinear() []float32 {
	weight, bias, outIn := s.stage+".weight", s.stage+".bias", s.stage == "logits"
	if outIn {
		weight, bias = "lm_head.weight", "lm_head.bias"
		if _, _, ok := s.m.Weight(weight); !ok {
			weight = "wte.weight"
		}
	}
	W, shape, _ := s.m.Weight(weight)
	b, _, _ := s.m.Weight(bias) // nil for most heads
	K, N := shape[0], shape[1]
	if outIn {
		K, N = N, K
	}
	rows := len(s.out) / N
	x := s.in[0]
	own := newSquares(x.F32, rows, K)
	parts := own.z
	var in squares
	if x.Bound != nil {
		in = newSquares(x.Bound, rows, K)
		parts = append(parts, in.z...) // in one go: what takes the time is reading W
	}
	sums := make([]float32, len(parts)/K*N)
	squareMul(sums, parts, W, len(parts)/K, K, N, outIn)
	out := make([]float32, len(s.out))
	for i, y := range s.out {
		r, c := i/N, 0.0
		if b != nil {
			c = float64(b[i%N])
		}
		norm := math.Sqrt(own.scale[r] * float64(sums[i])) // ‖t‖₂
		p := s.precision
		e := lambda * (p.sum(K, abs(y)+math.Abs(c), norm) + p.product(norm) + p.weight*math.Abs(c) + p.step*abs(y))
		if x.Bound != nil {
			e = sq(e) + in.scale[r]*float64(sums[rows*N+i])
			if own.sum[r] > 0 {
				e += sq(float64(y)-c) * in.sum[r] / own.sum[r]
			}
			e = math.Sqrt(e)
		}
		out[i] = p.limit(y, e)
	}
	return out
}

// squares are the squares of rows of values; scaling keeps them within float32.
type squares struct {
	z     []float32 // [rows,K]: squares over scale
	scale []float64 // [rows]: the largest square
	sum   []float64 // [rows]: of the squares
}

func newSquares(x []float32, rows, K int) squares {
	s := squares{make([]float32, rows*K), make([]float64, rows), make([]float64, rows)}
	for r := range rows {
		row := x[r*K : (r+1)*K]
		for _, v := range row {
			s.scale[r] = max(s.scale[r], sq(float64(v)))
			s.sum[r] += sq(float64(v))
		}
		if s.scale[r] == 0 {
			continue
		}
		for k, v := range row {
			s.z[r*K+k] = float32(sq(float64(v)) / s.scale[r])
		}
	}
	return s
}

// squaredAtOnce is how many values of W are squared in one go: they stay in the nearest cache.
const squaredAtOnce = 4096

// squareMul is out = z·W², z [rows,K], W [K,N] or, if outIn, [N,K]. Workers share the
// rows of W in memory: of [N,K] one gives a column of out, of [K,N] a part of all.
func squareMul(out, z, W []float32, rows, K, N int, outIn bool) {
	width := N
	if outIn {
		width = K
	}
	height := len(W) / width
	workers := min(runtime.GOMAXPROCS(0), max(1, K*N>>16))
	sums := make([][]float32, workers)
	parallel.For(workers, func(w int) {
		block := max(1, squaredAtOnce/width) // rows of W
		squares := make([]float32, min(block, height)*width)
		if !outIn {
			sums[w] = make([]float32, rows*N)
		}
		end := (w + 1) * height / workers
		for from := w * height / workers; from < end; from += block {
			some := W[from*width : min(from+block, end)*width]
			f32.Mul(squares[:len(some)], some, some)
			for i := from; i < min(from+block, end); i++ {
				row := squares[(i-from)*width:][:width]
				for r := range rows {
					if outIn {
						out[r*N+i] = f32.DotProduct(row, z[r*K:(r+1)*K])
					} else {
						f32.AddScaled(sums[w][r*N:(r+1)*N], z[r*K+i], row)
					}
				}
			}
		}
	})
	if outIn {
		return
	}
	for _, sum := range sums {
		f32.Add(out, out, sum)
	}
}
