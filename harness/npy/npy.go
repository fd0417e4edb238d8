// Package npy reads the arrays of a dump, in .npy files, .npz and .safetensors archives,
// writes .npy files, and trusts none.
//
// It is a guard around github.com/sbinet/npyio, which panics on damaged headers,
// allocates whatever a header asks for, and takes Fortran order, trailing bytes
// and short data without a word. So a file is first judged here: at most 64 KiB
// are taken for the header, whose dict is parsed strictly; the dtype is one of a
// short list; header plus payload must be the file, to the byte, before a payload
// is allocated; and npyio, run under recover, must read the same header. The
// payload is then one read straight into the slice that is returned.
//
// A damaged or hostile file is an error, never a panic, never an allocation
// larger than the file itself, never a value that was not in the file. Every
// refusal of a file that numpy can read names the numpy call that mends it.
//
// A zero-dimensional array is one element. An array with a dimension of zero has
// none; it is for the caller to say that nothing was compared. Structured, object,
// string and complex arrays and Fortran order are not read.
//
// An array of an archive differs from one in a file only in how its bytes are found. An
// archive is read through a directory that has been checked: an array of a .npz is a
// .npy file below the same guard, whose sum is right, be it stored or compressed.
package npy

import (
	"fmt"
	"io"
	"os"

	"github.com/edsrzf/mmap-go"

	"checkpoint12/harness"
	"checkpoint12/model/regularfile"
	"checkpoint12/model/safetensors"
)

// Info describes the array of a file, by its header, all of which has been checked.
type Info struct {
	Shape []int  // empty, not nil, for a zero-dimensional array
	DType string // in memory: "float32" or "int64"
	Note  string // the conversion from the type in the file; "" if there is none

	stored string // the type in the file, a key of dtypes
	offset int64  // where the payload starts
	elems  int    // product of Shape
}

// A File is an open array, whose header has been checked. It is a harness.Parts.
type File struct {
	Info
	path string      // what errors call it
	file io.ReaderAt // the header and what follows it
	disk *os.File    // that has these bytes as they are, from base on; nil if none does
	base int64
	io.Closer
}

// Open opens the file at path. With foreign, values stored as <f2, <f8 or >f4 and ids
// stored as <i4 are converted, and the Note says so; otherwise only <f4 and <i8 are
// taken. Errors name the path.
func Open(path string, foreign bool) (*File, error) {
	f, size, err := regularfile.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := readHeader(f, size, foreign, saveAs(path))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &File{info, path, f, f, 0, f}, nil
}

// Read reads the file at path as [Open] does, all of it, with its Note.
func Read(path string, foreign bool) (t harness.Tensor, note string, err error) {
	f, err := Open(path, foreign)
	if err != nil {
		return t, "", err
	}
	defer f.Close()
	t, err = f.Tensor()
	return t, f.Note, err
}

// Stat returns what describes the array. The Note says also whether it has numbers
// beyond float32.
func (f *File) Stat() (Info, error) {
	info := f.Info
	if f.stored == "<f8" {
		beyond, err := exceeds(f.file, f.Info)
		if err != nil {
			return Info{}, fmt.Errorf("%s: %w", f.path, err)
		}
		if beyond {
			info.Note += "; numbers beyond float32 are read as NaN or, below 0, as -inf"
		}
	}
	return info, nil
}

// Part reads n elements from flat index i on, in the slices of mem if they are large
// enough, and leaves in mem those that it read in.
func (f *File) Part(i, n int, mem *harness.Tensor) (harness.Tensor, error) {
	t, err := readPayload(f.file, f.Info, i, n, mem)
	if err != nil {
		return t, fmt.Errorf("%s: %w", f.path, err)
	}
	return t, nil
}

// Tensor reads all elements.
func (f *File) Tensor() (harness.Tensor, error) {
	t, err := f.Part(0, f.elems, new(harness.Tensor))
	t.Shape = f.Shape
	return t, err
}

// granularity is a multiple of what a mapping's offset must be one of, on any system.
const granularity = 1 << 16

// Map returns all elements, and what gives their memory back. Those that a file has as
// memory would are mapped, not copied: the file must not change meanwhile.
func (f *File) Map() (t harness.Tensor, release func() error, err error) {
	if at := f.base + f.offset; f.disk != nil && f.stored == "<f4" && f.elems > 0 {
		start := at &^ (granularity - 1)
		m, err := mmap.MapRegion(f.disk, int(at-start)+4*f.elems, mmap.RDONLY, 0, start)
		if err == nil {
			if values, ok := safetensors.View(m[at-start:]); ok {
				return harness.Tensor{Shape: f.Shape, F32: values}, m.Unmap, nil
			}
			m.Unmap()
		}
	}
	t, err = f.Tensor()
	return t, func() error { return nil }, err
}
