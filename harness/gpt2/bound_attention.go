package gpt2

import (
	"math"

	"checkpoint12/model"
)

// boundScores is of q·k/√D: a sum of D products, scaled.
//
//	q [B,H,T,D]   cache_k [B,H,S,D]   out [B,H,T,S]
func (s *stageCall) boundScores() []float32 {
	D := s.cfg.Embd / s.cfg.Heads
	S := s.P + s.T
	q, k := s.in[0], s.in[1]
	scale := 1 / math.Sqrt(float64(D))
	root := math.Sqrt(float64(D))
	out := make([]float32, len(s.out))
	for i := range s.B * s.cfg.Heads * s.T {
		head, seen := i/s.T, s.P+i%s.T+1
		qs := q.F32[i*D : (i+1)*D]
		for j := range seen {
			at := (head*S + j) * D
			ks := k.F32[at : at+D]
			var terms, fromQ, fromK float64
			for d, x := range qs {
				p := float64(x) * float64(ks[d])
				terms += p * p
			}
			if q.Bound != nil {
				for d, b := range q.Bound[i*D : (i+1)*D] {
					fromQ += sq(float64(b) * float64(ks[d]))
				}
			}
			if k.Bound != nil {
				for d, b := range k.Bound[at : at+D] {
					fromK += sq(float64(b) * float64(qs[d]))
				}
			}
			y := abs(s.out[i*S+j])
			e := lambda * unit * (root*(y+scale*math.Sqrt(terms)) + 2*y)
			out[i*S+j] = float32(math.Sqrt(e*e + scale*scale*(fromQ+fromK)))
		}
	}
	return out
}

// boundSoftmax is of p = e/Σe, e = exp((x-max)/t), in rows of n; t is 1 but for
// probs_t*. The argument is
// u off for x/t, max/t and their difference as stored and as computed; exp by
// three units; the sum by u·√n, since its terms are positive. Errors α of the
// arguments move p by p·(α - Σpα): by p·(α + Σpα) where all may go the same way,
// as an engine's own roundings do, and by the root of the sum of squares where
// they are an input's.
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

// boundContext is of probs·v: a sum of S products.
//
//	probs [B,H,T,S]   cache_v [B,H,S,D]   out [B,T,C]
func (s *stageCall) boundContext() []float32 {
	C, H := s.cfg.Embd, s.cfg.Heads
	D, S := C/H, s.P+s.T
	p, v := s.in[0], s.in[1]
	root := math.Sqrt(float64(S))
	out := make([]float32, len(s.out))
	terms, fromIn := make([]float64, D), make([]float64, D)
	for i := range s.B * H * s.T {
		head, t := i/s.T, i%s.T
		clear(terms)
		clear(fromIn)
		for j := range S {
			weight := float64(p.F32[i*S+j])
			at := (head*S + j) * D
			for d, x := range v.F32[at : at+D] {
				terms[d] += sq(weight * float64(x)) // 0·NaN is NaN: engines differ in whether they skip it
			}
			if v.Bound != nil {
				for d, b := range v.Bound[at : at+D] {
					fromIn[d] += sq(weight * float64(b))
				}
			}
			if p.Bound != nil && p.Bound[i*S+j] != 0 {
				for d, x := range v.F32[at : at+D] {
					fromIn[d] += sq(float64(p.Bound[i*S+j]) * float64(x))
				}
			}
		}
		to := (head/H*s.T+t)*C + head%H*D
		for d := range D {
			y := abs(s.out[to+d])
			e := lambda * unit * (root*(y+math.Sqrt(terms[d])) + y)
			out[to+d] = float32(math.Sqrt(e*e + fromIn[d]))
		}
	}
	return out
}
