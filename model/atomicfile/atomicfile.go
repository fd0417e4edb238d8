// Package atomicfile puts files in place whole, and forced to disk.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// File is a file that Commit puts in place and that is not there before.
type File struct {
	f    *os.File
	path string
}

// Create begins a file at path, with the permissions of os.Create.
func Create(path string) (*File, error) {
	for n := os.Getpid(); ; n++ {
		name := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%08x.tmp", filepath.Base(path), n))
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		switch {
		case err == nil:
			return &File{f, path}, nil
		case !errors.Is(err, fs.ErrExist):
			return nil, at(path, err)
		}
	}
}

// Write writes to the file.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.f.Write(p)
	return n, at(f.path, err)
}

// Commit puts the file in place. After an error path is as it was.
func (f *File) Commit() error {
	err := f.f.Sync()
	if e := f.f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.f.Name(), f.path)
	}
	if err != nil {
		os.Remove(f.f.Name())
	}
	return at(f.path, err)
}

// Discard removes the file unless Commit has put it in place.
func (f *File) Discard() {
	if f.f.Close() == nil {
		os.Remove(f.f.Name())
	}
}

// Write puts in place what the function writes. After an error path is as it was.
func Write(path string, write func(io.Writer) error) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer f.Discard()
	if err := write(f); err != nil {
		return at(path, err)
	}
	return f.Commit()
}

// WriteFile puts data in place.
func WriteFile(path string, data []byte) error {
	return Write(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// at returns err with the path of the file, not of the one beside it.
func at(path string, err error) error {
	switch e := err.(type) {
	case nil:
		return nil
	case *fs.PathError:
		err = e.Err
	case *os.LinkError:
		err = e.Err
	}
	return &fs.PathError{Op: "write", Path: path, Err: err}
}
