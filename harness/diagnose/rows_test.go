package diagnose

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"checkpoint12/harness"
	"checkpoint12/harness/align"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/cuttest"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model"
	"checkpoint12/model/modeltest"
)

// goldensOf returns the goldens of synthetic-tiny's cases, of all engines.
func goldensOf(t *testing.T, s *harness.Schedule, cases ...string) (all []EngineResult) {
	t.Helper()
	for _, name := range cases {
		engines, err := OpenEngines(filepath.Join(gpt2test.Dir, "synthetic-tiny", name), s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, engines...)
	}
	return all
}

// threePrompts are the prompts of three cases with what follows, and the prompts' lengths.
func threePrompts(goldens []EngineResult) (rows [][]int, prompts []int) {
	for i, g := range goldens {
		if i == 0 || filepath.Dir(g.Source.Name()) != filepath.Dir(goldens[i-1].Source.Name()) {
			rows, prompts = append(rows, g.Source.Tokens()[0]), append(prompts, len(g.Source.Manifest().Tokens[0]))
		}
	}
	return rows, prompts
}

func judgeBatch(m *model.Model, s *harness.Schedule, goldens []EngineResult, b Folder) (*Result, error) {
	c := Comparison{Schedule: s, Model: m, Goldens: append([]EngineResult{}, goldens...)}
	if _, err := c.View(context.Background(), b, align.Hints{}, nil); err != nil {
		return nil, err
	}
	return Compare(context.Background(), c)
}

// A padded batch of the prompts of three goldens is judged by them, of all engines.
func TestPaddedBatch(t *testing.T) {
	if !harnesstest.Full() {
		t.Skip("cli's TestComparePadding has such batches: CHECKPOINT12_FULL=1 go test -run PaddedBatch ./harness/diagnose")
	}
	m, s := gpt2test.Tiny(t), gpt2.Schedule(3, nil)
	goldens := goldensOf(t, s, "hello", "once-upon", "answer")
	rows, prompts := threePrompts(goldens)
	for name, right := range map[string]func(int) bool{
		"left":  func(int) bool { return false },
		"right": func(int) bool { return true },
	} {
		t.Run(name, func(t *testing.T) {
			tokens, mask := cuttest.Pad(rows, prompts, right)
			b := cuttest.Pack(t, m, tokens, mask, harness.PromptCut(13, 10), harnesstest.Ninf, func() float32 { return harnesstest.Nan }, nil)
			r, err := judgeBatch(nil, s, goldens, b)
			if err != nil {
				t.Fatal(err)
			}
			if !r.Passed() || r.Compared < 500 || len(r.Missing)+r.Skipped > 0 {
				t.Errorf("%d compared, missing %v, first %v, violations %v, unusable %v",
					r.Compared, r.Missing, r.FirstDivergence, r.Violations, r.Unusable)
			}
			var engines []string
			for _, e := range r.Engines {
				if engines = append(engines, e.Engine); e.Report.Compared < 500 {
					t.Errorf("%s: %d compared", e.Engine, e.Report.Compared)
				}
			}
			if want := []string{"float64", "candle", "mistralrs", "tinygrad", "transformers"}; !slices.Equal(engines, want) {
				t.Errorf("judged by %v", engines)
			}
		})
	}
}

// A said is a run with what its folder says of its cut.
type said struct {
	harness.Source
	cut harness.Cut
}

func (s said) Cut() harness.Cut { return s.cut }

// drawBatch draws rows of tokens with padding anywhere, each with a golden of its own, one
// token at a time or cut anyhow, and the batch that the model makes of them.
func drawBatch(t *rapid.T, m *model.Model, masked float32, anyGolden bool) (b *cuttest.Batch, goldens []EngineResult) {
	N := rapid.IntRange(1, 6).Draw(t, "columns")
	one := rapid.IntRange(0, 1)
	var tokens, mask [][]int
	for row := range rapid.IntRange(1, 3).Draw(t, "rows") {
		ones := rapid.SliceOfN(one, N, N).Draw(t, "mask")
		ones[rapid.IntRange(0, N-1).Draw(t, "a token at")] = 1
		ids := modeltest.Tokens(m.Config(), N, uint64(row+1))
		var own []int
		for j := range ids {
			if ones[j] == 1 {
				own = append(own, ids[j])
			}
		}
		tokens, mask = append(tokens, ids), append(mask, ones)
		cut := harness.PromptCut(1, len(own))
		if anyGolden {
			cut = drawCut(t, len(own))
		}
		goldens = append(goldens, EngineResult{Source: said{cuttest.Run(t, m, [][]int{own}, cut, nil), cut}})
	}
	cut := drawCut(t, N)
	garbage := rapid.SampledFrom([]float32{harnesstest.Nan, 7, harnesstest.Pinf}).Draw(t, "at padding")
	b = cuttest.Pack(t, m, tokens, mask, cut, masked, func() float32 { return garbage }, nil)
	b.Said = cut
	return b, goldens
}

