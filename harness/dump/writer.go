package dump

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/npy"
	"checkpoint12/model/atomicfile"
)

// Writer writes a dump beside its place and moves it there whole: until
// Commit has returned, what stood at the place still does.
type Writer struct {
	dir    string // the place
	folder *atomicfile.Folder
	files  []harness.File
	err    error // the first failure, or errEnded: after it there is no Commit
}

var errEnded = errors.New("dump is already committed or aborted")

// Create begins a dump for dir, whose parents it makes. Commit replaces what stands
// there if Replaceable allows it. Call Abort, deferred, in any case.
func Create(dir string) (*Writer, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(abs); err == nil {
		if abs, err = filepath.EvalSymlinks(abs); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(filepath.Dir(abs), 0o777); err != nil {
		return nil, err
	}
	folder, err := atomicfile.CreateFolder(abs)
	if err != nil {
		return nil, err
	}
	if err := Replaceable(abs, ""); err != nil {
		folder.Discard()
		return nil, err
	}
	return &Writer{dir: abs, folder: folder}, nil
}

// Replaceable returns an error unless dir is free, an empty folder, or a dump of which
// the manifest lists every file as it is. If engine is not "", it must be of that engine.
func Replaceable(dir, engine string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s: not a folder, and is not replaced", dir)
	}
	if err != nil {
		return err
	}
	listed, files := map[string]fs.FileMode{".": fs.ModeDir}, map[string]harness.File{}
	switch man, err := ReadManifest(dir); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case engine != "" && man.Engine.Name != engine:
		return fmt.Errorf("%s: holds a dump of engine %q, and is not replaced: choose another folder",
			dir, man.Engine.Name)
	default:
		listed[ManifestFile] = 0
		for _, f := range man.Files {
			listed[f.Path], listed[path.Dir(f.Path)] = 0, fs.ModeDir
			files[f.Path] = f
		}
	}
	return fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		if mode, ok := listed[name]; err == nil && !(ok && mode == e.Type()) {
			err = fmt.Errorf("%s: holds %s, which no %s there lists, and is not replaced: choose another folder",
				dir, name, ManifestFile)
		}
		if f, ok := files[name]; err == nil && ok {
			if err = checkHash(filepath.Join(dir, filepath.FromSlash(name)), f); err != nil {
				err = fmt.Errorf("%w, and is not replaced: choose another folder", err)
			}
		}
		return err
	})
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
		f.SHA256, err = writeTensor(filepath.Join(w.folder.Name(), filepath.FromSlash(f.Path)), t)
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

// Commit writes the tokens [B, prompt + new] and their mask, if there are any, and the
// manifest, whose Schema and Files it fills in, and moves the dump to its place. After a
// failed Put, or when the manifest does not go with what was put, it fails and
// leaves the place as it was.
func (w *Writer) Commit(tokens, mask [][]int, m harness.Manifest) error {
	if tokens != nil && w.err == nil {
		if w.err = harness.CheckTokens(tokens); w.err == nil {
			w.write(harness.File{Path: harness.TokensFile}, idsOf(tokens))
		}
	}
	if mask != nil && w.err == nil {
		w.write(harness.File{Path: harness.MaskFile}, idsOf(mask))
	}
	if w.err != nil {
		return fmt.Errorf("%s: not written: %w", w.dir, w.err)
	}
	m.Schema, m.Files = 1, w.files
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := errors.Join(checkManifest(&m), e.Encode(m)); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(w.dir, ManifestFile), err)
	}
	if tokens != nil {
		if err := checkTokens(filepath.Join(w.dir, harness.TokensFile), tokens, &m); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(w.folder.Name(), ManifestFile), b.Bytes(), 0o666); err != nil {
		return err
	}
	if err := Replaceable(w.dir, ""); err != nil {
		return err
	}
	if err := w.folder.Commit(); err != nil {
		return err
	}
	w.err = errEnded
	return nil
}

// idsOf returns rows of equal length as a tensor.
func idsOf(rows [][]int) harness.Tensor {
	t := harness.Tensor{Shape: []int{len(rows), len(rows[0])}}
	for _, id := range slices.Concat(rows...) {
		t.I64 = append(t.I64, int64(id))
	}
	return t
}

// Abort removes what was written unless Commit has moved it to its place.
func (w *Writer) Abort() {
	w.folder.Discard()
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
	return w.Commit(src.Tokens(), harness.MaskOf(src), man)
}
