package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	names := func() (names []string) {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	full := errors.New("no space left on device")
	half := func(w io.Writer) error {
		if _, err := w.Write([]byte("half")); err != nil {
			return err
		}
		return &os.PathError{Op: "write", Path: "temporary", Err: full}
	}
	whole := func(w io.Writer) error { _, err := w.Write([]byte("whole")); return err }
	want := "write " + path + ": no space left on device"
	if err := Write(path, half); !errors.Is(err, full) || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	if got := names(); len(got) != 0 {
		t.Errorf("left behind %q", got)
	}
	if err := Write(path, whole); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, half); err == nil {
		t.Error("no error")
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "whole" || len(names()) != 1 {
		t.Errorf("after a failure the file holds %q, %v; the folder %q", b, err, names())
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o444 != 0o444 {
		t.Errorf("mode %v, %v: others cannot read it", info.Mode(), err)
	}
	if err := Write(filepath.Join(dir, "no", "f"), whole); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := Write(filepath.Join(dir, "d"), whole); err == nil || len(names()) != 2 {
		t.Errorf("a folder in its place: %v, the folder holds %q", err, names())
	}
}

func TestTwoAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	a, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for f, content := range map[*File]string{a: "a", b: "b"} {
		if _, err := f.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Commit(); err != nil {
		t.Fatal(err)
	}
	b.Discard()
	a.Discard() // too late
	if got, err := os.ReadFile(path); err != nil || string(got) != "a" {
		t.Errorf("the file holds %q, %v; want the one that was committed", got, err)
	}
}

// What killed processes left is removed or put back, but not what is locked, as a living
// one's, nor what only looks alike.
func TestLeftovers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such locks")
	}
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{".f.0123abcd.tmp", ".f.0123abc.tmp", ".f.0123abcd.tmp2", ".g.0123abcd.tmp", "f.0123abcd.tmp",
		".d.0123abcd.tmp/x", ".d.0123abcd.old/old", ".d.ffffffff.tmp/x"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(in(name)), 0o777), os.WriteFile(in(name), nil, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	alive, err := Create(in("f"))
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Discard()
	living, err := lock(in(".d.ffffffff.tmp"))
	if err != nil {
		t.Fatal(err)
	}
	defer living.Unlock()
	f, err := Create(in("f"))
	if err != nil {
		t.Fatal(err)
	}
	f.Discard()
	d, err := CreateFolder(in("d"))
	if err != nil {
		t.Fatal(err)
	}
	d.Discard()
	var left []string
	for _, pattern := range []string{"*", ".d*/*", "d/*"} {
		names, err := filepath.Glob(in(pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			left = append(left, name[len(dir)+1:])
		}
	}
	want := []string{".d.ffffffff.tmp", ".f.0123abc.tmp", ".f.0123abcd.tmp2", filepath.Base(alive.name), ".g.0123abcd.tmp",
		"d", "f.0123abcd.tmp", ".d.ffffffff.tmp/x", "d/old"}
	slices.Sort(left)
	slices.Sort(want)
	if !slices.Equal(left, want) {
		t.Errorf("left %q, want %q", left, want)
	}
}
