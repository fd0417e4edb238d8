package hub

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"checkpoint12/model/hub/hubtest"
)

// What a fetch leaves is what huggingface_hub would have left.
func TestFetchLayout(t *testing.T) {
	files := whole(weights)
	p := start(t, files)
	s, err := p.fetch(t, "", files)
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(string(p.Cache), "models--someone--model")
	if want := filepath.Join(root, "snapshots", first); s.Dir != want || s.Commit != first || s.Fetched != big+int64(len(config)) {
		t.Errorf("%+v, want %s and %d bytes fetched", s, want, big+len(config))
	}
	for _, name := range []string{ConfigFile, WeightsFile} {
		target, err := os.Readlink(filepath.Join(s.Dir, name))
		if want := filepath.Join("..", "..", "blobs", files[name].Hash()); err != nil || target != want {
			t.Errorf("%s links to %q, %v; want %q", name, target, err, want)
		}
		if got, ok := NamedHash(filepath.Join(s.Dir, name)); !ok || got != files[name].Hash() {
			t.Errorf("NamedHash(%s) = %q, %v", name, got, ok)
		}
		if _, err := os.Stat(filepath.Join(string(p.Cache), ".locks", "models--someone--model", files[name].Hash()+".lock")); err != nil {
			t.Error(err)
		}
	}
	if ref, err := os.ReadFile(filepath.Join(root, "refs", "main")); err != nil || string(ref) != first {
		t.Errorf("refs/main is %q, %v", ref, err)
	}
	if got := p.Cache.Commits(mine); !slices.Equal(got, []string{first}) {
		t.Errorf("Commits() = %q", got)
	}
	for _, r := range p.hub.Requests() {
		if strings.Contains(r.Path, PickledFile) {
			t.Errorf("asked for pickled weights: %v", r)
		}
	}
}

// A commit that is there whole is used without a request; a branch is looked up.
func TestFetchAgain(t *testing.T) {
	files := whole(weights)
	p := start(t, files)
	for _, revision := range []string{first, "main"} {
		if _, err := p.fetch(t, revision, files); err != nil {
			t.Fatal(err)
		}
	}
	p.hub.Requests()
	s, err := p.fetch(t, first, files)
	if r := p.hub.Requests(); err != nil || s.Fetched != 0 || len(r) != 0 {
		t.Errorf("by commit: %v, %d bytes, requests %v", err, s.Fetched, r)
	}
	s, err = p.fetch(t, "main", files)
	r := p.hub.Requests()
	if n, _ := gets(r, true); err != nil || s.Fetched != 0 || n > 0 {
		t.Errorf("by branch: %v, %d bytes, requests %v", err, s.Fetched, r)
	}

	later := whole(other)
	p.hub.Add(string(mine), second, later)
	if s, err = p.fetch(t, "main", later); err != nil || s.Commit != second {
		t.Errorf("main has moved: %+v, %v", s, err)
	}
	if ref, ok := p.Cache.Ref(mine, "main"); !ok || ref != second {
		t.Errorf("main is noted to be at %q", ref)
	}
	if s, err = p.fetch(t, first, files); err != nil || s.Fetched != 0 {
		t.Errorf("the earlier commit: %v, %v", s, err)
	}
}

func TestFetchRevision(t *testing.T) {
	files, later := whole(weights), whole(other)
	p := start(t, files)
	p.hub.Add(string(mine), second, later)
	p.hub.Branch(string(mine), "refs/pr/4", first)

	// By commit, which is not main: main is not claimed to be there.
	if s, err := p.fetch(t, first, files); err != nil || s.Commit != first {
		t.Fatal(s, err)
	}
	if _, ok := p.Cache.Ref(mine, "main"); ok {
		t.Error("main is noted to be at a commit that it is not at")
	}
	if s, err := p.fetch(t, "refs/pr/4", files); err != nil || s.Commit != first || s.Fetched != 0 {
		t.Error(s, err)
	}
	if ref, ok := p.Cache.Ref(mine, "refs/pr/4"); !ok || ref != first {
		t.Errorf("refs/pr/4 is noted to be at %q", ref)
	}
	// By commit, which is main.
	if _, err := p.fetch(t, second, later); err != nil {
		t.Error(err)
	}
	if ref, ok := p.Cache.Ref(mine, "main"); !ok || ref != second {
		t.Errorf("main is noted to be at %q", ref)
	}
	for _, bad := range []string{"..", "../x", "a/../b", "/x", "x/", "a//b", "-x", ".x", "x.lock", "a b", "a\nb", strings.Repeat("x", 201)} {
		if _, err := p.Fetch(t.Context(), Request{Repo: mine, Revision: bad}); err == nil || !strings.Contains(err.Error(), "is not a revision") {
			t.Errorf("revision %q: %v", bad, err)
		}
	}
	_, err := p.fetch(t, "nowhere", nil)
	contains(t, "no such branch", err, `someone/model has no revision "nowhere"`)
}

