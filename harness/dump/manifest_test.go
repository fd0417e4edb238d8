package dump

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
)

// validManifest is a manifest with every field, as Python would write it.
const validManifest = `{
 "schema": 1,
 "model": {"name": "synthetic-tiny", "config": {"n_layer": 2, "n_embd": 64}, "weights_sha256": "` + hash + `"},
 "case": "hello", "prompt": "Hello.", "tokens": [[15496, 13]], "new": 10, "temperatures": [0.5, 1, 2],
 "engine": {"name": "candle", "version": "0.11.1", "dtype": "float32"},
 "exporter": [{"path": "reference/candle/src/main.rs", "sha256": "` + hash + `"}],
 "files": [{"path": "tokens.npy", "shape": [1, 12], "dtype": "int64", "sha256": "` + hash + `"},
           {"path": "step_00/wte.npy", "step": 0, "stage": "wte", "shape": [1, 2, 64], "dtype": "float32", "sha256": "` + hash + `"}],
 "left_out": [{"stages": "h.*.attn.scores", "steps": "all", "reason": "flash attention never forms them"}] }`

const hash = "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"

func TestParseManifest(t *testing.T) {
	m, err := ParseManifest([]byte(validManifest))
	if err != nil {
		t.Fatal(err)
	}
	zero := 0
	want := &harness.Manifest{
		Schema: 1,
		Model:  harness.ManifestModel{Name: "synthetic-tiny", Config: json.RawMessage(`{"n_layer": 2, "n_embd": 64}`), WeightsSHA256: hash},
		Case:   "hello", Prompt: "Hello.", Tokens: [][]int{{15496, 13}}, New: 10, Temperatures: []float64{0.5, 1, 2},
		Engine:   harness.Engine{Name: "candle", Version: "0.11.1", DType: "float32"},
		Exporter: []harness.SourceFile{{Path: "reference/candle/src/main.rs", SHA256: hash}},
		Files: []harness.File{
			{Path: "tokens.npy", Shape: []int{1, 12}, DType: "int64", SHA256: hash},
			{Path: "step_00/wte.npy", Step: &zero, Stage: "wte", Shape: []int{1, 2, 64}, DType: "float32", SHA256: hash},
		},
		LeftOut: []harness.LeftOut{{Stages: "h.*.attn.scores", Steps: "all", Reason: "flash attention never forms them"}},
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestParseManifestRefuses(t *testing.T) {
	for _, c := range []struct {
		reason    string
		old, with string // in validManifest
		want      string
	}{
		{"no JSON", validManifest, "{", "unexpected end"},
		{"something after it", validManifest, validManifest + "{}", "after top-level value"},
		{"a list", validManifest, "[]", "cannot unmarshal"},
		{"null", validManifest, "null", `"schema" is not 1`},
		{"no schema", `"schema": 1,`, ``, `"schema" is not 1`},
		{"a schema from the future", `"schema": 1`, `"schema": 2`, `"schema" is not 1`},
		{"an unknown field", `"new": 10`, `"new": 10, "neu": 1`, `unknown field "neu"`},
		{"an unknown field of a file", `"stage": "wte"`, `"stage": "wte", "size": 1`, `unknown field "size"`},
		{"a key twice", `"new": 10`, `"new": 10, "new": 11`, `"new" is there twice`},
		{"a key twice further in", `"version": "0.11.1"`, `"version": "0.11.1", "version": "0.11.2"`, `"version" is there twice`},
		{"no model", `"name": "synthetic-tiny", `, ``, "model.name"},
		{"a config that is no object", `{"n_layer": 2, "n_embd": 64}`, `null`, "model.config is not an object"},
		{"no engine", `"name": "candle", `, ``, "engine.name"},
		{"a hash that is none", `"weights_sha256": "306c`, `"weights_sha256": "306C`, "weights_sha256"},
		{"no new token", `"new": 10`, `"new": 0`, "new is 0"},
		{"a negative number of new tokens", `"new": 10`, `"new": -1`, "new is -1"},
		{"rows of two lengths", `[[15496, 13]]`, `[[15496, 13], [1]]`, "row 1 has 1 ids"},
		{"an empty prompt", `[[15496, 13]]`, `[[]]`, "no ids"},
		{"a negative id", `[[15496, 13]]`, `[[15496, -13]]`, "negative"},
		{"an id that is no integer", `[[15496, 13]]`, `[[15496, 1.5]]`, "cannot unmarshal"},
		{"a temperature of 0", `[0.5, 1, 2]`, `[0, 1, 2]`, "not positive"},
		{"an exporter's hash that is none", `main.rs", "sha256": "306`, `main.rs", "sha256": "`, "exporter"},
		{"no file", `[{"path": "tokens.npy", "shape": [1, 12], "dtype": "int64", "sha256": "` + hash + `"},`, `[`, "tokens.npy is missing"},
		{"a file twice", `{"path": "step_00/wte.npy"`, `{"path": "tokens.npy", "shape": [1, 12], "dtype": "int64", "sha256": "` + hash + `"}, {"path": "step_00/wte.npy"`, "twice"},
		{"a path out of the folder", `"step_00/wte.npy"`, `"../step_00/wte.npy"`, "belongs at step_00/wte.npy"},
		{"a path of another step", `"step": 0`, `"step": 1`, "belongs at step_01/wte.npy"},
		{"a path of another stage", `"stage": "wte"`, `"stage": "wpe"`, "belongs at step_00/wpe.npy"},
		{"a stage that is a path", `"step_00/wte.npy", "step": 0, "stage": "wte"`, `"step_00/../wte.npy", "step": 0, "stage": "../wte"`, "step or stage is missing"},
		{"a file without a step", `"step": 0, "stage": "wte"`, `"stage": "wte"`, "step or stage is missing"},
		{"a negative step", `"step": 0`, `"step": -1`, "step or stage is missing"},
		{"a step beyond the last", `"step_00/wte.npy", "step": 0`, `"step_10/wte.npy", "step": 10`, "step 10 of a dump of 10"},
		{"a stage for the tokens", `"path": "tokens.npy", `, `"path": "tokens.npy", "stage": "wte", `, "no step and no stage"},
		{"tokens as values", `"int64"`, `"float32"`, "want int64"},
		{"a dtype that is none of the two", `"float32", "sha256"`, `"float64", "sha256"`, "want float32 or int64"},
		{"a negative dimension", `[1, 2, 64]`, `[1, -2, 64]`, "shape"},
		{"a shape that overflows", `[1, 2, 64]`, `[4294967296, 4294967296, 64]`, "shape"},
		{"no shape", `"shape": [1, 2, 64], `, ``, "shape"},
		{"a rule without a reason", `"reason": "flash attention never forms them"`, `"reason": ""`, "without a reason"},
		{"a rule with a bad pattern", `"h.*.attn.scores"`, `"h.[.attn.scores"`, "pattern"},
		{"a rule with bad steps", `"steps": "all"`, `"steps": "some"`, "steps"},
	} {
		text := strings.Replace(validManifest, c.old, c.with, 1)
		if text == validManifest {
			t.Errorf("%s: nothing replaced", c.reason)
		}
		if m, err := ParseManifest([]byte(text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, error %v, want %q", c.reason, m, err, c.want)
		}
	}
}

func TestReadManifest(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadManifest(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none there: %v", err)
	}
	writeFile(t, filepath.Join(dir, ManifestFile), []byte("{"))
	if _, err := ReadManifest(dir); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, ManifestFile)) {
		t.Errorf("a bad one: %v", err)
	}
	if err := os.Truncate(filepath.Join(dir, ManifestFile), maxManifest+1); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadManifest(dir); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("one of more than the limit: %v", err)
	}
}

