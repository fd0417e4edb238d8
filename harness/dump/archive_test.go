package dump

import (
	"archive/zip"
	"encoding/binary"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/npy"
)

// pack puts what is below a folder of a dump into a .npz or .safetensors, and removes the
// folder.
func pack(t *testing.T, dir, file string) {
	t.Helper()
	if filepath.Ext(file) == ".safetensors" {
		packSafetensors(t, dir, file)
		return
	}
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

// packSafetensors packs arrays, whose names are those of the files without .npy.
func packSafetensors(t *testing.T, dir, file string) {
	t.Helper()
	header, data := map[string]any{}, []byte{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		x, _, err := npy.Read(path, false)
		if err != nil {
			return err
		}
		begin, dtype := len(data), "I64"
		if x.IDs() {
			data, err = binary.Append(data, binary.LittleEndian, x.I64)
		} else {
			dtype = "F32"
			data, err = binary.Append(data, binary.LittleEndian, x.F32)
		}
		name, _ := filepath.Rel(dir, strings.TrimSuffix(path, ".npy"))
		header[filepath.ToSlash(name)] = map[string]any{
			"dtype": dtype, "shape": x.Shape, "data_offsets": []int{begin, len(data)},
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text, data))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}

// Archives in the place of a step's folder, or of the whole one, hold what the folder holds.
func TestArchivesHoldTheFolder(t *testing.T) {
	padded := func() (string, *harness.Schedule) {
		dir, s := writeTestDump(t)
		os.Remove(filepath.Join(dir, ManifestFile))
		le := binary.LittleEndian
		writeNPY(t, filepath.Join(dir, harness.MaskFile), "<i8", "(1, 3)", le.AppendUint64(le.AppendUint64(make([]byte, 8), 1), 1))
		return dir, s
	}
	whole, s := padded()
	for _, c := range []struct{ reason, folder, ext, broken string }{
		{"a step", "step_01", ".npz", "not a .npz file"}, {"the whole", "", ".npz", "not a .npz file"},
		{"a step", "step_01", ".safetensors", "header claims"}, {"the whole", "", ".safetensors", "header claims"},
	} {
		dir, _ := padded()
		file := filepath.Join(dir, c.folder) + c.ext
		pack(t, filepath.Join(dir, c.folder), file)
		if c.folder == "" {
			dir = file
		}
		want, _, err := Open(whole, s)
		if err != nil {
			t.Fatal(err)
		}
		got, notes, err := Open(dir, s)
		if err != nil || len(notes) > 0 || !slices.Equal(got.Steps(), want.Steps()) || !cmp.Equal(got.Tokens(), want.Tokens()) ||
			!cmp.Equal(got.Mask(), [][]int{{0, 1, 1}}) {
			t.Fatalf("%s: steps %v, tokens %v, mask %v, notes %q, %v", file, got.Steps(), got.Tokens(), got.Mask(), notes, err)
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
		if _, _, err := Open(dir, s); err == nil || !strings.Contains(err.Error(), file+": "+c.broken) {
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
