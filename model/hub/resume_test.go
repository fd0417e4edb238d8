package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"checkpoint12/model/hub/hubtest"
)

// An interrupt keeps what has come, and the next fetch goes on from there.
func TestInterrupt(t *testing.T) {
	files := whole(weights)
	p := start(t, files)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("interrupted")
	p.Progress = func(file string, done, total int64) {
		if file != WeightsFile || total != big {
			t.Errorf("progress of %s, %d bytes", file, total)
		}
		if done > big/2 {
			cancel(stop)
		}
	}
	p.hub.Intercept = func(w http.ResponseWriter, r *http.Request, cdn bool, serve http.HandlerFunc) {
		if cdn && r.Header.Get("Range") == "" {
			w.Header().Set("Content-Length", strconv.Itoa(big))
			w.Write(weights[:big-1000])
			w.(http.Flusher).Flush()
			<-r.Context().Done() // it cannot be over before
			return
		}
		serve(w, r)
	}
	_, err := p.Fetch(ctx, Request{Repo: mine, Revision: first})
	if !errors.Is(err, stop) {
		t.Errorf("ended with %v", err)
	}
	p.clean(t)
	have := p.incomplete(t)
	if have <= big/2 || have >= big {
		t.Fatalf("%d bytes kept", have)
	}
	p.Progress = func(string, int64, int64) {}
	p.hub.Requests()
	s, err := p.fetch(t, first, files)
	if err != nil || s.Fetched != big-have {
		t.Errorf("went on to %+v, %v", s, err)
	}
	if _, ranges := gets(p.hub.Requests(), true); ranges != fmt.Sprintf("[bytes=%d-]", have) {
		t.Errorf("asked for %s, want to go on from %d", ranges, have)
	}
}

func TestInterruptPauses(t *testing.T) {
	p := start(t, whole(weights))
	p.hub.Intercept = func(w http.ResponseWriter, r *http.Request, cdn bool, serve http.HandlerFunc) {
		status(503)(w, r, serve)
	}
	p.sleep = sleep
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.Fetch(ctx, Request{Repo: mine}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a pause ended with %v", err)
	}
}

// What an earlier fetch has left is gone on from if it is the file's beginning,
// and started again if it is not.
func TestLeftOver(t *testing.T) {
	for _, tt := range []struct {
		why    string
		left   []byte
		ranges string
	}{
		{"the beginning", weights[:1000], "[bytes=1000-]"},
		{"all of it", weights, ""},
		{"nothing", nil, "[]"},
		{"too much", append(slices.Clone(weights), 1), "[]"},
		{"something else", other[:1000], "[bytes=1000-][]"},
		{"something else, as long", other, "[]"},
	} {
		t.Run(tt.why, func(t *testing.T) {
			files := whole(weights)
			p := start(t, files)
			write(t, p.Cache.blob(mine, contentHash(files[WeightsFile].Hash()))+".incomplete", tt.left)
			if _, err := p.fetch(t, first, files); err != nil {
				t.Fatal(err)
			}
			if _, ranges := gets(p.hub.Requests(), true); ranges != tt.ranges {
				t.Errorf("asked for %s, want %s", ranges, tt.ranges)
			}
			if got := p.incomplete(t); got >= 0 {
				t.Errorf("%d bytes are left over", got)
			}
		})
	}
}

// fullDisk takes so many bytes.
type fullDisk struct {
	w    io.Writer
	left int
}

func (d *fullDisk) Write(b []byte) (int, error) {
	n, _ := d.w.Write(b[:min(len(b), d.left)])
	d.left -= n
	if n < len(b) {
		return n, &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	}
	return n, nil
}

