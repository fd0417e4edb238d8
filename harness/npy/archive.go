package npy

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/edsrzf/mmap-go"

	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model/regularfile"
	"checkpoint12/model/safetensors"
)

// An Archive is a .npz or .safetensors file, in which arrays lie by name. Its directory
// has been checked.
type Archive struct {
	path    string
	opened  os.FileInfo
	members map[string]*member
}

// A member is an array in an archive, or in a .npz any file.
type member struct {
	offset, packed int64  // where its bytes lie in the archive
	size           int64  // of its bytes: other than packed where they are compressed
	deflated       bool   // in a .npz
	sum            uint32 // in a .npz, the CRC-32
	save           func(array string) string
	info           Info      // in a .safetensors
	unread         error     // in a .safetensors, why
	once           sync.Once // in which what is in a .npz is checked
	err            error     // of once
}

// IsArchive reports whether a file of this name is an archive.
func IsArchive(name string) bool {
	return filepath.Ext(name) == ".npz" || filepath.Ext(name) == ".safetensors"
}

// OpenArchive reads the directory of the archive at path. Errors name it.
func OpenArchive(path string) (*Archive, error) {
	f, size, err := regularfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	a := &Archive{path: path}
	a.opened, err = f.Stat()
	switch {
	case err != nil:
	case filepath.Ext(path) == ".npz":
		a.members, err = readZip(f, size)
	default:
		a.members, err = readSafetensors(f, size)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for name := range a.members {
		if !fs.ValidPath(name) || strings.Contains(name, `\`) {
			return nil, fmt.Errorf("%s: %.80q is not a name in a folder", path, name)
		}
	}
	return a, nil
}

// Path returns the archive's path.
func (a *Archive) Path() string { return a.path }

// Names returns the names of what is in the archive, as those of files: an array's ends
// in .npy.
func (a *Archive) Names() []string { return slices.Sorted(maps.Keys(a.members)) }

// Label returns what messages call the array of a name.
func (a *Archive) Label(name string) string {
	return a.path + ": " + strings.TrimSuffix(name, ".npy")
}

// Open opens the array of a name, converting as for [Open] with foreign. Errors name it.
func (a *Archive) Open(name string) (*File, error) {
	e, ok := a.members[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", a.Label(name), fs.ErrNotExist)
	}
	f, _, err := regularfile.Open(a.path)
	if err != nil {
		return nil, err
	}
	file := &File{Info: e.info, path: a.Label(name), Closer: f}
	if err = a.open(f, file, e); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", file.path, err)
	}
	return file, nil
}

// open finds a member's bytes in the archive's file, and reads the header there is.
func (a *Archive) open(f *os.File, file *File, e *member) error {
	now, err := f.Stat()
	switch {
	case err != nil:
		return err
	case now.Size() != a.opened.Size() || !now.ModTime().Equal(a.opened.ModTime()):
		return fmt.Errorf("%s changed while it was read", filepath.Base(a.path))
	case e.unread != nil:
		return e.unread
	}
	packed := io.NewSectionReader(f, e.offset, e.packed)
	file.file = packed
	if !e.deflated {
		file.disk, file.base = f, e.offset
	}
	if e.info.Shape != nil {
		return nil
	}
	if file.file, err = e.unpack(packed); err != nil {
		return err
	}
	file.Info, err = readHeader(file.file, e.size, true, e.save)
	return err
}

// fromSafetensors are the types that are read, by their names in a .safetensors file.
var fromSafetensors = map[string]string{
	"F32": "<f4", "F64": "<f8", "F16": "<f2", "BF16": bf16, "I32": "<i4", "I64": "<i8",
}

// readSafetensors returns the arrays of a .safetensors file.
func readSafetensors(f *os.File, size int64) (map[string]*member, error) {
	if size < 8 {
		return nil, fmt.Errorf("%d bytes are not a safetensors file", size)
	}
	m, err := mmap.Map(f, mmap.RDONLY, 0) // of which the header alone is read
	if err != nil {
		return nil, fmt.Errorf("map: %w", err)
	}
	defer m.Unmap()
	tensors, err := safetensors.Parse(m)
	if err != nil {
		return nil, err
	}
	members := make(map[string]*member, len(tensors))
	for name, t := range tensors {
		e := &member{offset: t.Offset}
		members[name+".npy"] = e
		stored := fromSafetensors[t.DType()]
		dt, ok := dtypes[stored]
		elems, fits := shapes.Size(t.Shape)
		switch {
		case !ok:
			e.unread = fmt.Errorf("values are %s: want F32, F64, F16, BF16, I32 or I64", t.DType())
		case !fits || int64(elems) > maxBytes/dt.width:
			e.unread = tooLarge(t.Shape)
		default:
			e.packed = int64(elems) * dt.size
			e.info = Info{Shape: t.Shape, DType: dt.memory, stored: stored, elems: elems}
			if dt.foreign {
				e.info.Note = fmt.Sprintf("converted from %s to %s", t.DType(), dt.memory)
			}
		}
	}
	return members, nil
}
