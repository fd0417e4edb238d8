package faults_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/gpt2/fit"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/model"
)

// TestSoftmaxFits: another softmax is told by its number, from probabilities that are dumped and
// from those that follow from attention's output.
func TestSoftmaxFits(t *testing.T) {
	rows := func(change func(x []float64, query int)) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 {
			x, S := c.In(strings.TrimSuffix(c.Stage, "probs")+"scores"), c.Dims.P+c.Dims.T
			out := make([]float32, len(x))
			for lo := 0; lo < len(x); lo += S {
				row := make([]float64, S)
				for j := range row {
					row[j] = float64(x[lo+j])
				}
				change(row, c.Dims.P+lo/S%c.Dims.T)
				for j, p := range row {
					out[lo+j] = float32(p)
				}
			}
			return out
		}
	}
	softmax := func(x []float64, sink float64) {
		sum := sink
		for j, v := range x {
			x[j] = math.Exp(v)
			sum += x[j]
		}
		for j := range x {
			x[j] /= sum
		}
	}
	for _, c := range harnesstest.Draw([]struct {
		name   string
		words  []string
		output func(c *faults.Context) []float32
	}{
		{"base 2", []string{"base 2"}, rows(func(x []float64, _ int) {
			for j := range x {
				x[j] *= math.Ln2
			}
			softmax(x, 0)
		})},
		{"one more in the denominator", []string{"rows do not sum to 1", "1 is added to the denominator"}, rows(func(x []float64, _ int) { softmax(x, 1) })},
		{"e^1.5 in the denominator", []string{"rows do not sum to 1", "4.4817 = e^1.5 is added to the denominator"}, rows(func(x []float64, _ int) { softmax(x, math.Exp(1.5)) })},
		{"a part of the denominator", []string{"rows do not sum to 1", "2.345 is added to the denominator"}, rows(func(x []float64, _ int) { softmax(x, 2.345) })},
		{"a window", []string{"last 3 keys alone", "window"}, rows(func(x []float64, query int) {
			for j := range max(0, query-2) {
				x[j] = math.Inf(-1)
			}
			softmax(x, 0)
		})},
		{"a distance", []string{"-0.3 times the distance"}, rows(func(x []float64, query int) {
			for j := range x {
				x[j] -= 0.3 * float64(query-j)
			}
			softmax(x, 0)
		})},
		{"the logarithm of a distance", []string{"-0.3·ln(d + 1) added, at the distance d"}, rows(func(x []float64, query int) {
			for j := range min(len(x), query+1) {
				x[j] -= 0.3 * math.Log1p(float64(query-j))
			}
			softmax(x, 0)
		})},
		{"by the query's position", []string{"0.5·√(p + 1) times the scores"}, rows(func(x []float64, query int) {
			for j := range x {
				x[j] *= 0.5 * math.Sqrt(float64(query+1))
			}
			softmax(x, 0)
		})},
		{"capped", []string{"the scores are capped at 0.25 before the softmax"}, rows(func(x []float64, _ int) {
			for j, v := range x {
				x[j] = math.Min(v, 0.25)
			}
			softmax(x, 0)
		})},
		{"clipped", []string{"the scores are clipped at ±0.75 before the softmax"}, rows(func(x []float64, _ int) {
			for j, v := range x {
				if v > -1e6 {
					x[j] = max(-0.75, min(v, 0.75))
				}
			}
			softmax(x, 0)
		})},
		{"absolute", []string{"the softmax is of the absolute values of the scores"}, rows(func(x []float64, _ int) {
			for j, v := range x {
				if v > -1e6 {
					x[j] = math.Abs(v)
				}
			}
			softmax(x, 0)
		})},
		{"smoothed", []string{"0.9 times the softmax plus 0.1/n, the mean"}, rows(func(x []float64, query int) {
			softmax(x, 0)
			for j := range min(len(x), query+1) {
				x[j] = 0.9*x[j] + 0.1/float64(query+1)
			}
		})},
		{"not divided", []string{"rows do not sum to 1", "not divided by their sum"}, rows(func(x []float64, _ int) {
			for j, v := range x {
				x[j] = math.Exp(v)
			}
		})},
		{"below the largest, not divided", []string{"exponentials of what is below the maximum are not divided by their sum"}, rows(func(x []float64, _ int) {
			top := slices.Max(x)
			for j, v := range x {
				x[j] = math.Exp(v - top)
			}
		})},
	}, 0, 2) {
		for _, modules := range []bool{false, true} {
			e := engine{steps: 3, tokens: [][]int{{464, 2068, 7586, 21831, 18045}, {15496, 11, 995, 40, 716}}, plant: func(at harness.Place, x *faults.Context) []float32 {
				if !strings.HasSuffix(at.Stage, "attn.probs") {
					return nil
				}
				return c.output(x)
			}}
			if modules {
				e.keep = func(stage string) bool { return gpt2test.IsModule(stage) && strings.HasPrefix(stage, "h.") }
			}
			_, all := e.explain(t)
			for _, x := range all {
				if x.Fault != fit.PatternSoftmax || x.Explains < 0.99 {
					t.Errorf("%s, modules %t: %s at step %d: %s: %q", c.name, modules, x.Stage, x.Step, x.Fault, x.Text)
				}
				for _, w := range c.words {
					if !strings.Contains(x.Text, w) {
						t.Errorf("%s, modules %t: %q lacks %q", c.name, modules, x.Text, w)
					}
				}
			}
			if len(all) < 9 {
				t.Errorf("%s, modules %t: explained %v, want 3 layers at 3 steps", c.name, modules, all)
			}
		}
	}
}

