package figures

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
)

var (
	sha256Form = regexp.MustCompile(`^[0-9a-f]{64}$`)
	commitForm = regexp.MustCompile(`^[0-9a-f]{40}$`)
	nameForm   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)
)

func (f *File) check() error {
	switch {
	case f.Schema != 1:
		return fmt.Errorf("schema %d, want 1", f.Schema)
	case len(f.Models) == 0:
		return errors.New("models: there is none")
	}
	for _, name := range slices.Sorted(maps.Keys(f.Models)) {
		m := f.Models[name]
		if m == nil {
			return fmt.Errorf("%s: null", name)
		}
		if err := m.check(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// check says what is wrong with a model's figures, if anything is.
func (m *Model) check() error {
	kinds := 0
	one := func(name string, there bool, check func() error) error {
		if !there {
			return nil
		}
		kinds++
		if err := check(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	err := cmp.Or(
		one("weights", m.Weights != nil, func() error { return m.Weights.check() }),
		one("ln_f", m.LnF != nil, func() error { return m.LnF.check() }),
		one("logits", m.Logits != nil, func() error { return m.Logits.check() }),
		one("greedy", len(m.Greedy) > 0, func() error { return checkGreedy(m.Greedy) }),
		one("token_logprobs", m.TokenLogprobs != nil, func() error { return m.TokenLogprobs.check() }),
		one("ln_f_hello_world", m.FirstHidden != nil, func() error { return m.FirstHidden.check() }),
		one("next_logit", m.NextLogit != nil, func() error { return m.NextLogit.check() }),
	)
	if err == nil && kinds == 0 {
		return errors.New("no figures")
	}
	return err
}

func (w *Weights) check() error {
	if err := source(w.Source); err != nil {
		return err
	}
	switch {
	case w.Commit == "" && w.SHA256 == "":
		return errors.New("neither commit nor sha256")
	case w.Commit != "" && !commitForm.MatchString(w.Commit):
		return fmt.Errorf("commit %.80q: want 40 hexadecimal digits", w.Commit)
	case (w.SHA256 == "") != (w.File == "") || (w.SHA256 == "") != (w.Bytes == 0):
		return errors.New("file, bytes and sha256: want all or none")
	case w.SHA256 != "" && !sha256Form.MatchString(w.SHA256):
		return fmt.Errorf("sha256 %.80q: want 64 hexadecimal digits", w.SHA256)
	case w.Bytes < 0:
		return fmt.Errorf("bytes %d", w.Bytes)
	case len(w.Tensors) == 0:
		return nil
	}
	if err := w.Tolerance.check("tolerance"); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, t := range w.Tensors {
		switch {
		case t.Name == "" || seen[t.Name]:
			return fmt.Errorf("tensor %.80q: no name, or there twice", t.Name)
		case len(t.Shape) == 0 || slices.Min(t.Shape) < 1:
			return fmt.Errorf("tensor %s: shape %v", t.Name, t.Shape)
		case t.SumSq < 0 || t.Min > t.Max:
			return fmt.Errorf("tensor %s: sumsq %v, min %v, max %v are of no tensor", t.Name, t.SumSq, t.Min, t.Max)
		}
		seen[t.Name] = true
	}
	return nil
}

func (l *LnF) check() error {
	err := cmp.Or(source(l.Source), l.Tolerance.check("tolerance"), batch(l.Tokens))
	if err != nil {
		return err
	}
	for _, row := range l.AbsMax {
		for _, p := range row {
			if p.Index < 0 {
				return fmt.Errorf("absmax: channel %d", p.Index)
			}
		}
	}
	return cmp.Or(deep("first4", l.First4, l.Tokens, 4), like("absmax", l.AbsMax, l.Tokens), like("l2", l.L2, l.Tokens))
}

func (l *Logits) check() error {
	err := cmp.Or(source(l.Source), l.Tolerance.check("tolerance"), l.NLLTolerance.check("mean_nll_tolerance"), batch(l.Tokens))
	if err != nil {
		return err
	}
	err = cmp.Or(
		deep("top3_ids", l.Top3IDs, l.Tokens, 3), deep("top3", l.Top3, l.Tokens, 3), deep("first4", l.First4, l.Tokens, 4),
		like("last", l.Last, l.Tokens), like("logsumexp", l.LogSumExp, l.Tokens), like("labels", l.Labels, l.Tokens))
	if err != nil {
		return err
	}
	if len(l.Tokens[0]) < 2 {
		return errors.New("labels: one position has none that follows")
	}
	if err := ids("labels", l.Labels...); err != nil {
		return err
	}
	for b, row := range l.Top3 {
		for t, v := range row {
			if err := ids("top3_ids", l.Top3IDs[b][t]); err != nil {
				return err
			}
			if v[0] < v[1] || v[1] < v[2] {
				return fmt.Errorf("top3: row %d, position %d: %v are not in order", b, t, v)
			}
		}
	}
	return nil
}

func checkGreedy(list []Greedy) error {
	seen := map[string]bool{}
	for _, g := range list {
		if !nameForm.MatchString(g.Name) || seen[g.Name] {
			return fmt.Errorf("name %.80q: want small letters, digits and dashes, each name once", g.Name)
		}
		seen[g.Name] = true
		if err := g.check(); err != nil {
			return fmt.Errorf("%s: %w", g.Name, err)
		}
	}
	return nil
}

func (g *Greedy) check() error {
	if err := source(g.Source); err != nil {
		return err
	}
	asText, asTokens := g.Prompt != "" || g.Text != "", g.Tokens != nil || g.AllTokens != nil
	switch {
	case g.New < 1:
		return fmt.Errorf("new %d, want at least 1", g.New)
	case asText == asTokens:
		return errors.New("want either prompt and text, or tokens and all_tokens")
	case asText && (g.Prompt == "" || len(g.Text) <= len(g.Prompt) || !strings.HasPrefix(g.Text, g.Prompt)):
		return errors.New("text does not go on from prompt")
	case asText:
		return nil
	case len(g.Tokens) == 0 || len(g.AllTokens) != len(g.Tokens)+g.New || !slices.Equal(g.AllTokens[:len(g.Tokens)], g.Tokens):
		return fmt.Errorf("all_tokens are not tokens and %d new", g.New)
	}
	return ids("all_tokens", g.AllTokens)
}

func (p *TokenLogprobs) check() error {
	err := cmp.Or(source(p.Source), p.Tolerance.check("tolerance"), p.SumTolerance.check("sum_tolerance"))
	switch {
	case err != nil:
		return err
	case p.Text == "" || len(p.Prefix) == 0 || len(p.Logprobs) == 0:
		return errors.New("want text, prefix_tokens and logprobs")
	case slices.Max(p.Logprobs) > 0:
		return fmt.Errorf("logprobs: %v is more than 0", slices.Max(p.Logprobs))
	}
	return ids("prefix_tokens", p.Prefix)
}

func (h *FirstHidden) check() error {
	err := cmp.Or(source(h.Source), h.Tolerance.check("tolerance"))
	switch {
	case err != nil:
		return err
	case h.Text == "" || h.Position < 0 || len(h.First10) != 10:
		return fmt.Errorf("want text, a position and 10 values in first10, not %d", len(h.First10))
	}
	return nil
}

func (n *NextLogit) check() error {
	err := cmp.Or(source(n.Source), n.Tolerance.check("tolerance"))
	switch {
	case err != nil:
		return err
	case n.Text == "":
		return errors.New("no text")
	}
	return ids("argmax", []int{n.Argmax})
}

func (t Tolerance) check(name string) error {
	switch {
	case !(t.Abs >= 0) || !(t.Rel >= 0) || math.IsInf(t.Abs+t.Rel, 0) || t.Abs+t.Rel == 0:
		return fmt.Errorf("%s: abs %v, rel %v: want none negative, one positive", name, t.Abs, t.Rel)
	case strings.TrimSpace(t.Reason) == "":
		return fmt.Errorf("%s: no reason", name)
	}
	return nil
}

func source(s string) error {
	if strings.TrimSpace(s) == "" {
		return errors.New("no source")
	}
	return nil
}

// batch asks for B rows of T ids.
func batch(tokens [][]int) error {
	if len(tokens) == 0 || len(tokens[0]) == 0 {
		return errors.New("no tokens")
	}
	if err := like("tokens", tokens, slices.Repeat(tokens[:1], len(tokens))); err != nil {
		return err
	}
	return ids("tokens", tokens...)
}

func ids(name string, rows ...[]int) error {
	for _, row := range rows {
		if len(row) > 0 && slices.Min(row) < 0 {
			return fmt.Errorf("%s: %d is no id", name, slices.Min(row))
		}
	}
	return nil
}

// like asks for a list [B,T].
func like[E any](name string, rows [][]E, tokens [][]int) error {
	if len(rows) != len(tokens) {
		return fmt.Errorf("%s: %d rows, want %d", name, len(rows), len(tokens))
	}
	for b, row := range rows {
		if len(row) != len(tokens[b]) {
			return fmt.Errorf("%s: row %d has %d positions, want %d", name, b, len(row), len(tokens[b]))
		}
	}
	return nil
}

// deep asks for a list [B,T,n].
func deep[E any](name string, rows [][][]E, tokens [][]int, n int) error {
	if err := like(name, rows, tokens); err != nil {
		return err
	}
	for b, row := range rows {
		for t, values := range row {
			if len(values) != n {
				return fmt.Errorf("%s: row %d, position %d has %d values, want %d", name, b, t, len(values), n)
			}
		}
	}
	return nil
}
