package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/gpt2"
)

// Golden is one engine's dump of a case.
type Golden struct {
	Engine string // the folder's name
	Dir    string

	covers   map[string]string // by the inventory
	manifest *harness.Manifest
	dump     *dump.Dump // opened when the case is run, as are
	tokens   [][]int    // the prompt, the ids fed after it and the last choice
	fedOther bool       // it was fed tokens other than its own choices
}

// findGoldens returns the cases in folders of models, CASE/ENGINE, below root, which must
// be as its inventory says. A model without a name has the goldens of its weights; for
// others, a folder that is no golden is an error.
func findGoldens(root string, models []string, name, sha256 string) ([]*Case, error) {
	var cases []*Case
	inv, err := readInventory(root)
	if err == nil {
		err = inv.check(root, models, name)
	}
	if err != nil {
		return nil, err
	}
	for _, m := range models {
		dirs, err := diagnose.Folders(m)
		if err != nil {
			return nil, err
		}
		for _, dir := range dirs {
			engines, err := diagnose.Folders(dir)
			if err != nil {
				return nil, err
			}
			c := &Case{Name: filepath.Base(dir)}
			for _, path := range engines {
				man, err := dump.ReadManifest(path)
				switch {
				case errors.Is(err, fs.ErrNotExist):
					err = errors.New("has no manifest.json, so nothing binds it to weights; compare takes such a folder, verify does not")
				case err != nil:
				case name == "" && man.Model.WeightsSHA256 != sha256:
					continue
				default:
					engine := filepath.Base(path)
					covers := inv[strings.Join([]string{filepath.Base(m), c.Name, engine, dump.ManifestFile}, "/")].Covers
					err = c.add(&Golden{Engine: engine, Dir: path, covers: covers, manifest: man}, sha256)
				}
				if err != nil {
					return nil, &diagnose.GoldenError{Path: path, Err: err}
				}
			}
			if slices.ContainsFunc(cases, func(o *Case) bool { return o.Name == c.Name }) {
				c.Name = filepath.Base(m) + "-" + c.Name // two model names for the same weights
			}
			if len(c.Goldens) > 0 {
				cases = append(cases, c)
			}
		}
	}
	return cases, nil
}

// add takes a golden into the case. It must have these weights, the case and engine of
// its folder, and the prompt of the others.
func (c *Case) add(g *Golden, sha256 string) error {
	const remake = "; remake it: python3 scripts/regenerate_goldens.py"
	m := g.manifest
	if err := m.CheckWeights(m.Model.Name, sha256); err != nil {
		return err
	}
	switch {
	case m.Engine.Name == gpt2.EngineName:
		return errors.New("was dumped by the Go model, which cannot judge itself" + remake)
	case m.Engine.Name != g.Engine:
		return fmt.Errorf("was made by engine %q, not by %q as its folder says%s", m.Engine.Name, g.Engine, remake)
	case m.Case != "" && m.Case != c.Name:
		return fmt.Errorf("is of case %q, not of %q as its folder says%s", m.Case, c.Name, remake)
	case len(m.Tokens) == 0:
		return errors.New(`manifest.json has no "tokens", so its prompt is not known`)
	case c.Tokens != nil && !cmp.Equal(c.Tokens, m.Tokens):
		return &harness.DiffError{
			Line: fmt.Sprintf("its prompt tokens are not those of %s for the same case", c.Goldens[0].Dir),
			Diff: cmp.Diff(c.Tokens, m.Tokens),
		}
	case c.Prompt != "" && m.Prompt != "" && c.Prompt != m.Prompt:
		return fmt.Errorf("its prompt is %q, that of %s for the same case %q", m.Prompt, c.Goldens[0].Dir, c.Prompt)
	}
	if c.Prompt == "" {
		c.Prompt = m.Prompt
	}
	c.Tokens, c.New = m.Tokens, max(c.New, m.New)
	c.Goldens = append(c.Goldens, g)
	return nil
}

// open reads and checks the golden's files, once. Errors name the file.
func (g *Golden) open(s *Suite) error {
	if g.dump != nil {
		return nil
	}
	d, notes, err := dump.Open(g.Dir, s.schedule)
	if err == nil && len(notes) > 0 {
		err = errors.New(notes[0]) // a manifest lists every file: this is a stage that is none
	}
	if err == nil {
		err = gpt2.CheckModel(s.Model, d)
	}
	if err == nil {
		err = gpt2.CheckComplete(s.schedule, d)
	}
	if err == nil {
		g.dump, g.tokens = d, d.Tokens()
		err = g.checkCovers(s.schedule)
	}
	for k := 0; err == nil && k < g.manifest.New; k++ {
		var chosen harness.Tensor
		if g.has(k, "next_token") {
			chosen, err = d.Tensor(k, "next_token")
		}
		for b, id := range chosen.I64 {
			g.fedOther = g.fedOther || b < len(g.tokens) && g.tokens[b][g.prompt()+k] != int(id)
		}
	}
	if err != nil {
		return &diagnose.GoldenError{Path: g.Dir, Err: err}
	}
	return nil
}

// has reports whether the golden has the stage at the step.
func (g *Golden) has(step int, stage string) bool {
	_, ok := g.dump.Shape(step, stage)
	return ok
}

// wants reports whether the golden has the stage, or needs it to be judged.
func (g *Golden) wants(step int, stage string) bool {
	return g.has(step, stage) ||
		stage == "logits_last" && slices.ContainsFunc(g.dump.Stages(step), func(st string) bool {
			return strings.HasPrefix(st, "probs_t")
		})
}

// prompt returns the prompt's length.
func (g *Golden) prompt() int { return len(g.manifest.Tokens[0]) }

// feed returns the tokens fed on the golden's decode steps, B rows of New-1 ids.
func (g *Golden) feed() [][]int {
	var rows [][]int
	for _, row := range g.tokens {
		rows = append(rows, row[g.prompt():len(row)-1])
	}
	return rows
}

// firstOther returns the index of the first wanted item, such as a token, that a row does
// not have there, or -1.
func firstOther[T comparable](row, want []T) int {
	for i, id := range want {
		if i >= len(row) || row[i] != id {
			return i
		}
	}
	return -1
}
