package npy

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
)

// zipped is a .npz of files, each of which a function has set up.
func zipped(t testing.TB, method uint16, change func(h *zip.FileHeader), files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range files {
		h := &zip.FileHeader{Name: name, Method: method}
		if change != nil {
			change(h)
		}
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = w.Write([]byte(numpySave))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tensorFile is a .safetensors file of one tensor.
func tensorFile(name, dtype, shape string, data []byte) []byte {
	header := fmt.Sprintf(`{"%s":{"dtype":"%s","shape":%s,"data_offsets":[0,%d]}}`, name, dtype, shape, len(data))
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), data...)
}

// write writes an archive to a new folder.
func write(t testing.TB, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestArchive(t *testing.T) {
	le := binary.LittleEndian
	for _, c := range []struct {
		file string
		data []byte
		want []float64
		note string
	}{
		{"a.npz", zipped(t, zip.Store, nil, "step_00/wte.npy"), []float64{0, 1, 2, 3, 4, 5}, ""},
		{"a.npz", zipped(t, zip.Deflate, nil, "step_00/wte.npy"), []float64{0, 1, 2, 3, 4, 5}, ""},
		{"a.safetensors", tensorFile("step_00/wte", "F32", "[2,1]", le32(1.5, -2)), []float64{1.5, -2}, ""},
		{"a.safetensors", tensorFile("step_00/wte", "BF16", "[2]", []byte{0xc0, 0x3f, 0, 0xc0}), []float64{1.5, -2}, "converted from BF16 to float32"},
		{"a.safetensors", tensorFile("step_00/wte", "F16", "[1]", []byte{0, 0x3e}), []float64{1.5}, "converted from F16 to float32"},
		{"a.safetensors", tensorFile("step_00/wte", "F64", "[]", le.AppendUint64(nil, 0x3ff8000000000000)), []float64{1.5}, "converted from F64 to float32"},
		{"a.safetensors", tensorFile("step_00/wte", "F64", "[]", le.AppendUint64(nil, 0x7fe0000000000000)), nil, "converted from F64 to float32; numbers beyond"},
		{"a.safetensors", tensorFile("step_00/wte", "I32", "[1]", le.AppendUint32(nil, 0xfffffffe)), []float64{-2}, "converted from I32 to int64"},
		{"a.safetensors", tensorFile("step_00/wte", "I64", "[1]", le.AppendUint64(nil, 7)), []float64{7}, ""},
	} {
		a, err := OpenArchive(write(t, c.file, c.data))
		if err != nil {
			t.Errorf("%q: %v", c.data, err)
			continue
		}
		if names := a.Names(); !slices.Equal(names, []string{"step_00/wte.npy"}) {
			t.Errorf("%q: names %q", c.data, names)
		}
		f, err := a.Open("step_00/wte.npy")
		if err != nil {
			t.Errorf("%q: %v", c.data, err)
			continue
		}
		x, err := f.Tensor()
		info, err2 := f.Stat()
		f.Close()
		if err != nil || err2 != nil || !strings.HasPrefix(info.Note, c.note) || c.note == "" && info.Note != "" {
			t.Errorf("%q: note %q, want %q; %v, %v", c.data, info.Note, c.note, err, err2)
		}
		var got []float64
		for i := range x.Elements() {
			got = append(got, x.At(i))
		}
		if c.want != nil && !slices.Equal(got, c.want) {
			t.Errorf("%q: %v, want %v", c.data, got, c.want)
		}
	}
}

func TestArchiveRefuses(t *testing.T) {
	plain := zipped(t, zip.Store, nil, "wte.npy")
	packed := zipped(t, zip.Deflate, nil, "wte.npy")
	at := bytes.Index(plain, []byte(numpySave))
	flipped := slices.Clone(plain)
	flipped[at+len(numpySave)-1] ^= 1
	cut := slices.Clone(packed)
	directory := bytes.Index(cut, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(cut[directory+24:], 4<<20) // unpacks to
	bomb := slices.Clone(cut)
	binary.LittleEndian.PutUint32(bomb[directory+24:], 1<<30)
	for _, c := range []struct {
		reason, file string
		data         []byte
		want         string
	}{
		{"no zip", "a.npz", []byte("PK"), "not a .npz file"},
		{"a name twice", "a.npz", zipped(t, zip.Store, nil, "wte.npy", "wte.npy"), "twice"},
		{"a path out of the folder", "a.npz", zipped(t, zip.Store, nil, "../wte.npy"), "not a name in a folder"},
		{"a path of Windows", "a.npz", zipped(t, zip.Store, nil, `..\wte.npy`), "not a name in a folder"},
		{"encrypted", "a.npz", zipped(t, zip.Store, func(h *zip.FileHeader) { h.Flags |= 1 }, "wte.npy"), "encrypted"},
		{"another sum", "a.npz", flipped, "CRC-32"},
		{"fewer bytes than it says", "a.npz", cut, "other than"},
		{"a bomb", "a.npz", bomb, "are refused"},
		{"a tensor out of the folder", "a.safetensors", tensorFile("../wte", "F32", "[0]", nil), "not a name in a folder"},
		{"another dtype", "a.safetensors", tensorFile("wte", "BOOL", "[1]", []byte{1}), "want F32"},
		{"cut short", "a.safetensors", tensorFile("wte", "F32", "[2]", le32(1)), "safetensors"},
		{"nothing", "a.safetensors", nil, "not a safetensors file"},
	} {
		path := write(t, c.file, c.data)
		a, err := OpenArchive(path)
		if err == nil {
			var f *File
			if f, err = a.Open("wte.npy"); err == nil {
				f.Close()
			}
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%s: %v, want %q", c.reason, err, c.want)
		}
	}
}

// FuzzArchive asks of any bytes that they are refused, or hold arrays that are whole and
// take no more than is there, whether they are read at once or in parts.
func FuzzArchive(f *testing.F) {
	f.Add(zipped(f, zip.Store, nil, "wte.npy", "step_00/wpe.npy"), true)
	f.Add(zipped(f, zip.Deflate, nil, "wte.npy"), true)
	f.Add(tensorFile("wte", "BF16", "[2,1]", []byte{1, 2, 3, 4}), false)
	f.Add(tensorFile("step_00/wte", "I32", "[]", []byte{1, 2, 3, 4}), false)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte, npz bool) {
		path := filepath.Join(dir, "a.safetensors")
		if npz {
			path = filepath.Join(dir, "a.npz")
		}
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		a, err := OpenArchive(path)
		if err != nil {
			return
		}
		for _, name := range a.Names() {
			file, err := a.Open(name)
			if err != nil {
				continue
			}
			x, err := file.Tensor()
			if err != nil || x.Check() != nil || x.Elements() > maxUnpacked*len(b)+freeBytes {
				t.Fatalf("%s: %v, %v, of %d bytes", name, x.Shape, err, len(b))
			}
			if n := x.Elements(); n > 0 {
				last, err := file.Part(n-1, 1, new(harness.Tensor))
				if err != nil || last.At(0) != x.At(n-1) && x.At(n-1) == x.At(n-1) {
					t.Fatalf("%s: its last element is %v, and by itself %v, %v", name, x.At(n-1), last, err)
				}
			}
			file.Close()
		}
	})
}
