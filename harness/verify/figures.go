package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/verify/figures"
)

// Figures is the engine's name in findings that compare with a figure: a value
// that somebody has published, or that reference/float64/figures.py computed.
const Figures = "figures"

// known is a model's figures and what was found by them.
type known struct {
	*figures.Model
	weights []Finding // once they have been looked at
	found   []Finding // of checkpoints 8 to 11, once they have been
}

// findFigures lists the figures of a model: published ones by its name and what
// lies below the goldens' root in the folder of that name. Where name is "" both
// are found by the hash of the weights.
func findFigures(root, name, sha256 string) ([]*known, error) {
	published, err := figures.Published()
	if err != nil {
		return nil, fmt.Errorf("published figures: %w", err)
	}
	files := []*figures.File{published}
	models := []string{filepath.Join(root, name)}
	if name == "" {
		if models, err = diagnose.Folders(root); err != nil {
			return nil, err
		}
	}
	for _, dir := range models {
		path := filepath.Join(dir, figures.FileName)
		data, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, &diagnose.GoldenError{Path: path, Err: err}
		}
		f, err := figures.Parse(data)
		if err == nil && name != "" && f.Models[name] == nil {
			err = fmt.Errorf("has no figures of %s", name)
		}
		if err != nil {
			return nil, &diagnose.GoldenError{Path: path, Err: err}
		}
		files = append(files, f)
	}
	var all []*known
	for _, f := range files {
		for model, m := range f.Models {
			if model == name || name == "" && m.Weights != nil && m.Weights.SHA256 == sha256 {
				all = append(all, &known{Model: m})
			}
		}
	}
	return all, nil
}

// addGreedy gives the continuations among the figures to the cases whose runs
// they begin, or makes cases of them.
func (s *Suite) addGreedy() error {
	for _, k := range s.figures {
		c := s.Model.Config()
		if err := k.Fits(c.Vocab, c.Positions, c.Embd); err != nil {
			return fmt.Errorf("the figures are of another model than %s: %w", s.Name, err)
		}
		// The longest first: a shorter one of the same prompt is its beginning.
		list := slices.SortedStableFunc(slices.Values(k.Greedy), func(a, b figures.Greedy) int { return cmp.Compare(b.New, a.New) })
		for _, g := range list {
			ids := g.Tokens
			if g.Prompt != "" {
				var err error
				if ids, err = s.tokenizer.Encode(g.Prompt); err != nil {
					return fmt.Errorf("figure greedy.%s: %w", g.Name, err)
				}
			}
			c := s.caseOf(g.Name, g.Prompt, ids, g.New)
			c.Greedy = append(c.Greedy, g)
		}
	}
	return nil
}

// caseOf is the case that continues a prompt by n tokens or more, made if there
// is none.
func (s *Suite) caseOf(name, prompt string, ids []int, n int) *Case {
	for _, c := range s.Cases {
		if len(c.Tokens) == 1 && slices.Equal(c.Tokens[0], ids) && c.New >= n {
			return c
		}
	}
	for slices.ContainsFunc(s.Cases, func(c *Case) bool { return c.Name == name }) {
		name += "-figure"
	}
	c := &Case{Name: name, Prompt: prompt, Tokens: [][]int{ids}, New: n}
	s.Cases = append(s.Cases, c)
	return c
}

// checkFigures is Check of the figures: those of checkpoints 8 to 11. Those of 12
// are with their cases.
func (s *Suite) checkFigures(ctx context.Context, n int) ([]Finding, error) {
	var all []Finding
	if n < 8 || n > 11 {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.figures {
		if k.found == nil {
			s.say("%s: figures", s.Name)
			o, err := s.observe(ctx, k.Model)
			if err != nil {
				return nil, fmt.Errorf("figures of %s: %w", s.Name, err)
			}
			k.found = append([]Finding{}, judge(k.Model, o)...)
		}
		for _, f := range k.found {
			if f.Checkpoint != n {
				continue
			}
			if f.Failed {
				f.Closer = s.figureCloser(k.Model, f)
				f.causes = append([]string{"a stage before, which no figure sees: a golden of the same tokens does"}, Describe(n).Causes...)
			}
			all = append(all, f)
		}
	}
	return all, nil
}

// figureCloser is the command that looks closer at the run that a figure failed
// on: it makes a golden of it, which says which stage is wrong.
func (s *Suite) figureCloser(m *figures.Model, f Finding) string {
	var rows [][]int
	text := ""
	switch f.Case {
	case "ln_f":
		rows = m.LnF.Tokens
	case "logits":
		rows = m.Logits.Tokens
	case "token_logprobs":
		text = m.TokenLogprobs.Text
	case "ln_f_hello_world":
		text = m.FirstHidden.Text
	case "next_logit":
		text = m.NextLogit.Text
	}
	if text != "" {
		ids, err := s.tokenizer.Encode(text)
		if err != nil {
			return ""
		}
		if f.Case == "token_logprobs" {
			ids = slices.Concat(m.TokenLogprobs.Prefix, ids)
			ids = ids[:len(ids)-1]
		}
		rows = [][]int{ids}
	}
	dir, made := s.folder()
	command := ""
	if !made {
		dir = "checkpoint12-model"
		command = fmt.Sprintf("go run . synth %s --out %s && ", s.Name, dir)
	}
	run := ""
	for _, row := range rows {
		run += " --tokens " + join(row)
	}
	return command + fmt.Sprintf("python3 reference/float64/export.py --model %s --name %s%s --new 1 --out checkpoint12-golden"+
		" && go run . dump --model %s%s --new 1 --out checkpoint12-dump"+
		" && go run . compare --golden checkpoint12-golden --candidate checkpoint12-dump", dir, s.Name, run, s.argument, run)
}

// part is the last word of a figure's name: logits.top3 is top3 of the logits.
func part(figure string) string {
	_, p, _ := strings.Cut(figure, ".")
	return p
}
