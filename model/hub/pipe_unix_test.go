//go:build unix

package hub

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A named pipe or a link in a place of the cache is replaced, or named, at once; what a
// link leads to is left as it was.
func TestPipesInTheCache(t *testing.T) {
	files := whole(weights)
	hash := contentHash(files[WeightsFile].Hash())
	for _, tt := range []struct {
		place func(c Cache) string
		named bool // an error names it
	}{
		{func(c Cache) string { return c.lock(mine, hash) }, false},
		{func(c Cache) string { return c.ref(mine, "main") }, false},
		{func(c Cache) string { return filepath.Join(c.Snapshot(mine, first), ConfigFile) }, false},
		{func(c Cache) string { return filepath.Join(c.Snapshot(mine, first), WeightsFile) }, false},
		{func(c Cache) string { return c.blob(mine, hash) }, true},
		{func(c Cache) string { return c.blob(mine, hash) + ".incomplete" }, true},
	} {
		for _, kind := range []string{"pipe", "link"} {
			p := start(t, files)
			path, target := tt.place(p.Cache), filepath.Join(t.TempDir(), "target")
			err := os.MkdirAll(filepath.Dir(path), 0o700)
			write(t, target, other)
			if err == nil && kind == "pipe" {
				err = syscall.Mkfifo(path, 0o600)
			} else if err == nil {
				err = os.Symlink(target, path)
			}
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error)
			go func() {
				_, err := p.Fetch(t.Context(), Request{Repo: mine, Revision: "main"})
				done <- err
			}()
			select {
			case err = <-done:
			case <-time.After(20 * time.Second):
				t.Fatalf("%s as a %s: still running", path, kind)
			}
			wrongBlob := kind == "link" && path == p.Cache.blob(mine, hash) // is replaced, as any wrong content
			switch want := tt.named && !wrongBlob; {
			case want != (err != nil), want && !strings.Contains(err.Error(), path+": is "):
				t.Errorf("%s as a %s: %v", path, kind, err)
			case err == nil && !Complete(p.Cache.Snapshot(mine, first)):
				t.Errorf("%s as a %s: not whole", path, kind)
			}
			if got, err := os.ReadFile(target); err != nil || !bytes.Equal(got, other) {
				t.Errorf("%s as a link: its target was changed: %v", path, err)
			}
		}
	}
}