func TestFetchSharded(t *testing.T) {
	index := []byte(`{"metadata": {}, "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors"}}`)
	files := map[string]hubtest.File{
		ConfigFile: hubtest.Bytes([]byte(config), false), IndexFile: hubtest.Bytes(index, false),
		"model-1.safetensors": hubtest.Bytes(weights, true), "model-2.safetensors": hubtest.Bytes(other, true),
	}
	p := start(t, files)
	s, err := p.fetch(t, first, files)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range s.Files {
		names = append(names, f.Name)
	}
	if want := []string{ConfigFile, IndexFile, "model-1.safetensors", "model-2.safetensors"}; !slices.Equal(names, want) {
		t.Errorf("files %q, want %q", names, want)
	}
	p.hub.Requests()
	if _, err := p.fetch(t, first, files); err != nil || len(p.hub.Requests()) > 0 {
		t.Errorf("again: %v", err)
	}
}

func TestFetchRefuses(t *testing.T) {
	notGPT2 := errors.New(`model_type is "llama"`)
	shard := func(name string) map[string]hubtest.File {
		index := fmt.Sprintf(`{"weight_map": {"a": %q}}`, name)
		return map[string]hubtest.File{ConfigFile: hubtest.Bytes([]byte(config), false), IndexFile: hubtest.Bytes([]byte(index), false)}
	}
	for _, tt := range []struct {
		files map[string]hubtest.File
		check error
		want  string
	}{
		{whole(weights), notGPT2, `someone/model: config.json: model_type is "llama"`},
		{map[string]hubtest.File{WeightsFile: hubtest.Bytes(weights, true)}, nil, "someone/model has no config.json"},
		{map[string]hubtest.File{ConfigFile: hubtest.Bytes([]byte(config), false)}, nil, "has no model.safetensors"},
		{map[string]hubtest.File{ConfigFile: hubtest.Bytes([]byte(config), false), PickledFile: hubtest.Bytes(weights, true)}, nil,
			"has only pickled weights (pytorch_model.bin), which are programs and are neither downloaded nor read: look for a revision or another model with safetensors"},
		{shard("../x.safetensors"), nil, `"../x.safetensors" is not a file of this folder`},
		{shard("x.bin"), nil, `"x.bin" is not a safetensors file`},
		{shard("x.safetensors"), nil, "has no x.safetensors"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			p := start(t, tt.files)
			var checked string
			_, err := p.Fetch(t.Context(), Request{Repo: mine, Revision: first, Check: func(c []byte) error {
				checked = string(c)
				return tt.check
			}})
			contains(t, tt.want, err, tt.want)
			p.nothing(t)
			if _, ok := tt.files[ConfigFile]; ok && checked != config {
				t.Errorf("checked %q", checked)
			}
			if n, _ := gets(p.hub.Requests(), true); n > 0 {
				t.Errorf("%d large files were asked for", n)
			}
		})
	}
}

