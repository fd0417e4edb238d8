package dump

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/npy"
)

// Writer writes a dump beside its place and moves it there whole: until
// Commit has returned, what stood at the place still does.
type Writer struct {
	dir   string // the place
	tmp   string // where the dump grows
	files []harness.File
	err   error // the first failure, or errEnded: after it there is no Commit
}

var errEnded = errors.New("dump is already committed or aborted")

// Create begins a dump for dir, whose parents it makes. What stands at dir
// is replaced on Commit if it is a dump or an empty folder; anything else is
// refused here, before anything is written. Call Abort, deferred, in any case.
func Create(dir string) (*Writer, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	if err := replaceable(abs); err != nil {
		return nil, err
	}
	parent := filepath.Dir(abs)
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return nil, err
	}
	w := &Writer{dir: abs, tmp: sibling(abs, "tmp")}
	return w, os.Mkdir(w.tmp, 0o777)
}

// sibling returns a hidden name beside path that nothing has.
func sibling(path, purpose string) string {
	return filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%s-%08x", filepath.Base(path), purpose, rand.Uint32()))
}

// replaceable returns an error unless dir is free, or a dump and nothing but a dump.
func replaceable(dir string) error {
	st, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return fmt.Errorf("%s: not a folder, will not be replaced", dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	isDump := len(entries) == 0
	for _, e := range entries {
		step := e.IsDir() && stepFolder.MatchString(e.Name())
		if !step && e.Name() != ManifestFile && e.Name() != harness.TokensFile {
			return fmt.Errorf("%s: holds %q, which is not part of a dump, and will not be replaced; choose another folder", dir, e.Name())
		}
		isDump = isDump || step || e.Name() == ManifestFile
	}
	if !isDump {
		return fmt.Errorf("%s: neither empty nor a dump, will not be replaced; choose another folder", dir)
	}
	return nil
}

// Put writes one stage of one step. The manifest lists files in the order put.
func (w *Writer) Put(step int, stage string, t harness.Tensor) error {
	if w.err == nil && (step < 0 || !names.Valid(stage)) {
		w.err = fmt.Errorf("step %d, stage %q: not a place in a dump", step, stage)
	}
	return w.write(harness.File{Path: harness.Place{Step: step, Stage: stage}.File(), Step: &step, Stage: stage}, t)
}

func (w *Writer) write(f harness.File, t harness.Tensor) error {
	if w.err != nil {
		return w.err
	}
	f.Shape, f.DType = t.Shape, t.DType()
	err := t.Check()
	if err == nil {
		f.SHA256, err = writeTensor(filepath.Join(w.tmp, filepath.FromSlash(f.Path)), t)
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		w.err = fmt.Errorf("%s: written twice", f.Path)
	case err != nil:
		w.err = fmt.Errorf("%s: %w", f.Path, err)
	}
	w.files = append(w.files, f)
	return w.err
}

// writeTensor writes a .npy file, which must not be there, and returns its hash.
func writeTensor(path string, t harness.Tensor) (string, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	err = npy.Write(io.MultiWriter(f, h), t)
	return fmt.Sprintf("%x", h.Sum(nil)), errors.Join(err, f.Close())
}

// Commit writes the tokens [B, prompt + new], if there are any, and the manifest,
// whose Schema and Files it fills in, and moves the dump to its place. After a
// failed Put, or when the manifest does not go with what was put, it fails and
// leaves the place as it was.
func (w *Writer) Commit(tokens [][]int, m harness.Manifest) error {
	if tokens != nil && w.err == nil {
		if w.err = harness.CheckTokens(tokens); w.err == nil {
			t := harness.Tensor{Shape: []int{len(tokens), len(tokens[0])}}
			for _, id := range slices.Concat(tokens...) {
				t.I64 = append(t.I64, int64(id))
			}
			w.write(harness.File{Path: harness.TokensFile}, t)
		}
	}
	if w.err != nil {
		return fmt.Errorf("%s: not written: %w", w.dir, w.err)
	}
	m.Schema, m.Files = 1, w.files
	if err := checkManifest(&m); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(w.dir, ManifestFile), err)
	}
	if tokens != nil {
		if err := checkTokens(filepath.Join(w.dir, harness.TokensFile), tokens, &m); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(m); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(w.dir, ManifestFile), err)
	}
	if err := os.WriteFile(filepath.Join(w.tmp, ManifestFile), b.Bytes(), 0o666); err != nil {
		return err
	}
	if err := w.swap(); err != nil {
		return err
	}
	w.err = errEnded
	return nil
}

// swap moves the new dump in and the old one, if any, out. Between the two
// renames the place is empty; if the second fails the old dump comes back.
func (w *Writer) swap() error {
	if err := replaceable(w.dir); err != nil {
		return err
	}
	old := sibling(w.dir, "old")
	if err := os.Rename(w.dir, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(w.tmp, w.dir); err != nil {
		if back := os.Rename(old, w.dir); !errors.Is(back, fs.ErrNotExist) {
			err = errors.Join(err, back)
		}
		return err
	}
	return os.RemoveAll(old)
}

// Abort removes what was written unless Commit has moved it to its place.
func (w *Writer) Abort() {
	os.RemoveAll(w.tmp)
	w.err = errEnded
}

// Write writes a source as a dump at dir, as Writer does: whole or not at all.
// man needs everything but Files.
func Write(src harness.Source, dir string, man harness.Manifest) error {
	if err := src.Err(); err != nil {
		return err
	}
	w, err := Create(dir)
	if err != nil {
		return err
	}
	defer w.Abort()
	for _, step := range src.Steps() {
		for _, stage := range src.Stages(step) {
			t, err := src.Tensor(step, stage)
			if err != nil {
				return err
			}
			if err := w.Put(step, stage, t); err != nil {
				return err
			}
		}
	}
	return w.Commit(src.Tokens(), man)
}
