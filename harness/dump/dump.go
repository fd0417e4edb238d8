package dump

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/harness/npy"
	"checkpoint12/model/parallel"
)

// Options is how strict Open is.
type Options struct {
	// Foreign forgives a folder without a manifest what another engine's numpy
	// may do: values as <f2, <f8 or >f4 and ids as <i4 are converted, with a
	// note each. A folder with a manifest is always read strictly.
	Foreign bool
}

// Dump is a folder of tensors, opened: a Source. Headers have been read and
// checked; a tensor is read, whole, each time it is asked for.
type Dump struct {
	dir      string
	schedule *harness.Schedule
	foreign  bool
	man      *harness.Manifest
	tokens   harness.Tensor
	steps    map[int]map[string]header
	unknown  []string
}

// header is what is known of a stage's file before it is read.
type header struct {
	path  string // on disk
	shape []int
}

// Open opens the dump at dir. With a manifest there, files, shapes and hashes must
// agree with it. The notes name each file that was converted or is no stage's.
// Errors name the file and, where numpy can mend it, the call.
func Open(dir string, s *harness.Schedule, o Options) (*Dump, []string, error) {
	listed, err := list(dir)
	if err != nil {
		return nil, nil, err
	}
	d := &Dump{dir: dir, schedule: s, steps: map[int]map[string]header{}}
	d.man, err = ReadManifest(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.man, d.foreign = nil, o.Foreign
	case err != nil:
		return nil, nil, err
	default:
		if err := validate(d.man, dir, listed); err != nil {
			return nil, nil, err
		}
	}
	notes, err := d.open(listed)
	if err != nil {
		return nil, nil, err
	}
	return d, notes, nil
}

// OpenListed opens a folder without a manifest, as Open does, of which the caller
// has listed the files.
func OpenListed(dir string, s *harness.Schedule, listed Listing, o Options) (*Dump, []string, error) {
	d := &Dump{dir: dir, schedule: s, foreign: o.Foreign, steps: map[int]map[string]header{}}
	notes, err := d.open(listed)
	if err != nil {
		return nil, nil, err
	}
	return d, notes, nil
}

// open reads the tokens and, without a manifest, the headers of what is listed.
func (d *Dump) open(listed Listing) ([]string, error) {
	var notes []string
	notes, d.unknown = listed.notes(d.dir, d.schedule)
	if listed.Tokens != "" {
		var more []string
		var err error
		if d.tokens, more, err = readTokens(filepath.Join(d.dir, filepath.FromSlash(listed.Tokens)), d.foreign); err != nil {
			return nil, err
		}
		notes = append(notes, more...)
	}
	if d.man != nil {
		return notes, d.fromManifest()
	}
	more, err := d.readHeaders(listed)
	return append(notes, more...), err
}

// fromManifest takes the headers from a manifest that has been validated.
func (d *Dump) fromManifest() error {
	for _, f := range d.man.Files {
		st, ok := d.schedule.Stage(f.Stage)
		if !ok {
			continue
		}
		path := filepath.Join(d.dir, filepath.FromSlash(f.Path))
		if (f.DType == npy.Int64.String()) != st.IDs {
			return kindError(path, st, f.DType)
		}
		d.add(harness.Place{Step: *f.Step, Stage: f.Stage}, header{path, f.Shape})
	}
	return nil
}

func (d *Dump) add(at harness.Place, h header) {
	if d.steps[at.Step] == nil {
		d.steps[at.Step] = map[string]header{}
	}
	d.steps[at.Step][at.Stage] = h
}

// readHeaders checks the header of every stage's file.
func (d *Dump) readHeaders(listed Listing) ([]string, error) {
	type result struct {
		header header
		notes  []string
		err    error
	}
	var files []TensorFile
	for _, f := range listed.Tensors {
		if _, ok := d.schedule.Index(f.Place.Stage); ok {
			files = append(files, f)
		}
	}
	results := make([]result, len(files))
	parallel.For(len(files), func(i int) {
		r := &results[i]
		path := filepath.Join(d.dir, files[i].Path)
		st, _ := d.schedule.Stage(files[i].Place.Stage)
		info, notes, err := npy.Stat(path, d.foreign)
		r.header, r.notes, r.err = header{path, info.Shape}, notes, err
		if err == nil && (info.Kind == npy.Int64) != st.IDs {
			r.err = kindError(path, st, info.Kind.String())
		}
	})
	converted := map[string][]string{} // files by their note
	for i, r := range results {
		if r.err != nil {
			return nil, r.err
		}
		at := files[i].Place
		if other, twice := d.steps[at.Step][at.Stage]; twice {
			return nil, fmt.Errorf("%s: the same step and stage as %s", r.header.path, other.path)
		}
		d.add(at, r.header)
		for _, n := range r.notes {
			converted[n] = append(converted[n], r.header.path)
		}
	}
	var notes []string
	for _, note := range slices.Sorted(maps.Keys(converted)) {
		for _, files := range Alike(converted[note]) {
			notes = append(notes, files+": "+note)
		}
	}
	return notes, nil
}

