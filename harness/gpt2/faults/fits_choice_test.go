package faults_test

import (
	"testing"

	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/gpt2/fit"
)

// TestChoices: the position of the last logits, and the id that is chosen from them, by the rule.
func TestChoices(t *testing.T) {
	picked := func(of func(b, B, T int) int) func(c *faults.Context) []float32 {
		return func(c *faults.Context) (out []float32) {
			V, x := c.Model.Config().Vocab, c.In("logits")
			for b := range c.Dims.B {
				out = append(out, x[of(b, c.Dims.B, c.Dims.T)*V:][:V]...)
			}
			return out
		}
	}
	chosen := func(of func(b int, logits []float32, V int) int) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 {
			V, x := c.Model.Config().Vocab, c.In("logits_last")
			out := make([]float32, len(x)/V)
			for b := range out {
				out[b] = float32(of(b, x, V))
			}
			return out
		}
	}
	best := func(x []float32) int {
		at := 0
		for i, v := range x {
			if v > x[at] {
				at = i
			}
		}
		return at
	}
	all := func(string) bool { return true }
	testFits(t, engine{judge: oddModel(t), keep: all, tokens: [][]int{{1, 2, 300, 4, 5}, {8, 9, 10, 11, 12}, {7, 7, 3, 1, 0}}, steps: 5}, []fitCase{
		{"row 0", "logits_last", fit.PatternChoice, []string{"those of row 0 of the batch, for every row"}, picked(func(_, _, T int) int { return T - 1 })},
		{"the row after", "logits_last", fit.PatternChoice, []string{"the row of the batch after"}, picked(func(b, B, T int) int { return (b+1)%B*T + T - 1 })},
		{"position 2", "logits_last", fit.PatternChoice, []string{"position 2 of the step"}, picked(func(b, _, T int) int { return b*T + min(T-1, 2) })},
		{"rows' argmax", "next_token", fit.PatternChoice, []string{"row 0 of the batch"}, chosen(func(_ int, x []float32, V int) int { return best(x[:V]) })},
		{"ids below 200", "next_token", fit.PatternChoice, []string{"only ids below some n of "}, chosen(func(b int, x []float32, V int) int { return best(x[b*V:][:200]) })},
		{"off by one", "next_token", fit.PatternChoice, []string{"the id after the correct one"}, chosen(func(b int, x []float32, V int) int { return best(x[b*V:][:V]) + 1 })},
	})
	testFits(t, engine{judge: oddModel(t), keep: all, tokens: [][]int{{1, 2, 300, 4, 5}, {8, 9, 10, 11, 12}}, steps: 4}, []fitCase{
		{"one of two rows", "next_token", fit.PatternChoice, []string{"the last row of the batch"}, chosen(func(_ int, x []float32, V int) int { return best(x[len(x)-V:]) })},
	})
}

// TestNormedAgain: an input that is normed once more.
func TestNormedAgain(t *testing.T) {
	e := engine{judge: oddModel(t), tokens: [][]int{{1, 2, 300, 4, 5, 6, 7}}, steps: 3, keep: func(string) bool { return true }}
	testFits(t, e, []fitCase{
		{"the last norm twice", "logits", fit.PatternOtherInput, []string{"it reads ln_f applied twice"}, func(c *faults.Context) []float32 {
			twice := make([]float32, len(c.In("ln_f")))
			if err := c.Model.Apply("ln_f", c.Dims, func(string) []float32 { return c.In("ln_f") }, twice); err != nil {
				panic(err)
			}
			out := make([]float32, len(c.Right()))
			if err := c.Model.Apply("logits", c.Dims, func(string) []float32 { return twice }, out); err != nil {
				panic(err)
			}
			return out
		}},
	})
}
