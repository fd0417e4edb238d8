package dump

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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

// unchanged checks that the files under dir are those of before.
func unchanged(t *testing.T, reason, dir string, before map[string]string) {
	t.Helper()
	if diff := cmp.Diff(before, snapshot(t, dir)); diff != "" {
		t.Errorf("%s: the files (-before +after):\n%s", reason, diff)
	}
}

// Whatever goes wrong while a dump is written, what stood there stands, and
// nothing is left beside it.
func TestFailedWriteLeavesTheOldDump(t *testing.T) {
	one, none := harnesstest.Vec(1), harness.Tensor{}
	ids := func(id ...int) [][]int { return [][]int{id} }
	man, untold, bare := harnesstest.TestManifest(1), harnesstest.TestManifest(1), harnesstest.TestManifest(1)
	untold.Tokens, untold.New = nil, 0
	bare.Model.Name = ""
	for _, c := range []struct {
		reason string
		put    func(w *Writer)
		tokens [][]int
		man    harness.Manifest
		want   string
	}{
		{"a tensor that is not its shape", func(w *Writer) { w.Put(0, "b", harness.Tensor{Shape: []int{3}, F32: []float32{1}}) }, nil, man, "step_00/b.npy: shape [3] needs 3 elements"},
		{"no tensor", func(w *Writer) { w.Put(0, "b", none) }, nil, man, "no tensor"},
		{"a stage twice", func(w *Writer) { w.Put(0, "a", one) }, nil, man, "written twice"},
		{"a name that leaves the folder", func(w *Writer) { w.Put(0, "../../a", one) }, nil, man, "not a place in a dump"},
		{"a negative step", func(w *Writer) { w.Put(-1, "a", one) }, nil, man, "not a place in a dump"},
		{"after the end", func(w *Writer) { w.Abort(); w.Put(0, "b", one) }, nil, man, "already committed or aborted"},
		{"rows of tokens of two lengths", nil, [][]int{{7}, {7, 1}}, untold, "row 1 has 2 ids"},
		{"a negative token", nil, ids(7, -1), man, "is negative"},
		{"no tokens where the manifest has some", nil, nil, man, "tokens.npy is missing"},
		{"tokens that do not begin with the prompt", nil, ids(8, 1), man, "does not begin with the tokens"},
		{"fewer tokens than prompt and new", nil, ids(7), man, "shape [1 1], but manifest.json says [1 2]"},
		{"a manifest without a model", nil, ids(7, 1), bare, "model.name is missing"},
		{"no file", func(w *Writer) { w.files = nil }, nil, untold, "files is empty"},
		{"something else appeared at the place", func(w *Writer) { writeFile(t, filepath.Join(w.dir, "mine.txt"), nil) }, nil, untold, "holds mine.txt"},
	} {
		dir, s := writeTestDump(t)
		before := snapshot(t, filepath.Dir(dir))
		w, err := Create(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Put(0, "a", one); err != nil {
			t.Error(err)
		}
		if c.put != nil {
			c.put(w)
		}
		if err := w.Commit(c.tokens, nil, c.man); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.reason, err, c.want)
		}
		w.Abort()
		os.Remove(filepath.Join(dir, "mine.txt"))
		unchanged(t, c.reason, filepath.Dir(dir), before)
		if _, _, err := Open(dir, s); err != nil {
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
	d, _, err := Open(dir, s)
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
	writeOld := func(dir string) {
		src := harnesstest.Source(harnesstest.MustSchedule(t, "a"), "old", [][]int{{7, 9}}, harnesstest.Steps{0: {"a": harnesstest.Vec(4)}})
		if err := Write(src, dir, harnesstest.TestManifest(1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		reason string
		make   func(dir string)
		ok     bool
	}{
		{"nothing there", func(dir string) {}, true},
		{"an empty folder", func(dir string) { os.Mkdir(dir, 0o777) }, true},
		{"a folder under folders that are not there", func(dir string) {}, true},
		{"a file", func(dir string) { writeFile(t, dir, []byte("x")) }, false},
		{"somebody's folder", func(dir string) { writeFile(t, dir+"/thesis.tex", nil) }, false},
		{"a dump", writeOld, true},
		{"a dump with a file of somebody's in it", func(dir string) { writeOld(dir); writeFile(t, dir+"/thesis.tex", nil) }, false},
		{"a dump of which a tensor was edited", func(dir string) {
			writeOld(dir)
			b, _ := os.ReadFile(dir + "/step_00/a.npy")
			b[len(b)-1]++
			writeFile(t, dir+"/step_00/a.npy", b)
		}, false},
		{"in a step", func(dir string) { writeOld(dir); writeFile(t, dir+"/step_00/thesis.tex", nil) }, false},
		{"called as a stage's", func(dir string) { writeOld(dir); writeFile(t, dir+"/step_00/other.npy", nil) }, false},
		{"in another step", func(dir string) { writeOld(dir); writeFile(t, dir+"/step_77/a.npy", nil) }, false},
		{"a dump with an empty folder", func(dir string) { writeOld(dir); os.Mkdir(dir+"/step_77", 0o777) }, false},
		{"a dump with a folder for a file", func(dir string) {
			writeOld(dir)
			os.Remove(dir + "/step_00/a.npy")
			os.Mkdir(dir+"/step_00/a.npy", 0o777)
		}, false},
		{"a dump without a manifest", func(dir string) { writeFile(t, dir+"/step_0/a.npy", nil) }, false},
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
			unchanged(t, c.reason, filepath.Dir(dir), before)
			continue
		}
		w.Abort()
		unchanged(t, c.reason, filepath.Dir(dir), before)
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
	if d, _, err := Open(dir, s); err != nil || len(d.Steps()) != 1 {
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

func TestWriteRefusesErrors(t *testing.T) {
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
