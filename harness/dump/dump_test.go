package dump

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/harnesstest"
)

// writeNPY writes raw bytes as a file of a dump.
func writeNPY(t *testing.T, path, descr, shape string, payload []byte) {
	t.Helper()
	text := "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }\n"
	b := append([]byte{0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, byte(len(text)), 0}, text...)
	writeFile(t, path, append(b, payload...))
}

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
}

func TestDumpRoundTrip(t *testing.T) {
	dir, s := writeTestDump(t)
	d, notes, err := Open(dir, s)
	if err != nil || len(notes) > 0 {
		t.Fatalf("notes %q, error %v", notes, err)
	}
	if !slices.Equal(d.Steps(), []int{0, 1}) || !slices.Equal(d.Stages(0), []string{"a", "b", "next_id"}) ||
		!slices.Equal(d.Stages(1), []string{"a", "next_id"}) {
		t.Errorf("steps %v, stages %v, %v", d.Steps(), d.Stages(0), d.Stages(1))
	}
	if len(d.Tokens()) != 1 || !slices.Equal(d.Tokens()[0], []int{7, 1, 2}) {
		t.Errorf("tokens %v", d.Tokens())
	}
	for place, want := range map[harness.Place]harness.Tensor{
		{Step: 0, Stage: "a"}: harnesstest.Vec(1, 2), {Step: 0, Stage: "b"}: harnesstest.Vec(3, harnesstest.Ninf),
		{Step: 0, Stage: "next_id"}: harnesstest.Ids(1), {Step: 1, Stage: "next_id"}: harnesstest.Ids(2),
	} {
		got, err := d.Tensor(place.Step, place.Stage)
		if err != nil || !harnesstest.SameTensor(got, want) {
			t.Errorf("%v: %v, %v, want %v", place, got, err, want)
		}
		if shape, ok := d.Shape(place.Step, place.Stage); !ok || !slices.Equal(shape, want.Shape) {
			t.Errorf("%v: shape %v, %v", place, shape, ok)
		}
	}
	if _, err := d.Tensor(1, "b"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "b.npy") {
		t.Errorf("a tensor that is not there: %v", err)
	}
	if _, ok := d.Shape(1, "b"); ok {
		t.Error("a shape that is not there")
	}
	m := d.Manifest()
	if m == nil || m.Schema != 1 || len(m.Files) != 6 || m.Files[0].Path != "step_00/a.npy" || m.Files[5].Path != "tokens.npy" {
		t.Errorf("manifest %+v", m)
	}
	if l, err := List(dir); err != nil || !slices.Equal(l.Stages(), []string{"a", "b", "next_id"}) {
		t.Errorf("stages by name: %v, %v", l.Stages(), err)
	}
}

func TestForeignDump(t *testing.T) {
	dir := t.TempDir()
	s := harnesstest.MustSchedule(t, "h.9.ln_1", "h.10.ln_1", "x", "next_id")
	f8 := make([]byte, 8)
	writeNPY(t, filepath.Join(dir, "step_0/h.9.ln_1.npy"), "<f8", "(1,)", f8)
	writeNPY(t, filepath.Join(dir, "step_00001/h.10.ln_1.npy"), "<f4", "(1,)", f8[:4])
	writeNPY(t, filepath.Join(dir, "step_00001/h.9.ln_1.npy"), "<f4", "(1,)", f8[:4])
	writeNPY(t, filepath.Join(dir, "step_0/next_id.npy"), "<i4", "(1,)", []byte{5, 0, 0, 0})
	writeNPY(t, filepath.Join(dir, "step_0/h.9.ln1.npy"), "|O", "(1,)", nil)
	writeNPY(t, filepath.Join(dir, "step_0/entirely_else.npy"), "<f4", "(1,)", f8[:4])
	for _, step := range []string{"step_0", "step_00001", "step_2"} {
		writeNPY(t, filepath.Join(dir, step, "everywhere.npy"), "<f4", "(1,)", f8[:4])
	}
	writeNPY(t, filepath.Join(dir, "tokens.npy"), "<i4", "(1, 2)", []byte{7, 0, 0, 0, 5, 0, 0, 0})
	writeFile(t, filepath.Join(dir, "step_0/x.npz"), []byte("x"))
	writeFile(t, filepath.Join(dir, "notes.txt"), []byte("x"))
	writeFile(t, filepath.Join(dir, "steps/a.npy"), []byte("x"))

	d, notes, err := Open(dir, s)
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) + ": " }
	want := []string{
		in("step_0/entirely_else.npy") + `no stage is called "entirely_else"`,
		in("step_0/everywhere.npy and the same of 2 more steps") + `no stage is called "everywhere"`,
		in("step_0/h.9.ln1.npy") + `no stage is called "h.9.ln1"; did you mean "h.9.ln_1"?`,
		dir + ": not part of a dump, ignored: notes.txt, step_0/x.npz and steps",
		in("tokens.npy") + "converted from <i4 to int64",
		in("step_0/h.9.ln_1.npy") + "converted from <f8 to float32",
		in("step_0/next_id.npy") + "converted from <i4 to int64",
	}
	if diff := cmp.Diff(want, notes); diff != "" {
		t.Errorf("notes: -want +got:\n%s", diff)
	}
	if want := []string{"entirely_else", "everywhere", "h.9.ln1"}; !slices.Equal(d.Unknown(), want) {
		t.Errorf("unknown names %q, want %q", d.Unknown(), want)
	}
	if d.Manifest() != nil || !slices.Equal(d.Steps(), []int{0, 1}) || !slices.Equal(d.Stages(1), []string{"h.9.ln_1", "h.10.ln_1"}) {
		t.Errorf("manifest %v, steps %v, stages %v", d.Manifest(), d.Steps(), d.Stages(1))
	}
	if got, err := d.Tensor(0, "next_id"); err != nil || !harnesstest.SameTensor(got, harnesstest.Ids(5)) {
		t.Errorf("converted ids %v, %v", got, err)
	}
}

