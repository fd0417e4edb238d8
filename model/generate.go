package model

import (
	"context"
	"fmt"
)

// Generate continues a prompt by n tokens, n at least 1, each drawn by s from
// the logits that follow what is there already, and returns prompt and
// continuation together. The end-of-text token is a token like any other and
// ends nothing.
//
// each, if it is not nil, is called with every new token as soon as it is
// chosen; its error ends the generation, as does the end of ctx. Together with
// any error come the tokens there were until then.
//
// The last token is chosen and never fed, so len(prompt)+n-1 positions are
// used; more than the model has is ErrTooLong. The cache is made once, for as
// many.
func (m *Model) Generate(ctx context.Context, prompt []int, n int, s Sampling, each func(id int) error) ([]int, error) {
	sampler, err := NewSampler(s)
	if err != nil {
		return nil, err
	}
	switch {
	case len(prompt) == 0:
		return nil, fmt.Errorf("the prompt has no tokens: want one at least, such as %s", EndOfText)
	case n < 1:
		return nil, fmt.Errorf("%d new tokens: want 1 or more", n)
	case len(prompt) > m.cfg.Positions || n-1 > m.cfg.Positions-len(prompt):
		return nil, fmt.Errorf("%w: a prompt of %d tokens leaves room for %d new ones, not %d (n_positions is %d)",
			ErrTooLong, len(prompt), max(0, m.cfg.Positions-len(prompt)+1), n, m.cfg.Positions)
	}
	session, err := m.NewSession(SessionOptions{Length: len(prompt) + n - 1})
	if err != nil {
		return nil, err
	}
	ids := append(make([]int, 0, len(prompt)+n), prompt...)
	feed := ids
	for k := range n {
		if ctx.Err() != nil {
			return ids, fmt.Errorf("stopped after %d of %d new tokens: %w", k, n, context.Cause(ctx))
		}
		if _, err := session.Step(feed); err != nil {
			return ids, err
		}
		id, err := sampler.Next(session.LogitsLast())
		if err != nil {
			return ids, fmt.Errorf("new token %d: %w", k+1, err)
		}
		ids = append(ids, id)
		feed = ids[len(ids)-1:]
		if each != nil {
			if err := each(id); err != nil {
				return ids, err
			}
		}
	}
	return ids, nil
}
