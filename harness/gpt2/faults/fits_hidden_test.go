package faults_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/gpt2/fit"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/model"
)

// TestHidden: what a dump of modules' outputs lacks is found by what follows from it.
func TestHidden(t *testing.T) {
	heads := func(of func(h, H int) int) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 {
			out, right := make([]float32, len(c.Right())), c.Right()
			H := c.Model.Config().Heads
			n := len(out) / c.Dims.B / H
			for i := range out {
				h := i / n % H
				out[i] = right[i+(of(h, H)-h)*n]
			}
			return out
		}
	}
	e := engine{judge: oddModel(t), tokens: [][]int{{1, 2, 300, 4, 5}, {8, 9, 10, 11, 12}}, steps: 1, keep: gpt2test.IsModule}
	testFits(t, e, []fitCase{
		{"heads of q reversed", ".attn.q", fit.PatternColumns, []string{"attn.q: heads are in reverse order"}, heads(func(h, H int) int { return H - 1 - h })},
		{"two heads of k exchanged", ".attn.k", fit.PatternPermuted, []string{"heads 1 and 4 are exchanged"}, heads(func(h, _ int) int { return map[int]int{0: 0, 1: 4, 2: 2, 3: 3, 4: 1, 5: 5}[h] })},
		{"a head of k that is of q", ".attn.k", fit.PatternColumns, []string{"head 1 of attn.k has the values of the same of attn.q"}, func(c *faults.Context) []float32 {
			out, in, cfg := slices.Clone(c.Right()), c.In(strings.TrimSuffix(c.Stage, "k")+"c_attn"), c.Model.Config()
			H, T, D := cfg.Heads, c.Dims.T, cfg.Embd/cfg.Heads
			for i := range out {
				if b, h, t, d := i/(H*T*D), i/(T*D)%H, i/D%T, i%D; h == 1 {
					out[i] = in[(b*T+t)*3*cfg.Embd+h*D+d]
				}
			}
			return out
		}},
		{"keys of row 0", ".attn.cache_k", fit.PatternPermuted, []string{"every batch row has the values of batch row 0"}, func(c *faults.Context) []float32 {
			n := len(c.Right()) / 2
			return slices.Concat(c.Right()[:n], c.Right()[:n])
		}},
		{"a copy, no exchange", ".attn.context", fit.PatternPermuted, []string{"attn.context: head 1 has the values of head 0"}, func(c *faults.Context) []float32 {
			out, D := slices.Clone(c.Right()), c.Model.Config().Embd/c.Model.Config().Heads
			for lo := 0; lo < len(out); lo += c.Model.Config().Embd {
				copy(out[lo+D:][:D], out[lo:])
			}
			return out
		}},
		{"rotated queries and keys", "attn.[qk]", fit.PatternHeads, []string{"attn.q, h.", "RoPE", "neighbouring channels"}, func(c *faults.Context) []float32 {
			out, D := slices.Clone(c.Right()), c.Model.Config().Embd/c.Model.Config().Heads
			for i := 0; i < len(out); i += 2 {
				sin, cos := math.Sincos(float64(c.Dims.P+i/D%c.Dims.T) * math.Pow(10000, -float64(i%D/2)/float64(D/2)))
				u, v := float64(out[i]), float64(out[i+1])
				out[i], out[i+1] = float32(u*cos-v*sin), float32(u*sin+v*cos)
			}
			return out
		}},
		{"own keys raised", ".attn.scores", fit.PatternScores, []string{"own key, on the diagonal, has 1 added"}, func(c *faults.Context) []float32 {
			return dotted(c, func([]float32) {}, func(v float32, query, key int) float32 {
				if key == query {
					v++
				}
				return causal(v, query, key)
			})
		}},
		{"a prefix", ".attn.scores", fit.PatternScores, []string{"each of the first 3 positions sees all of these"}, func(c *faults.Context) []float32 {
			return dotted(c, func(x []float32) {}, func(v float32, query, key int) float32 {
				if key > query && (key > 2 || query > 2) {
					return float32(math.Inf(-1))
				}
				return v
			})
		}},
		{"hidden keys at 0", ".attn.scores", fit.PatternScores, []string{"the scores of hidden keys are 0"}, func(c *faults.Context) []float32 {
			return dotted(c, func([]float32) {}, func(v float32, query, key int) float32 {
				if key > query {
					return 0
				}
				return v
			})
		}},
		{"heads of values rolled", ".attn.v", fit.PatternPermuted, []string{"in h.", "attn.v: each head has the values that belong 1 before it, rolled over the end"}, heads(func(h, H int) int { return (h + H - 1) % H })},
		{"no projection", ".attn.c_proj", fit.PatternCopy, []string{"the output is that of attn.context"}, func(c *faults.Context) []float32 {
			return c.In(model.Reads(c.Model.Config(), c.Stage)[0])
		}},
		{"keys of 4 bits", ".attn.cache_k", fit.PatternLevels, []string{"4 bits", "of each row over 7"}, func(c *faults.Context) []float32 {
			out, D := slices.Clone(c.Right()), c.Model.Config().Embd/c.Model.Config().Heads
			for lo := 0; lo < len(out); lo += D {
				top := float32(0)
				for _, v := range out[lo:][:D] {
					top = max(top, v, -v)
				}
				for i := lo; i < lo+D; i++ {
					out[i] = float32(math.RoundToEven(float64(out[i])/float64(top/7))) * (top / 7)
				}
			}
			return out
		}},
		{"probabilities of 8 bits", ".attn.probs", fit.PatternLevels, []string{"multiples of 1/256"}, each(func(x float64) float64 { return math.RoundToEven(x*256) / 256 })},
		{"more digits than four", ".resid_mid", fit.PatternSum, []string{"(0.090911)·attn.c_proj"}, func(c *faults.Context) []float32 {
			reads := model.Reads(c.Model.Config(), c.Stage)
			out := slices.Clone(c.In(reads[0]))
			for i, v := range c.In(reads[1]) {
				out[i] += 0.0909108 * v
			}
			return out
		}},
	})
	e.tokens = e.tokens[:1]
	testFits(t, e, []fitCase{
		{"a key that is not summed", ".attn.probs", fit.PatternSoftmax, []string{"key 0 is left out of the sum of every later query"}, func(c *faults.Context) []float32 {
			out, S := slices.Clone(c.Right()), c.Dims.P+c.Dims.T
			for i := range out {
				if i%S == 0 && i/S%c.Dims.T > 0 {
					out[i] = 0
				}
			}
			return out
		}},
	})
}

