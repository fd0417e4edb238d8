package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/verify/figures"
	"checkpoint12/model"
	"checkpoint12/model/regularfile"
)

// Figures is the engine in findings that compare with a figure: a value that was
// published, or computed by reference/float64/figures.py.
const Figures = "figures"

// findFigures returns the figures of a model, published or in folders of goldens, by its
// name or, without one, by the hash of the weights.
func findFigures(folders []string, name, sha256 string) ([]figures.Figure, error) {
	published, err := figures.Published()
	if err != nil {
		return nil, fmt.Errorf("published figures: %w", err)
	}
	files := []*figures.File{published}
	for _, dir := range folders {
		path := filepath.Join(dir, figures.FileName)
		data, err := regularfile.Read(path, figures.MaxFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var f *figures.File
		if err == nil {
			f, err = figures.Parse(data)
		}
		if err == nil && name != "" && f.Models[name] == nil {
			err = fmt.Errorf("has no figures of %s", name)
		}
		if err != nil {
			return nil, &diagnose.GoldenError{Path: path, Err: err}
		}
		files = append(files, f)
	}
	var all []figures.Figure
	for _, f := range files {
		for model, list := range f.Models {
			ofHash := func(f figures.Figure) bool { return f.Reduce == figures.SHA256 && f.Want.Text == sha256 }
			if model == name || name == "" && slices.ContainsFunc(list, ofHash) {
				all = append(all, list...)
			}
		}
	}
	return all, nil
}

// addFigures refuses figures that cannot be of the model, and gives texts to the cases
// whose runs they begin, or makes cases of them.
func (s *Suite) addFigures() error {
	var texts []figures.Figure
	for i := range s.figures {
		f := &s.figures[i]
		if err := s.fits(f); err != nil {
			return fmt.Errorf("the figures are not of the model %s: %s: %w", s.Name, f.Name, err)
		}
		if f.Reduce.OfText() {
			texts = append(texts, *f)
		}
	}
	// The longest first: a shorter one of the same prompt is its beginning.
	slices.SortStableFunc(texts, func(a, b figures.Figure) int { return cmp.Compare(b.New, a.New) })
	for _, f := range texts {
		run, err := s.runOf(&f)
		if err != nil {
			return err
		}
		c := s.caseOf(f.Part(), f.Text, run.Tokens[0], f.New)
		c.Greedy = append(c.Greedy, f)
	}
	return nil
}

// runOf returns the run of the model that a figure is of.
func (s *Suite) runOf(f *figures.Figure) (gpt2.Run, error) {
	rows := f.Tokens
	if f.Text != "" {
		ids, err := s.tokenizer.Encode(f.Text)
		if err != nil {
			return gpt2.Run{}, fmt.Errorf("figure %s: %w", f.Name, err)
		}
		rows = [][]int{ids}
	}
	if f.Prefix == nil {
		return gpt2.Run{Tokens: rows, New: max(1, f.New)}, nil
	}
	ids := rows[0]
	return gpt2.Run{Tokens: [][]int{f.Prefix}, New: len(ids), Feed: [][]int{ids[:len(ids)-1]}}, nil
}

// fits returns why a figure cannot be of the model; nil if it can.
func (s *Suite) fits(f *figures.Figure) error {
	if f.Reduce.OfWeights() {
		return nil
	}
	run, err := s.runOf(f)
	if err != nil {
		return err
	}
	c, ids := s.Model.Config(), slices.Concat(run.Tokens...)
	if f.Reduce == figures.Tokens {
		ids = f.Want.IDs()
	}
	switch n := len(run.Tokens[0]) + run.New - 1; {
	case n > c.Positions:
		return fmt.Errorf("%d positions: the model has %d", n, c.Positions)
	case slices.Max(ids) >= c.Vocab:
		return fmt.Errorf("token %d: the model has %d", slices.Max(ids), c.Vocab)
	case f.Reduce.OfText():
		return nil
	}
	shape, err := model.Shape(c, f.Stage, model.Dims{B: 1, T: 1})
	if err != nil {
		return err
	}
	indices := f.Index.IDs()
	if f.Reduce.Indices() {
		indices = f.Want.IDs()
	}
	if width := shape[len(shape)-1]; len(indices) > 0 && slices.Max(indices) >= width {
		return fmt.Errorf("index %d: a row of %s has %d elements", slices.Max(indices), f.Stage, width)
	}
	return nil
}

// caseOf returns the case that continues a prompt by n tokens or more, or makes it.
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

// checkFigures runs one checkpoint by the figures of stages; cases have those of texts.
func (s *Suite) checkFigures(ctx context.Context, n int) ([]Finding, error) {
	if s.byFigures == nil && len(s.figures) > 0 {
		s.say("%s: figures", s.Name)
		read, err := s.readFigures(ctx)
		if err != nil {
			return nil, fmt.Errorf("figures of %s: %w", s.Name, err)
		}
		s.byFigures = s.judgeFigures(read)
	}
	return of(n, s.byFigures), nil
}

// figureCloser returns the command that makes a golden of the run that a figure fails
// on and compares by it, to find the wrong stage.
func (s *Suite) figureCloser(f *figures.Figure) string {
	run, err := s.runOf(f)
	if err != nil {
		return ""
	}
	if run.Feed != nil {
		run.Tokens = [][]int{slices.Concat(run.Tokens[0], run.Feed[0])}
	}
	run.New, run.Feed = 1, nil
	const golden = "checkpoint12-golden"
	command, dir := "", s.folder()
	if dir == "" {
		dir = "checkpoint12-model"
		command = fmt.Sprintf("%s synth %s --out %s && ", s.o.Command, s.Name, dir)
	}
	return command + fmt.Sprintf("python3 reference/float64/export.py --model %s --name %s%s --new 1 --out %s && %s",
		words.Shell(words.Path(dir)), s.Name, flags("--tokens", run.Tokens), golden, s.dumpCommand(run, golden))
}