// What is in the cache and wrong, as huggingface_hub may leave it, is mended.
func TestFetchMends(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, path string){
		"a flipped byte": func(t *testing.T, path string) {
			b := slices.Clone(weights)
			b[len(b)/2] ^= 1
			write(t, path, b)
		},
		"cut":   func(t *testing.T, path string) { write(t, path, weights[:100]) },
		"empty": func(t *testing.T, path string) { write(t, path, nil) },
		"gone": func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			files := whole(weights)
			p := start(t, files)
			if _, err := p.fetch(t, first, files); err != nil {
				t.Fatal(err)
			}
			blob := p.Cache.blob(mine, contentHash(files[WeightsFile].Hash()))
			damage(t, blob)
			p.Offline = true
			if _, err := p.Fetch(t.Context(), Request{Repo: mine, Revision: first}); err == nil {
				t.Error("offline: nobody noticed")
			}
			p.Offline = false
			if s, err := p.fetch(t, first, files); err != nil || s.Fetched != big {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestFetchOffline(t *testing.T) {
	files := whole(weights)
	p := start(t, files)
	p.Offline = true
	_, err := p.fetch(t, "", files)
	contains(t, "empty cache", err, `someone/model at "main" is not whole in `+string(p.Cache)+`, and HF_HUB_OFFLINE forbids the network`)
	p.nothing(t)
	p.Offline = false
	if _, err := p.fetch(t, "", files); err != nil {
		t.Fatal(err)
	}
	p.hub.Requests()
	p.Offline = true
	for _, revision := range []string{"", "main", first} {
		if s, err := p.fetch(t, revision, files); err != nil || s.Fetched != 0 {
			t.Errorf("%q: %v, %v", revision, s, err)
		}
	}
	if _, err := p.Fetch(t.Context(), Request{Repo: mine, Check: func([]byte) error { return errors.New("not this one") }}); err == nil {
		t.Error("the config was not checked")
	}
	if r := p.hub.Requests(); len(r) > 0 {
		t.Errorf("offline, and asked for %v", r)
	}
}

// Several fetches of the same model at once, each with a client of its own as in
// processes of their own, download each byte once.
func TestFetchParallel(t *testing.T) {
	files := whole(weights)
	p := start(t, files)
	clients := []*probe{p}
	for range 3 {
		clients = append(clients, another(t, p.hub))
	}
	var wg sync.WaitGroup
	errs := make([]error, len(clients))
	for i, c := range clients {
		wg.Go(func() { _, errs[i] = c.Fetch(t.Context(), Request{Repo: mine, Revision: first}) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	p.clean(t)
	if n, ranges := gets(p.hub.Requests(), true); n != 1 {
		t.Errorf("%d downloads %s, want 1", n, ranges)
	}
	if _, err := p.fetch(t, first, files); err != nil {
		t.Error(err)
	}
}

// The token goes to the hub, and to no other host nor port; no message has it.
func TestToken(t *testing.T) {
	const secret = "hf_secretsecret"
	files := whole(weights)
	for _, have := range []string{"", "hf_wrong", secret} {
		t.Run(have, func(t *testing.T) {
			p := start(t, files)
			p.hub.Token = secret
			p.token = have
			said := ""
			p.hub.Intercept = func(w http.ResponseWriter, r *http.Request, cdn bool, serve http.HandlerFunc) {
				if have == "hf_wrong" { // as a proxy that echoes what it was sent
					w.Header().Set("X-Error-Message", "sent "+r.Header.Get("Authorization"))
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				if cdn && said == "" {
					said = "cut"
					cutAt(10)(w, r, serve)
				}
				serve(w, r)
			}
			_, err := p.fetch(t, first, files)
			if have == secret && err != nil || have != secret && err == nil {
				t.Fatal(err)
			}
			if err != nil {
				contains(t, have, err, map[string]string{"": "set HF_TOKEN to a token that may read it", "hf_wrong": "the access token may not read it"}[have])
				said = err.Error()
			}
			said += strings.Join(p.notes, "\n")
			if strings.Contains(said, "hf_") || strings.Contains(said, "Signature") {
				t.Errorf("said %q", said)
			}
			for _, r := range p.hub.Requests() {
				switch {
				case r.CDN && r.Authorization != "":
					t.Errorf("the token went to another host: %+v", r)
				case !r.CDN && have != "" && r.Authorization != "Bearer "+have:
					t.Errorf("the hub did not get the token: %+v", r)
				}
			}
		})
	}
}
