package gpt2

import (
	"math"
	"runtime"
	"sync"

	"github.com/tphakala/simd/f32"
)

// boundLinear is of y = x·W + b: a sum of K products and a bias, from which some
// engines start. ‖t‖₂ of the terms t = x·w is √(x²·W²), the same product of
// squares; a bound δx of the input adds δx²·W² to it, as errors of one place do
// not know of the others', and, for the part that they have in common, its size
// in x's times y.
//
//	x [B,T,K]   W [K,N], or [N,K] if outIn   out [B,T,N]
func (s *staged) boundLinear(weight, bias string, outIn bool) []float32 {
	W, shape, _ := s.m.Weight(weight)
	var b []float32
	if bias != "" {
		b, _, _ = s.m.Weight(bias)
	}
	K, N := shape[0], shape[1]
	if outIn {
		K, N = N, K
	}
	rows := len(s.out) / N
	x := s.in[0]
	z := make([]float32, rows*K) // the squares, of the largest as 1
	scale := make([]float64, rows)
	common := make([]float64, rows)
	own := sq(lambda*unit) * float64(K)
	for r := range rows {
		var xx, dd, top float64
		squares := make([]float64, K)
		for k, v := range x.F32[r*K : (r+1)*K] {
			e := own * sq(float64(v))
			if x.Bound != nil {
				d := sq(float64(x.Bound[r*K+k]))
				e, dd = e+d, dd+d
			}
			xx += sq(float64(v))
			squares[k], top = e, max(top, e)
		}
		scale[r] = top
		if top == 0 {
			continue
		}
		for k, e := range squares {
			z[r*K+k] = float32(e / top)
		}
		if xx > 0 {
			common[r] = math.Sqrt(dd / xx)
		}
	}
	out := make([]float32, len(s.out))
	if outIn {
		squareDots(out, z, W, rows, K, N)
	} else {
		squareMul(out, z, W, rows, K, N)
	}
	root := math.Sqrt(float64(K))
	for r := range rows {
		for j := range N {
			i := r*N + j
			y, c := abs(s.out[i]), 0.0
			if b != nil {
				c = abs(b[j])
			}
			e := math.Sqrt(scale[r] * float64(out[i]))
			e += lambda*unit*(root*(y+c)+y) + common[r]*(y+c)
			out[i] = float32(e)
		}
	}
	return out
}

// squareMul is out = z·W², z [rows,K], W [K,N] as it lies in memory: each worker
// takes some of its rows, squares a row at a time and adds it, scaled, to its
// sums.
func squareMul(out, z, W []float32, rows, K, N int) {
	workers := min(runtime.GOMAXPROCS(0), max(1, K*N>>16))
	sums := make([][]float32, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			sum, squares := make([]float32, rows*N), make([]float32, N)
			for k := w * K / workers; k < (w+1)*K/workers; k++ {
				row := W[k*N : (k+1)*N]
				f32.Mul(squares, row, row)
				for r := range rows {
					f32.AddScaled(sum[r*N:(r+1)*N], z[r*K+k], squares)
				}
			}
			sums[w] = sum
		})
	}
	wg.Wait()
	for _, sum := range sums {
		f32.Add(out, out, sum)
	}
}

// squareDots is out = z·(W²)ᵀ, z [rows,K], W [N,K].
func squareDots(out, z, W []float32, rows, K, N int) {
	workers := min(runtime.GOMAXPROCS(0), max(1, K*N>>16))
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			squares := make([]float32, K)
			for j := w * N / workers; j < (w+1)*N/workers; j++ {
				row := W[j*K : (j+1)*K]
				f32.Mul(squares, row, row)
				for r := range rows {
					out[r*N+j] = f32.DotProduct(squares, z[r*K:(r+1)*K])
				}
			}
		})
	}
	wg.Wait()
}
