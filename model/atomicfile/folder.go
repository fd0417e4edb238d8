package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// Folder is a folder that Commit puts in place and that is not there before.
type Folder struct{ draft }

// CreateFolder begins a folder at path.
func CreateFolder(path string) (*Folder, error) {
	f := new(Folder)
	return f, f.begin(path, func(name string) error { return os.Mkdir(name, 0o777) })
}

// Name returns where the folder is until Commit.
func (f *Folder) Name() string { return f.name }

// Commit puts the folder in place and removes what was there. Where the system can
// exchange folders, one of the two is there, and whole, at every moment.
func (f *Folder) Commit() error {
	var g errgroup.Group
	g.SetLimit(16)
	err := filepath.WalkDir(f.name, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			flush(path, os.O_RDONLY)
		} else if err == nil {
			g.Go(func() error { return flush(path, os.O_RDWR) }) // Windows flushes what can be written
		}
		return err
	})
	if err := errors.Join(err, g.Wait()); err != nil {
		return err
	}
	if exchange(f.name, f.path) == nil {
		return f.end()
	}
	// Nothing is there, or the system cannot.
	old := hidden(f.path, "old")
	if l, err := lock(f.path); err == nil {
		defer l.Unlock()
	}
	if err := os.Rename(f.path, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(f.name, f.path); err != nil {
		if back := os.Rename(old, f.path); !errors.Is(back, fs.ErrNotExist) {
			err = errors.Join(err, back)
		}
		return err
	}
	f.name = old
	return f.end()
}

// Discard removes the folder unless Commit has put it in place.
func (f *Folder) Discard() { f.end() }
