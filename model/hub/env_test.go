package hub

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseRepo(t *testing.T) {
	for _, name := range []string{"openai-community/gpt2", "a/b", "A.b_c/D-e.f", "0/1", strings.Repeat("x", 96) + "/y"} {
		r, err := ParseRepo(name)
		if err != nil || string(r) != name || r.folder() != "models--"+strings.Replace(name, "/", "--", 1) {
			t.Errorf("ParseRepo(%q) = %+v, %v", name, r, err)
		}
	}
	for _, name := range []string{
		"", "gpt2", "../x", "x/..", "./x", "x/.", "/x", "x/", "a/b/c", `a\b`, "a/b\n", "a/b\x00", "a b/c", "a--b/c", "a/b--c", "a..b/c",
		"-a/b", "a-/b", ".a/b", "a./b", "a/b.git", "ä/b", "a/%2e%2e", "https://x/y", strings.Repeat("x", 97) + "/y",
	} {
		if r, err := ParseRepo(name); err == nil || len(err.Error()) > 200 {
			t.Errorf("ParseRepo(%q) = %+v, %v", name, r, err)
		}
	}
	if got := Repo("gpt2").folder(); got != "models--gpt2" {
		t.Errorf("without an owner: %q", got)
	}
}

func TestCacheDir(t *testing.T) {
	for _, tt := range []struct {
		env  map[string]string
		want string // HOME/… is below the home
	}{
		{nil, "HOME/.cache/huggingface/hub"},
		{map[string]string{"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"},
		{map[string]string{"XDG_CACHE_HOME": "/c", "HF_HOME": "/h"}, "/h/hub"},
		{map[string]string{"HF_HOME": "~/hf"}, "HOME/hf/hub"},
		{map[string]string{"HF_HOME": "~user/hf"}, "~user/hf/hub"},
		{map[string]string{"HF_HOME": "$ROOT/hf"}, "/root-of-it/hf/hub"},
		{map[string]string{"HF_HOME": "$NOT_SET/hf"}, "${NOT_SET}/hf/hub"},
		{map[string]string{"HF_HOME": "/h", "HUGGINGFACE_HUB_CACHE": "/old"}, "/old"},
		{map[string]string{"HF_HOME": "/h", "HUGGINGFACE_HUB_CACHE": "/old", "HF_HUB_CACHE": "/hub/"}, "/hub"},
	} {
		t.Run("", func(t *testing.T) {
			home := alone(t)
			t.Setenv("XDG_CACHE_HOME", "")
			t.Setenv("ROOT", "/root-of-it")
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			want := strings.Replace(filepath.FromSlash(tt.want), "HOME", home, 1)
			if got := CacheDir(); string(got) != want {
				t.Errorf("%v: %q, want %q", tt.env, got, want)
			}
		})
	}
}

func TestNew(t *testing.T) {
	for _, tt := range []struct {
		env      map[string]string
		endpoint string
		token    string
		offline  bool
		err      string
	}{
		{nil, "https://huggingface.co", "", false, ""},
		{map[string]string{"HF_ENDPOINT": "http://localhost:8000/mirror/"}, "http://localhost:8000/mirror", "", false, ""},
		{map[string]string{"HF_ENDPOINT": "huggingface.co"}, "", "", false, "HF_ENDPOINT is not an address"},
		{map[string]string{"HF_ENDPOINT": "ftp://huggingface.co"}, "", "", false, "HF_ENDPOINT is not an address"},
		{map[string]string{"HF_ENDPOINT": "https://x/?y"}, "", "", false, "HF_ENDPOINT is not an address"},
		{map[string]string{"HF_TOKEN": " hf_a\n"}, "https://huggingface.co", "hf_a", false, ""},
		{map[string]string{"HUGGING_FACE_HUB_TOKEN": "hf_b"}, "https://huggingface.co", "hf_b", false, ""},
		{map[string]string{"HF_TOKEN_PATH": "~/other"}, "https://huggingface.co", "hf_other", false, ""},
		{map[string]string{"HF_TOKEN_PATH": "~/none"}, "https://huggingface.co", "", false, ""},
		{map[string]string{"HF_TOKEN_PATH": "~"}, "", "", false, "read the hub's access token"},
		{map[string]string{"HF_HOME": "~/hf"}, "https://huggingface.co", "hf_file", false, ""},
		{map[string]string{"HF_HOME": "~/hf", "HF_TOKEN": "hf_a"}, "https://huggingface.co", "hf_a", false, ""},
		{map[string]string{"HF_HOME": "~/hf", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, "https://huggingface.co", "", false, ""},
		{map[string]string{"HF_TOKEN": "hf_a b"}, "", "", false, "HF_TOKEN holds no access token"},
		{map[string]string{"HF_TOKEN": "hf_ä"}, "", "", false, "HF_TOKEN holds no access token"},
		{map[string]string{"HF_HUB_OFFLINE": "yes"}, "https://huggingface.co", "", true, ""},
		{map[string]string{"TRANSFORMERS_OFFLINE": "1"}, "https://huggingface.co", "", true, ""},
		{map[string]string{"HF_HUB_OFFLINE": "0"}, "https://huggingface.co", "", false, ""},
	} {
		t.Run("", func(t *testing.T) {
			home := alone(t)
			write(t, filepath.Join(home, "hf", "token"), []byte("hf_file\r\n"))
			write(t, filepath.Join(home, "other"), []byte("hf_other"))
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			c, err := New()
			if err != nil && tt.err == "" {
				t.Fatal(err)
			}
			if tt.err != "" {
				contains(t, "New", err, tt.err)
				if err != nil && strings.Contains(err.Error(), "hf_") {
					t.Errorf("shows the token: %v", err)
				}
				return
			}
			if c.endpoint.String() != tt.endpoint || c.token != tt.token || c.Offline != tt.offline || c.Cache != CacheDir() {
				t.Errorf("%v: %s, token %q, offline %v, cache %s", tt.env, c.endpoint, c.token, c.Offline, c.Cache)
			}
		})
	}
}

func TestRef(t *testing.T) {
	c := Cache(t.TempDir())
	for name, content := range map[string]string{
		"main": first + "\n", "deep/er": second, "short": "abc", "outside": "../../x", "dots": "..", "empty": "", "slash": "a/b", "drive": "c:x",
	} {
		write(t, c.ref(mine, name), []byte(content))
	}
	for revision, want := range map[string]string{
		first: first, second: second, "main": first, "deep/er": second, "short": "abc",
		"outside": "", "dots": "", "empty": "", "slash": "", "drive": "", "none": "", "../refs/main": "", "": "",
	} {
		if got, ok := c.Ref(mine, revision); got != want || ok != (want != "") {
			t.Errorf("Ref(%q) = %q, %v; want %q", revision, got, ok, want)
		}
	}
}

func TestNamedHash(t *testing.T) {
	dir := t.TempDir()
	sha, git := strings.Repeat("ab", 32), strings.Repeat("cd", 20)
	for target, want := range map[string]string{
		"../../blobs/" + sha: sha, "../../blobs/" + git: git, "/elsewhere/blobs/" + sha: sha,
		"../../other/" + sha: "", "../../blobs/" + sha[1:]: "", "../../blobs/" + strings.ToUpper(sha): "", sha: "",
		"../../blobs/ab/" + sha: "", // huggingface_hub's shared blobs have hashes of another kind
	} {
		link := filepath.Join(dir, "link")
		os.Remove(link)
		if err := os.Symlink(filepath.FromSlash(target), link); err != nil {
			t.Skipf("no symbolic links here: %v", err)
		}
		if got, ok := NamedHash(link); got != want || ok != (want != "") {
			t.Errorf("NamedHash(link to %s) = %q, %v; want %q", target, got, ok, want)
		}
	}
	write(t, filepath.Join(dir, "blobs", sha), nil)
	if got, ok := NamedHash(filepath.Join(dir, "blobs", sha)); ok {
		t.Errorf("a file, no link: %q", got)
	}
}

func TestShards(t *testing.T) {
	got, err := Shards([]byte(`{"weight_map": {"x": "b.safetensors", "y": "a.safetensors", "z": "b.safetensors"}}`))
	if want := []string{"a.safetensors", "b.safetensors"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	for _, bad := range []string{
		"", "x", "null", "{}", `{"weight_map": {}}`, `{"WEIGHT_MAP": {"x": "a.safetensors"}}`, `{"weight_map": {"x": 1}}`, `{"weight_map": {"x": ""}}`, `{"weight_map": {"x": "..safetensors/../x"}}`,
		`{"weight_map": {"x": "../a.safetensors"}}`, `{"weight_map": {"x": "/a.safetensors"}}`, `{"weight_map": {"x": "a\\b.safetensors"}}`,
		`{"weight_map": {"x": "pytorch_model.bin"}}`, indexOf(maxShards + 1),
	} {
		if got, err := Shards([]byte(bad)); err == nil {
			t.Errorf("Shards(%s) = %q", bad, got)
		}
	}
}
