package fit_test

import (
	"math"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/fit"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
	"checkpoint12/model/synthetic"
)

// TestRecover: what a dump of modules' outputs lacks comes back to within its bound, which is
// small; with more keys than a head has channels, probabilities do not.
func TestRecover(t *testing.T) {
	for i, cfg := range []model.Config{
		{Layers: 3, Heads: 5, Embd: 60, Inner: 240, Vocab: 211, Positions: 64, Eps: 1e-5},
		{Layers: 2, Heads: 4, Embd: 96, Inner: 200, Vocab: 307, Positions: 64, Eps: 1e-5},
		{Layers: 4, Heads: 2, Embd: 40, Inner: 160, Vocab: 499, Positions: 48, Eps: 1e-3},
	} {
		m, err := synthetic.Random("random", cfg, uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		tokens := make([]int, 9)
		for j := range tokens {
			tokens[j] = 7*j + 1
		}
		all, err := gpt2.Record(t.Context(), m, gpt2.Run{Tokens: [][]int{tokens}, New: 9})
		if err != nil {
			t.Fatal(err)
		}
		s := gpt2.Schedule(cfg.Layers, nil)
		modules := gpt2test.Only{Source: all, Keep: func(_ int, stage string) bool { return gpt2test.IsModule(stage) }}
		run, err := replay.NewRun(s, modules, gpt2.NewReplayer(m, nil, gpt2.Float32), replay.Options{Prompt: len(tokens)})
		if err != nil {
			t.Fatal(err)
		}
		var r fit.Recoverer
		recovered := map[string]int{}
		for step := range 9 {
			for layer := range cfg.Layers {
				at := harness.Place{Step: step, Stage: model.StageName{Layer: layer, Word: "attn.c_proj"}.String()}
				p, err := run.JudgeAt(at)
				if err != nil {
					t.Fatal(err)
				}
				right, err := run.Right(at.Step, at.Stage)
				if err != nil {
					t.Fatal(err)
				}
				got, _ := modules.Tensor(at.Step, at.Stage)
				f, _ := run.Dims(step)
				row := &fit.Row{
					Stage: fit.Stage{Model: m, Dims: model.Dims{B: 1, T: f.T, P: f.P}, Name: at.Stage, Step: step, In: func(name string) []float32 {
						v, _ := run.Input(step, name)
						return v.F32
					}},
					Got: got.F32, Right: right.F32, Bound: right.Bound,
				}
				rows, why := r.Recover(row, p.Span)
				if len(rows)+len(why) == 0 {
					t.Errorf("%v: %s: nothing recovered, nothing said", cfg, at)
				}
				for _, x := range rows {
					word, _ := model.ParseStage(x.Name)
					recovered[word.Word]++
					want, _ := all.Tensor(step, x.Name)
					d := harness.Between(want.F32, x.Got, x.Bound)
					most := 1e-3 // of its size
					if word.Word == "attn.context" {
						most = 2e-5 // 1.0e-5 of AVX2's kernels and 1.1e-5 of the portable ones, at most, when measured
					}
					if size := math.Sqrt(d.SqWant / float64(d.N)); d.Wrong > 0 || !(d.RMS() < most*size) {
						t.Errorf("%v: %s at step %d: %d of %d values beyond their bounds, off by %.2g of its size", cfg, x.Name, step, d.Wrong, d.N, d.RMS()/size)
					}
				}
			}
		}
		keys := cfg.Embd / cfg.Heads
		if n := 9 * cfg.Layers; recovered["attn.context"] != n || recovered["attn.probs"] != min(n, cfg.Layers*max(0, keys-len(tokens)+1)) {
			t.Errorf("%v: recovered %v, want %d contexts, and probabilities of up to %d keys", cfg, recovered, n, keys)
		}
	}
}
