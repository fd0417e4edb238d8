package diagnose

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// GoldenError is the error of a golden that cannot be used: it is damaged, bound
// to other weights, or not bound to any.
type GoldenError struct {
	Path string // the folder or file
	Err  error
}

// Error returns the golden and the reason.
func (e *GoldenError) Error() string { return fmt.Sprintf("golden %s: %v", e.Path, e.Err) }

// Unwrap returns the reason.
func (e *GoldenError) Unwrap() error { return e.Err }

// Folders lists the folders in dir, by name. A dir that does not exist has none.
func Folders(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for goldens: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names, nil
}