// TestTails: keys that the sum over the values leaves out are no rows that the cache lost.
func TestTails(t *testing.T) {
	upTo := func(from func(P, S, query int) int) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 {
			cfg, block := c.Model.Config(), strings.TrimSuffix(c.Stage, "context")
			p, v, out := c.In(block+"probs"), c.In(block+"cache_v"), make([]float32, len(c.Right()))
			H, T, S, D := cfg.Heads, c.Dims.T, c.Dims.P+c.Dims.T, cfg.Embd/cfg.Heads
			for i := range out {
				b, q, h, d := i/(T*cfg.Embd), i/cfg.Embd%T, i%cfg.Embd/D, i%D
				sum := 0.0
				for s := range min(from(c.Dims.P, S, c.Dims.P+q), S) {
					sum += float64(p[((b*H+h)*T+q)*S+s]) * float64(v[((b*H+h)*S+s)*D+d])
				}
				out[i] = float32(sum)
			}
			return out
		}
	}
	const same = "zeros in their rows of the cache of values would give the same"
	prompt := []int{1, 2, 300, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17}
	for _, n := range []int{5, 15} { // with the probabilities recovered and without
		e := engine{judge: oddModel(t), tokens: [][]int{prompt[:n]}, steps: 4, keep: gpt2test.IsModule}
		testFits(t, e, []fitCase{
			{"tiles of a step", ".attn.context", fit.PatternSoftmax, []string{"full tiles of 4 keys alone: the keys of a step that are left over are left out", same}, upTo(func(_, S, _ int) int { return S / 4 * 4 })},
			{"tiles of a query", ".attn.context", fit.PatternSoftmax, []string{"full tiles of 4 keys alone: the keys of each query that are left over are left out", same}, upTo(func(_, _, q int) int { return (q + 1) / 4 * 4 })},
			{"a query's own", ".attn.context", fit.PatternSoftmax, []string{"each query's own key, the newest that it sees, is left out", "(at a step of one position zeros"}, upTo(func(_, _, q int) int { return q })},
			{"the newest", ".attn.context", fit.PatternSoftmax, []string{"the newest key is left out of the sum over the values at steps after the first", same}, upTo(func(P, S, _ int) int { return S - min(P, 1) })},
		})
	}
}
