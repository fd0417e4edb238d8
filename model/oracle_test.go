package model_test

import (
	"fmt"
	"math"

	"checkpoint12/model"
)

// oracle is GPT-2 in float64, written without a cache, without batching and
// without any of the package's code: every stage of one sequence, in the
// contract's shapes with B = 1, P = 0 and T = S = len(tokens). Weights are the
// float32 ones.
func oracle(cfg model.Config, w map[string][]float32, tokens []int, temperatures []float64) map[string][]float64 {
	T, C, H, F, V := len(tokens), cfg.Embd, cfg.Heads, cfg.Inner, cfg.Vocab
	D := C / H
	out := map[string][]float64{}
	matmul := func(x []float64, in, n int, w, bias []float32, at func(i, j int) int) []float64 {
		y := make([]float64, T*n)
		for t := range T {
			for j := range n {
				for i := range in {
					y[t*n+j] += x[t*in+i] * float64(w[at(i, j)])
				}
				if bias != nil {
					y[t*n+j] += float64(bias[j])
				}
			}
		}
		return y
	}
	conv := func(x []float64, in, n int, name string) []float64 {
		return matmul(x, in, n, w[name+".weight"], w[name+".bias"], func(i, j int) int { return i*n + j })
	}
	norm := func(x []float64, name string) []float64 {
		y := make([]float64, len(x))
		for t := range T {
			var mean, variance float64
			for _, v := range x[t*C : (t+1)*C] {
				mean += v / float64(C)
			}
			for _, v := range x[t*C : (t+1)*C] {
				variance += (v - mean) * (v - mean) / float64(C)
			}
			for i := range C {
				y[t*C+i] = (x[t*C+i]-mean)/math.Sqrt(variance+cfg.Eps)*float64(w[name+".weight"][i]) + float64(w[name+".bias"][i])
			}
		}
		return y
	}
	sum := func(a, b []float64) []float64 {
		y := make([]float64, len(a))
		for i := range a {
			y[i] = a[i] + b[i]
		}
		return y
	}
	softmax := func(x []float64, n int, t float64) []float64 {
		y := make([]float64, len(x))
		for r := 0; r < len(x); r += n {
			top, total := math.Inf(-1), 0.0
			for _, v := range x[r : r+n] {
				top = max(top, v)
			}
			for i, v := range x[r : r+n] {
				y[r+i] = math.Exp((v - top) / t)
				total += y[r+i]
			}
			for i := range n {
				y[r+i] /= total
			}
		}
		return y
	}

	for t, id := range tokens {
		for i := range C {
			out["wte"] = append(out["wte"], float64(w["wte.weight"][id*C+i]))
			out["wpe"] = append(out["wpe"], float64(w["wpe.weight"][t*C+i]))
		}
	}
	x := sum(out["wte"], out["wpe"])
	out["embed"] = x
	for n := range cfg.Layers {
		h := fmt.Sprintf("h.%d.", n)
		put := func(stage string, v []float64) []float64 { out[h+stage] = v; return v }
		qkv := put("attn.c_attn", conv(put("ln_1", norm(x, h+"ln_1")), C, 3*C, h+"attn.c_attn"))
		q, k, v := make([]float64, T*C), make([]float64, T*C), make([]float64, T*C)
		scores := make([]float64, H*T*T)
		for head := range H {
			for t := range T {
				for d := range D {
					i := (head*T+t)*D + d
					q[i], k[i], v[i] = qkv[t*3*C+head*D+d], qkv[t*3*C+C+head*D+d], qkv[t*3*C+2*C+head*D+d]
				}
			}
			for t := range T {
				for s := range T {
					i := (head*T+t)*T + s
					if s > t {
						scores[i] = math.Inf(-1)
						continue
					}
					for d := range D {
						scores[i] += q[(head*T+t)*D+d] * k[(head*T+s)*D+d]
					}
					if !cfg.Unscaled {
						scores[i] /= math.Sqrt(float64(D))
					}
					if cfg.ScaleByLayer {
						scores[i] /= float64(n + 1)
					}
				}
			}
		}
		put("attn.q", q)
		put("attn.cache_k", put("attn.k", k))
		put("attn.cache_v", put("attn.v", v))
		probs := put("attn.probs", softmax(put("attn.scores", scores), T, 1))
		context := make([]float64, T*C)
		for t := range T {
			for i := range C {
				for s := range T {
					context[t*C+i] += probs[(i/D*T+t)*T+s] * v[(i/D*T+s)*D+i%D]
				}
			}
		}
		mid := put("resid_mid", sum(x, put("attn.c_proj", conv(put("attn.context", context), C, C, h+"attn.c_proj"))))
		act := append([]float64(nil), put("mlp.c_fc", conv(put("ln_2", norm(mid, h+"ln_2")), C, F, h+"mlp.c_fc"))...)
		for i, v := range act {
			switch cfg.Activation {
			case "":
				act[i] = 0.5 * v * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*math.Pow(v, 3))))
			case "gelu":
				act[i] = v * 0.5 * (1 + math.Erf(v/math.Sqrt2))
			case "relu":
				act[i] = max(v, 0)
			default:
				panic("the oracle does not know " + cfg.Activation)
			}
		}
		x = put("resid_post", sum(mid, put("mlp.c_proj", conv(put("mlp.act", act), F, C, h+"mlp.c_proj"))))
	}
	head := w["wte.weight"]
	if w["lm_head.weight"] != nil {
		head = w["lm_head.weight"]
	}
	out["ln_f"] = norm(x, "ln_f")
	out["logits"] = matmul(out["ln_f"], C, V, head, w["lm_head.bias"], func(i, j int) int { return j*C + i })
	last := out["logits"][(T-1)*V:]
	out["logits_last"] = last
	best := 0
	for i, v := range last {
		if v > last[best] {
			best = i
		}
	}
	out["next_token"] = []float64{float64(best)}
	for _, t := range temperatures {
		out[fmt.Sprintf("probs_t%v", t)] = softmax(last, V, t)
	}
	return out
}

// window cuts what a step with P positions in the cache computes out of a
// stage of the whole sequence; shape is the step's, with B = 1.
func window(stage string, whole []float64, S, P int, shape []int) []float64 {
	T := S - P
	switch {
	case len(shape) == 4 && shape[2] == S: // caches: all of it
		return whole
	case len(shape) == 4: // [1,H,T,·]: the last T of S positions of each head
		n := len(whole) / shape[1] / S
		var out []float64
		for h := range shape[1] {
			out = append(out, whole[(h*S+P)*n:(h+1)*S*n]...)
		}
		return out
	case stage == "logits_last" || stage == "next_token" || len(shape) == 2 && shape[0] == 1 && stage != "wpe":
		return whole
	}
	return whole[P*len(whole)/S : (P+T)*len(whole)/S] // [1,T,·] and wpe [T,C]
}
