package sample

import (
	"context"
	"errors"
	"fmt"

	"checkpoint12/model"
)

// Generate continues a prompt by n tokens, n at least 1, each drawn from the
// logits that follow all before it, and returns both together. The end-of-text
// token ends nothing. The last token is never fed, so len(prompt)+n-1 positions
// are used; more than the model has is [model.ErrTooLong].
//
// each, if it is not nil, is called with every new token as soon as it is
// chosen; its error ends the generation, as does the end of ctx. Together with
// any error come the tokens there were until then.
func Generate(ctx context.Context, m *model.Model, prompt []int, n int, o Options, each func(id int) error) ([]int, error) {
	sampler, err := New(o)
	if err != nil {
		return nil, err
	}
	positions := m.Config().Positions
	switch {
	case len(prompt) == 0:
		return nil, errors.New("the prompt has no tokens: want one at least, such as <|endoftext|>")
	case n < 1:
		return nil, fmt.Errorf("%d new tokens: want 1 or more", n)
	case len(prompt) > positions || n-1 > positions-len(prompt):
		return nil, fmt.Errorf("%w: a prompt of %d tokens leaves room for %d new ones, not %d (n_positions is %d)",
			model.ErrTooLong, len(prompt), max(0, positions-len(prompt)+1), n, positions)
	}
	session, err := m.NewSession(model.SessionOptions{Length: len(prompt) + n - 1})
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
