//go:build unix

package parallel

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/edsrzf/mmap-go"
)

// What a mapped file no longer holds is an error, on every goroutine; any other panic
// stays one.
func TestProtect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := mmap.Map(f, mmap.RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Unmap()
	sum := 0
	read := func(i int) { sum += int(m[len(m)-1-i]) }
	if err := Protect(func() { read(0); For(1, read) }); err != nil {
		t.Errorf("of a whole file: %v", err)
	}
	if err := f.Truncate(10); err != nil {
		t.Fatal(err)
	}
	if err := Protect(func() { read(0) }); err != ErrLost {
		t.Errorf("of a short one: error %v, want ErrLost", err)
	}
	if err := Protect(func() { For(100, read) }); err != ErrLost {
		t.Errorf("of a short one, on other goroutines: error %v, want ErrLost", err)
	}
	defer func() {
		if r := recover(); r != "a bug" {
			t.Errorf("recovered %v", r)
		}
	}()
	Protect(func() { panic("a bug") })
}