// Whatever the padding and the cut, a correct batch passes, with the model and without; a
// value that is wrong fails at its stage and position, and one at padding never.
func TestAnyPadding(t *testing.T) {
	m := modeltest.New(t, modeltest.Micro, 1)
	s := gpt2.Schedule(modeltest.Micro.Layers, nil)
	rapid.Check(t, func(t *rapid.T) {
		anyGolden := rapid.Bool().Draw(t, "golden in any cut")
		masked := rapid.SampledFrom([]float32{harnesstest.Ninf, -1e9, -math.MaxFloat32}).Draw(t, "masked")
		b, goldens := drawBatch(t, m, masked, anyGolden)
		judge := func(why string) *Result {
			with := m
			if rapid.Bool().Draw(t, "without model") {
				with = nil
			}
			r, err := judgeBatch(with, s, goldens, b)
			if err != nil {
				t.Fatalf("%s: %v", why, err)
			}
			return r
		}
		if r := judge("correct"); !r.Passed() || r.Compared < 20 {
			t.Fatalf("correct, cut %v, mask %v: %d compared, first %v, introduced %v, violations %v, unusable %v",
				b.Said, b.Ones, r.Compared, r.FirstDivergence, r.Introduced, r.Violations, r.Unusable)
		}
		if anyGolden {
			return // it may lack what belongs to a last position
		}
		at := rapid.SampledFrom(s.Places(b, func(_ int, stage string) bool {
			// Of a large negative score the probability tells whether it is masked.
			tells := strings.HasSuffix(stage, "probs") && masked != harnesstest.Ninf
			return stage != "next_token" && !tells
		})).Draw(t, "wrong")
		x := b.Kept[at.Step][at.Stage]
		i := rapid.IntRange(0, len(x.F32)-1).Draw(t, "element")
		index, axes := shapes.Index(i, x.Shape), strings.Fields(model.Axes(at.Stage))
		if axes[0] != "B" {
			axes = slices.Insert(axes, 0, "B")
		}
		row, span, column, there := index[0], b.Said[at.Step], -1, true
		for axis, j := range index {
			switch axes[axis] {
			case "T":
				column = span.P + j
				there = there && b.Ones[row][column] == 1
			case "S":
				if column < 0 { // of a cache
					column = j
					there = b.Ones[row][column] == 1 && slices.Contains(b.Ones[row][span.P:span.End()], 1)
				}
			}
		}
		if column < 0 {
			for j := span.P; j < span.End(); j++ {
				if b.Ones[row][j] == 1 {
					column = j
				}
			}
			there = column >= 0
		}
		x.F32 = slices.Clone(x.F32)
		x.F32[i] = rapid.SampledFrom([]float32{harnesstest.Nan, 1e4}).Draw(t, "value")
		b.Kept[at.Step][at.Stage] = x
		r := judge("changed")
		switch {
		case !there && !r.Passed():
			t.Fatalf("%v%v is padding, mask %v, cut %v: first %v, violations %v", at, index, b.Ones, b.Said, r.FirstDivergence, r.Violations)
		case !there:
			return
		}
		position := -1
		for _, one := range b.Ones[row][:column+1] {
			position += one
		}
		if r.FirstDivergence == nil || *r.FirstDivergence != at {
			t.Fatalf("%v%v is wrong, mask %v, cut %v: first %v", at, index, b.Ones, b.Said, r.FirstDivergence)
		}
		if at.Stage == "wpe" && len(b.Fed) == 1 {
			index = index[1:] // read as T,C
		}
		if x := r.Row(at); x.Position == nil || *x.Position != position || !slices.Equal(x.Worst.Index, index) {
			t.Fatalf("%v%v is wrong, position %d, mask %v, cut %v: position %v, worst %v", at, index, position, b.Ones, b.Said, x.Position, x.Worst)
		}
	})
}

