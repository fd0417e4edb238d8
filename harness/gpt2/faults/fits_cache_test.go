package faults_test

import (
	"slices"
	"testing"

	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/gpt2/fit"
	"checkpoint12/harness/internal/gpt2test"
)

// cacheOf plants a cache of other rows: those of the step's correct one, in the order of from; -1
// is zeros.
func cacheOf(from func(P, S, j int) int) func(c *faults.Context) []float32 {
	return func(c *faults.Context) []float32 {
		cfg, right := c.Model.Config(), c.Right()
		D, S := cfg.Embd/cfg.Heads, c.Dims.P+c.Dims.T
		out := make([]float32, len(right))
		for i := range out {
			j := i / D % S
			if k := from(c.Dims.P, S, j); k >= 0 {
				out[i] = right[i+(k-j)*D]
			}
		}
		return out
	}
}

// TestCacheFits: where a cache's rows go is told by rules that hold at all steps.
func TestCacheFits(t *testing.T) {
	cases := []fitCase{
		{"a window", "attn.cache_[kv]", fit.PatternCache, []string{"last 4 positions", "zeros"}, cacheOf(func(P, S, j int) int {
			if j < S-4 {
				return -1
			}
			return j
		})},
		{"a window and the first", "attn.cache_[kv]", fit.PatternCache, []string{"last 4 positions", "but the first 1"}, cacheOf(func(P, S, j int) int {
			if 0 < j && j < S-4 {
				return -1
			}
			return j
		})},
		{"the first rows from a step on", "attn.cache_v", fit.PatternCache, []string{"rows of positions 0, 1 are lost: they are zeros"}, cacheOf(func(P, _, j int) int {
			if P > 4 && j < 2 {
				return -1
			}
			return j
		})},
		{"rows between", "attn.cache_k", fit.PatternCache, []string{"rows of positions 1, 2 are lost: they are zeros"}, cacheOf(func(P, _, j int) int {
			if P > 0 && 0 < j && j < 3 {
				return -1
			}
			return j
		})},
		{"a ring", "attn.cache_[kv]", fit.PatternCache, []string{"ring of 5", "position p is written to row p mod 5", "zeros"}, cacheOf(func(P, S, j int) int {
			for p := S - 1; p >= P; p-- {
				if p%5 == j {
					return p
				}
			}
			if j >= P {
				return -1
			}
			return j
		})},
		{"clamped", "attn.cache_[kv]", fit.PatternCache, []string{"clamped at 5", "zeros"}, cacheOf(func(P, S, j int) int {
			switch {
			case j == 5 && S > 5:
				return S - 1
			case j >= P && j > 5:
				return -1
			}
			return j
		})},
		{"a row of two before", "attn.cache_k", fit.PatternCache, []string{"2 positions before"}, cacheOf(func(P, S, j int) int {
			if P > 0 && j >= P {
				return j - 2
			}
			return j
		})},
		{"moved to the front", "attn.cache_[kv]", fit.PatternCache, []string{"last 5 rows", "front"}, cacheOf(func(P, S, j int) int {
			switch {
			case S <= 5:
				return j
			case j >= 5:
				return -1
			case P <= 5:
				return S - 5 + j
			case j == 4:
				return S - 1
			}
			return j + 1
		})},
		{"batch rows of earlier steps", "attn.cache_[kv]", fit.PatternPermuted, []string{"batch rows", "in the rows of earlier steps alone"}, func(c *faults.Context) []float32 {
			right := c.Right()
			D := c.Model.Config().Embd / c.Model.Config().Heads
			out, half := slices.Clone(right), len(right)/2
			for i := range out {
				if i/D%(c.Dims.P+c.Dims.T) < c.Dims.P {
					out[i] = right[(i+half)%len(right)]
				}
			}
			return out
		}},
		{"rows of earlier steps in few bits", "attn.cache_k", fit.PatternLevels, []string{"7 bits of mantissa", "bfloat16", "in the rows of earlier steps alone"}, func(c *faults.Context) []float32 {
			out, D := slices.Clone(c.Right()), c.Model.Config().Embd/c.Model.Config().Heads
			for i, v := range out {
				if i/D%(c.Dims.P+c.Dims.T) < c.Dims.P {
					out[i] = float32(bits(float64(v), 7, -100))
				}
			}
			return out
		}},
		{"heads of this step alone", "attn.cache_k", fit.PatternPermuted, []string{"heads in reverse order", "in this step's rows alone"}, func(c *faults.Context) []float32 {
			right, H := c.Right(), c.Model.Config().Heads
			D, S := c.Model.Config().Embd/H, c.Dims.P+c.Dims.T
			out := slices.Clone(right)
			for i := range out {
				if h := i / (S * D) % H; c.Dims.P > 0 && i/D%S >= c.Dims.P {
					out[i] = right[i+(H-1-2*h)*S*D]
				}
			}
			return out
		}},
	}
	odd := engine{judge: oddModel(t), tokens: [][]int{{1, 2, 300, 4}, {7, 8, 9, 30}}, steps: 5}
	testFits(t, odd, append(slices.Clone(cases), fitCase{"rows of a head", "attn.cache_k", fit.PatternCache, []string{"rows of positions 0, 1 are lost", "in head 1"}, func(c *faults.Context) []float32 {
		out, H := slices.Clone(c.Right()), c.Model.Config().Heads
		D, S := c.Model.Config().Embd/H, c.Dims.P+c.Dims.T
		for i := range out {
			if c.Dims.P > 0 && i/(S*D)%H == 1 && i/D%S < 2 {
				out[i] = 0
			}
		}
		return out
	}}))
	// From modules' outputs, where this step's rows of the cache are those of k.
	cases[len(cases)-1].id, cases[len(cases)-1].words = fit.PatternColumns, []string{"heads are in reverse order", "from "}
	for i, c := range cases {
		if c.name == "a ring" || c.name == "moved to the front" { // attention does not show where a row is
			cases[i].words = []string{"last 5 ", "or the same rows in other places"}
		}
	}
	odd.keep = gpt2test.IsModule
	testFits(t, odd, cases)
}
