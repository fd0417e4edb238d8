package diagnose

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/align"
	"checkpoint12/harness/dump"
)

// Reference is the engine that shows which of the others is nearer to the truth: the plain
// forward pass in float64.
const Reference = "float64"

// An EngineResult is one engine's golden of a case, and the candidate's comparison
// with it.
type EngineResult struct {
	Engine string
	Source harness.Source
	Report *harness.Report
	Hints  align.Hints // of a Source whose names a map reads
}

// OpenEngines opens the goldens in the folders below dir, one for each engine, the
// reference first and then by name. None is no error. All must have a manifest of the
// engine that the folder is named after, be of the same weights and have the same prompt.
func OpenEngines(dir string, s *harness.Schedule) ([]EngineResult, error) {
	paths, err := Engines(dir)
	if err != nil {
		return nil, err
	}
	var engines []EngineResult
	for _, path := range paths {
		d, notes, err := dump.Open(path, s)
		switch {
		case err != nil:
		case d.Manifest() == nil:
			err = fmt.Errorf("has no %s, so nothing binds it to what made it: name it alone", dump.ManifestFile)
		case d.Manifest().Engine.Name != filepath.Base(path):
			err = fmt.Errorf("was made by engine %q, not by %q as its folder says: rename the folder",
				d.Manifest().Engine.Name, filepath.Base(path))
		case len(notes) > 0:
			err = errors.New(notes[0])
		}
		if err == nil && len(engines) > 0 {
			first := engines[0].Source
			err = d.Manifest().CheckWeights(first.Manifest().Model.Name, first.Manifest().Model.WeightsSHA256)
			if diff := cmp.Diff(first.Manifest().Tokens, d.Manifest().Tokens); err == nil && diff != "" {
				line := fmt.Sprintf("golden %s: its prompt tokens are not those of %s for the same case",
					path, first.Name())
				return nil, &harness.DiffError{Line: line, Diff: diff}
			}
		}
		if err != nil {
			return nil, &GoldenError{path, err}
		}
		engines = append(engines, EngineResult{Engine: filepath.Base(path), Source: d})
	}
	if i := slices.IndexFunc(engines, isReference); i > 0 {
		reference := engines[i]
		engines = slices.Insert(slices.Delete(engines, i, i+1), 0, reference)
	}
	return engines, nil
}

// OpenCases puts the goldens of all engines of the cases, which are folders, into c. All
// must be of the same weights.
func (c *Comparison) OpenCases(dirs ...string) error {
	for _, dir := range dirs {
		engines, err := OpenEngines(dir, c.Schedule)
		if err != nil {
			return err
		}
		c.Goldens = append(c.Goldens, engines...)
	}
	for _, g := range c.Goldens {
		first := c.Goldens[0].Source.Manifest().Model
		if err := g.Source.Manifest().CheckWeights(first.Name, first.WeightsSHA256); err != nil {
			return &GoldenError{g.Source.Name(), err}
		}
	}
	return nil
}

// WithoutCandidate returns the goldens whose files are not the candidate's own, as
// nothing can be judged by itself, and how many tensors it shares with one that is left.
// It is an error if this leaves none of the goldens.
func WithoutCandidate(goldens []EngineResult, candidate *dump.Dump) (others []EngineResult, shared int, err error) {
	others = slices.DeleteFunc(slices.Clone(goldens), func(e EngineResult) bool {
		d, ok := e.Source.(*dump.Dump)
		if !ok {
			return false
		}
		same, apart := dump.SharedFiles(d, candidate)
		if apart > 0 {
			shared = max(shared, same)
		}
		return same > 0 && apart == 0
	})
	if len(others) == 0 && len(goldens) > 0 {
		return nil, 0, fmt.Errorf("%s: is the golden %s itself, or links to its files, so there is nothing to compare: "+
			"give the dump of another run", candidate.Name(), goldens[0].Source.Name())
	}
	return others, shared, nil
}

// isReference reports whether an engine is the reference.
func isReference(e EngineResult) bool { return e.Engine == Reference }

// Engines lists the folders in dir, links to folders among them, that hold a dump, by
// name.
func Engines(dir string) ([]string, error) {
	paths, err := Folders(dir)
	return slices.DeleteFunc(paths, func(path string) bool { return !holdsDump(path) }), err
}

// Folders lists the folders in dir, links to folders among them, by name. Hidden ones
// are not listed, but one that holds a dump is an error, as is a link to nowhere. A
// dir that does not exist has none.
func Folders(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for goldens: %w", err)
	}
	var paths []string
	for _, e := range entries {
		path, hidden := filepath.Join(dir, e.Name()), strings.HasPrefix(e.Name(), ".")
		info, err := os.Stat(path) // of what a link leads to
		switch {
		case err != nil && !hidden:
			return nil, &GoldenError{path, fmt.Errorf("cannot be followed: %w", err)}
		case err != nil || !info.IsDir():
		case !hidden:
			paths = append(paths, path)
		case holdsDump(path):
			err := errors.New("is hidden, as is what a killed dump leaves: remove it, or give it another name")
			return nil, &GoldenError{path, err}
		}
	}
	return paths, nil
}

// holdsDump reports whether a folder has a dump's manifest or a dump's steps.
func holdsDump(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, dump.ManifestFile))
	return err == nil || HasSteps(dir)
}

// HasSteps reports whether a folder has a dump's steps.
func HasSteps(dir string) bool {
	steps, _ := filepath.Glob(filepath.Join(dir, "step_*"))
	return len(steps) > 0
}

// A GoldenError is the error of a golden that cannot be used: it is damaged, bound
// to other weights, or not bound to any.
type GoldenError struct {
	Path string // the folder or file
	Err  error
}

// Error returns the golden and the reason.
func (e *GoldenError) Error() string { return fmt.Sprintf("golden %s: %v", e.Path, e.Err) }

// Unwrap returns the reason.
func (e *GoldenError) Unwrap() error { return e.Err }
