package dump

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/harnesstest"
)

// snapshot is every file under dir by path, and every folder.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			files[path] = "folder"
			return nil
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func mustEqual(t *testing.T, reason string, want, got map[string]string) {
	t.Helper()
	for path, text := range want {
		if got[path] != text {
			t.Errorf("%s: %s is not what it was", reason, path)
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%s: %s was not there", reason, path)
		}
	}
}

// Whatever goes wrong while a dump is written, what stood there stands, and
// nothing is left beside it.
func TestFailedWriteLeavesTheOldDump(t *testing.T) {
	for _, c := range []struct {
		reason string
		write  func(w *Writer) error
		want   string
	}{
		{"abandoned half way", func(w *Writer) error {
			if err := w.Put(0, "a", harnesstest.Vec(1)); err != nil {
				t.Error(err)
			}
			return os.ErrClosed
		}, "closed"},
		{"a tensor that is not its shape", func(w *Writer) error {
			w.Put(0, "a", harnesstest.Vec(1))
			w.Put(0, "b", harness.Tensor{Shape: []int{3}, F32: []float32{1}})
			return w.Commit(harnesstest.TestManifest(1))
		}, "step_00/b.npy: shape [3] needs 3 elements"},
		{"no tensor", func(w *Writer) error {
			w.Put(0, "a", harness.Tensor{})
			return w.Commit(harnesstest.TestManifest(1))
		}, "no tensor"},
		{"a stage twice", func(w *Writer) error {
			w.Put(0, "a", harnesstest.Vec(1))
			w.Put(0, "a", harnesstest.Vec(1))
			return w.Commit(harnesstest.TestManifest(1))
		}, "written twice"},
		{"a name that leaves the folder", func(w *Writer) error {
			w.Put(0, "../../a", harnesstest.Vec(1))
			return w.Commit(harnesstest.TestManifest(1))
		}, "not a place in a dump"},
		{"a negative step", func(w *Writer) error {
			w.Put(-1, "a", harnesstest.Vec(1))
			return w.Commit(harnesstest.TestManifest(1))
		}, "not a place in a dump"},
		{"tokens of values", func(w *Writer) error {
			w.PutTokens(harnesstest.Vec(1))
			return w.Commit(harnesstest.TestManifest(1))
		}, "want ids"},
		{"no tokens where the manifest has some", func(w *Writer) error {
			w.Put(0, "a", harnesstest.Vec(1))
			return w.Commit(harnesstest.TestManifest(1))
		}, "tokens.npy is missing"},
		{"tokens that do not begin with the prompt", func(w *Writer) error {
			w.PutTokens(harness.Tensor{Shape: []int{1, 2}, I64: []int64{8, 1}})
			return w.Commit(harnesstest.TestManifest(1))
		}, "does not begin with the tokens"},
		{"fewer tokens than prompt and new", func(w *Writer) error {
			w.PutTokens(harness.Tensor{Shape: []int{1, 2}, I64: []int64{7, 1}})
			return w.Commit(harnesstest.TestManifest(2))
		}, "shape [1 2], but manifest.json says [1 3]"},
		{"a manifest without a model", func(w *Writer) error {
			w.Put(0, "a", harnesstest.Vec(1))
			return w.Commit(harness.Manifest{Engine: harness.Engine{Name: "e"}})
		}, "model.name is missing"},
		{"no file", func(w *Writer) error {
			return w.Commit(harness.Manifest{Model: harness.ManifestModel{Name: "m"}, Engine: harness.Engine{Name: "e"}})
		}, "files is empty"},
		{"something else appeared at the place", func(w *Writer) error {
			w.Put(0, "a", harnesstest.Vec(1))
			writeFile(t, filepath.Join(w.dir, "mine.txt"), nil)
			defer os.Remove(filepath.Join(w.dir, "mine.txt"))
			m := harnesstest.TestManifest(1)
			m.Tokens, m.New = nil, 0
			return w.Commit(m)
		}, `holds "mine.txt"`},
	} {
		dir, s := writeTestDump(t)
		before := snapshot(t, filepath.Dir(dir))
		w, err := Create(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.write(w); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.reason, err, c.want)
		}
		w.Abort()
		mustEqual(t, c.reason, before, snapshot(t, filepath.Dir(dir)))
		if _, _, err := Open(dir, s, Options{}); err != nil {
			t.Errorf("%s: the old dump: %v", c.reason, err)
		}
	}
}

