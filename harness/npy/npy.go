// Package npy reads and writes the .npy files of a dump, and trusts none.
//
// It is a guard around github.com/sbinet/npyio. That library reads what numpy
// writes, but it panics on damaged headers, allocates whatever a header asks
// for, and takes Fortran order, trailing bytes and short data without a word.
// So a file is first judged here:
//
//   - its size is known before anything is read, and at most 64 KiB of it are
//     taken for the header;
//   - the header's dict is parsed strictly: the three keys, each once, in any
//     order and spacing that Python would accept;
//   - the product of the dimensions is checked for overflow, and header plus
//     payload must be the file, to the byte, before a payload is allocated;
//   - the dtype is one of a short list;
//   - npyio, run under recover, must read the same header.
//
// The payload is then one read straight into the slice that is returned.
//
// # Guarantees
//
// A damaged or hostile file is an error, never a panic, never an allocation
// larger than the file itself, never a value that was not in the file. Every
// refusal of a file that numpy can read names the numpy call that mends it.
//
// # Rules for the small cases
//
// A zero-dimensional array is one element; its Shape is empty and not nil. An
// array with a dimension of zero is read and written as what it is, no element;
// it is for the caller to say that nothing was compared.
//
// # Non-goals
//
// Structured, object, string and complex arrays, Fortran order, .npz archives.
package npy

import (
	"fmt"
	"io"
	"os"
	"unsafe"
)

// Kind is the element type of an Array in memory.
type Kind int

// The two kinds a dump knows: values and ids.
const (
	Float32 Kind = iota
	Int64
)

// String is numpy's name of the kind, as in a manifest's dtype.
func (k Kind) String() string {
	if k == Int64 {
		return "int64"
	}
	return "float32"
}

// size is the number of bytes of one element in memory.
func (k Kind) size() int64 {
	if k == Int64 {
		return 8
	}
	return 4
}

// Array is one array in C order. Of F32 and I64 the one that Kind names holds the
// product of Shape elements and the other none.
type Array struct {
	Shape []int
	Kind  Kind
	F32   []float32
	I64   []int64
}

// Info is what a header says, after all of it has been checked.
type Info struct {
	Shape  []int  // empty, not nil, for a zero-dimensional array
	Kind   Kind   // the kind in memory, after a conversion if there is one
	Dtype  string // as in the file: "<f4", "<i8"; in foreign mode also "<f2", "<f8", ">f4", "<i4"
	Offset int64  // where the payload starts
	Elems  int    // product of Shape
}

// Read reads the file at path. With foreign, values stored as <f2, <f8 or >f4
// and ids stored as <i4 are converted, and a note says so; otherwise only <f4
// and <i8 are taken. Errors name the path.
func Read(path string, foreign bool) (Array, []string, error) {
	var a Array
	notes, err := ReadInto(&a, path, foreign)
	if err != nil {
		return Array{}, nil, err
	}
	return a, notes, nil
}

// ReadInto is Read into a, whose slices are used again where they are large
// enough: reading into memory that is already there is ten times as fast as
// into fresh memory. After an error what a holds is undefined.
func ReadInto(a *Array, path string, foreign bool) ([]string, error) {
	f, size, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	notes, err := decode(a, f, size, foreign, path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return notes, nil
}

// Stat checks the file at path as Read does, all but its payload, and says what
// Read would return. The notes are those that Read would give.
func Stat(path string, foreign bool) (Info, []string, error) {
	f, size, err := open(path)
	if err != nil {
		return Info{}, nil, err
	}
	defer f.Close()
	info, err := readHeader(f, size, foreign, path)
	if err != nil {
		return Info{}, nil, fmt.Errorf("%s: %w", path, err)
	}
	return info, info.notes(), nil
}

// Decode reads an array of size bytes from r. It is Read for bytes that are not
// in a file of their own.
func Decode(r io.ReaderAt, size int64, foreign bool) (Array, []string, error) {
	var a Array
	notes, err := decode(&a, r, size, foreign, "path")
	if err != nil {
		return Array{}, nil, err
	}
	return a, notes, nil
}

func decode(a *Array, r io.ReaderAt, size int64, foreign bool, name string) ([]string, error) {
	info, err := readHeader(r, size, foreign, name)
	if err != nil {
		return nil, err
	}
	if err := a.readPayload(r, info); err != nil {
		return nil, err
	}
	return info.notes(), nil
}

// open refuses what is no regular file before opening it: opening a pipe waits.
func open(path string) (*os.File, int64, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	if !st.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s: not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	if st, err = f.Stat(); err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, st.Size(), nil
}

// bytesOf is the memory of s, to read into and write from without a copy.
func bytesOf[E float32 | int64 | int32 | uint16 | float64](s []E) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0])))
}
