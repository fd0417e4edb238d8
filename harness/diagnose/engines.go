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
	"checkpoint12/harness/dump"
)

// Reference is the reference, which shows which of the other engines is nearer to the truth:
// the plain forward pass in float64.
const Reference = "float64"

// EngineResult is one engine's golden of a case, and how the candidate compares
// with it.
type EngineResult struct {
	Engine string
	Source harness.Source
	Report *harness.Report
}

// OpenEngines opens the goldens in the folders below dir, one for each engine, the
// reference first and then by name. None is no error. All must be of the same
// weights and have the same prompt. A folder without a manifest is no golden.
func OpenEngines(dir string, s *harness.Schedule) ([]EngineResult, error) {
	paths, err := Folders(dir)
	if err != nil {
		return nil, err
	}
	var engines []EngineResult
	for _, path := range paths {
		if _, err := os.Stat(filepath.Join(path, dump.ManifestFile)); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		d, notes, err := dump.Open(path, s)
		if err == nil && len(notes) > 0 {
			err = errors.New(notes[0])
		}
		if err == nil && len(engines) > 0 {
			first := engines[0].Source
			err = d.Manifest().CheckWeights(first.Manifest().Model.Name, first.Manifest().Model.WeightsSHA256)
			if diff := cmp.Diff(first.Manifest().Tokens, d.Manifest().Tokens); err == nil && diff != "" {
				return nil, &harness.DiffError{
					Line: fmt.Sprintf("golden %s: its prompt tokens are not those of %s for the same case", path, first.Name()), Diff: diff,
				}
			}
		}
		if err != nil {
			return nil, &GoldenError{path, err}
		}
		engines = append(engines, EngineResult{Engine: filepath.Base(path), Source: d})
	}
	if i := slices.IndexFunc(engines, isReference); i > 0 {
		yard := engines[i]
		engines = slices.Insert(slices.Delete(engines, i, i+1), 0, yard)
	}
	return engines, nil
}

func isReference(e EngineResult) bool { return e.Engine == Reference }

// Folders lists the folders in dir, by name. A dir that does not exist has none.
func Folders(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for goldens: %w", err)
	}
	var paths []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, nil
}

// GoldenError is the error of a golden that cannot be used: it is damaged, bound
// to other weights, or not bound to any.
type GoldenError struct {
	Path string // the folder or file
	Err  error
}

// Error returns the golden and the reason.
func (e *GoldenError) Error() string { return fmt.Sprintf("golden %s: %v", e.Path, e.Err) }

// Unwrap returns the reason.
func (e *GoldenError) Unwrap() error { return e.Err }
