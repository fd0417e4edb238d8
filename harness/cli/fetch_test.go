package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"checkpoint12/model/hub"
	"checkpoint12/model/hub/hubtest"
)

// newHub starts a hub, and makes it and an empty cache those of this process.
func newHub(t *testing.T) (h *hubtest.Hub, cache string) {
	t.Helper()
	h, cache = hubtest.New(t), t.TempDir()
	for name, value := range map[string]string{
		"HF_ENDPOINT": h.URL, "HF_HUB_CACHE": cache, "HF_HOME": t.TempDir(), "HF_TOKEN": "", "HUGGING_FACE_HUB_TOKEN": "", "HF_TOKEN_PATH": "",
		"HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "", "HF_HUB_DISABLE_SYMLINKS": "",
		"CHECKPOINT12_MODELS": t.TempDir(), "XDG_CACHE_HOME": t.TempDir(),
	} {
		t.Setenv(name, value)
	}
	return h, cache
}

// micro is the micro model as the files of a repository.
func micro(t *testing.T) map[string]hubtest.File {
	t.Helper()
	dir := t.TempDir()
	if err := microModel([]string{dir}); err != nil {
		t.Fatal(err)
	}
	files := map[string]hubtest.File{}
	for name, large := range map[string]bool{hub.ConfigFile: false, hub.WeightsFile: true} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = hubtest.Bytes(content, large)
	}
	return files
}

const (
	mediumCommit = "6dcaa7a952f72f9298047fd5137cd6e4f05f41da" // the one that figures are of
	laterCommit  = "0123456789abcdef0123456789abcdef01234567"
)

func run(args ...string) (status int, stdout, stderr string) {
	var o, e bytes.Buffer
	status = Main(args, &o, &e)
	return status, o.String(), e.String()
}

// A released model comes at its pinned commit, and every command then finds it.
func TestFetchByName(t *testing.T) {
	h, cache := newHub(t)
	files := micro(t)
	h.Add("openai-community/gpt2-medium", mediumCommit, files)
	h.Add("openai-community/gpt2-medium", laterCommit, map[string]hubtest.File{})

	status, stdout, stderr := run("dump", "--model", "gpt2-medium", "--tokens", "1", "--new", "1", "--out", filepath.Join(t.TempDir(), "d"))
	if want := "no weights of gpt2-medium (1.52 GB) in " + os.Getenv("CHECKPOINT12_MODELS") + " or the Hugging Face cache " + cache +
		"\ncheckpoint12: hint: " + programName() + " fetch gpt2-medium\n"; status != StatusError || !strings.HasSuffix(stderr, want) || stdout != "" {
		t.Errorf("before: status %d, %q, %q; want %q", status, stdout, stderr, want)
	}
	snapshot := filepath.Join(cache, "models--openai-community--gpt2-medium", "snapshots", mediumCommit)
	line := "gpt2-medium:\n  " + filepath.Join(snapshot, hub.WeightsFile) + "\n  sha256 " + files[hub.WeightsFile].Hash() + "\n"
	for range 2 { // the second time nothing is fetched
		if status, stdout, stderr = run("fetch", "gpt2-medium"); status != StatusPass || stdout != line || stderr != "" {
			t.Errorf("fetch: status %d, %q, %q; want %q", status, stdout, stderr, line)
		}
	}
	gets := 0
	for _, r := range h.Requests() {
		if r.CDN {
			gets++
		}
	}
	if gets != 1 {
		t.Errorf("%d downloads, want 1", gets)
	}
	dump := filepath.Join(t.TempDir(), "d")
	if status, _, stderr = run("dump", "--model", "gpt2-medium", "--tokens", "1", "--new", "1", "--out", dump); status != StatusPass {
		t.Errorf("dump: status %d, %q", status, stderr)
	}
	var man struct {
		Model struct {
			Name    string `json:"name"`
			Weights string `json:"weights_sha256"`
		} `json:"model"`
	}
	data, err := os.ReadFile(filepath.Join(dump, "manifest.json"))
	if err != nil || json.Unmarshal(data, &man) != nil || man.Model.Name != "gpt2-medium" || man.Model.Weights != files[hub.WeightsFile].Hash() {
		t.Errorf("dumped: %+v, %v", man, err)
	}
}

