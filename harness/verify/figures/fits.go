package figures

import (
	"fmt"
	"slices"
)

// Fits says why the figures cannot be of a model with so large a vocabulary, so
// many positions and so many channels; nil if they may be.
func (m *Model) Fits(vocab, positions, embd int) error {
	within := func(what string, limit int, rows ...[]int) error {
		for _, row := range rows {
			if len(row) > 0 && slices.Max(row) >= limit {
				return fmt.Errorf("%s %d: the model has %d", what, slices.Max(row), limit)
			}
		}
		return nil
	}
	fits := func(tokens [][]int) error {
		if n := len(tokens[0]); n > positions {
			return fmt.Errorf("%d positions: the model has %d", n, positions)
		}
		return within("token", vocab, tokens...)
	}
	if l := m.LnF; l != nil {
		if err := fits(l.Tokens); err != nil {
			return fmt.Errorf("ln_f: %w", err)
		}
		for _, row := range l.AbsMax {
			for _, p := range row {
				if err := within("channel", embd, []int{p.Index, 3}); err != nil {
					return fmt.Errorf("ln_f: %w", err)
				}
			}
		}
	}
	if l := m.Logits; l != nil {
		if err := fits(l.Tokens); err != nil {
			return fmt.Errorf("logits: %w", err)
		}
		for b, row := range l.Top3IDs {
			if err := within("token", vocab, append(row, l.Labels[b], []int{3})...); err != nil {
				return fmt.Errorf("logits: %w", err)
			}
		}
	}
	for _, g := range m.Greedy {
		if err := within("token", vocab, g.AllTokens); err != nil {
			return fmt.Errorf("greedy: %s: %w", g.Name, err)
		}
	}
	if p := m.TokenLogprobs; p != nil {
		if err := within("token", vocab, p.Prefix); err != nil {
			return fmt.Errorf("token_logprobs: %w", err)
		}
	}
	if m.FirstHidden != nil && embd < 10 {
		return fmt.Errorf("ln_f_hello_world: 10 channels: the model has %d", embd)
	}
	if n := m.NextLogit; n != nil {
		if err := within("token", vocab, []int{n.Argmax}); err != nil {
			return fmt.Errorf("next_logit: %w", err)
		}
	}
	return nil
}