func TestDiskFull(t *testing.T) {
	files := whole(weights)
	p := start(t, files)
	p.disk = func(w io.Writer) io.Writer { return &fullDisk{w, 1 << 20} }
	_, err := p.fetch(t, first, files)
	contains(t, "full", err, "make room, or set HF_HOME to a folder on another disk (1048576 of 2109497 bytes are there")
	if len(p.pauses) > 0 {
		t.Errorf("tried again on a full disk: %v", p.notes)
	}
	if got := p.incomplete(t); got != 1<<20 {
		t.Errorf("%d bytes kept", got)
	}
	p.disk = func(w io.Writer) io.Writer { return &fullDisk{w, 0} }
	p.Cache = Cache(t.TempDir())
	if _, err = p.fetch(t, first, files); err == nil || p.incomplete(t) >= 0 {
		t.Errorf("no room at all: %v, %d bytes kept", err, p.incomplete(t))
	}
}

func TestFreeDisk(t *testing.T) {
	files := whole(weights)
	p := start(t, files)
	var asked string
	have := uint64(big - 1)
	p.free = func(dir string) (uint64, error) {
		asked = dir
		return have, nil
	}
	_, err := p.fetch(t, first, files)
	contains(t, "too little", err, "someone/model needs 0.00 GB in "+string(p.Cache))
	contains(t, "too little", err, "make room, or set HF_HOME")
	p.nothing(t)
	if home, _ := os.UserHomeDir(); asked != home {
		t.Errorf("asked for the room in %s, want %s, which is there", asked, home)
	}
	// What is there already needs no more room.
	have = 100
	write(t, p.Cache.blob(mine, contentHash(files[WeightsFile].Hash()))+".incomplete", weights[:big-100])
	if _, err := p.fetch(t, first, files); err != nil {
		t.Error(err)
	}
	have = 0
	if _, err := p.fetch(t, "main", files); err != nil {
		t.Error(err)
	}
	// Where nobody can say how much room there is, it is tried.
	p.Cache = Cache(t.TempDir())
	p.free = func(string) (uint64, error) { return 0, errors.ErrUnsupported }
	if _, err := p.fetch(t, first, files); err != nil {
		t.Error(err)
	}
	if n, err := freeBytes(t.TempDir()); err != nil || n == 0 {
		t.Errorf("freeBytes() = %d, %v", n, err)
	}
}

// Where there can be no links the snapshot has the files themselves.
func TestNoLinks(t *testing.T) {
	files := whole(weights)
	hub := start(t, files).hub
	t.Setenv("HF_HUB_DISABLE_SYMLINKS", "1")
	p := another(t, hub)
	s, err := p.fetch(t, first, files)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(filepath.Join(s.Dir, WeightsFile)); err != nil || !info.Mode().IsRegular() {
		t.Errorf("%v, %v", info, err)
	}
	if left, err := filepath.Glob(p.Cache.blob(mine, "*")); err != nil || len(left) > 0 {
		t.Errorf("twice on the disk: %q", left)
	}
	if s, err = p.fetch(t, first, files); err != nil || s.Fetched != 0 && s.Fetched != int64(len(config)) {
		t.Errorf("again: %+v, %v", s, err)
	}
	write(t, filepath.Join(s.Dir, WeightsFile), other)
	if s, err = p.fetch(t, first, files); err != nil || s.Fetched < big {
		t.Errorf("after damage: %+v, %v", s, err)
	}
	// A blob that is there already is copied: another snapshot may link to it.
	p.Cache = Cache(t.TempDir())
	write(t, p.Cache.blob(mine, contentHash(files[WeightsFile].Hash())), weights)
	if s, err = p.fetch(t, first, files); err != nil || s.Fetched >= big {
		t.Errorf("beside a blob: %+v, %v", s, err)
	}
	if _, err := os.Stat(p.Cache.blob(mine, contentHash(files[WeightsFile].Hash()))); err != nil {
		t.Error(err)
	}
}

