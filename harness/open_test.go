package harness_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// opens are the functions that open files, by the path of their package.
var opens = map[string][]string{
	"os":        {"Open", "OpenFile", "ReadFile", "Create", "CreateTemp", "CopyFS", "DirFS", "NewFile", "OpenRoot", "OpenInRoot"},
	"io/ioutil": {"ReadFile", "TempFile"},
	"syscall":   {"Open", "CreateFile"},
}

// elsewhere are the calls outside model/regularfile that are as they should be, and why.
var elsewhere = map[string]string{
	"model/regularfile/regularfile.go os.OpenFile": "the one that the others go through",
	"model/atomicfile/atomicfile.go os.OpenFile":   "makes a file that must not be there",
	"model/atomicfile/draft.go os.OpenFile":        "forces to disk what it made",
	"harness/dump/writer.go os.DirFS":              "lists folders, and opens no file",
	"harness/dump/writer.go os.OpenFile":           "makes a file that must not be there",
	"harness/cli/reportfile.go os.OpenFile":        "writes a report to a pipe or a device, as it was told to, and waits for nobody",
	"harness/align/join.go os.DirFS":               "lists folders, and opens no file",
}

// Every file that is read is opened by model/regularfile, which refuses pipes, devices and
// more than a file of its kind can hold.
func TestFilesAreOpenedInOnePlace(t *testing.T) {
	found := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (e.Name() == "goldens" || e.Name() == "target" || len(e.Name()) > 2 && e.Name()[0] == '.'):
			return fs.SkipDir
		case e.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		names := map[string]string{} // of imports, by how the file calls them
		for _, i := range f.Imports {
			from, _ := strconv.Unquote(i.Path.Value)
			name := from[strings.LastIndex(from, "/")+1:]
			if i.Name != nil {
				name = i.Name.Name
			}
			if names[name] = from; name == "." && opens[from] != nil {
				t.Errorf("%s: imports all names of %s", path, from)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := call.X.(*ast.Ident); ok && slices.Contains(opens[names[x.Name]], call.Sel.Name) {
				found[strings.TrimPrefix(filepath.ToSlash(path), "../")+" "+names[x.Name]+"."+call.Sel.Name] = true
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for call := range found {
		if elsewhere[call] == "" {
			t.Errorf("%s: files are opened by model/regularfile; or say here why not", call)
		}
	}
	for call := range elsewhere {
		if !found[call] {
			t.Errorf("%s: is not called any more", call)
		}
	}
}
