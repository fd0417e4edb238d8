package harness_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// order lists the module's packages, each of which imports only packages that come
// before it. Packages in one string do not import each other.
var order = []string{
	"model/activation model/atomicfile model/memory model/parallel model/regularfile model/strictjson model/vocab",
	"model/hub model/tokenizer model/safetensors model/internal/kernel",
	"model",
	"model/sample model/synthetic",
	"model/zoo",
	"harness/internal/names harness/internal/rounding harness/internal/shapes harness/internal/words",
	"harness",
	"harness/npy",
	"harness/dump harness/replay harness/report harness/report/page",
	"harness/align harness/report/ci",
	"harness/gpt2",
	"harness/gpt2/fit",
	"harness/gpt2/maps harness/gpt2/faults harness/verify/figures harness/verify/engine harness/weights",
	"harness/diagnose",
	"harness/selftest/naive",
	"harness/selftest/unlisted harness/verify harness/selftest",
	"harness/pictures",
	"harness/cli",
	".",
}

// forTests are packages that only tests import.
var forTests = strings.Fields("model/modeltest model/internal/kernel/ceiling model/hub/hubtest harness/internal/harnesstest harness/internal/gpt2test harness/internal/cuttest")

// Files are parsed here, whatever system they are for, so that the result is not
// taken from go test's cache when one of them has changed.
func TestImportsRunOneWay(t *testing.T) {
	place := map[string]int{}
	for i, group := range order {
		for _, p := range strings.Fields(group) {
			place[p] = i
		}
	}
	documented := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := e.Name(); e.IsDir() && path != ".." && (name[0] == '.' || name == "testdata" || name == "target" || name == "goldens") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		dir, err := filepath.Rel("..", filepath.Dir(path))
		if err != nil {
			return err
		}
		name := filepath.ToSlash(dir)
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		documented[name] = documented[name] || strings.HasPrefix(file.Doc.Text(), "Package ") || name == "."
		at, ok := place[name]
		if !ok && !slices.Contains(forTests, name) {
			t.Errorf("%s has no place in the order", name)
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if p, ours := strings.CutPrefix(imported, "checkpoint12/"); ours && ok {
				if i, known := place[p]; !known || i >= at {
					t.Errorf("%s imports %s, which does not come before it", path, p)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, ok := range documented {
		if !ok {
			t.Errorf("%s: no file says what the package is", name)
		}
	}
	for name := range place {
		if _, ok := documented[name]; !ok {
			t.Errorf("%s is in the order and not in the tree", name)
		}
	}
}
