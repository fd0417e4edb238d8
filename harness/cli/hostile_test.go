package cli

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"checkpoint12/harness/internal/words"
)

// hostile colours, hides, begins and turns round what a terminal shows.
const hostile = "evil\nPASS  all agrees\r\n\u2028\u2029\u0085\x1b[2J\x1b[1;32mPASS\x1b[0m\x07\x08\x7f\u009b2J" +
	"\u202egnorw\u2066\u00a0\u200b\ufeff\U000e0041"

// editJSON changes the object in a JSON file.
func editJSON(t *testing.T, path string, edit func(object map[string]any)) {
	t.Helper()
	data, err := os.ReadFile(path)
	object := map[string]any{}
	if err == nil {
		err = json.Unmarshal(data, &object)
	}
	if err != nil {
		t.Fatal(err)
	}
	edit(object)
	if data, err = json.Marshal(object); err == nil {
		err = os.WriteFile(path, data, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Nothing from outside, wherever it comes in, is printed so that it is not seen or
// makes a line of its own.
func TestHostileText(t *testing.T) {
	t.Setenv("CHECKPOINT12_MODELS", t.TempDir())
	t.Setenv("HF_HUB_CACHE", t.TempDir())
	from := t.TempDir()
	t.Chdir(from)
	if err := microModel([]string{"micro"}); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{"golden", "mine"} {
		if status, _, stderr := run("dump", "--model", "micro", "--tokens", "5,7", "--new", "2", "--out", out,
			"--stages", "wte", "--stages", "h.*.ln_1", "--stages", "h.1.mlp.*", "--stages", "ln_f"); status != StatusPass {
			t.Fatal(stderr)
		}
	}
	if err := os.Remove("mine/manifest.json"); err != nil {
		t.Fatal(err)
	}
	manifest := func(edit func(m map[string]any, s string)) func(t *testing.T, s string) {
		return func(t *testing.T, s string) {
			editJSON(t, "golden/manifest.json", func(m map[string]any) { edit(m, s) })
		}
	}
	within := func(m map[string]any, key string) map[string]any { return m[key].(map[string]any) }
	write := func(path string) func(t *testing.T, s string) {
		return func(t *testing.T, s string) {
			quoted, _ := json.Marshal(s)
			text := strings.ReplaceAll(`{"schema": 1, "name": S, "notes": [S], "stages": [{"from": S, "to": "h.0.ln_1"}], "ignore": [{"from": "h.1.*", "why": S}]}`, "S", string(quoted))
			if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	rename := func(from, to string) func(t *testing.T, s string) { // S in to is the string
		return func(t *testing.T, s string) {
			to := strings.ReplaceAll(to, "S", s)
			if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
	}
	compare := []string{"compare", "--golden", "golden", "--candidate", "mine"}
	replay := []string{"compare", "--golden", "golden", "--candidate", "mine", "--model", "micro"}
	for _, c := range []struct {
		place string
		put   func(t *testing.T, s string)
		args  []string // S is the string
		shown bool     // the string is printed
	}{
		{"a reason in left_out", manifest(func(m map[string]any, s string) {
			m["left_out"] = append(m["left_out"].([]any), map[string]any{"stages": "*", "steps": "5-", "reason": s})
		}), compare, true},
		{"steps in left_out", manifest(func(m map[string]any, s string) {
			m["left_out"] = append(m["left_out"].([]any), map[string]any{"stages": "*", "steps": s, "reason": "x"})
		}), compare, true},
		{"a pattern in left_out", manifest(func(m map[string]any, s string) {
			m["left_out"] = append(m["left_out"].([]any), map[string]any{"stages": s + "[", "steps": "all", "reason": "x"})
		}), compare, true},
		{"an engine's name", manifest(func(m map[string]any, s string) { within(m, "engine")["name"] = s }), compare, false},
		{"a dtype", manifest(func(m map[string]any, s string) { within(m, "engine")["dtype"] = s }), compare, false},
		{"a case's name", manifest(func(m map[string]any, s string) { m["case"] = s }), compare, false},
		{"a prompt", manifest(func(m map[string]any, s string) { m["prompt"] = s }), compare, false},
		{"a model's name", manifest(func(m map[string]any, s string) {
			within(m, "model")["name"] = s
			within(m, "model")["weights_sha256"] = strings.Repeat("0", 64)
		}), replay, true},
		{"a model's name, in a hint", manifest(func(m map[string]any, s string) {
			within(m, "model")["name"] = s
			os.Truncate("mine/tokens.npy", 0)
			os.Remove("mine/tokens.npy")
			if err := plant([]string{"mine", "step_00/h.1.mlp.act.npy", "3", "9"}); err != nil {
				t.Fatal(err)
			}
		}), compare, true},
		{"a hash", manifest(func(m map[string]any, s string) { within(m, "model")["weights_sha256"] = s }), replay, true},
		{"a value of the config", manifest(func(m map[string]any, s string) { within(within(m, "model"), "config")["n_head"] = s }), replay, false},
		{"a key of the manifest", manifest(func(m map[string]any, s string) { m[s] = 1 }), compare, true},
		{"a file's path", manifest(func(m map[string]any, s string) { m["files"].([]any)[3].(map[string]any)["path"] = s }), compare, true},
		{"a file's stage", manifest(func(m map[string]any, s string) { m["files"].([]any)[3].(map[string]any)["stage"] = s }), compare, false},
		{"a name that is no stage's", rename("mine/step_01/ln_f.npy", "mine/step_01/S.npy"), compare, true},
		{"a folder that is no step's", rename("mine/step_01", "mine/S"), compare, true},
		{"a folder's name", rename("mine", "S"), []string{"compare", "--golden", "golden", "--candidate", "S"}, true},
		{"an engine's folder", func(t *testing.T, s string) {
			if err := os.CopyFS("case/go", os.DirFS("golden")); err != nil {
				t.Fatal(err)
			}
			rename("golden", "case/S")(t, s)
		}, []string{"compare", "--golden", "case", "--candidate", "mine"}, true},
		{"a case's folder", rename("golden", "model/S/go"), []string{"compare", "--golden", "model", "--candidate", "mine"}, true},
		{"a map", write("map.json"), append(compare, "--map", "map.json"), true},
		{"a map's path", write("map.json"), append(compare, "--map", "S"), true},
		{"a map's key", func(t *testing.T, s string) {
			write("map.json")(t, "x")
			editJSON(t, "map.json", func(m map[string]any) { m[s] = 1 })
		}, append(compare, "--map", "map.json"), true},
		{"a model's config", func(t *testing.T, s string) {
			editJSON(t, "micro/config.json", func(m map[string]any) { m["activation_function"] = s })
		}, replay, false},
		{"a model's path", nil, []string{"generate", "--model", "S", "--prompt", "x", "--new", "1"}, true},
		{"goldens of a case and an engine", rename("golden", "goldens/micro/S/S"), []string{"verify", "--model", "micro", "--goldens", "goldens"}, true},
		{"figures", func(t *testing.T, s string) {
			editJSON(t, "golden/manifest.json", func(m map[string]any) { within(m, "engine")["name"] = "float64" })
			rename("golden", "goldens/micro/hello/float64")(t, s)
			figure := map[string]any{"name": s, "stage": s, "reduce": s, "source": s, "want": s}
			data, _ := json.Marshal(map[string]any{"schema": 2, "about": s, "models": map[string]any{"micro": []any{figure}}})
			if err := os.WriteFile("goldens/micro/figures.json", data, 0o666); err != nil {
				t.Fatal(err)
			}
		}, []string{"verify", "--model", "micro", "--goldens", "goldens"}, true},
		{"a word", nil, []string{"S"}, true},
		{"a flag", nil, []string{"dump", "--S"}, true},
		{"ids", nil, []string{"dump", "--tokens", "S"}, true},
	} {
		s, dir := hostile, t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		t.Chdir(dir)
		if c.put != nil {
			c.put(t, s)
		}
		var args []string
		for _, arg := range c.args {
			args = append(args, strings.ReplaceAll(arg, "S", s))
		}
		_, stdout, stderr := run(args...)
		got := stdout + stderr
		hidden := strings.IndexFunc(got, func(r rune) bool { return r != '\n' && !strconv.IsPrint(r) })
		if hidden >= 0 || !utf8.ValidString(got) || strings.Contains(got, "\nPASS  all agrees") {
			t.Errorf("%s: %q is printed as it is:\n%q", c.place, s, got)
		}
		visible, joined := words.Visible(s), strings.Join(strings.Fields(got), "")
		isShown := func(s string) bool { return strings.Contains(joined, strings.Join(strings.Fields(s), "")) }
		if c.shown != (isShown(visible) || isShown(words.Shell(s))) { // in a text, or a command
			t.Errorf("%s: %s is shown: %v, want %v:\n%s", c.place, visible, !c.shown, c.shown, got)
		}
	}
}

// Nor is it in the JSON, which means the same all the same.
func TestHostileJSON(t *testing.T) {
	want := map[string]string{hostile: hostile}
	var b strings.Builder
	if err := writeJSON(&b, want); err != nil {
		t.Fatal(err)
	}
	line, rest, _ := strings.Cut(b.String(), "\n")
	if i := strings.IndexFunc(line, func(r rune) bool { return !strconv.IsPrint(r) }); i >= 0 || rest != "" {
		t.Errorf("hidden at %d of %q", i, b.String())
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(line), &got); err != nil || !maps.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if err := writeJSON(&b, math.NaN()); err == nil {
		t.Error("no error for what JSON has no word for")
	}
}
