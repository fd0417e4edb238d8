package zoo

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"checkpoint12/model/synthetic"
)

// alone points every variable that finds models at empty places and returns
// the hub's cache and $CHECKPOINT12_MODELS.
func alone(t *testing.T) (hub, models string) {
	t.Helper()
	hub, models = t.TempDir(), t.TempDir()
	for _, v := range []string{"HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"} {
		t.Setenv(v, "")
	}
	t.Setenv("HF_HUB_CACHE", hub)
	t.Setenv(ModelsVariable, models)
	t.Chdir(t.TempDir())
	return hub, models
}

// put writes files, by their path in dir.
func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for path, content := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const pinnedMedium = "6dcaa7a952f72f9298047fd5137cd6e4f05f41da"

func TestLocateInHubCache(t *testing.T) {
	const repo = "models--openai-community--gpt2-medium/"
	for _, tt := range []struct {
		files []string // each with its own path as content, but refs/main
		ref   string
		want  string // below the cache; "" is not found
		why   string
	}{
		{nil, "", "", "empty cache"},
		{[]string{repo + "snapshots/abc/config.json", repo + "snapshots/abc/model.safetensors"}, "abc\n", repo + "snapshots/abc", "main"},
		{[]string{"models--gpt2-medium/snapshots/abc/config.json", "models--gpt2-medium/snapshots/abc/model.safetensors"}, "", "models--gpt2-medium/snapshots/abc", "the name before it had an owner"},
		{[]string{repo + "snapshots/abc/config.json"}, "abc", "", "weights not there yet"},
		{[]string{repo + "snapshots/abc/model.safetensors"}, "abc", "", "config not there yet"},
		{[]string{repo + "snapshots/abc/config.json", repo + "snapshots/abc/pytorch_model.bin"}, "abc", "", "pickled weights are not read"},
		{[]string{repo + "snapshots/" + pinnedMedium + "/config.json", repo + "snapshots/" + pinnedMedium + "/model.safetensors",
			repo + "snapshots/x/config.json"}, "", repo + "snapshots/" + pinnedMedium, "fetched by commit: no refs/main"},
		{[]string{repo + "snapshots/" + pinnedMedium + "/config.json", repo + "snapshots/" + pinnedMedium + "/model.safetensors",
			repo + "snapshots/abc/config.json", repo + "snapshots/abc/model.safetensors"}, "abc", repo + "snapshots/" + pinnedMedium,
			"main has moved on, but published figures and fetch mean the pinned commit"},
		{[]string{repo + "snapshots/" + pinnedMedium + "/config.json",
			repo + "snapshots/abc/config.json", repo + "snapshots/abc/model.safetensors"}, "abc", repo + "snapshots/abc", "the pinned commit is not whole"},
		{[]string{repo + "snapshots/abc/config.json", repo + "snapshots/abc/model.safetensors"}, "", repo + "snapshots/abc", "the only snapshot"},
		{[]string{repo + "snapshots/abc/config.json", repo + "snapshots/abc/model.safetensors",
			repo + "snapshots/def/config.json", repo + "snapshots/def/model.safetensors"}, "", "", "two and nothing to choose by"},
		{[]string{repo + "snapshots/abc/config.json", repo + "snapshots/abc/model.safetensors",
			repo + "snapshots/def/config.json", repo + "snapshots/def/model.safetensors"}, "def", repo + "snapshots/def", "two: main says which"},
		{[]string{repo + "snapshots/abc/config.json", repo + "snapshots/abc/model.safetensors",
			"outside/config.json", "outside/model.safetensors"}, "../../outside", repo + "snapshots/abc", "a ref that leads out of the cache is no commit"},
	} {
		t.Run(tt.why, func(t *testing.T) {
			hub, _ := alone(t)
			for _, f := range tt.files {
				put(t, hub, map[string]string{f: f})
			}
			if tt.ref != "" {
				put(t, hub, map[string]string{repo + "refs/main": tt.ref})
			}
			for _, name := range []string{"gpt2-medium", "openai-community/gpt2-medium"} {
				dir, ok, err := Locate(name)
				if err != nil || ok != (tt.want != "") || ok && dir != filepath.Join(hub, tt.want) {
					t.Errorf("Locate(%q) = %q, %v, %v; want %q", name, dir, ok, err, tt.want)
				}
			}
		})
	}
}

func TestLocateSharded(t *testing.T) {
	hub, _ := alone(t)
	snapshot := filepath.Join(hub, "models--me--mine", "snapshots", "abc")
	put(t, snapshot, map[string]string{
		"config.json":                  "{}",
		"model.safetensors.index.json": `{"weight_map": {"wte.weight": "a.safetensors", "wpe.weight": "b.safetensors"}}`,
		"a.safetensors":                "",
	})
	if dir, ok, err := Locate("me/mine"); ok || err != nil {
		t.Errorf("one file of two: %q, %v, %v", dir, ok, err)
	}
	// In the hub's cache files are links; one that leads nowhere is no file.
	blob := filepath.Join(hub, "blob")
	if err := os.Symlink(blob, filepath.Join(snapshot, "b.safetensors")); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	if dir, ok, err := Locate("me/mine"); ok || err != nil {
		t.Errorf("link that leads nowhere: %q, %v, %v", dir, ok, err)
	}
	put(t, hub, map[string]string{"blob": ""})
	if dir, ok, err := Locate("me/mine"); !ok || dir != snapshot || err != nil {
		t.Errorf("all there: %q, %v, %v", dir, ok, err)
	}
}