// writeTokens writes a row of three tokens.
func writeTokens(t *testing.T, dir string) {
	t.Helper()
	writeNPY(t, dir+"/tokens.npy", "<i8", "(1, 3)", make([]byte, 24))
}

func writeMask(t *testing.T, dir, shape string, ones ...byte) {
	t.Helper()
	var b []byte
	for _, one := range ones {
		b = append(b, one, 0, 0, 0, 0, 0, 0, 0)
	}
	writeNPY(t, dir+"/attention_mask.npy", "<i8", shape, b)
}

// A mask may lack the last id, which was chosen and never fed.
func TestMask(t *testing.T) {
	s := harnesstest.MustSchedule(t, "a")
	for _, c := range []struct {
		shape string
		ones  []byte
		want  []int
		notes int
	}{
		{"(1, 3)", []byte{0, 1, 1}, []int{0, 1, 1}, 0},
		{"(1, 2)", []byte{0, 1}, []int{0, 1, 1}, 1},
	} {
		dir := t.TempDir()
		writeTokens(t, dir)
		writeMask(t, dir, c.shape, c.ones...)
		d, notes, err := Open(dir, s)
		if err != nil || !slices.Equal(d.Mask()[0], c.want) || len(notes) != c.notes {
			t.Errorf("%s: %v, notes %v, %v", c.shape, d.Mask(), notes, err)
		}
	}
}

func TestOpenDumpRefuses(t *testing.T) {
	s := harnesstest.MustSchedule(t, "a", "next_id")
	zero := make([]byte, 64)
	for _, c := range []struct {
		reason string
		make   func(dir string)
		want   string
	}{
		{"values where ids belong", func(dir string) { writeNPY(t, dir+"/step_00/next_id.npy", "<f4", "(1,)", zero[:4]) }, "a.astype('<i8')"},
		{"ids where values belong", func(dir string) { writeNPY(t, dir+"/step_00/a.npy", "<i8", "(1,)", zero[:8]) }, "a.astype('<f4')"},
		{"a dtype nothing forgives", func(dir string) { writeNPY(t, dir+"/step_00/a.npy", "<c8", "(1,)", zero[:8]) }, "step_00/a.npy: dtype \"<c8\""},
		{"a file cut short", func(dir string) { writeNPY(t, dir+"/step_00/a.npy", "<f4", "(9,)", zero[:8]) }, "step_00/a.npy: file has"},
		{"the same step twice", func(dir string) {
			writeNPY(t, dir+"/step_1/a.npy", "<f4", "(1,)", zero[:4])
			writeNPY(t, dir+"/step_01/a.npy", "<f4", "(1,)", zero[:4])
		}, "the same step and stage as"},
		{"tokens as values", func(dir string) { writeNPY(t, dir+"/tokens.npy", "<f4", "(1, 2)", zero[:8]) }, "tokens are ids"},
		{"tokens without a batch axis", func(dir string) { writeNPY(t, dir+"/tokens.npy", "<i8", "(2,)", zero[:16]) }, "a.reshape(B, -1)"},
		{"a mask without tokens", func(dir string) { writeMask(t, dir, "(1, 2)", 1, 0) }, "there is no tokens.npy"},
		{"a mask of values", func(dir string) {
			writeTokens(t, dir)
			writeNPY(t, dir+"/attention_mask.npy", "<f4", "(1, 3)", zero[:12])
		}, "attention_mask.npy\", (a == 0).astype('<i8'))"},
		{"a mask of 1 and 0 as values", func(dir string) {
			writeTokens(t, dir)
			writeNPY(t, dir+"/attention_mask.npy", "<f4", "(1, 3)", binary.LittleEndian.AppendUint32(zero[:8:8], math.Float32bits(1)))
		}, "attention_mask.npy\", a.astype('<i8'))"},
		{"a mask that is added, as ids", func(dir string) {
			writeTokens(t, dir)
			writeNPY(t, dir+"/attention_mask.npy", "<i8", "(1, 3)", binary.LittleEndian.AppendUint64(zero[:16:16], 1<<63))
		}, "(a == 0).astype('<i8')"},
		{"a mask of another shape", func(dir string) {
			writeTokens(t, dir)
			writeMask(t, dir, "(3,)", 1, 1, 1)
		}, "attention_mask.npy: shape [3], want [1 3], as tokens.npy"},
		{"a mask of other numbers", func(dir string) {
			writeTokens(t, dir)
			writeMask(t, dir, "(1, 3)", 0, 1, 2)
		}, "attention_mask.npy: 2 at index [0 2], want 1 for a token and 0 for padding"},
		{"a row of padding alone", func(dir string) {
			writeTokens(t, dir)
			writeMask(t, dir, "(1, 3)", 0, 0, 0)
		}, "attention_mask.npy: row 0 has no token"},
		{"no tokens in tokens.npy", func(dir string) { writeNPY(t, dir+"/tokens.npy", "<i8", "(1, 0)", nil) }, "want [B, prompt + new]"},
		{"a negative token", func(dir string) {
			writeNPY(t, dir+"/tokens.npy", "<i8", "(1, 1)", bytes.Repeat([]byte{255}, 8))
		}, "id -1 at index [0 0] is negative"},
		{"a manifest of something else", func(dir string) { writeFile(t, dir+"/manifest.json", []byte(`{"name": "app"}`)) }, "not a checkpoint12 manifest"},
		{"no folder", func(dir string) { os.RemoveAll(dir) }, "no such file"},
	} {
		dir := filepath.Join(t.TempDir(), "dump")
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		c.make(dir)
		if _, _, err := Open(dir, s); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: error %v, want %q and the file's name", c.reason, err, c.want)
		}
	}
}

