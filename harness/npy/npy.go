// Package npy reads and writes the .npy files of a dump, and trusts none.
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
// string and complex arrays, Fortran order and .npz archives are not read.
package npy

import (
	"fmt"
	"io"

	"checkpoint12/harness"
	"checkpoint12/model/regularfile"
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

// Read reads the file at path, in the slices of mem if they are large enough, and
// leaves in mem those that it read in: memory that is already there is ten times
// as fast as fresh memory. With foreign, values stored as <f2, <f8 or >f4 and ids
// stored as <i4 are converted, and the note says so; otherwise only <f4 and <i8
// are taken. Errors name the path.
func Read(path string, foreign bool, mem *harness.Tensor) (t harness.Tensor, note string, err error) {
	err = open(path, func(r io.ReaderAt, size int64) error {
		t, note, err = decode(r, size, foreign, path, mem)
		return err
	})
	return t, note, err
}

// Stat checks the file at path as Read does, all but its payload, of which the note says
// whether it has numbers beyond float32.
func Stat(path string, foreign bool) (info Info, err error) {
	err = open(path, func(r io.ReaderAt, size int64) error {
		if info, err = readHeader(r, size, foreign, path); err != nil || info.stored != "<f8" {
			return err
		}
		beyond, err := exceeds(r, info)
		if beyond {
			info.Note += "; numbers beyond float32 are read as NaN or, below 0, as -inf"
		}
		return err
	})
	return info, err
}

func decode(r io.ReaderAt, size int64, foreign bool, name string, mem *harness.Tensor) (harness.Tensor, string, error) {
	info, err := readHeader(r, size, foreign, name)
	if err != nil {
		return harness.Tensor{}, "", err
	}
	t, err := readPayload(r, info, mem)
	return t, info.Note, err
}

// open calls read with the file at path and its size.
func open(path string, read func(r io.ReaderAt, size int64) error) error {
	f, size, err := regularfile.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := read(f, size); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
