package gpt2

import (
	"math"

	"checkpoint12/model"
)

// boundScores is of q·k/√D: a sum of D products, scaled.
//
//	q [B,H,T,D]   cache_k [B,H,S,D]   out [B,H,T,S]
func (s *stageCall) boundScores() []float32 {
	D, S := s.cfg.Embd/s.cfg.Heads, s.P+s.T
	root := math.Sqrt(float64(D))
	scale := 1 / root
	out := make([]float32, len(s.out))
	for i := range s.B * s.cfg.Heads * s.T {
		head, seen := i/s.T, s.P+i%s.T+1
		for j := range seen {
			terms, in := s.products(D, i*D, (head*S+j)*D, 1)
			y := abs(s.out[i*S+j])
			e := lambda * unit * (root*(y+scale*math.Sqrt(terms)) + 2*y)
			out[i*S+j] = float32(math.Sqrt(e*e + scale*scale*in))
		}
	}
	return out
}

// boundContext is of probs·v: a sum of S products.
//
//	probs [B,H,T,S]   cache_v [B,H,S,D]   out [B,T,C]
func (s *stageCall) boundContext() []float32 {
	C, H := s.cfg.Embd, s.cfg.Heads
	D, S := C/H, s.P+s.T
	root := math.Sqrt(float64(S))
	out := make([]float32, len(s.out))
	for i := range s.B * H * s.T {
		head, t := i/s.T, i%s.T
		to := (head/H*s.T+t)*C + head%H*D
		for d := range D {
			terms, in := s.products(S, i*S, head*S*D+d, D)
			y := abs(s.out[to+d])
			e := lambda * unit * (root*(y+math.Sqrt(terms)) + y)
			out[to+d] = float32(math.Sqrt(e*e + in))
		}
	}
	return out
}

// products returns Σp² of n products p of the inputs, the first from i on, the second
// from j on in steps of stride, and Σδp² for their bounds.
func (s *stageCall) products(n, i, j, stride int) (terms, in float64) {
	a, b := s.in[0], s.in[1]
	for range n {
		x, y := float64(a.F32[i]), float64(b.F32[j])
		terms += sq(x * y) // 0·NaN is NaN: engines differ in whether they skip it
		if a.Bound != nil {
			in += sq(float64(a.Bound[i]) * y)
		}
		if b.Bound != nil {
			in += sq(x * float64(b.Bound[j]))
		}
		i, j = i+1, j+stride
	}
	return terms, in
}

// boundSoftmax is of p = e/Σe, e = exp((x-max)/t), in rows of n; t is 1 but for
// probs_t*. The argument is u off for x/t, max/t and their difference, as stored and
// as computed; exp three units; the sum, of positive terms, u·√n. Errors α of the
// arguments move p by p·(α - Σpα): at most p·(α + Σpα) for an engine's own roundings,
// which may all go one way; the root of the sum of squares for an input's.
//
//	scores [B,H,T,S] or logits_last [B,V]
func (s *stageCall) boundSoftmax() []float32 {
	n, t := s.shape[len(s.shape)-1], 1.0
	if of, _ := model.ParseStage(s.stage); of.Temperature > 0 {
		t = of.Temperature
	}
	x, y := s.in[0], s.out
	out := make([]float32, len(y))
	off := make([]float64, n)
	for row := 0; row < len(y); row += n {
		top := math.Inf(-1)
		for _, v := range x.F32[row : row+n] {
			top = max(top, float64(v))
		}
		var mean, in float64 // Σpα, and Σp²α² of the input's
		for i := range n {
			v, p := float64(x.F32[row+i]), float64(y[row+i])
			off[i] = 0
			if p == 0 {
				continue
			}
			off[i] = unit * ((math.Abs(v)+math.Abs(top)+2*math.Abs(v-top))/t + 3)
			mean += p * off[i]
			if x.Bound != nil {
				in += sq(p * float64(x.Bound[row+i]) / t)
			}
		}
		mean += unit * (math.Sqrt(float64(n)) + 3)
		for i := range n {
			p := float64(y[row+i])
			if math.IsInf(float64(x.F32[row+i]), -1) {
				continue // exactly 0 in every engine
			}
			e := lambda*p*(off[i]+mean) + smallest
			if x.Bound != nil {
				own := float64(x.Bound[row+i]) / t
				e = math.Sqrt(e*e + p*p*(sq(1-p)*own*own+max(0, in-sq(p*own))))
			}
			out[row+i] = float32(e)
		}
	}
	return out
}