// A file that changes between Open and Tensor is an error.
func TestDumpChangedWhileRead(t *testing.T) {
	dir, s := writeTestDump(t)
	d, _, err := Open(dir, s)
	if err != nil {
		t.Fatal(err)
	}
	writeNPY(t, filepath.Join(dir, "step_00/a.npy"), "<f4", "(1,)", make([]byte, 4))
	if _, err := d.Tensor(0, "a"); err == nil || !strings.Contains(err.Error(), "changed while") {
		t.Errorf("error %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "step_00/a.npy")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Tensor(0, "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestDumpIsReadConcurrently(t *testing.T) {
	dir, s := writeTestDump(t)
	d, _, err := Open(dir, s)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			r, err := harness.Compare(s, d, d, harness.CompareOptions{RequireAll: true})
			if err != nil || !r.Passed() {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	wg.Wait()
}

// The writer's files are what npy reads, aligned or not, for shapes of no
// dimension too.
func TestWriterKeepsScalars(t *testing.T) {
	s := harnesstest.MustSchedule(t, "a")
	r := harness.NewRecorder(harness.RecorderOptions{Schedule: s})
	r.Step(0)
	r.Tap("a", nil, []float32{float32(math.Pi)})
	dir := filepath.Join(t.TempDir(), "d")
	m := harnesstest.TestManifest(1)
	m.Tokens, m.New = nil, 0
	if err := Write(r, dir, m); err != nil {
		t.Fatal(err)
	}
	d, _, err := Open(dir, s)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := d.Tensor(0, "a"); err != nil || len(a.Shape) != 0 || len(a.F32) != 1 {
		t.Fatalf("%v, %v", a, err)
	}
}

// Another engine's float64 dump of hundreds of files gives a note for each kind of
// file, not hundreds.
func TestConversionsAlikeAreOneNote(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"step_00/h.0.a.npy", "step_00/h.1.a.npy", "step_01/h.0.a.npy", "step_00/b.npy"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o777); err != nil {
			t.Fatal(err)
		}
		writeNPY(t, filepath.Join(dir, name), "<f8", "(1,)", make([]byte, 8))
	}
	_, notes, err := Open(dir, harnesstest.MustSchedule(t, "h.0.a", "h.1.a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		filepath.Join(dir, "step_00/b.npy") + ": converted from <f8 to float32",
		filepath.Join(dir, "step_00/h.0.a.npy") + " and 2 like it: converted from <f8 to float32",
	}
	if !slices.Equal(notes, want) {
		t.Errorf("notes %q, want %q", notes, want)
	}
}

// writeTestDump writes a dump of two steps with stages a, b and next_id.
func writeTestDump(t *testing.T) (dir string, s *harness.Schedule) {
	t.Helper()
	s = harnesstest.MustSchedule(t, "a", "b", "next_id")
	r := harnesstest.Source(s, "test", [][]int{{7, 1, 2}}, harnesstest.Steps{
		0: {"a": harnesstest.Vec(1, 2), "b": harnesstest.Vec(3, harnesstest.Ninf), "next_id": harnesstest.Ids(1)},
		1: {"a": harnesstest.Vec(5, 6), "next_id": harnesstest.Ids(2)},
	})
	dir = filepath.Join(t.TempDir(), "dump")
	if err := Write(r, dir, harnesstest.TestManifest(2)); err != nil {
		t.Fatal(err)
	}
	return dir, s
}