// Whatever is changed in a dump after it was made is found, and named.
func TestValidateNamesTheFile(t *testing.T) {
	edit := func(old, with string) func(dir string) {
		return func(dir string) {
			path := filepath.Join(dir, ManifestFile)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Replace(string(b), old, with, 1)
			if text == string(b) {
				t.Fatalf("%q is not in the manifest", old)
			}
			writeFile(t, path, []byte(text))
		}
	}
	for _, c := range []struct {
		reason string
		change func(dir string)
		file   string
		want   string
	}{
		{"one bit of a payload", func(dir string) {
			path := filepath.Join(dir, "step_01/a.npy")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)-1] ^= 1
			writeFile(t, path, b)
		}, "step_01/a.npy", "changed after the dump was made"},
		{"a file removed", func(dir string) { os.Remove(filepath.Join(dir, "step_00/b.npy")) }, "step_00/b.npy", "no such file"},
		{"a file added to a step", func(dir string) { writeFile(t, filepath.Join(dir, "step_01/b.npy"), nil) }, "step_01/b.npy", "not in manifest.json"},
		{"no array added to a step", func(dir string) { writeFile(t, filepath.Join(dir, "step_01/x.txt"), nil) }, "step_01/x.txt", "not in manifest.json"},
		{"a step added", func(dir string) { writeFile(t, filepath.Join(dir, "step_02/a.npy"), nil) }, "step_02/a.npy", "not in manifest.json"},
		{"another shape", func(dir string) { writeNPY(t, filepath.Join(dir, "step_00/a.npy"), "<f4", "(2, 1)", make([]byte, 8)) }, "step_00/a.npy", "shape [2 1], but manifest.json says [1 2]"},
		{"another dtype", func(dir string) { writeNPY(t, filepath.Join(dir, "step_00/a.npy"), "<i8", "(1, 2)", make([]byte, 16)) }, "step_00/a.npy", "dtype int64"},
		{"a dtype that only foreign dumps may have", func(dir string) { writeNPY(t, filepath.Join(dir, "step_00/a.npy"), "<f8", "(1, 2)", make([]byte, 16)) }, "step_00/a.npy", "<f8"},
		{"another prompt in the manifest", edit("   7\n", "   8\n"), "tokens.npy", "does not begin with the tokens"},
		{"more new tokens in the manifest", edit(`"new": 2`, `"new": 3`), "tokens.npy", "shape [1 3], but manifest.json says [1 4]"},
		{"tokens taken out of the manifest's prompt and files", edit(`{
   "path": "tokens.npy",`, `{
   "path": "step_00/z.npy", "step": 0, "stage": "z",`), "manifest.json", "tokens.npy is missing"},
	} {
		dir, s := writeTestDump(t)
		c.change(dir)
		_, _, err := Open(dir, s)
		if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, c.file)) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %s: %s", c.reason, err, c.file, c.want)
		}
	}
}