func kindError(path string, st harness.Stage, got string) error {
	if st.IDs {
		return fmt.Errorf("%s: holds %s, but %s is ids: np.save(%q, a.astype('<i8'))", path, got, st.Name, path)
	}
	return fmt.Errorf("%s: holds %s, but %s is values: np.save(%q, a.astype('<f4'))", path, got, st.Name, path)
}

// readTokens reads a tokens.npy: ids [B, L], not negative, none empty.
func readTokens(path string, foreign bool) (harness.Tensor, []string, error) {
	a, notes, err := npy.Read(path, foreign)
	if err != nil {
		return harness.Tensor{}, nil, err
	}
	if a.Kind != npy.Int64 {
		return harness.Tensor{}, nil, fmt.Errorf("%s: holds %s, but tokens are ids: np.save(%q, a.astype('<i8'))", path, a.Kind, path)
	}
	if len(a.Shape) != 2 || len(a.I64) == 0 {
		return harness.Tensor{}, nil, fmt.Errorf("%s: shape %v, want [B, prompt + new]: np.save(%q, a.reshape(B, -1))", path, a.Shape, path)
	}
	if i := slices.IndexFunc(a.I64, func(id int64) bool { return id < 0 }); i >= 0 {
		return harness.Tensor{}, nil, fmt.Errorf("%s: id %d at index %v is negative", path, a.I64[i], shapes.Index(i, a.Shape))
	}
	for i, n := range notes {
		notes[i] = path + ": " + n
	}
	return harness.Tensor{Shape: a.Shape, I64: a.I64}, notes, nil
}

// Name returns the folder.
func (d *Dump) Name() string { return d.dir }

// Tokens returns tokens.npy, or the zero Tensor where there is none.
func (d *Dump) Tokens() harness.Tensor { return d.tokens }

// Manifest returns the folder's manifest, or nil.
func (d *Dump) Manifest() *harness.Manifest { return d.man }

// Unknown returns the names of .npy files, each once, that are no stage's.
func (d *Dump) Unknown() []string { return d.unknown }

// Steps returns the steps that have a stage's file, ascending.
func (d *Dump) Steps() []int { return slices.Sorted(maps.Keys(d.steps)) }

// Stages returns the stages that have a file at the step, in execution order.
func (d *Dump) Stages(step int) []string {
	return d.schedule.Sorted(slices.Collect(maps.Keys(d.steps[step])))
}

// Shape returns the shape in the header of the stage's file.
func (d *Dump) Shape(step int, stage string) ([]int, bool) {
	e, ok := d.steps[step][stage]
	return e.shape, ok
}

// Err returns nil: a folder that cannot be relied on is not opened.
func (d *Dump) Err() error { return nil }

// Tensor reads the stage's file. Errors name it.
func (d *Dump) Tensor(step int, stage string) (harness.Tensor, error) {
	return d.TensorInto(step, stage, new(harness.Tensor))
}

// TensorInto is Tensor in mem's memory.
func (d *Dump) TensorInto(step int, stage string, mem *harness.Tensor) (harness.Tensor, error) {
	e, ok := d.steps[step][stage]
	if !ok {
		return harness.Tensor{}, fmt.Errorf("%s: %w", filepath.Join(d.dir, harness.Place{Step: step, Stage: stage}.File()), os.ErrNotExist)
	}
	a := npy.Array{F32: mem.F32, I64: mem.I64}
	if _, err := npy.ReadInto(&a, e.path, d.foreign); err != nil {
		return harness.Tensor{}, err
	}
	mem.F32, mem.I64 = a.F32, a.I64
	if st, _ := d.schedule.Stage(stage); !slices.Equal(a.Shape, e.shape) || (a.Kind == npy.Int64) != st.IDs {
		return harness.Tensor{}, fmt.Errorf("%s: changed while it was read", e.path)
	}
	if a.Kind == npy.Int64 {
		return harness.Tensor{Shape: a.Shape, I64: a.I64}, nil
	}
	return harness.Tensor{Shape: a.Shape, F32: a.F32}, nil
}
