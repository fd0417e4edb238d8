package verify

import (
	"context"
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/verify/figures"
)

// observed is what a model computed for a set of figures; what there is no figure
// of is not there.
type observed struct {
	lnF      harness.Tensor // [B,T,C] of the batch of ln_f
	logits   []logits       // [B*T] of the batch of logits
	last     []logits       // [B] its logits_last
	probs    harness.Tensor // [B,V] its probs_t1
	chosen   []int          // [B] its next_token; -1 where nothing was chosen
	logprobs []float64      // of each token of the text, by the model's own softmax, at each step
	hidden   harness.Tensor // [1,T,C] ln_f of the text
	next     harness.Tensor // [1,V] logits_last after the text
	token    int            // next_token after it
}

// observe runs the model on what the figures are of.
func (s *Suite) observe(ctx context.Context, m *figures.Model) (*observed, error) {
	o := &observed{}
	if l := m.LnF; l != nil {
		t, err := s.pass(ctx, gpt2.Run{Tokens: l.Tokens, New: 1}, "ln_f")
		if err != nil {
			return nil, fmt.Errorf("ln_f: %w", err)
		}
		if o.lnF, err = t.Tensor(0, "ln_f"); err != nil {
			return nil, err
		}
	}
	if l := m.Logits; l != nil {
		t, err := s.pass(ctx, gpt2.Run{Tokens: l.Tokens, New: 1}, "logits", "logits_last", "probs_t1")
		if err != nil {
			return nil, fmt.Errorf("logits: %w", err)
		}
		for stage, to := range map[string]*[]logits{"logits": &o.logits, "logits_last": &o.last} {
			x, err := t.Tensor(0, stage)
			if err != nil {
				return nil, err
			}
			*to = rowsOf(x)
		}
		if o.probs, err = t.Tensor(0, "probs_t1"); err != nil {
			return nil, err
		}
		o.chosen = t.Chosen[0]
	}
	if p := m.TokenLogprobs; p != nil {
		ids, err := s.tokenizer.Encode(p.Text)
		if err == nil {
			o.logprobs, err = s.logprobs(ctx, p.Prefix, ids)
		}
		if err != nil {
			return nil, fmt.Errorf("token_logprobs: %w", err)
		}
	}
	if h := m.FirstHidden; h != nil {
		t, err := s.text(ctx, h.Text, "ln_f")
		if err == nil {
			o.hidden, err = t.Tensor(0, "ln_f")
		}
		if err == nil && h.Position >= o.hidden.Shape[1] {
			err = fmt.Errorf("position %d: the text has %d tokens", h.Position, o.hidden.Shape[1])
		}
		if err != nil {
			return nil, fmt.Errorf("ln_f_hello_world: %w", err)
		}
	}
	if n := m.NextLogit; n != nil {
		t, err := s.text(ctx, n.Text, "logits_last")
		if err == nil {
			o.next, err = t.Tensor(0, "logits_last")
		}
		if err != nil {
			return nil, fmt.Errorf("next_logit: %w", err)
		}
		o.token = t.Chosen[0][0]
	}
	return o, nil
}

// text is a pass over a text.
func (s *Suite) text(ctx context.Context, text string, stages ...string) (*gpt2.Trace, error) {
	ids, err := s.tokenizer.Encode(text)
	if err != nil {
		return nil, err
	}
	return s.pass(ctx, gpt2.Run{Tokens: [][]int{ids}, New: 1}, stages...)
}

// pass runs the model and keeps some stages of every step.
func (s *Suite) pass(ctx context.Context, run gpt2.Run, stages ...string) (*gpt2.Trace, error) {
	run.Tap, run.Temperatures = s.tap, []float64{1}
	run.Match = func(_ int, stage string) bool { return slices.Contains(stages, stage) }
	return gpt2.RecordTrace(ctx, s.Model, run)
}

// logprobs is the log-probability of each token after those before it. The
// prefix is fed in one step and then token by token, so that the cache and the
// model's own softmax are what is looked at.
func (s *Suite) logprobs(ctx context.Context, prefix, ids []int) ([]float64, error) {
	run := gpt2.Run{Tokens: [][]int{prefix}, New: len(ids), Feed: [][]int{ids[:len(ids)-1]}}
	t, err := s.pass(ctx, run, "probs_t1")
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(ids))
	for k, id := range ids {
		p, err := t.Tensor(k, "probs_t1") // [1,V]
		if err != nil {
			return nil, err
		}
		out[k] = math.Log(float64(p.F32[id]))
	}
	return out, nil
}

// logits are those of one position.
type logits struct {
	values []float32 // [V]
	lse    float64   // their log-sum-exp, in float64
	top    [3]int    // ids of the largest, in order; -1 where there is none
}

// rowsOf splits a tensor [...,V] into its rows.
func rowsOf(x harness.Tensor) []logits {
	v := x.Shape[len(x.Shape)-1]
	rows := make([]logits, len(x.F32)/v)
	for i := range rows {
		values := x.F32[i*v:][:v]
		rows[i] = logits{values, logSumExp(values), largestThree(values)}
	}
	return rows
}

// largestThree is the ids of the largest values, the lowest of equals first; -1
// where there is none, since NaN has no rank.
func largestThree(x []float32) [3]int {
	ids := [3]int{-1, -1, -1}
	for i, v := range x {
		if v != v {
			continue
		}
		for k, id := range ids {
			if id < 0 || v > x[id] {
				copy(ids[k+1:], ids[k:])
				ids[k] = i
				break
			}
		}
	}
	return ids
}

// logSumExp is log(sum(exp(x))) in float64; NaN if there is one among x.
func logSumExp(x []float32) float64 {
	top := math.Inf(-1)
	for _, v := range x {
		top = max(top, float64(v)) // NaN stays
	}
	var s float64
	for _, v := range x {
		s += math.Exp(float64(v) - top)
	}
	return top + math.Log(s)
}