func TestCheckWeights(t *testing.T) {
	m := harness.Manifest{Model: harness.ManifestModel{Name: "a", WeightsSHA256: hash}, Engine: harness.Engine{Name: "candle"}}
	if err := m.CheckWeights("b", hash); err != nil {
		t.Error(err)
	}
	other := strings.Repeat("0", 64)
	if err := m.CheckWeights("b", other); err == nil || !strings.Contains(err.Error(), "candle") || !strings.Contains(err.Error(), "of b") {
		t.Errorf("other weights: %v", err)
	}
	m.Model.WeightsSHA256 = ""
	if err := m.CheckWeights("b", other); err == nil {
		t.Error("no weights at all")
	}
}

// FuzzParseManifest asks that any bytes are refused or are a manifest that is
// written and read again the same.
func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(validManifest))
	f.Add([]byte(`{"schema": 1, "model": {"name": "m"}, "engine": {"name": "e"}, "files": [
		{"path": "step_00/a.npy", "step": 0, "stage": "a", "shape": [], "dtype": "float32", "sha256": "` + hash + `"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseManifest(b)
		if err != nil {
			return
		}
		for _, file := range m.Files {
			if !filepath.IsLocal(file.Path) {
				t.Fatalf("path %q leaves the folder", file.Path)
			}
		}
		out, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseManifest(out)
		if err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		// The config's blanks are not kept, and an empty list may become none.
		second, err := json.Marshal(again)
		if err != nil || string(second) != string(out) {
			t.Fatalf("%v:\n%s\n%s", err, out, second)
		}
	})
}
