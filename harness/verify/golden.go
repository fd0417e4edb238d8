package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/names"
)

// Golden is one engine's dump of a case.
type Golden struct {
	Engine string // the folder's name
	Dir    string

	manifest *harness.Manifest
	dump     *dump.Dump // opened when the case is run
}

// findGoldens lists the goldens of a model below root, which holds
// MODEL/CASE/ENGINE: those below its name or, where name is "", those whose
// manifest has the hash of its weights. What lies below the name of the model
// and cannot be its golden is an error, never passed over.
func findGoldens(root, name, sha256 string) ([]*Case, error) {
	below, byHash := filepath.Join(root, name), name == ""
	models := []string{below}
	if byHash {
		var err error
		if models, err = diagnose.Folders(root); err != nil {
			return nil, err
		}
	}
	var cases []*Case
	for _, m := range models {
		of, err := goldensOf(m, sha256, byHash)
		if err != nil {
			return nil, err
		}
		for _, c := range of {
			if len(models) > 1 && slices.ContainsFunc(cases, func(o *Case) bool { return o.Name == c.Name }) {
				c.Name = filepath.Base(m) + "-" + c.Name // two model names for the same weights
			}
			cases = append(cases, c)
		}
	}
	return cases, nil
}

// goldensOf lists the cases of one model's folder.
func goldensOf(dir, sha256 string, byHash bool) ([]*Case, error) {
	names, err := diagnose.Folders(dir)
	if err != nil {
		return nil, err
	}
	var cases []*Case
	for _, caseDir := range names {
		engines, err := diagnose.Folders(caseDir)
		if err != nil {
			return nil, err
		}
		c := &Case{Name: filepath.Base(caseDir)}
		for _, path := range engines {
			man, err := dump.ReadManifest(path)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				err = errors.New("has no manifest.json, so nothing binds it to weights; compare takes such a folder, verify does not")
			case err != nil:
			case byHash && man.Model.WeightsSHA256 != sha256:
				continue
			default:
				err = man.CheckWeights(man.Model.Name, sha256)
			}
			if err == nil {
				err = checkPlace(man, filepath.Base(path), c.Name)
			}
			if err == nil {
				err = c.add(&Golden{Engine: filepath.Base(path), Dir: path, manifest: man})
			}
			if err != nil {
				return nil, &diagnose.GoldenError{Path: path, Err: err}
			}
		}
		if len(c.Goldens) > 0 {
			cases = append(cases, c)
		}
	}
	return cases, nil
}

// checkPlace returns an error for a golden that does not belong in its place,
// GOLDENS/MODEL/CASE/ENGINE: a dump of the Go model, or of another engine or case.
func checkPlace(man *harness.Manifest, engine, name string) error {
	const remake = "; remake it: python3 scripts/regenerate_goldens.py"
	switch {
	case man.Engine.Name == gpt2.EngineName:
		return errors.New("was dumped by the Go model, which cannot judge itself" + remake)
	case man.Engine.Name != engine:
		return fmt.Errorf("was made by engine %q, not by %q as its folder says%s", man.Engine.Name, engine, remake)
	case man.Case != "" && man.Case != name:
		return fmt.Errorf("is of case %q, not of %q as its folder says%s", man.Case, name, remake)
	}
	return nil
}

// add takes a golden into the case: all of a case have the same prompt.
func (c *Case) add(g *Golden) error {
	m := g.manifest
	if len(m.Tokens) == 0 {
		return errors.New(`manifest.json has no "tokens", so its prompt is not known`)
	}
	if c.Tokens != nil && !cmp.Equal(c.Tokens, m.Tokens) {
		return &harness.DiffError{
			Line: fmt.Sprintf("its prompt tokens are not those of %s for the same case", c.Goldens[0].Dir),
			Diff: cmp.Diff(c.Tokens, m.Tokens),
		}
	}
	if c.Prompt == "" {
		c.Prompt = m.Prompt
	}
	c.Tokens, c.New = m.Tokens, max(c.New, m.New)
	for _, t := range m.Temperatures {
		if !slices.Contains(c.temperatures, t) {
			c.temperatures = append(c.temperatures, t)
		}
	}
	c.Goldens = append(c.Goldens, g)
	return nil
}

// open reads and checks the golden's files, once. Errors name the file.
func (g *Golden) open(s *harness.Schedule) error {
	if g.dump != nil {
		return nil
	}
	d, notes, err := dump.Open(g.Dir, s)
	if err != nil {
		return &diagnose.GoldenError{Path: g.Dir, Err: err}
	}
	for _, n := range notes {
		// A manifest lists every file, so a note here is a stage that is none.
		return &diagnose.GoldenError{Path: g.Dir, Err: errors.New(n)}
	}
	g.dump = d
	return nil
}

// has reports whether the golden has the stage at the step.
func (g *Golden) has(step int, stage string) bool {
	_, ok := g.dump.Shape(step, stage)
	return ok
}

// forcedTokens returns the tokens that the golden's decode steps were fed, B rows
// of New-1 ids.
func (g *Golden) forcedTokens() [][]int {
	t, prompt := g.dump.Tokens(), len(g.manifest.Tokens[0])
	rows := make([][]int, t.Shape[0])
	for b := range rows {
		row := t.I64[b*t.Shape[1] : (b+1)*t.Shape[1]]
		for _, id := range row[prompt : len(row)-1] {
			rows[b] = append(rows[b], int(id))
		}
	}
	return rows
}

// forced reports whether the golden was fed other tokens than its own choices, so
// that its tokens are no text of its own.
func (g *Golden) forced() (bool, error) {
	t, prompt := g.dump.Tokens(), len(g.manifest.Tokens[0])
	for k := range g.manifest.New {
		if !g.has(k, "next_token") {
			continue
		}
		chosen, err := g.dump.Tensor(k, "next_token")
		if err != nil {
			return false, &diagnose.GoldenError{Path: g.Dir, Err: err}
		}
		for b, id := range chosen.I64 {
			if b < t.Shape[0] && t.I64[b*t.Shape[1]+prompt+k] != id {
				return true, nil
			}
		}
	}
	return false, nil
}

// leftOut returns the manifest's reason why the golden lacks a stage of the
// checkpoint. A rule for all steps comes before one for some.
func (g *Golden) leftOut(checkpoint int, s *harness.Schedule) (reason string) {
	for _, l := range g.manifest.LeftOut {
		for _, st := range s.Stages() {
			if st.Checkpoint != checkpoint || !names.Match(l.Stages, st.Name) {
				continue
			}
			if l.Steps == "all" {
				return l.Reason
			}
			if reason == "" {
				reason = l.Reason
			}
		}
	}
	return reason
}
