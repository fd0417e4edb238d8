// Package digest takes the SHA-256 of large files and remembers it between runs,
// by the file's path, size and modification time, so that the 6.4 GB of a large
// model are read for it once and not at every start.
//
// The memory is one small JSON file in the user's cache folder. It is a
// convenience: where it cannot be read or written the hash is taken again.
package digest

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	// most is how many files are remembered, the latest ones.
	most = 256
	// settled is how old a file must be before its hash is remembered. A write
	// within one tick of the clock of a file system would not show in the
	// modification time; the coarsest, FAT's, has ticks of two seconds.
	settled = 2 * time.Second
)

// least is the size from which a hash is worth remembering: less takes some
// 30 ms. It is a variable for tests.
var least int64 = 64 << 20

// entry is what is remembered of a file.
type entry struct {
	Size   int64  `json:"size"`
	MTime  int64  `json:"mtime_ns"` // nanoseconds since 1970
	SHA256 string `json:"sha256"`
	Taken  int64  `json:"taken"` // seconds since 1970
}

func (e entry) is(info fs.FileInfo) bool {
	return e.Size == info.Size() && e.MTime == info.ModTime().UnixNano() && len(e.SHA256) == 2*sha256.Size
}

// Of returns the SHA-256, in hexadecimal, of content, which is all of the file
// that was opened by path, such as a memory map of it; info describes the open
// file. It reads content only if no hash is remembered.
func Of(path string, info fs.FileInfo, content []byte) string {
	if sum, ok := recall(path, info); ok {
		return sum
	}
	sum := sha256.Sum256(content)
	hash := hex.EncodeToString(sum[:])
	// Only if path is still that file, and was not written to meanwhile.
	if now, err := os.Stat(path); err == nil && os.SameFile(now, info) && now.ModTime().Equal(info.ModTime()) {
		if time.Since(now.ModTime()) > settled {
			remember(path, now, hash)
		}
	}
	return hash
}

// File returns the SHA-256 of a file in hexadecimal. It reads the file only if
// no hash of it is remembered.
func File(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if sum, ok := recall(path, info); ok {
		return sum, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	hash := hex.EncodeToString(h.Sum(nil))
	if now, err := f.Stat(); err == nil && now.ModTime().Equal(info.ModTime()) && time.Since(now.ModTime()) > settled {
		remember(path, now, hash)
	}
	return hash, nil
}

// Remember notes the SHA-256 of a file that the caller has just written and
// nobody else has.
func Remember(path, hash string) {
	if info, err := os.Stat(path); err == nil {
		remember(path, info, hash)
	}
}

// mu orders the readers and writers of this process. Between processes the last
// writer wins, and what the other noted is hashed again one day.
var mu sync.Mutex

func recall(path string, info fs.FileInfo) (string, bool) {
	if info.Size() < least {
		return "", false
	}
	key, err := canonical(path)
	if err != nil {
		return "", false
	}
	mu.Lock()
	defer mu.Unlock()
	e, ok := read()[key]
	if !ok || !e.is(info) {
		return "", false
	}
	return e.SHA256, true
}

func remember(path string, info fs.FileInfo, hash string) {
	if info.Size() < least {
		return
	}
	key, err := canonical(path)
	if err != nil {
		return
	}
	mu.Lock()
	defer mu.Unlock()
	files := read()
	if files == nil {
		files = map[string]entry{}
	}
	files[key] = entry{info.Size(), info.ModTime().UnixNano(), hash, time.Now().Unix()}
	maps.DeleteFunc(files, func(path string, _ entry) bool {
		_, err := os.Stat(path)
		return errors.Is(err, fs.ErrNotExist)
	})
	if len(files) > most {
		old := slices.SortedFunc(maps.Keys(files), func(a, b string) int {
			return cmp.Or(cmp.Compare(files[a].Taken, files[b].Taken), cmp.Compare(a, b))
		})
		for _, path := range old[:len(files)-most] {
			delete(files, path)
		}
	}
	_ = write(files) // the next run takes the hash again
}

// canonical is the path by which a file is remembered, the same for every way to
// it.
func canonical(path string) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// memory is the file in which hashes are remembered.
func memory() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "checkpoint12", "sha256.json"), nil
}

// stored is the form of that file.
type stored struct {
	Schema int              `json:"schema"` // 1
	Files  map[string]entry `json:"files"`  // by absolute path without links
}

// read returns what is remembered: nothing where that cannot be read.
func read() map[string]entry {
	path, err := memory()
	if err != nil {
		return nil
	}
	data, err := os.ReadFile(path)
	var s stored
	if err != nil || json.Unmarshal(data, &s) != nil || s.Schema != 1 {
		return nil
	}
	return s.Files
}

// write replaces the memory whole.
func write(files map[string]entry) error {
	path, err := memory()
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(stored{1, files}, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".sha256.*.tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
