package gpt2

import (
	"math"

	"github.com/tphakala/simd/f64"

	"checkpoint12/model"
)

// boundScores returns the bound of q·k/√D, a sum of D products, scaled; where the config
// scales by layer too, that is one more product.
//
//	q [B,H,T,D]   cache_k [B,H,S,D]   out [B,H,T,S]
func (s *stageCall) boundScores() []float32 {
	D, S := s.cfg.Embd/s.cfg.Heads, s.P+s.T
	q, k := s.in[0], s.in[1]
	layer, products := s.layer(), 2.0
	scale := s.cfg.AttentionScale(layer)
	if s.cfg.ScaleByLayer && layer > 0 {
		products++
	}
	out := make([]float32, len(s.out))
	queries, keys, ofQ, ofK := squared(q.F32), squared(k.F32), squared(q.Bound), squared(k.Bound)
	for i := range s.B * s.cfg.Heads * s.T {
		head, seen := i/s.T, s.P+i%s.T+1
		ours, ourBound := row(queries, i, D), row(ofQ, i, D)
		for j := range seen {
			key := row(keys, head*S+j, D)
			in := f64.DotProduct(ourBound, key) + f64.DotProduct(row(ofK, head*S+j, D), ours)
			y := abs(s.out[i*S+j])
			norm := scale * math.Sqrt(f64.DotProduct(ours, key))
			e := lambda * (s.precision.sum(D, y, norm) + s.precision.product(norm) + s.precision.step*products*y)
			out[i*S+j] = s.precision.limit(s.out[i*S+j], math.Sqrt(e*e+scale*scale*in))
		}
	}
	return out
}

// boundContext returns the bound of probs·v, a sum of S products.
//
//	probs [B,H,T,S]   cache_v [B,H,S,D]   out [B,T,C]
func (s *stageCall) boundContext() []float32 {
	C, H := s.cfg.Embd, s.cfg.Heads
	D, S := C/H, s.P+s.T
	p, v := s.in[0], s.in[1]
	out := make([]float32, len(s.out))
	terms, in := make([]float64, D), make([]float64, D)
	values, ofV := squared(v.F32), squared(v.Bound)
	for i := range s.B * H * s.T {
		head, t := i/s.T, i%s.T
		clear(terms)
		clear(in)
		for j := range S {
			weight, value := sq(float64(p.F32[i*S+j])), row(values, head*S+j, D)
			f64.AddScaled(terms, weight, value) // 0·NaN is NaN: engines differ in whether they skip it
			f64.AddScaled(in, weight, row(ofV, head*S+j, D))
			if p.Bound != nil {
				f64.AddScaled(in, sq(float64(p.Bound[i*S+j])), value)
			}
		}
		to := (head/H*s.T+t)*C + head%H*D
		for d := range D {
			y := abs(s.out[to+d])
			norm := math.Sqrt(terms[d])
			e := lambda * (s.precision.sum(S, y, norm) + s.precision.product(norm) + s.precision.step*y)
			out[to+d] = s.precision.limit(s.out[to+d], math.Sqrt(e*e+in[d]))
		}
	}
	return out
}

// row returns row i of x, whose rows are so wide; nil if x is, which stands for zeros.
func row[T float32 | float64](x []T, i, width int) []T {
	if x == nil {
		return nil
	}
	return x[i*width : (i+1)*width]
}

// squared returns x², nil if x is.
func squared(x []float32) (all []float64) {
	if x == nil {
		return nil
	}
	all = make([]float64, len(x))
	for i, v := range x {
		all[i] = sq(float64(v))
	}
	return all
}

// boundSoftmax returns the bound of p = e/Σe, e = exp((x-max)/t), in rows of n; t is 1
// but for probs_t*. The argument is u off for x/t, max/t and their difference, as stored and
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
	off, u := make([]float64, n), s.precision.step
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
			off[i] = u * ((math.Abs(v)+math.Abs(top)+2*math.Abs(v-top))/t + 3)
			mean += p * off[i]
			if x.Bound != nil {
				in += sq(p * float64(x.Bound[row+i]) / t)
			}
		}
		mean += s.precision.sum(n, 1, 0) + 3*u
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
			out[row+i] = float32(e + s.precision.tiny)
		}
	}
	return out
}

// leaveOpen gives a bound of NaN, by which nothing is judged, to what has no right answer:
// the probabilities of a query that sees no key, where engines have 0, the same for each key,
// or NaN; those of a query with a score that is NaN; and the context of such. The value is 0,
// so that all that is computed from it has a bound of NaN too.
func (s *stageCall) leaveOpen(bound []float32) {
	of, _ := model.ParseStage(s.stage)
	if of.Word != "attn.probs" && of.Word != "attn.context" {
		return
	}
	C, H, S := s.cfg.Embd, s.cfg.Heads, s.P+s.T
	for i := range s.B * H * s.T {
		top, open := float32(math.Inf(-1)), false
		for _, v := range row(s.in[0].F32, i, S) {
			top, open = max(top, v), open || v != v
		}
		to, n := i*S, S
		if of.Word == "attn.context" {
			to, n = (i/s.T/H*s.T+i%s.T)*C+i/s.T%H*(C/H), C/H
		} else {
			open = open || top <= farBelow
		}
		for j := to; open && j < to+n; j++ {
			s.out[j], bound[j] = 0, float32(math.NaN())
		}
	}
}