// An engine that masks no padding in a layer is wrong in that layer's scores, and what it
// computes from them is right for its inputs.
func TestUnmaskedPadding(t *testing.T) {
	const score, value, layer = 1.5, 2, "h.1.attn."
	cfg := modeltest.Micro
	m := modeltest.New(t, cfg, 1)
	s := gpt2.Schedule(cfg.Layers, nil)
	rows, prompts := [][]int{modeltest.Tokens(cfg, 6, 1), modeltest.Tokens(cfg, 8, 2)}, []int{3, 5}
	var goldens []EngineResult
	for i, row := range rows {
		cut := harness.PromptCut(prompts[i], 4)
		goldens = append(goldens, EngineResult{Source: said{cuttest.Run(t, m, [][]int{row}, cut, nil), cut}})
	}
	tokens, mask := cuttest.Pad(rows, prompts, func(int) bool { return false })
	D := cfg.Embd / cfg.Heads
	// one returns the probabilities of the row with padding, and of the two keys there.
	weigh := func(scores []float32) (probs []float32, pads float32) {
		sum := 2 * math.Exp(score)
		for _, v := range scores {
			sum += math.Exp(float64(v))
		}
		for _, v := range scores {
			probs = append(probs, float32(math.Exp(float64(v))/sum))
		}
		return probs, float32(math.Exp(score) / sum)
	}
	plant := func(row int, at harness.Place, c *faults.Context) (out []float32) {
		S := c.Dims.P + c.Dims.T
		switch {
		case row == 0 && at.Stage == layer+"probs":
			for scores := range slices.Chunk(c.In(layer+"scores"), S) {
				probs, _ := weigh(scores)
				out = append(out, probs...)
			}
		case row == 0 && at.Stage == layer+"context":
			out = make([]float32, c.Dims.T*cfg.Embd)
			v := c.In(layer + "cache_v")
			for i := range out {
				query, head, d := i/cfg.Embd, i%cfg.Embd/D, i%D
				at := (head*c.Dims.T + query) * S
				_, pads := weigh(c.In(layer + "scores")[at:][:S])
				sum := 2 * float64(pads) * value
				for j, p := range c.In(layer + "probs")[at:][:S] {
					sum += float64(p) * float64(v[(head*S+j)*D+d])
				}
				out[i] = float32(sum)
			}
		}
		return out
	}
	pack := func() *cuttest.Batch {
		b := cuttest.Pack(t, m, tokens, mask, harness.PromptCut(5, 4), harnesstest.Ninf, func() float32 { return value }, plant)
		for step := range b.Kept {
			scores, probs := b.Kept[step][layer+"scores"], b.Kept[step][layer+"probs"]
			T, S := scores.Shape[2], scores.Shape[3]
			for i := 0; i < cfg.Heads*T*S; i += S { // row 0
				if T > 1 && i/S%T < 2 {
					continue
				}
				_, pads := weigh(scores.F32[i:][2:S])
				scores.F32[i], scores.F32[i+1], probs.F32[i], probs.F32[i+1] = score, score, pads, pads
			}
		}
		return b
	}
	for _, c := range []struct {
		name, reason string
		without      []string // stages that are not dumped
		model        *model.Model
		introduced   string
		first        string
		violations   int
	}{
		{"whole", "scores are wrong, the rest follows", nil, m, "scores", "scores", 4},
		{"without a model", "the padding contradicts the mask", nil, nil, "", "scores", 4},
		{"no scores", "probabilities are the first that show it", []string{"scores"}, m, "probs", "probs", 4},
		{"no attention", "the context is the first that shows it", []string{"scores", "probs"}, m, "context", "context", 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := pack()
			for _, stage := range c.without {
				for step := range b.Kept {
					delete(b.Kept[step], layer+stage)
				}
			}
			r, err := judgeBatch(c.model, s, goldens, b)
			if err != nil {
				t.Fatal(err)
			}
			if r.FirstDivergence == nil || *r.FirstDivergence != (harness.Place{Step: 0, Stage: layer + c.first}) {
				t.Errorf("%s: first is %v", c.reason, r.FirstDivergence)
			}
			for _, in := range r.Introduced {
				if in.Stage != layer+c.introduced {
					t.Errorf("%s: introduced %v", c.reason, in)
				}
			}
			if len(r.Introduced) != 4 && c.introduced != "" || len(r.Violations) != c.violations {
				t.Errorf("%s: %d introduced, violations %v", c.reason, len(r.Introduced), r.Violations)
			}
		})
	}
}
