package verify

import (
	"math"
	"slices"
	"testing"

	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/model/sample"
)

// A fault in the model is found by the figures alone.
func TestFiguresFindFaults(t *testing.T) {
	t.Parallel()
	var seen []float32
	cases := []struct {
		name, stage string
		reason      string
		figures     []string // that fail, among others
		fine        []string // that do not
		plant       func(shape []int, data []float32)
	}{
		{"two channels swapped", "ln_f", "no norm and no statistic sees it", []string{"ln_f.first4", "logits.first4", "greedy.hello"}, []string{"ln_f.l2", "ln_f.absmax"},
			func(shape []int, x []float32) {
				for i := 0; i < len(x); i += shape[2] {
					x[i], x[i+1] = x[i+1], x[i]
				}
			}},
		{"a constant added to the logits", "logits", "softmax and text do not see it", []string{"logits.top3", "logits.logsumexp"}, []string{"logits.mean_nll", "logits.top3_ids", "token_logprobs.logprobs"},
			func(_ []int, x []float32) {
				for i := range x {
					x[i] += 0.01
				}
			}},
		{"softmax of another temperature", "probs_t1", "a temperature that is the default elsewhere", []string{"logits.top3_probs", "token_logprobs.logprobs"}, []string{"logits.top3", "logits.logsumexp", "next_logit.logit"},
			func(_ []int, x []float32) { sample.Softmax(x, seen, 0.99) }},
		{"old keys overwritten", "h.1.attn.cache_k", "only a decode step sees it", []string{"token_logprobs.logprobs"}, []string{"ln_f.first4", "logits.first4"},
			func(shape []int, x []float32) {
				if s := shape[2]; s > 10 {
					clear(x[:shape[3]])
				}
			}},
		{"NaN in one logit", "logits", "0/0 somewhere", []string{"logits.logsumexp", "logits.mean_nll"}, []string{"ln_f.l2"},
			func(shape []int, x []float32) { x[shape[2]-9] = float32(math.NaN()) }},
	}
	for _, tt := range harnesstest.Draw(cases, 0, 3) {
		t.Run(tt.name, func(t *testing.T) {
			s := withFigures(t, func(stage string, shape []int, data []float32) {
				if stage == tt.stage {
					tt.plant(shape, data)
				}
				if stage == "logits_last" {
					seen = append(seen[:0], data...)
				}
			})
			s.Cases = slices.DeleteFunc(s.Cases, func(c *Case) bool { // a text takes longer than all else
				return c.Name != "hello" || !slices.Contains(tt.figures, "greedy.hello")
			})
			r, err := s.Verify(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var bad []string
			for _, f := range r.Failures {
				if f.Engine == Figures {
					bad = append(bad, f.Figure)
					if f.Closer == "" || f.Checkpoint < 8 {
						t.Errorf("%s: no closer look: %s", f.Name(), full(f))
					}
				}
			}
			for _, want := range tt.figures {
				if !slices.Contains(bad, want) {
					t.Errorf("%v fail, want %s among them (%s)", bad, want, tt.reason)
				}
			}
			for _, fine := range tt.fine {
				if slices.Contains(bad, fine) {
					t.Errorf("%v fail, want %s not among them", bad, fine)
				}
			}
		})
	}
}
