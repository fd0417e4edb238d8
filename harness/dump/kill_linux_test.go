package dump

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/model/atomicfile"
)

// replaceEnv tells the test's binary to replace what is at a path, and to do nothing else.
const replaceEnv = "CHECKPOINT12_TEST_REPLACE"

func init() {
	if os.Getenv(replaceEnv) != "" {
		runtime.LockOSThread() // strace counts the calls of each thread
	}
}

func TestMain(m *testing.M) {
	path := os.Getenv(replaceEnv)
	if path == "" {
		os.Exit(m.Run())
	}
	if err := replace(path, 2); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// replace puts a dump or, at a path that ends in .json, a file in place, with a value in it.
func replace(path string, value float32) error {
	if filepath.Ext(path) == ".json" {
		return atomicfile.WriteFile(path, []byte(fmt.Sprint(value)))
	}
	src := harnesstest.Source(nil, "test", [][]int{{7, 9}}, harnesstest.Steps{0: {"a": harnesstest.Vec(value)}})
	return Write(src, path, harnesstest.TestManifest(1))
}

// valueAt returns the value of what replace put in place, 0 if nothing is there.
func valueAt(t *testing.T, path string) float32 {
	t.Helper()
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if filepath.Ext(path) == ".json" {
		b, err := os.ReadFile(path)
		v, err2 := strconv.ParseFloat(string(b), 32)
		if err != nil || err2 != nil {
			t.Error(err, err2)
		}
		return float32(v)
	}
	d, notes, err := Open(path, harnesstest.MustSchedule(t, "a"))
	if err != nil || len(notes) > 0 {
		t.Errorf("not whole: %v, notes %q", err, notes)
		return -1
	}
	v, err := d.Tensor(0, "a")
	if err != nil {
		t.Error(err)
		return -1
	}
	return v.F32[0]
}

// killed puts a dump or a file in place in a process that is killed at the nth call of a
// kind, if it comes to that. Folders are exchanged by two calls if apart is set.
func killed(t *testing.T, path, call string, n int, apart bool) bool {
	t.Helper()
	args := []string{"-f", "-qq", "-o", os.DevNull, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, n)}
	if apart {
		args = append(args, "-e", "inject=renameat2:error=EINVAL")
	}
	cmd := exec.Command("strace", append(args, os.Args[0])...)
	cmd.Env = append(os.Environ(), replaceEnv+"="+path)
	out, err := cmd.CombinedOutput()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); err != nil && (!ok || status.Signal() != syscall.SIGKILL) {
		t.Fatalf("%s %d: %v: %s", call, n, err, out)
	}
	return err != nil
}

// Whenever a process is killed that puts a dump or a file in place, the old one or the new
// one is there, and whole; the next process leaves the new one and nothing else.
func TestKilledAtEveryChange(t *testing.T) {
	if out, err := exec.Command("strace", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("no process can be killed at a call (apt-get install strace): %v %s", err, out)
	}
	calls := []string{"renameat", "unlinkat", "mkdirat", "openat"}
	if testing.Short() {
		calls = calls[:3] // most files that are opened are there
	}
	for _, c := range []struct {
		name, path string
		old        float32
		apart      bool // for a moment neither is there
	}{
		{name: "a dump in a free place", path: "d"},
		{name: "a dump for a dump", path: "d", old: 1},
		{name: "a dump for a dump, by two calls", path: "d", old: 1, apart: true},
		{name: "a file for a file", path: "f.json", old: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			calls, kills := calls, 0
			if !c.apart {
				calls = append([]string{"renameat2"}, calls...)
			}
			for _, call := range calls {
				for n, again := 1, true; again; n++ {
					path, want := filepath.Join(t.TempDir(), c.path), float32(2)
					if c.old != 0 && replace(path, c.old) != nil {
						t.Fatal("nothing can be put there")
					}
					if again = killed(t, path, call, n, c.apart); again {
						if v := valueAt(t, path); v != c.old && v != want && !(v == 0 && c.apart) {
							t.Errorf("killed at %s %d: holds %v", call, n, v)
						}
						kills++
						if want = 3; replace(path, want) != nil {
							t.Errorf("killed at %s %d: the next fails", call, n)
						}
					}
					entries, err := os.ReadDir(filepath.Dir(path))
					if v := valueAt(t, path); v != want || err != nil || len(entries) != 1 {
						t.Errorf("%s %d, killed %v: at the end %v; beside it %v, %v", call, n, again, v, entries, err)
					}
				}
			}
			if kills < 3 {
				t.Errorf("only %d kills", kills)
			}
		})
	}
}