func TestCommitReplacesADump(t *testing.T) {
	dir, s := writeTestDump(t)
	r := harnesstest.Source(s, "new", [][]int{{7, 9}}, harnesstest.Steps{0: {"a": harnesstest.Vec(4)}})
	if err := Write(r, dir, harnesstest.TestManifest(1)); err != nil {
		t.Fatal(err)
	}
	d, _, err := Open(dir, s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.Tensor(0, "a"); err != nil || !harnesstest.SameTensor(got, harnesstest.Vec(4)) || len(d.Steps()) != 1 {
		t.Errorf("%v, %v, steps %v", got, err, d.Steps())
	}
	entries, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the dump: %v, %v", entries, err)
	}
}

func TestWriterReplacesNothingButADump(t *testing.T) {
	for _, c := range []struct {
		reason string
		make   func(dir string)
		ok     bool
	}{
		{"nothing there", func(dir string) {}, true},
		{"an empty folder", func(dir string) { os.Mkdir(dir, 0o777) }, true},
		{"a dump of another engine", func(dir string) { writeFile(t, dir+"/step_0/a.npy", nil) }, true},
		{"a folder under folders that are not there", func(dir string) {}, true},
		{"a file", func(dir string) { writeFile(t, dir, []byte("x")) }, false},
		{"somebody's folder", func(dir string) { writeFile(t, dir+"/thesis.tex", nil) }, false},
		{"a dump with something of somebody's in it", func(dir string) {
			writeFile(t, dir+"/step_00/a.npy", nil)
			writeFile(t, dir+"/thesis.tex", nil)
		}, false},
		{"a project with a manifest.json of its own", func(dir string) {
			writeFile(t, dir+"/manifest.json", nil)
			writeFile(t, dir+"/src/main.js", nil)
		}, false},
		{"a folder of tokens alone", func(dir string) { writeFile(t, dir+"/tokens.npy", nil) }, false},
		{"a file called step_00", func(dir string) { writeFile(t, dir+"/step_00", nil) }, false},
	} {
		dir := filepath.Join(t.TempDir(), "some", "where")
		if err := os.Mkdir(filepath.Dir(dir), 0o777); err != nil {
			t.Fatal(err)
		}
		c.make(dir)
		before := snapshot(t, filepath.Dir(dir))
		w, err := Create(dir)
		if (err == nil) != c.ok {
			t.Errorf("%s: error %v", c.reason, err)
		}
		if err != nil {
			if !strings.Contains(err.Error(), dir) {
				t.Errorf("%s: error %q does not name the folder", c.reason, err)
			}
			mustEqual(t, c.reason, before, snapshot(t, filepath.Dir(dir)))
			continue
		}
		w.Abort()
		mustEqual(t, c.reason, before, snapshot(t, filepath.Dir(dir)))
	}
}

func TestWriterThroughALink(t *testing.T) {
	dir, s := writeTestDump(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Skipf("no symbolic links: %v", err)
	}
	r := harnesstest.Source(s, "new", [][]int{{7, 9}}, harnesstest.Steps{0: {"a": harnesstest.Vec(4)}})
	if err := Write(r, link, harnesstest.TestManifest(1)); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Lstat(link); err != nil || st.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", st, err)
	}
	if d, _, err := Open(dir, s, Options{}); err != nil || len(d.Steps()) != 1 {
		t.Errorf("the folder behind it: %v, %v", d, err)
	}
}

// The same tensors give the same bytes.
func TestWriterIsDeterministic(t *testing.T) {
	a, _ := writeTestDump(t)
	b, _ := writeTestDump(t)
	x, err := os.ReadFile(filepath.Join(a, ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(filepath.Join(b, ManifestFile))
	if err != nil || !bytes.Equal(x, y) {
		t.Errorf("%v:\n%s\n%s", err, x, y)
	}
}

func TestWriterAfterTheEnd(t *testing.T) {
	w, err := Create(filepath.Join(t.TempDir(), "d"))
	if err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if err := w.Put(0, "a", harnesstest.Vec(1)); err == nil {
		t.Error("Put after Abort")
	}
	if err := w.Commit(harnesstest.TestManifest(1)); err == nil {
		t.Error("Commit after Abort")
	}
}

func TestWriteDumpRefusesMistakes(t *testing.T) {
	r := harness.NewRecorder(harness.RecorderOptions{Schedule: harnesstest.MustSchedule(t, "a")})
	r.Tap("a", []int{1}, []float32{1}) // before the first step
	dir := filepath.Join(t.TempDir(), "d")
	if err := Write(r, dir, harnesstest.TestManifest(1)); err == nil {
		t.Error("was written")
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("left a folder behind")
	}
}