// Another revision, and weights that are found before the cache, are said so.
func TestFetchRevision(t *testing.T) {
	h, cache := newHub(t)
	files := micro(t)
	h.Add("openai-community/gpt2-medium", mediumCommit, files)
	h.Add("openai-community/gpt2-medium", laterCommit, files)
	if status, _, stderr := run("fetch", "gpt2-medium"); status != StatusPass || stderr != "" {
		t.Fatal(status, stderr)
	}
	later := filepath.Join(cache, "models--openai-community--gpt2-medium", "snapshots", laterCommit)
	status, stdout, stderr := run("fetch", "gpt2-medium", "--revision", "main")
	if status != StatusPass || !strings.Contains(stdout, later) || !strings.Contains(stderr, "note: --model gpt2-medium is\n") ||
		!strings.HasSuffix(stderr, "give --model\n  "+later+"\n") {
		t.Errorf("status %d, %q, %q", status, stdout, stderr)
	}
}

// A model that is no GPT-2, as this program knows it, is refused by its config.
func TestFetchRefuses(t *testing.T) {
	h, cache := newHub(t)
	for repo, tt := range map[string]struct{ config, want string }{
		"someone/llama": {`{"model_type": "llama"}`, `someone/llama: config.json: model_type is "llama": want "gpt2"`},
		"someone/prelu": {strings.Replace(string(read(t, micro(t)[hub.ConfigFile])), "gelu_new", "prelu", 1), "activation_function"},
		"someone/text":  {"hello", "not a model config"},
	} {
		h.Add(repo, mediumCommit, map[string]hubtest.File{
			hub.ConfigFile: hubtest.Bytes([]byte(tt.config), false), hub.WeightsFile: hubtest.Bytes([]byte("weights"), true),
		})
		status, stdout, stderr := run("fetch", repo)
		if status != StatusError || stdout != "" || !strings.Contains(stderr, tt.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: status %d, %q, %q; want %q", repo, status, stdout, stderr, tt.want)
		}
	}
	for _, r := range h.Requests() {
		if r.CDN {
			t.Errorf("weights were asked for: %+v", r)
		}
	}
	if left, err := os.ReadDir(cache); err != nil || len(left) > 0 {
		t.Errorf("left in the cache: %v %v", left, err)
	}
}

func read(t *testing.T, f hubtest.File) []byte {
	t.Helper()
	b := make([]byte, f.Size)
	if _, err := f.Content.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// The token reaches the hub and no message.
func TestFetchToken(t *testing.T) {
	h, _ := newHub(t)
	h.Token = "hf_secret"
	h.Add("someone/private", mediumCommit, micro(t))
	var all string
	for token, want := range map[string]string{
		"": "set HF_TOKEN", "hf_wrong": "the access token may not read it", "hf_se cret": "HF_TOKEN holds no access token",
	} {
		t.Setenv("HF_TOKEN", token)
		status, stdout, stderr := run("fetch", "someone/private")
		if status != StatusError || !strings.Contains(stderr, want) {
			t.Errorf("status %d, %q; want %q", status, stderr, want)
		}
		all += stdout + stderr
	}
	t.Setenv("HF_TOKEN", h.Token)
	status, stdout, stderr := run("fetch", "someone/private")
	if all += stdout + stderr; status != StatusPass {
		t.Errorf("status %d, %q", status, stderr)
	}
	if strings.Contains(all, "hf_") {
		t.Errorf("shows the token: %q", all)
	}
}

// What comes in is shown with its rate, from what was there already, and what is left.
func TestDownload(t *testing.T) {
	var b bytes.Buffer
	show := download(&progress{w: &b})
	show("w", 1e6, 4e6)
	time.Sleep(150 * time.Millisecond) // a line is shown ten times a second at most
	show("w", 2e6, 4e6)
	want := regexp.MustCompile(`^\r\x1b\[Kw: 1\.0 of 4\.0 MB, 0\.0 MB/s, unknown time left\r\x1b\[Kw: 2\.0 of 4\.0 MB, [1-6]\.\d MB/s, \ds left$`)
	if !want.Match(b.Bytes()) {
		t.Errorf("%q", b.String())
	}
}
