// Package dump reads and writes a recording as a folder of .npy files that a
// manifest binds to what made them.
package dump

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/harness/npy"
	"checkpoint12/model/parallel"
	"checkpoint12/model/regularfile"
)

// Dump is a folder of tensors, or archives in its place, opened: a Source. Headers have been read and
// checked; a tensor is read, whole, each time it is asked for.
type Dump struct {
	dir      string
	archives archives
	schedule *harness.Schedule
	man      *harness.Manifest // nil for another engine's folder
	tokens   [][]int
	steps    map[int]map[string]header
	unknown  []string
	mask     [][]int     // nil without one
	cut      harness.Cut // what CutFile says; nil without one
	weights  []string    // the paths of weights as loaded
}

// A header describes a stage's file; it is known before the tensor is read.
type header struct {
	path  string // below the folder
	label string // what messages call it
	npy.Info
}

// Open opens the dump at dir. With a manifest there, files, shapes and hashes must
// agree with it. Without one, values as <f2, <f8 or >f4 and ids as <i4 are
// converted. The notes name each file that was converted or is no stage's. Errors
// name the file and, where numpy can mend it, the call.
func Open(dir string, s *harness.Schedule) (*Dump, []string, error) {
	listed, err := List(dir)
	if err != nil {
		return nil, nil, err
	}
	man, err := ReadManifest(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	return OpenListed(dir, s, listed, man)
}

// OpenListed opens a folder as Open does, of which the caller has listed the files
// and read the manifest, nil for none.
func OpenListed(dir string, s *harness.Schedule, listed Listing, man *harness.Manifest) (*Dump, []string, error) {
	d := &Dump{dir: dir, archives: listed.archives, schedule: s, man: man, steps: map[int]map[string]header{}, weights: listed.weights}
	files, unknown, notes := listed.stages(dir, s)
	if len(listed.Tensors) == 0 {
		for _, path := range listed.Other {
			if line := FromPickle(filepath.Join(dir, path)); line != "" {
				return nil, nil, fmt.Errorf("%s: %s", filepath.Join(dir, path), line)
			}
		}
	}
	d.unknown = append(unknown, listed.Unnamed...)
	if man != nil {
		files = man.Files
		want := make(map[string]bool, len(man.Files))
		for _, f := range man.Files {
			want[f.Path] = true
		}
		for _, path := range listed.parts {
			if !want[path] {
				return nil, nil, fmt.Errorf("%s: not in %s", filepath.Join(dir, path), ManifestFile)
			}
		}
	}
	if listed.Cut != "" {
		path := filepath.Join(dir, listed.Cut)
		b, err := regularfile.Read(path, maxManifest)
		if err == nil {
			d.cut, err = harness.ParseCut(b)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	converted, err := d.readHeaders(files)
	if err != nil {
		return nil, nil, err
	}
	if man == nil && d.countsFromOne() {
		notes = append(notes, dir+": counts its steps from 1: step_01 is taken for step 0, and so on")
		for k := range harness.LastStep(d) {
			if files, ok := d.steps[k+1]; ok {
				d.steps[k] = files
				delete(d.steps, k+1)
			}
		}
	}
	if listed.Tokens != "" {
		label, t, err := d.readIDs(listed.Tokens, &notes)
		if err == nil {
			d.tokens, err = tokenRows(label, t, man)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	if listed.Mask != "" {
		label, t, err := d.readIDs(listed.Mask, &notes)
		if err == nil {
			d.mask, err = maskRows(label, t, d.tokens)
		}
		if err != nil {
			return nil, nil, err
		}
		if len(t.I64) < len(d.mask)*len(d.mask[0]) {
			notes = append(notes, label+": ends before the last id of "+harness.TokensFile+", which is taken for a token")
		}
	}
	return d, append(notes, converted...), nil
}

// countsFromOne reports whether the first step there is has the number 1 and is the prompt:
// a tensor of it has more rows than in the next, which all steps of a run with a cache
// have in common. A prompt of one token cannot be told from a first new token.
func (d *Dump) countsFromOne() bool {
	steps := d.Steps()
	if len(steps) < 2 || steps[0] != 1 || steps[1] != 2 {
		return false
	}
	for stage, h := range d.steps[1] {
		st, _ := d.schedule.Stage(stage)
		next, ok := d.steps[2][stage]
		a, fits := shapes.Size(h.Shape)
		b, _ := shapes.Size(next.Shape)
		if ok && fits && a > b && !strings.Contains(" "+st.Axes+" ", " S ") {
			return true
		}
	}
	return false
}

// readHeaders checks the header of every file, and its hash where there is a manifest,
// and keeps those of stages.
func (d *Dump) readHeaders(files []harness.File) (notes []string, err error) {
	headers, errs := make([]header, len(files)), make([]error, len(files))
	parallel.For(len(files), func(i int) {
		path := d.archives.label(d.dir, files[i].Path)
		info, err := d.stat(files[i].Path)
		if err == nil && d.man != nil {
			err = agree(path, info, files[i])
		}
		if st, ok := d.schedule.Stage(files[i].Stage); err == nil && ok && info.DType != st.DType() {
			want, dtype := "values", "<f4"
			if st.IDs {
				want, dtype = "ids", "<i8"
			}
			err = fmt.Errorf("%s: holds %s, but %s is %s: np.save(%q, a.astype('%s'))",
				path, info.DType, st.Name, want, path, dtype)
		}
		headers[i], errs[i] = header{files[i].Path, path, info}, err
	})
	converted := map[string][]string{} // files by their note
	for i, f := range files {
		if errs[i] != nil {
			return nil, errs[i]
		}
		h := headers[i]
		if _, ok := d.schedule.Index(f.Stage); !ok {
			continue
		}
		if d.steps[*f.Step] == nil {
			d.steps[*f.Step] = map[string]header{}
		}
		if other, twice := d.steps[*f.Step][f.Stage]; twice {
			return nil, fmt.Errorf("%s: the same step and stage as %s", h.label, other.label)
		}
		d.steps[*f.Step][f.Stage] = h
		if h.Note != "" {
			converted[h.Note] = append(converted[h.Note], h.label)
		}
	}
	for _, note := range slices.Sorted(maps.Keys(converted)) {
		for _, files := range GroupPaths(converted[note]) {
			notes = append(notes, files+": "+note)
		}
	}
	return notes, nil
}

// agree returns an error unless the file at path is as the manifest has it.
func agree(path string, info npy.Info, f harness.File) error {
	if !slices.Equal(info.Shape, f.Shape) {
		return fmt.Errorf("%s: shape %v, but %s says %v", path, info.Shape, ManifestFile, f.Shape)
	}
	if info.DType != f.DType {
		return fmt.Errorf("%s: dtype %s, but %s says %s", path, info.DType, ManifestFile, f.DType)
	}
	return checkHash(path, f)
}

// hashBuffers are what files pass through to be hashed.
var hashBuffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// checkHash returns an error unless the file at path has the hash of the manifest.
func checkHash(path string, f harness.File) error {
	file, _, err := regularfile.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	h, buf := sha256.New(), hashBuffers.Get().(*[]byte)
	defer hashBuffers.Put(buf)
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{file}, *buf); err != nil { // which has none of its own
		return err
	}
	if sum := fmt.Sprintf("%x", h.Sum(nil)); sum != f.SHA256 {
		return fmt.Errorf("%s: SHA-256 %.12s…, but %s says %.12s…: the file was changed after the dump was made",
			path, sum, ManifestFile, f.SHA256)
	}
	return nil
}

// Cut returns how the run was cut into steps, as cut.json says; nil where there is none.
func (d *Dump) Cut() harness.Cut { return d.cut }

// Name returns the folder.
func (d *Dump) Name() string { return d.dir }

// Tokens returns tokens.npy, or nil where there is none.
func (d *Dump) Tokens() [][]int { return d.tokens }

// Mask returns attention_mask.npy, or nil where there is none.
func (d *Dump) Mask() [][]int { return d.mask }

// Manifest returns the folder's manifest, or nil.
func (d *Dump) Manifest() *harness.Manifest { return d.man }

// Unknown returns the names of tensors, each once, that are no stage's.
func (d *Dump) Unknown() []string { return d.unknown }

// Known returns how many stages there are in any step, each counted once.
func (d *Dump) Known() int {
	stages := map[string]bool{}
	for _, step := range d.Steps() {
		for _, stage := range d.Stages(step) {
			stages[stage] = true
		}
	}
	return len(stages)
}

// Steps returns the steps that have a stage's file, ascending.
func (d *Dump) Steps() []int { return slices.Sorted(maps.Keys(d.steps)) }

// Stages returns the stages that have a file at the step, in execution order.
func (d *Dump) Stages(step int) []string {
	return d.schedule.Sorted(slices.Collect(maps.Keys(d.steps[step])))
}

// Shape returns the shape in the header of the stage's file.
func (d *Dump) Shape(step int, stage string) ([]int, bool) {
	e, ok := d.steps[step][stage]
	return e.Shape, ok
}

// SharedFiles returns how many of the tensors that two dumps have lie in one file, by its
// path or by links, and how many in two.
func SharedFiles(a, b *Dump) (shared, apart int) {
	for step, stages := range a.steps {
		for stage, e := range stages {
			if other, ok := b.steps[step][stage]; ok {
				x, _ := os.Stat(a.archives.disk(a.dir, e.path))
				y, _ := os.Stat(b.archives.disk(b.dir, other.path))
				if os.SameFile(x, y) {
					shared++
				} else {
					apart++
				}
			}
		}
	}
	return shared, apart
}

// Err returns nil: a folder that cannot be relied on is not opened.
func (d *Dump) Err() error { return nil }

// Tensor reads the stage's file. Errors name it.
func (d *Dump) Tensor(step int, stage string) (harness.Tensor, error) {
	f, err := d.open(step, stage)
	if err != nil {
		return harness.Tensor{}, err
	}
	defer f.Close()
	return f.Tensor()
}

// openFile opens the array whose path below the folder is given.
func (d *Dump) openFile(path string) (*npy.File, error) {
	if a, name := d.archives.find(path); a != nil {
		return a.Open(name)
	}
	return npy.Open(filepath.Join(d.dir, filepath.FromSlash(path)), d.man == nil || weightName(path) != "")
}

// Weights returns the names, as their files have them, of the weights that the engine says
// it uses; none in most dumps.
func (d *Dump) Weights() (names []string) {
	for _, path := range d.weights {
		names = append(names, weightName(path))
	}
	return names
}

// OpenWeight opens a weight by its file's name, and returns what messages call it. Errors
// name it.
func (d *Dump) OpenWeight(name string) (f *npy.File, label string, err error) {
	path := WeightsFolder + "/" + name + ".npy"
	f, err = d.openFile(path)
	return f, d.archives.label(d.dir, path), err
}

func (d *Dump) stat(path string) (npy.Info, error) {
	f, err := d.openFile(path)
	if err != nil {
		return npy.Info{}, err
	}
	defer f.Close()
	return f.Stat()
}

// Open returns the stage's file, to be read in parts. Errors name it.
func (d *Dump) Open(step int, stage string) (harness.Parts, error) { return d.open(step, stage) }

func (d *Dump) open(step int, stage string) (*npy.File, error) {
	e, ok := d.steps[step][stage]
	if !ok {
		return nil, fmt.Errorf("%s: %w",
			filepath.Join(d.dir, harness.Place{Step: step, Stage: stage}.File()), os.ErrNotExist)
	}
	f, err := d.openFile(e.path)
	if err == nil && (!slices.Equal(f.Shape, e.Shape) || f.DType != e.DType) {
		f.Close()
		err = fmt.Errorf("%s: changed while it was read", e.label)
	}
	return f, err
}