// causal hides the keys after the query.
func causal(v float32, query, key int) float32 {
	if key > query {
		return float32(math.Inf(-1))
	}
	return v
}

// turned puts the heads of queries [B,H,T,D], of n values each, in reverse order.
func turned(x []float32, n, H int) {
	right := slices.Clone(x)
	for i := range x {
		h := i / n % H
		x[i] = right[i+(H-1-2*h)*n]
	}
}

// dotted are the scores of all keys, of queries and of each score that something is made of.
func dotted(c *faults.Context, queries func(x []float32), of func(v float32, query, key int) float32) []float32 {
	reads := model.Reads(c.Model.Config(), c.Stage)
	q, k, out := slices.Clone(c.In(reads[0])), c.In(reads[1]), slices.Clone(c.Right())
	queries(q)
	D, S, T := c.Model.Config().Embd/c.Model.Config().Heads, c.Dims.P+c.Dims.T, c.Dims.T
	for i := range out {
		sum := 0.0
		for d, v := range q[i/S*D:][:D] {
			sum += float64(v) * float64(k[(i/S/T*S+i%S)*D+d])
		}
		out[i] = of(float32(sum/math.Sqrt(float64(D))), c.Dims.P+i/S%T, i%S)
	}
	return out
}

// TestAttentionFits: what is in the place of scores, queries and keys, and of the probabilities that
// values are mixed by, is told in full dumps.
func TestAttentionFits(t *testing.T) {
	at := func(c *faults.Context, i int) (query, key int) {
		S := c.Dims.P + c.Dims.T
		return c.Dims.P + i/S%c.Dims.T, i % S
	}
	scores := func(change func(v float32, query, key int) float32) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 {
			out := c.Right()
			for i, v := range out {
				query, key := at(c, i)
				if key <= query {
					out[i] = change(v, query, key)
				}
			}
			return out
		}
	}
	D := gpt2test.Tiny(t).Config().Embd / gpt2test.Tiny(t).Config().Heads
	for _, c := range harnesstest.Draw([]struct {
		name, stage, id string
		words           []string
		output          func(c *faults.Context) []float32
	}{
		{"a distance", "attn.scores", fit.PatternScores, []string{"-0.25 times the distance"}, scores(func(v float32, query, key int) float32 { return v - 0.25*float32(query-key) })},
		{"small probabilities 0", "attn.probs", fit.PatternSoftmax, []string{"are 0, and the others still divide by the sum over all"}, func(c *faults.Context) []float32 {
			out := c.Right()
			for i, v := range out {
				if v < 0.3 {
					out[i] = 0
				}
			}
			return out
		}},
		{"the diagonal", "attn.scores", fit.PatternScores, []string{"the score of each query with its own key, on the diagonal, has 1 added"}, scores(func(v float32, query, key int) float32 {
			if key == query {
				return v + 1
			}
			return v
		})},
		{"a key by head", "attn.scores", fit.PatternScores, []string{"the scores of key 0 have a number added for each head, 0, 0.5, 1"}, func(c *faults.Context) []float32 {
			out, S := c.Right(), c.Dims.P+c.Dims.T
			for i := 0; i < len(out); i += S {
				out[i] += float32(i/S/c.Dims.T%c.Model.Config().Heads) / 2
			}
			return out
		}},
		{"a window", "attn.scores", fit.PatternScores, []string{"last 2 keys alone"}, scores(func(v float32, query, key int) float32 {
			if key < query-1 {
				return float32(math.Inf(-1))
			}
			return v
		})},
		{"the logarithm of a distance", "attn.scores", fit.PatternScores, []string{"-0.25·ln(d + 1) added, at the distance d"}, scores(func(v float32, query, key int) float32 {
			return v - float32(0.25*math.Log1p(float64(query-key)))
		})},
		{"a window and the first keys", "attn.scores", fit.PatternScores, []string{"last 2 keys and key 0 alone", "attention sinks"}, scores(func(v float32, query, key int) float32 {
			if key > 0 && key < query-1 {
				return float32(math.Inf(-1))
			}
			return v
		})},
		{"heads of queries", "attn.scores", fit.PatternInputs, []string{"it does not read attn.q as it is dumped", "heads in reverse order"}, func(c *faults.Context) []float32 {
			H, n := c.Model.Config().Heads, 0
			return dotted(c, func(x []float32) { n = len(x) / c.Dims.B / H; turned(x, n, H) }, causal)
		}},
		{"a channel left out", "attn.scores", fit.PatternInputs, []string{"the last channel of each head's", "is left out of q·k"}, func(c *faults.Context) []float32 {
			return dotted(c, func(x []float32) {
				for i := D - 1; i < len(x); i += D {
					x[i] = 0
				}
			}, causal)
		}},
		{"rotated queries", "attn.q", fit.PatternHeads, []string{"RoPE", "two halves"}, func(c *faults.Context) []float32 {
			out := c.Right()
			for lo := 0; lo < len(out); lo += D {
				n := D / 2
				for i := range n {
					sin, cos := math.Sincos(float64(c.Dims.P+lo/D%c.Dims.T) * math.Pow(10000, -float64(i)/float64(n)))
					u, v := float64(out[lo+i]), float64(out[lo+n+i])
					out[lo+i], out[lo+n+i] = float32(u*cos-v*sin), float32(u*sin+v*cos)
				}
			}
			return out
		}},
		{"a key that is not summed", "attn.context", fit.PatternSoftmax, []string{"it does not read attn.probs as it is dumped", "key 0 is left out"}, func(c *faults.Context) []float32 {
			p := c.In(strings.TrimSuffix(c.Stage, "context") + "probs")
			q := append([]float32(nil), p...)
			for i := range q {
				if _, key := at(c, i); key == 0 {
					q[i] = 0
				}
			}
			out := make([]float32, len(c.Right()))
			if err := c.Model.Apply(c.Stage, c.Dims, func(name string) []float32 {
				if strings.HasSuffix(name, "probs") {
					return q
				}
				return c.In(name)
			}, out); err != nil {
				t.Error(err)
			}
			return out
		}},
	}, 0, 2) {
		_, all := engine{steps: 3, tokens: [][]int{{464, 2068, 7586, 21831, 18045}, {15496, 11, 995, 40, 716}}, plant: func(at harness.Place, x *faults.Context) []float32 {
			if !strings.HasSuffix(at.Stage, c.stage) {
				return nil
			}
			return c.output(x)
		}}.explain(t)
		for _, x := range all {
			if x.Fault != c.id || x.Explains < 0.99 {
				t.Errorf("%s: %s at step %d: %s: %q", c.name, x.Stage, x.Step, x.Fault, x.Text)
			}
			for _, w := range c.words {
				if !strings.Contains(x.Text, w) {
					t.Errorf("%s: %q lacks %q", c.name, x.Text, w)
				}
			}
		}
		if len(all) < 9 {
			t.Errorf("%s: explained %v, want 3 layers at 3 steps", c.name, all)
		}
	}
}

