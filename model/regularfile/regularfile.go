// Package regularfile opens files for reading, and refuses what is not a regular file.
package regularfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Open opens the file at path, following links, and returns its size. Anything but a
// regular file is an error, at once: a pipe is not waited for.
func Open(path string) (*os.File, int64, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		if info, e := os.Stat(path); e == nil && !info.Mode().IsRegular() {
			err = refuse(path, info.Mode()) // a socket, or what must not be read either
		}
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = refuse(path, info.Mode())
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// Update opens the file at path for reading and writing, made if it is not there.
// Anything but a regular file is an error, a link too.
func Update(path string) (*os.File, error) {
	before, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	}
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, refuse(path, before.Mode())
	}
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if opened, err := f.Stat(); err != nil || !os.SameFile(before, opened) {
		f.Close()
		return nil, fmt.Errorf("%s: is another file by now", path)
	}
	return f, nil
}

// Read returns the content of the file at path, which [Open] must take. More than
// limit bytes are an error, and are not read.
func Read(path string, limit int64) ([]byte, error) {
	f, size, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > limit {
		return nil, tooLong(path, limit)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit { // it grows, or says no size, as in /proc
		err = tooLong(path, limit)
	}
	return b, err
}

func tooLong(path string, limit int64) error {
	return fmt.Errorf("%s: longer than %d bytes", path, limit)
}

// refuse returns the error for what is at path.
func refuse(path string, mode fs.FileMode) error {
	kind := "not a regular file"
	switch {
	case mode&fs.ModeSymlink != 0:
		kind = "a link, not a file"
	case mode.IsDir():
		kind = "a folder, not a file"
	case mode&fs.ModeNamedPipe != 0:
		kind = "a named pipe, not a file"
	case mode&fs.ModeSocket != 0:
		kind = "a socket, not a file"
	case mode&fs.ModeDevice != 0:
		kind = "a device, not a file"
	}
	return fmt.Errorf("%s: is %s", path, kind)
}
