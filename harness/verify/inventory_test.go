package verify

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/model/modeltest"
)

const microFigures = `{"schema": 2, "models": {"micro": [
	{"name": "ln_f.l2", "source": "a test", "stage": "ln_f", "reduce": "l2", "tokens": [[1]], "want": [[1]], "abs": 1e3, "reason": "any"}]}}`

// withInventory returns a folder with goldens and figures of the micro model, listed.
func withInventory(t *testing.T) (root string) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "goldens")
	m, files := modeltest.New(t, modeltest.Micro, 1), inventory{}
	for _, engine := range []string{"a", "b"} {
		fixture{engine: engine, change: func(step int, stage string, _ harness.Tensor) bool {
			act := stage == "h.1.mlp.act" && (engine == "a" || step != 2)
			return act || strings.HasSuffix(stage, ".ln_1") || stage == "next_token"
		}}.write(t, m, root)
	}
	write(t, filepath.Join(root, "micro", "figures.json"), []byte(microFigures))
	for _, path := range []string{"micro/figures.json", "micro/hello/a/manifest.json", "micro/hello/b/manifest.json"} {
		data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(path)))
		if err != nil {
			t.Fatal(err)
		}
		f := listed{SHA256: fmt.Sprintf("%x", sha256.Sum256(data))}
		if strings.HasSuffix(path, "manifest.json") {
			f.Covers = map[string]string{"h.*.ln_1": "0-3", "next_token": "0,2-3"}
		}
		files[path] = f
	}
	data, err := json.Marshal(map[string]any{"schema": 1, "about": "a test", "files": files})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, inventoryName), data)
	return root
}

// A folder that has an inventory has what it lists, and nothing else; what is damaged
// within a golden is its manifest's to tell.
func TestInventory(t *testing.T) {
	type change = func(t *testing.T, root string)
	nothing := func(*testing.T, string) {}
	add := func(path, text string) change {
		return func(t *testing.T, root string) { write(t, filepath.Join(root, path), []byte(text)) }
	}
	remove := func(path string) change {
		return func(t *testing.T, root string) {
			if err := os.RemoveAll(filepath.Join(root, path)); err != nil {
				t.Fatal(err)
			}
		}
	}
	edit := func(path, was, is string) change {
		return func(t *testing.T, root string) {
			data, err := os.ReadFile(filepath.Join(root, path))
			if err != nil || !strings.Contains(string(data), was) {
				t.Fatalf("%s in %s: %v", was, path, err)
			}
			write(t, filepath.Join(root, path), []byte(strings.ReplaceAll(string(data), was, is)))
		}
	}
	link := func(path string) change {
		return func(t *testing.T, root string) {
			path := filepath.Join(root, path)
			if err := os.Rename(path, path+"-moved"); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Base(path)+"-moved", path); err != nil {
				t.Skipf("no symbolic links here: %v", err)
			}
		}
	}
	for _, tt := range []struct {
		name   string
		change change
		path   string // that the error names; "" for a pass
		want   string
	}{
		{"as listed", nothing, "", ""},
		{"a model that is not listed", add("other/case/engine/manifest.json", "{}"), "", ""},
		{"an engine removed", remove("micro/hello/b"), "micro/hello/b/manifest.json", "is not there"},
		{"a case removed", remove("micro/hello"), "micro/hello/a/manifest.json", "is not there"},
		{"the model removed", remove("micro"), "micro/figures.json", "is not there"},
		{"the figures removed", remove("micro/figures.json"), "micro/figures.json", "is not there"},
		{"a tolerance of the figures changed", edit("micro/figures.json", "1e3", "1e9"), "micro/figures.json", "has changed since"},
		{"a manifest changed", edit("micro/hello/a/manifest.json", `"schema"`, ` "schema"`), "micro/hello/a/manifest.json", "has changed since"},
		{"an engine more", add("micro/hello/c/manifest.json", "{}"), "micro/hello/c/manifest.json", "is not in inventory.json"},
		{"a file more", add("micro/hello/notes.txt", ""), "micro/hello/notes.txt", "is not in inventory.json"},
		{"a model that is a link", link("micro"), "micro", "is a link"},
		{"a case that is a link", link("micro/hello"), "micro/hello", "is a link"},
		{"an engine that is a link", link("micro/hello/a"), "micro/hello/a", "is a link"},
		{"an inventory that is a link", link(inventoryName), inventoryName, "is a link"},
		{"a link to nowhere", func(t *testing.T, root string) {
			link(inventoryName)(t, root)
			remove(inventoryName+"-moved")(t, root)
		}, inventoryName, "is a link"},
		{"a step less than listed", edit(inventoryName, "0-3", "0-4"), "micro/hello/a", "lacks step_04/h.0.ln_1"},
		{"a stage less than listed", edit(inventoryName, `"h.*.ln_1":"0-3"`, `"h.1.mlp.act":"0-3"`), "micro/hello/b", "lacks step_02/h.1.mlp.act"},
		{"another schema", edit(inventoryName, `"schema":1`, `"schema":2`), inventoryName, "schema 2"},
		{"a key that is none", edit(inventoryName, `"sha256"`, `"sha1"`), inventoryName, "sha1"},
		{"cut short", edit(inventoryName, "}", ""), inventoryName, "unexpected end"},
		{"this repository's removed", func(t *testing.T, root string) {
			remove(inventoryName)(t, root)
			add("../go.mod", "module checkpoint12\n")(t, root)
		}, inventoryName, "no such file"},
		{"another's removed", remove(inventoryName), "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := withInventory(t)
			tt.change(t, root)
			s, err := microSuite(t, root)
			if err == nil {
				_, err = s.Verify(t.Context())
			}
			var golden *diagnose.GoldenError
			if tt.path == "" && err != nil {
				t.Error(err)
			}
			if tt.path != "" && (!errors.As(err, &golden) || golden.Path != filepath.Join(root, tt.path) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want one that names %s and says %q", err, tt.path, tt.want)
			}
		})
	}
	if inv, err := readInventory(gpt2test.Dir); err != nil || len(inv) < 30 {
		t.Errorf("this repository's has %d files, %v", len(inv), err)
	}
}