// TestMoreKeysThanChannels: from modules' outputs a softmax is told by the queries that see no more
// keys than a head has channels, and holds of all.
func TestMoreKeysThanChannels(t *testing.T) {
	e := engine{judge: oddModel(t), tokens: [][]int{{1, 2, 300, 4, 19, 7, 8, 9, 30, 200, 11, 12, 77, 5, 16, 41}}, steps: 3, keep: gpt2test.IsModule}
	testFits(t, e, []fitCase{
		{"a window", "attn.scores", fit.PatternSoftmax, []string{"in h.", "last 3 keys alone, a sliding window"}, queries(func(row []float32, _, query int) {
			for j := range max(query-2, 0) {
				row[j] = float32(math.Inf(-1))
			}
		})},
		{"a window of some heads", "attn.scores", fit.PatternSoftmax, []string{"in h.", "last 5 keys alone, a sliding window", ", in head 1"}, queries(func(row []float32, head, query int) {
			for j := range max(query-4, 0) {
				if head == 1 {
					row[j] = float32(math.Inf(-1))
				}
			}
		})},
		{"one head's scale", "attn.scores", fit.PatternSoftmax, []string{"the softmax is of 0.6 times the scores", "in head 1"}, queries(func(row []float32, head, _ int) {
			for j := range row {
				if head == 1 {
					row[j] *= 0.6
				}
			}
		})},
	})
}

