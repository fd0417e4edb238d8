// Package atomicfile puts files and folders in place whole, and forced to disk.
//
// Until then they are beside their place, hidden, and locked by the process that writes
// them. What a killed process leaves there is removed by the next that writes to the
// place, but on Windows, which has no such locks.
package atomicfile

import (
	"io"
	"io/fs"
	"os"
)

// File is a file that Commit puts in place and that is not there before.
type File struct {
	draft
	f *os.File
}

// Create begins a file at path, with the permissions of os.Create. A link there is
// replaced, not followed.
func Create(path string) (*File, error) {
	var f File
	err := f.begin(path, func(name string) (err error) {
		f.f, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &f, nil
}

// Chmod gives the file other permissions.
func (f *File) Chmod(mode fs.FileMode) error { return at(f.path, f.f.Chmod(mode)) }

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
		err = os.Rename(f.name, f.path)
	}
	f.Discard()
	return at(f.path, err)
}

// Discard removes the file unless Commit has put it in place.
func (f *File) Discard() {
	f.f.Close()
	f.end()
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