// A lock that somebody holds, huggingface_hub for instance, is waited for.
func TestLock(t *testing.T) {
	files := whole(weights)
	p := start(t, files)
	path := p.Cache.lock(mine, contentHash(files[WeightsFile].Hash()))
	write(t, path, nil)
	held := flock.New(path)
	if ok, err := held.TryLock(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	note := p.Note
	p.Note = func(message string) {
		if note(message); strings.Contains(message, "waiting for another fetch") {
			time.AfterFunc(20*time.Millisecond, cancel)
		}
	}
	if _, err := p.Fetch(ctx, Request{Repo: mine, Revision: first}); !errors.Is(err, context.Canceled) {
		t.Errorf("did not wait: %v", err)
	}
	if n, _ := gets(p.hub.Requests(), true); n > 0 {
		t.Error("fetched what somebody else fetches")
	}
	time.AfterFunc(20*time.Millisecond, func() { held.Unlock() })
	if _, err := p.fetch(t, first, files); err != nil {
		t.Error(err)
	}
}

// A cache that another user keeps is used as it is: where all is there nothing is
// written.
func TestReadOnlyCache(t *testing.T) {
	files := whole(weights)
	p := start(t, files)
	if _, err := p.fetch(t, "main", files); err != nil {
		t.Fatal(err)
	}
	p.hub.Branch(string(mine), "refs/tag", first)
	for _, dir := range []string{".locks", filepath.Join(mine.folder(), "refs")} {
		if err := os.RemoveAll(filepath.Join(string(p.Cache), dir)); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(string(p.Cache), dir), nil) // nothing can be made in it
	}
	s, err := p.Fetch(t.Context(), Request{Repo: mine, Revision: "refs/tag"})
	if err != nil || s.Commit != first || s.Fetched != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	if notes := strings.Join(p.notes, "\n"); !strings.Contains(notes, "note that refs/tag is at 6dcaa7a952f7") {
		t.Errorf("notes %q", notes)
	}
	if err := os.Remove(p.Cache.blob(mine, contentHash(files[WeightsFile].Hash()))); err != nil {
		t.Fatal(err)
	}
	_, err = p.Fetch(t.Context(), Request{Repo: mine, Revision: "refs/tag"})
	contains(t, "something is missing", err, "the hub's cache: mkdir")
}

// A file of unknown length is read as far as a small file can go.
func TestUnknownLength(t *testing.T) {
	files := whole(weights)
	p := start(t, files)
	var n atomic.Int64
	p.hub.Intercept = func(w http.ResponseWriter, r *http.Request, cdn bool, serve http.HandlerFunc) {
		if !strings.HasSuffix(r.URL.Path, ConfigFile) || !strings.HasPrefix(r.URL.Path, "/api") {
			serve(w, r)
			return
		}
		n.Add(1)
		w.Header().Set("X-Repo-Commit", first)
		w.Header().Set("ETag", `W/"`+files[ConfigFile].Hash()+`"`)
		w.(http.Flusher).Flush()
		if r.Method == http.MethodGet {
			io.WriteString(w, config)
		}
	}
	s, err := p.fetch(t, first, files)
	if err != nil || n.Load() < 2 || s.Files[0].Size != int64(len(config)) {
		t.Errorf("%+v, %v", s, err)
	}
	endless := hubtest.Bytes(make([]byte, 2*MaxConfig), false)
	p.hub.Intercept = func(w http.ResponseWriter, r *http.Request, cdn bool, serve http.HandlerFunc) {
		w.Header().Set("X-Repo-Commit", second)
		w.Header().Set("ETag", `"`+endless.Hash()+`"`)
		w.(http.Flusher).Flush()
		io.Copy(w, io.NewSectionReader(endless.Content, 0, endless.Size))
	}
	_, err = p.fetch(t, second, nil)
	contains(t, "endless", err, "sends more than 1048576 bytes")
}

// What is at a file's place stays there until another is whole.
func TestPublishAtOnce(t *testing.T) {
	p := start(t, nil)
	p.copies = true
	file := filepath.Join(p.Cache.Snapshot(mine, first), ConfigFile)
	write(t, file, []byte("before"))
	if err := (&session{Client: p.Client}).publish(p.Cache.blob(mine, "none"), file, false); err == nil {
		t.Error("a blob that is not there was published")
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "before" {
		t.Errorf("%q, %v: the file was removed", got, err)
	}
	write(t, file+".tmp", nil) // what a killed run has left
	files := whole(weights)
	p = another(t, p.hub)
	p.hub.Add(string(mine), first, files)
	if _, err := p.fetch(t, first, files); err != nil {
		t.Error(err)
	}
}
