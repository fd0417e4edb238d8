package digest

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// alone gives the test a memory of its own, and files of a few bytes are worth
// remembering. It returns the folder of the memory.
func alone(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	for _, v := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} {
		t.Setenv(v, home)
	}
	old := least
	least = 1
	t.Cleanup(func() { least = old })
	path, err := memory()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(path)
}

// old writes a file that was last changed an hour ago.
func old(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	age(t, path, time.Now().Add(-time.Hour))
}

func age(t *testing.T, path string, at time.Time) {
	t.Helper()
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func sum(content string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(content))) }

func want(t *testing.T, what, path, content string) {
	t.Helper()
	if got, err := File(path); err != nil || got != sum(content) {
		t.Errorf("%s: File() = %q, %v; want the hash of %q", what, got, err, content)
	}
}

// What is remembered is seen by changing a file behind the memory's back: same
// size, same modification time.
func TestFileRemembers(t *testing.T) {
	alone(t)
	path := filepath.Join(t.TempDir(), "f")
	old(t, path, "aaaa")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "first", path, "aaaa")
	if err := os.WriteFile(path, []byte("bbbb"), 0o644); err != nil {
		t.Fatal(err)
	}
	age(t, path, info.ModTime())
	want(t, "same size and time", path, "aaaa")
	if got := Of(path, info, []byte("bbbb")); got != sum("aaaa") {
		t.Errorf("Of() does not use what File() noted: %q", got)
	}
	age(t, path, info.ModTime().Add(time.Nanosecond))
	want(t, "a nanosecond later", path, "bbbb")
	age(t, path, info.ModTime())
	want(t, "the last hash alone is remembered", path, "bbbb")
	old(t, path, "cc")
	age(t, path, info.ModTime().Add(time.Nanosecond))
	want(t, "another size", path, "cc")

	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	now, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("dd"), 0o644); err != nil {
		t.Fatal(err)
	}
	age(t, path, now.ModTime())
	want(t, "the same file by another path", link, "cc")
}

func TestFreshFilesAreNotRemembered(t *testing.T) {
	dir := alone(t)
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("aaaa"), 0o644); err != nil {
		t.Fatal(err)
	}
	want(t, "fresh", path, "aaaa")
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("a file that may still change within the clock's tick was remembered in %s", dir)
	}
	Remember(path, sum("told"))
	want(t, "Remember", path, "told")
}

func TestOfNotesOnlyTheFileItself(t *testing.T) {
	dir := alone(t)
	path := filepath.Join(t.TempDir(), "f")
	old(t, path, "aaaa")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	other := path + "2"
	old(t, other, "bbbb")
	age(t, other, info.ModTime())
	if err := os.Rename(other, path); err != nil { // another file of that size and time
		t.Fatal(err)
	}
	if got := Of(path, info, []byte("aaaa")); got != sum("aaaa") {
		t.Errorf("Of() = %q, want the hash of what it was given", got)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the hash of one file was noted for another")
	}
}

// A memory that cannot be read, or written, changes no hash.
func TestMemoryIsAConvenience(t *testing.T) {
	for name, content := range map[string]string{
		"not JSON": "{", "empty": "", "null": "null", "another schema": `{"schema":2}`,
		"no files": `{"schema":1}`, "short hash": `{"schema":1,"files":{"PATH":{"size":4,"mtime_ns":MTIME,"sha256":"ab"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := alone(t)
			path := filepath.Join(t.TempDir(), "f")
			old(t, path, "aaaa")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if name == "short hash" {
				info, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				data, err := json.Marshal(stored{1, map[string]entry{path: {info.Size(), info.ModTime().UnixNano(), "ab", 0}}})
				if err != nil {
					t.Fatal(err)
				}
				content = string(data)
			}
			if err := os.WriteFile(filepath.Join(dir, "sha256.json"), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
			want(t, name, path, "aaaa")
			left, err := filepath.Glob(filepath.Join(dir, "*"))
			if err != nil || len(left) != 1 {
				t.Errorf("left in the memory's folder: %q %v", left, err)
			}
			if len(read()) != 1 {
				t.Errorf("not mended: %v", read())
			}
		})
	}
	t.Run("a file where the folder should be", func(t *testing.T) {
		dir := alone(t)
		path := filepath.Join(t.TempDir(), "f")
		old(t, path, "aaaa")
		if err := os.WriteFile(dir, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		want(t, "unwritable", path, "aaaa")
	})
	t.Run("no cache folder", func(t *testing.T) {
		alone(t)
		path := filepath.Join(t.TempDir(), "f")
		old(t, path, "aaaa")
		for _, v := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} {
			t.Setenv(v, "")
		}
		want(t, "homeless", path, "aaaa")
	})
}

func TestMemoryIsBounded(t *testing.T) {
	alone(t)
	files, dir := map[string]entry{}, t.TempDir()
	for i := range most + 10 {
		path := filepath.Join(dir, fmt.Sprint(i))
		old(t, path, "x")
		files[path] = entry{1, 1, sum("x"), int64(i)}
	}
	files[filepath.Join(dir, "gone")] = entry{1, 1, sum("x"), 1 << 40}
	if err := write(files); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "new")
	old(t, path, "new")
	want(t, "new", path, "new")
	got := read()
	if len(got) != most {
		t.Errorf("%d files remembered, want %d", len(got), most)
	}
	for name, in := range map[string]bool{"0": false, "10": false, "11": true, "new": true, "gone": false} {
		if _, ok := got[filepath.Join(dir, name)]; ok != in {
			t.Errorf("%s remembered: %v, want %v", name, ok, in)
		}
	}
}

func TestFileIsMissing(t *testing.T) {
	alone(t)
	if sum, err := File(filepath.Join(t.TempDir(), "f")); !os.IsNotExist(err) || sum != "" {
		t.Errorf("File() = %q, %v", sum, err)
	}
}