func TestLocateInModels(t *testing.T) {
	hub, models := alone(t)
	whole := map[string]string{"config.json": "{}", "model.safetensors": ""}
	put(t, filepath.Join(hub, "models--openai-community--gpt2/snapshots/abc"), whole)
	if dir, ok, err := Locate("gpt2"); !ok || err != nil || !strings.HasPrefix(dir, hub) {
		t.Errorf("only in the cache: %q, %v, %v", dir, ok, err)
	}
	put(t, filepath.Join(models, "gpt2"), map[string]string{"config.json": "{}"})
	if dir, ok, err := Locate("gpt2"); ok || err == nil || !strings.Contains(err.Error(), ModelsVariable) {
		t.Errorf("half a model where the user put one: %q, %v, %v", dir, ok, err)
	}
	put(t, filepath.Join(models, "gpt2"), whole)
	if dir, ok, err := Locate("gpt2"); !ok || err != nil || dir != filepath.Join(models, "gpt2") {
		t.Errorf("in both: %q, %v, %v", dir, ok, err)
	}
}

func TestLocateRefusesNames(t *testing.T) {
	_, models := alone(t)
	put(t, models, map[string]string{"x/config.json": "{}", "x/model.safetensors": ""})
	for _, name := range []string{"", ".", "..", "../x", "x", "gpt3", "a/../x", "/x", "a/b/c", "a/..", "./x", "a\\b", "gpt2\x00", strings.Repeat("x", 1000)} {
		dir, ok, err := Locate(name)
		if err == nil || ok || !strings.Contains(err.Error(), strings.Join(Names(), ", ")) || len(err.Error()) > 400 {
			t.Errorf("Locate(%q) = %q, %v, %v; want an error that lists the names", name, dir, ok, err)
		}
	}
}

func TestNames(t *testing.T) {
	want := []string{"synthetic-tiny", "synthetic-medium", "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"}
	if got := Names(); !slices.Equal(got, want) {
		t.Errorf("Names() = %q, want the contract's %q", got, want)
	}
}

func TestLoad(t *testing.T) {
	_, models := alone(t)
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	load := func(name, wantName string) {
		t.Helper()
		m, err := Load(name)
		if err != nil {
			t.Errorf("Load(%q): %v", name, err)
			return
		}
		defer m.Close()
		if m.Name() != wantName || m.Config().Embd != 80 {
			t.Errorf("Load(%q) is %q, %d wide", name, m.Name(), m.Config().Embd)
		}
	}
	load("synthetic-tiny", "synthetic-tiny") // from nothing
	if err := synthetic.Write(t.Context(), "synthetic-tiny", "mine"); err != nil {
		t.Fatal(err)
	}
	load("mine", "mine")
	load("./mine", "mine")
	load("../"+filepath.Base(here)+"/mine/", "mine")
	load(filepath.Join(here, "mine"), "mine")
	if err := synthetic.Write(t.Context(), "synthetic-tiny", filepath.Join(models, "gpt2-xl")); err != nil {
		t.Fatal(err)
	}
	load("gpt2-xl", "gpt2-xl")
	load("openai-community/gpt2-xl", "gpt2-xl")

	put(t, ".", map[string]string{"empty/x": "", "gpt2": "a file of that name", "weights.bin": ""})
	for _, tt := range []struct{ name, want, why string }{
		{"gpt2", "no weights of gpt2 (548 MB) in " + models, "where it looked"},
		{"me/mine", "no folder me/mine, and no weights of me/mine", "either may have been meant"},
		{"gpt3", "gpt2-xl, or a folder with config.json and model.safetensors", "unknown"},
		{"", "no model is called \"\"", "nothing"},
		{"empty", filepath.Join("empty", "config.json"), "a folder that is no model"},
		{"../nowhere", "model folder ../nowhere: no such file", "a path that is not there"},
		{"./weights.bin", "is a file: name the folder", "a file"},
		{"weights.bin", "is a file: name the folder", "a file"},
	} {
		m, err := Load(tt.name)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: Load(%q) = %v, %v; want one line saying %q", tt.why, tt.name, m, err, tt.want)
		}
	}
}

func TestNotFound(t *testing.T) {
	hub, models := alone(t)
	for name, size := range map[string]string{"gpt2-large": "3.25 GB", "me/mine": ""} {
		_, err := Load(name)
		var e *NotFoundError
		if !errors.As(err, &e) || e.Name != name || e.Size != size || !slices.Equal(e.Looked, []string{models, "the Hugging Face cache " + hub}) {
			t.Errorf("Load(%q): %#v", name, err)
		}
	}
}

func TestSource(t *testing.T) {
	for name, want := range map[string]string{
		"gpt2": "openai-community/gpt2 607a30d783dfa663caf39e06633721c8d4cfcd7e", "gpt2-medium": "openai-community/gpt2-medium " + pinnedMedium,
		"openai-community/gpt2-medium": "openai-community/gpt2-medium " + pinnedMedium, "me/mine": "me/mine ", "openai-community/other": "openai-community/other ",
	} {
		if repo, commit, err := Source(name); err != nil || string(repo)+" "+commit != want {
			t.Errorf("Source(%q) = %v, %q, %v; want %q", name, repo, commit, err, want)
		}
	}
	for name, want := range map[string]string{
		"synthetic-tiny": "nothing to fetch", "../x": "no model is called", "gpt3": "no model is called", "": "no model is called", "a/b/c": "no model is called",
	} {
		if repo, commit, err := Source(name); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Source(%q) = %v, %q, %v; want %q", name, repo, commit, err, want)
		}
	}
}
