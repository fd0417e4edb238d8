package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"

	"github.com/gofrs/flock"
)

// draft is a file or folder beside its place.
type draft struct {
	path string // the place
	name string // "" once it has ended
	lock *flock.Flock
}

// begin makes a draft for path by create, which must fail where something is.
func (d *draft) begin(path string, create func(name string) error) error {
	clean(path)
	for {
		d.path, d.name = path, hidden(path, "tmp")
		if err := create(d.name); errors.Is(err, fs.ErrExist) {
			continue
		} else if err != nil {
			return at(path, err)
		}
		var err error
		d.lock, err = lock(d.name)
		if _, gone := os.Lstat(d.name); gone == nil && err != errLocked {
			return nil
		} // else another process took it for a killed one's
	}
}

// end forces to disk that the draft is in place, and removes what still has its name.
func (d *draft) end() error {
	if d.name == "" {
		return nil
	}
	flush(filepath.Dir(d.path), os.O_RDONLY)
	err := os.RemoveAll(d.name)
	d.lock.Unlock()
	d.name = ""
	return err
}

// flush forces a file or a folder to disk, a folder as far as the system can.
func flush(path string, mode int) error {
	f, err := os.OpenFile(path, mode, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// hidden returns a name beside path for what is put there, "tmp", or was there, "old".
func hidden(path, purpose string) string {
	return filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%08x.%s", filepath.Base(path), rand.Uint32(), purpose))
}

// clean removes what killed processes left beside path. What one of them had moved from
// there, and put nothing in its place, is put back.
func clean(path string) {
	left := regexp.MustCompile(`^\.` + regexp.QuoteMeta(filepath.Base(path)) + `\.[0-9a-f]{8}\.(tmp|old)$`)
	entries, _ := os.ReadDir(filepath.Dir(path))
	for _, e := range entries {
		name, m := filepath.Join(filepath.Dir(path), e.Name()), left.FindStringSubmatch(e.Name())
		if m == nil || !e.Type().IsRegular() && !e.IsDir() {
			continue
		}
		if l, err := lock(name); err == nil {
			if m[1] == "tmp" || os.Rename(name, path) != nil {
				os.RemoveAll(name)
			}
			l.Unlock()
		}
	}
}

var errLocked = errors.New("locked by another process")

// lock locks a file or folder until the process ends.
func lock(name string) (*flock.Flock, error) {
	l := flock.New(name, flock.SetFlag(os.O_RDONLY))
	if runtime.GOOS == "windows" { // where a locked file cannot be written
		return l, errors.ErrUnsupported
	}
	ok, err := l.TryLock()
	if err == nil && !ok {
		err = errLocked
	}
	return l, err
}