// TestHeadsOfFewKeys: heads that see fewer distances than others end no search.
func TestHeadsOfFewKeys(t *testing.T) {
	for _, heads := range []func(h int) bool{func(h int) bool { return h > 0 }, func(h int) bool { return h == 0 }, func(int) bool { return true }} {
		for _, hidden := range []float32{float32(math.Inf(-1)), float32(math.NaN()), -1e9} {
			for _, keys := range []int{0, 3} {
				_, all := engine{steps: 3, tokens: [][]int{{464, 2068, 7586, 21831, 18045}, {15496, 11, 995, 40, 716}}, plant: func(at harness.Place, x *faults.Context) []float32 {
					if at.Stage != "h.0.attn.scores" {
						return nil
					}
					out, S := x.Right(), x.Dims.P+x.Dims.T
					for i := range out {
						row := i / S
						if query := x.Dims.P + row%x.Dims.T; heads(row/x.Dims.T%x.Model.Config().Heads) && i%S <= query-keys {
							out[i] = hidden
						}
					}
					return out
				}}.explain(t)
				if len(all) == 0 {
					t.Errorf("%v for all but %d keys: nothing is explained", hidden, keys)
				}
				for _, x := range all {
					if strings.Contains(x.Text, "internal error") {
						t.Errorf("%v for all but %d keys: %s at step %d: %s", hidden, keys, x.Stage, x.Step, x.Text)
					}
				}
			}
		}
	}
}

// TestRowSums: what rows of probabilities sum to is said first, of a fit and where there is none.
func TestRowSums(t *testing.T) {
	for _, c := range []struct {
		words string
		of    func(x float64) float64
	}{
		{"the rows do not sum to 1: the output is tanh of the correct one", math.Tanh},
		{"no known fault and no fit gives this output: the rows do not sum to 1, but to ", func(x float64) float64 { return x * (1.5 + math.Sin(300*x)/2) }},
		{"no known fault and no fit gives this output: the rows do not sum to 1, but to 1.00", func(x float64) float64 { return x * (1.002 + math.Sin(300*x)/1000) }},
	} {
		_, all := engine{plant: at(0, "h.1.attn.probs", each(c.of)), steps: 1}.explain(t)
		if len(all) != 1 || !strings.HasPrefix(all[0].Text, c.words) {
			t.Errorf("got %v, want %q", all, c.words)
		}
	}
}

// TestOneTemperature: that one temperature is taken whichever is asked for is said where the dump's others
// bear it out.
func TestOneTemperature(t *testing.T) {
	for _, c := range []struct{ stages, words, not string }{
		{"probs_t0.5", "the temperature is 0.6", "whichever"},
		{"probs_t*", "the temperature is 0.6, whichever was asked for", "wrong too"},
	} {
		keep := func(stage string) bool {
			return strings.HasPrefix(stage, "logits") || strings.HasPrefix(stage, "probs_t")
		}
		_, all := engine{judge: oddModel(t), keep: keep, tokens: [][]int{{1, 2, 300, 4, 19}}, temps: []float64{0.5, 1}, plant: planted(fitCase{stage: c.stages, output: func(x *faults.Context) []float32 {
			logits := x.In("logits_last")
			out, n := make([]float32, len(logits)), len(logits)/x.Dims.B
			for lo := 0; lo < len(out); lo += n {
				sum := 0.0
				for _, v := range logits[lo:][:n] {
					sum += math.Exp(float64(v) / 0.6)
				}
				for j, v := range logits[lo:][:n] {
					out[lo+j] = float32(math.Exp(float64(v)/0.6) / sum)
				}
			}
			return out
		}})}.explain(t)
		if len(all) == 0 || !says(all[0].Text, []string{c.words}, []string{c.not}) {
			t.Errorf("%s: %v", c.stages, all)
		}
	}
}
