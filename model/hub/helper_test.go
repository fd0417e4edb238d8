package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"checkpoint12/model/hub/hubtest"
)

const (
	first  = "6dcaa7a952f72f9298047fd5137cd6e4f05f41da" // a commit
	second = "0123456789abcdef0123456789abcdef01234567" // a later one
	config = `{"model_type": "gpt2"}`
)

const mine = Repo("someone/model")

// random makes n bytes, other ones for another seed.
func random(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, seed))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// whole is a model of one weight file.
func whole(weights []byte) map[string]hubtest.File {
	return map[string]hubtest.File{
		ConfigFile:  hubtest.Bytes([]byte(config), false),
		WeightsFile: hubtest.Bytes(weights, true),
		PickledFile: hubtest.Bytes([]byte("a program"), true), // is there, and nobody asks for it
	}
}

// probe is a client of a test hub, and what it has said and waited for.
type probe struct {
	*Client
	hub *hubtest.Hub

	mu     sync.Mutex
	notes  []string
	pauses []time.Duration
}

// alone takes away all settings of huggingface_hub's, and gives it an empty home.
func alone(t testing.TB) (home string) {
	t.Helper()
	home = t.TempDir()
	for _, v := range []string{
		"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "HF_ENDPOINT", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH",
		"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_SYMLINKS", "HF_HUB_DISABLE_IMPLICIT_TOKEN",
	} {
		t.Setenv(v, "")
	}
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(home, ".cache"))
	t.Setenv("LocalAppData", filepath.Join(home, "local"))
	return home
}

// start starts a hub with one model in it, and a client whose pauses take no time.
func start(t *testing.T, files map[string]hubtest.File) *probe {
	t.Helper()
	alone(t)
	h := hubtest.New(t)
	h.Add(string(mine), first, files)
	return another(t, h)
}

// another is one more client of the same hub and the same cache.
func another(t testing.TB, h *hubtest.Hub) *probe {
	t.Helper()
	t.Setenv("HF_ENDPOINT", h.URL)
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	p := &probe{Client: c, hub: h}
	c.Note = func(m string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.notes = append(p.notes, m)
	}
	c.sleep = func(ctx context.Context, d time.Duration) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.pauses = append(p.pauses, d)
		return ctx.Err()
	}
	c.sync = func(*os.File) error { return nil } // the machine will not lose its power in the middle of a test
	t.Cleanup(c.transport.CloseIdleConnections)
	return p
}

// fetch fetches the model, and checks that the cache then has what it should:
// the files if there is no error, and never anything visible that is not whole.
func (p *probe) fetch(t *testing.T, revision string, files map[string]hubtest.File) (*Snapshot, error) {
	t.Helper()
	s, err := p.Fetch(t.Context(), Request{Repo: mine, Revision: revision})
	p.clean(t)
	if err == nil {
		p.has(t, s, files)
	}
	return s, err
}

// has checks that a snapshot is those files of a model that are fetched.
func (p *probe) has(t *testing.T, s *Snapshot, files map[string]hubtest.File) {
	t.Helper()
	if !Complete(s.Dir) || len(s.Files) == 0 {
		t.Errorf("%s: not whole: %v", s.Dir, s.Files)
	}
	for _, f := range s.Files {
		want := files[f.Name]
		content := make([]byte, want.Size)
		want.Content.ReadAt(content, 0)
		got, err := os.ReadFile(filepath.Join(s.Dir, f.Name))
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v; want %d others", f.Name, len(got), err, len(content))
		}
		if f.Size != want.Size || want.Large && f.SHA256 != want.Hash() || !want.Large && f.SHA256 != "" {
			t.Errorf("%+v: want size %d, hash %s, large %v", f, want.Size, want.Hash(), want.Large)
		}
	}
}

// clean checks that everything visible in the cache is whole and right, and that
// nothing but .incomplete files of visible folders is left beside it.
func (p *probe) clean(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(string(p.Cache), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(path, string(p.Cache)+string(filepath.Separator)))
		hash, ok := "", true
		switch parts := strings.Split(rel, "/"); {
		case parts[0] == ".locks" || parts[1] == "refs" && len(parts) > 2 && filepath.Ext(rel) != ".tmp":
			return nil
		case parts[1] == "blobs" && strings.HasSuffix(rel, ".incomplete"):
			return nil
		case parts[1] == "blobs":
			hash = parts[2]
		case parts[1] == "snapshots" && len(parts) == 4 && filepath.Ext(rel) != ".tmp":
			if hash, ok = NamedHash(path); !ok {
				return nil // a copy
			}
		default:
			t.Errorf("left behind: %s", rel)
			return nil
		}
		if right, err := contentHash(hash).of(path); err != nil || !right {
			t.Errorf("visible and wrong: %s: %v", rel, err)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// incomplete returns the size of what is kept of the only file that is not whole,
// -1 if there is none.
func (p *probe) incomplete(t *testing.T) int64 {
	t.Helper()
	found, err := filepath.Glob(p.Cache.blob(mine, "*.incomplete"))
	if err != nil || len(found) > 1 {
		t.Fatal(found, err)
	}
	if len(found) == 0 {
		return -1
	}
	info, err := os.Stat(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// nothing checks that a refused fetch has left no trace.
func (p *probe) nothing(t *testing.T) {
	t.Helper()
	if left, err := os.ReadDir(string(p.Cache)); err == nil {
		t.Errorf("left in the cache: %v", left)
	}
}

// cutter is an answer that ends early.
type cutter struct {
	http.ResponseWriter
	left int64
}

func (c *cutter) Write(b []byte) (int, error) {
	if int64(len(b)) < c.left {
		c.left -= int64(len(b))
		return c.ResponseWriter.Write(b)
	}
	c.ResponseWriter.Write(b[:c.left])
	c.ResponseWriter.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func contains(t *testing.T, what string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v; want an error that says %q", what, err, want)
	}
	if err != nil && strings.ContainsAny(err.Error(), "\n") {
		t.Errorf("%s: more than a line: %q", what, err)
	}
	if err != nil && strings.Contains(err.Error(), "Signature") {
		t.Errorf("%s: shows a signed address: %v", what, err)
	}
}

func gets(requests []hubtest.Request, cdn bool) (n int, ranges string) {
	for _, r := range requests {
		if r.Method == http.MethodGet && r.CDN == cdn {
			n++
			ranges += fmt.Sprintf("[%s]", r.Range)
		}
	}
	return n, ranges
}
