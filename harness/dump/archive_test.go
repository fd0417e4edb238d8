package dump

import (
	"archive/zip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness/internal/harnesstest"
)

// pack puts what is below a folder of a dump into a .npz, and removes the folder.
func pack(t *testing.T, dir, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	if err := z.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{z.Close(), f.Close(), os.RemoveAll(dir)} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Archives in the place of a step's folder, or of the whole one, hold what the folder holds.
func TestArchivesHoldTheFolder(t *testing.T) {
	whole, s := writeTestDump(t)
	for _, c := range []struct{ reason, folder string }{{"a step", "step_01"}, {"the whole", ""}} {
		dir, _ := writeTestDump(t)
		os.Remove(filepath.Join(dir, ManifestFile))
		file := filepath.Join(dir, c.folder) + ".npz"
		pack(t, filepath.Join(dir, c.folder), file)
		if c.folder == "" {
			dir = file
		}
		want, _, err := Open(whole, s)
		if err != nil {
			t.Fatal(err)
		}
		got, notes, err := Open(dir, s)
		if err != nil || len(notes) > 0 || !slices.Equal(got.Steps(), want.Steps()) || len(got.Tokens()) != len(want.Tokens()) {
			t.Fatalf("%s: steps %v, tokens %v, notes %q, %v", c.reason, got.Steps(), got.Tokens(), notes, err)
		}
		for _, p := range s.Places(want, nil) {
			x, err := want.Tensor(p.Step, p.Stage)
			y, err2 := got.Tensor(p.Step, p.Stage)
			if err != nil || err2 != nil || !harnesstest.SameTensor(x, y) {
				t.Errorf("%s: %v is %v, want %v; %v, %v", c.reason, p, y, x, err, err2)
			}
		}
		same, none := SharedFiles(got, got)
		if other, apart := SharedFiles(got, want); same == 0 || none != 0 || other != 0 || apart == 0 {
			t.Errorf("%s: other files than its own", c.reason)
		}
		if err := os.Truncate(file, 30); err != nil {
			t.Fatal(err)
		}
		if _, err := got.Tensor(1, "a"); err == nil || !strings.Contains(err.Error(), "changed while it was read") {
			t.Errorf("%s: cut short while it is open: %v", c.reason, err)
		}
		if _, _, err := Open(dir, s); err == nil || !strings.Contains(err.Error(), file+": not a .npz file") {
			t.Errorf("%s: cut short: %v", c.reason, err)
		}
	}
}

func TestPicklesAreNotOpened(t *testing.T) {
	s := harnesstest.MustSchedule(t, "a")
	for path, want := range map[string]string{
		"step_00.pt":        "step_00.safetensors",
		"step_00/a.pth":     "step_00/a.npy",
		"step_00/other.bin": "step_00/other.npy",
	} {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, path), []byte("never read"))
		_, _, err := Open(dir, s)
		if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, path)+": a pickle is never opened") ||
			!strings.Contains(err.Error(), filepath.Join(dir, want)) {
			t.Errorf("%s: %v, want a line that makes %s", path, err, want)
		}
		writeNPY(t, filepath.Join(dir, "step_00/a.npy"), "<f4", "(1,)", make([]byte, 4))
		_, notes, err := Open(dir, s)
		if err != nil || !strings.Contains(strings.Join(notes, "\n"), "a pickle is never opened") {
			t.Errorf("%s beside an array: notes %q, %v", path, notes, err)
		}
	}
}
