package diagnose

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
)

// Yardstick is the engine that shows which of the others is nearer to the truth:
// the plain forward pass in float64.
const Yardstick = "float64"

// EngineResult is one engine's golden of a case, and how the candidate compares
// with it.
type EngineResult struct {
	Engine string
	Source harness.Source
	Report *harness.Report
}

// OpenEngines opens the goldens in the folders below dir, one for each engine, the
// yardstick first and then by name. None is no error. All must be of the same
// weights and have the same prompt.
func OpenEngines(dir string, s *harness.Schedule) ([]EngineResult, error) {
	paths, err := Folders(dir)
	if err != nil {
		return nil, err
	}
	var engines []EngineResult
	for _, path := range paths {
		d, notes, err := dump.Open(path, s)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, &GoldenError{path, err}
		case d.Manifest() == nil:
			continue // no golden: nothing binds it
		case len(notes) > 0:
			return nil, &GoldenError{path, errors.New(notes[0])}
		}
		if len(engines) > 0 {
			first := engines[0].Source
			if err := d.Manifest().CheckWeights(first.Manifest().Model.Name, first.Manifest().Model.WeightsSHA256); err != nil {
				return nil, &GoldenError{path, err}
			}
			if want, got := first.Manifest().Tokens, d.Manifest().Tokens; !cmp.Equal(want, got) {
				return nil, &harness.DiffError{
					Line: fmt.Sprintf("golden %s: its prompt tokens are not those of %s for the same case", path, first.Name()),
					Diff: cmp.Diff(want, got),
				}
			}
		}
		engines = append(engines, EngineResult{Engine: filepath.Base(path), Source: d})
	}
	if i := slices.IndexFunc(engines, func(e EngineResult) bool { return e.Engine == Yardstick }); i > 0 {
		yard := engines[i]
		engines = slices.Insert(slices.Delete(engines, i, i+1), 0, yard)
	}
	return engines, nil
}
