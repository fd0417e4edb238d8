//go:build unix

package regularfile

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Whatever a link leads to, and however it would wait to be opened or read.
func TestRefusesAtOnce(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	socket, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	for _, err := range []error{
		syscall.Mkfifo(at("pipe"), 0o600), os.Mkdir(at("folder"), 0o700), os.WriteFile(at("file"), []byte("12345678"), 0o600),
		os.Symlink("/dev/zero", at("device")), os.Symlink("nowhere", at("dangling")),
		os.Symlink("pipe", at("to pipe")), os.Symlink("file", at("to file")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"pipe": "is a named pipe", "to pipe": "is a named pipe", "folder": "is a folder", "device": "is a device",
		"socket": "is a socket", "dangling": "no such file", "none": "no such file",
	} {
		_, err := Read(at(name), 8)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), at(name)) {
			t.Errorf("%s: %v, want %q and the path", name, err, want)
		}
		if missing := want == "no such file"; errors.Is(err, fs.ErrNotExist) != missing {
			t.Errorf("%s: %v: fs.ErrNotExist is %v", name, err, !missing)
		}
	}
	for _, name := range []string{"file", "to file"} {
		if b, err := Read(at(name), 8); string(b) != "12345678" || err != nil {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		if _, err := Read(at(name), 7); err == nil || !strings.Contains(err.Error(), at(name)+": longer than 7 bytes") {
			t.Errorf("%s, one byte too long: %v", name, err)
		}
		f, size, err := Open(at(name))
		if err != nil || size != 8 {
			t.Fatalf("%s: size %d, %v", name, size, err)
		}
		f.Close()
	}
}

// What a link leads to is never written to, not even when it is put in place while the
// file is opened.
func TestUpdate(t *testing.T) {
	dir := t.TempDir()
	path, link, victim := filepath.Join(dir, "f"), filepath.Join(dir, "link"), filepath.Join(dir, "victim")
	for _, target := range []string{"victim", "nowhere"} {
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
		if _, err := Update(path); err == nil || !strings.Contains(err.Error(), path+": is a link") {
			t.Errorf("a link to %s: %v", target, err)
		}
		os.Remove(path)
	}
	if names, _ := os.ReadDir(dir); len(names) > 0 {
		t.Errorf("made %v", names)
	}
	if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		for range 1000 {
			os.Symlink("victim", link)
			os.Rename(link, path)
			os.WriteFile(link, nil, 0o600)
			os.Rename(link, path)
		}
	}()
	opened := 0
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		if f, err := Update(path); err == nil {
			opened++
			f.WriteString("yours")
			f.Close()
		}
	}
	if b, err := os.ReadFile(victim); string(b) != "mine" || err != nil || opened == 0 {
		t.Errorf("opened %d times, and the file that the link led to holds %q, %v", opened, b, err)
	}
}

// A file that says no size is bounded by what comes.
func TestReadOfNoSize(t *testing.T) {
	const path = "/proc/self/status"
	if info, err := os.Stat(path); err != nil || info.Size() != 0 {
		t.Skip("no such file here")
	}
	if b, err := Read(path, 1<<20); err != nil || len(b) < 100 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if _, err := Read(path, 99); err == nil || !strings.Contains(err.Error(), "longer than 99 bytes") {
		t.Errorf("longer than the limit: %v", err)
	}
}
