//go:build unix

package cli

import (
	"bytes"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"checkpoint12/model/hub"
)

// interrupter interrupts this process when the first byte is written to it.
type interrupter struct {
	once sync.Once
	n    atomic.Int64 // bytes; generate may still write one token when Main has returned
}

func (w *interrupter) Write(p []byte) (int, error) {
	w.once.Do(func() { syscall.Kill(os.Getpid(), syscall.SIGINT) })
	w.n.Add(int64(len(p)))
	return len(p), nil
}

// longModel is the micro model with room for a run of many seconds.
func longModel(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), "long")
	if err := microModel([]string{dir, "60000", "50257"}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestInterruptGenerate(t *testing.T) {
	var out interrupter
	var stderr bytes.Buffer
	status := Main([]string{"generate", "--model", longModel(t), "--prompt", "Hello.", "--new", "50000"}, &out, &stderr)
	if want := "checkpoint12: error: interrupted\n"; status != StatusInterrupted || stderr.String() != want {
		t.Errorf("status %d and %q, want %d and %q", status, stderr.String(), StatusInterrupted, want)
	}
	if out.n.Load() == 0 {
		t.Error("nothing was printed before the interrupt")
	}
}

// interruptAt sends this process a signal once there is a file that matches a pattern,
// of something half-written.
func interruptAt(pattern string, signal syscall.Signal) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if half, _ := filepath.Glob(pattern); len(half) > 0 {
			break
		}
	}
	syscall.Kill(os.Getpid(), signal)
}

func TestInterruptLeavesNothing(t *testing.T) {
	for _, c := range []struct {
		half   string
		signal syscall.Signal
		args   []string
	}{
		{".*/step_03", syscall.SIGINT, []string{"dump", "--model", longModel(t), "--prompt", "Hello.", "--new", "50000", "--out", "DIR/d"}},
		{".*/step_03", syscall.SIGHUP, []string{"dump", "--model", longModel(t), "--prompt", "Hello.", "--new", "50000", "--out", "DIR/d"}},
		{".*.safetensors.*", syscall.SIGTERM, []string{"synth", "synthetic-medium", "--out", "DIR"}},
	} {
		if signal.Ignored(c.signal) { // as under nohup: then no program is to end by it
			t.Logf("not checked: %v, which this process was started to ignore", c.signal)
			continue
		}
		dir := t.TempDir()
		go interruptAt(filepath.Join(dir, c.half), c.signal)
		last := len(c.args) - 1
		c.args[last] = strings.Replace(c.args[last], "DIR", dir, 1)
		status, stdout, stderr := run(c.args...)
		if want := "checkpoint12: error: interrupted\n"; status != StatusInterrupted || stderr != want || stdout != "" {
			t.Errorf("%s: status %d, stdout %q, stderr %q", c.args[0], status, stdout, stderr)
		}
		if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
			t.Errorf("%s: left behind: %v, %v", c.args[0], left, err)
		}
	}
}

// An interrupt ends the engine, with what it has started, and leaves no folder.
func TestInterruptEndsTheEngine(t *testing.T) {
	goldens, dir, temp := filepath.Join(t.TempDir(), "goldens"), t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temp)
	const one = "synthetic-tiny/one-token/float64"
	if err := os.CopyFS(filepath.Join(goldens, one), os.DirFS("../../goldens/"+one)); err != nil {
		t.Fatal(err)
	}
	pid := filepath.Join(dir, "pid")
	go interruptAt(pid, syscall.SIGINT)
	begin := time.Now()
	status, stdout, stderr := run("verify", "--goldens", goldens,
		"--engine", "sh -c 'sleep 60 & echo $! > "+pid+".new; mv "+pid+".new "+pid+"; wait'")
	if want := "checkpoint12: error: interrupted\n"; status != StatusInterrupted || stderr != want || stdout != "" {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	if d := time.Since(begin); d > 30*time.Second {
		t.Errorf("took %v", d)
	}
	if left, _ := os.ReadDir(temp); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	b, _ := os.ReadFile(pid)
	id, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(id) + "/stat")
		if syscall.Kill(id, 0) != nil || err == nil && strings.Contains(string(stat), ") Z ") {
			return // it has ended, be it waited for or not
		}
	}
	t.Errorf("process %d, which the engine started, is alive", id)
}

// An interrupt says that the same command goes on, and it does.
func TestFetchInterrupted(t *testing.T) {
	h, cache := newHub(t)
	files := micro(t)
	h.Add("someone/model", mediumCommit, files)
	h.Intercept = func(w http.ResponseWriter, r *http.Request, cdn bool, serve http.HandlerFunc) {
		if !cdn || r.Header.Get("Range") != "" {
			serve(w, r)
			return
		}
		w.Header().Set("Content-Length", strconv.FormatInt(files[hub.WeightsFile].Size, 10))
		w.Write(read(t, files[hub.WeightsFile])[:1000])
		w.(http.Flusher).Flush()
		for r.Context().Err() == nil {
			found, _ := filepath.Glob(filepath.Join(cache, "*", "blobs", "*.incomplete"))
			if len(found) == 1 {
				if info, err := os.Stat(found[0]); err == nil && info.Size() == 1000 {
					syscall.Kill(os.Getpid(), syscall.SIGINT)
					break
				}
			}
			time.Sleep(time.Millisecond)
		}
		<-r.Context().Done()
	}
	status, stdout, stderr := run("fetch", "someone/model")
	if status != StatusInterrupted || stdout != "" ||
		stderr != "checkpoint12: note: what was downloaded is kept, and the same command resumes from there\n"+
			"checkpoint12: error: interrupted\n" {
		t.Errorf("status %d, %q, %q", status, stdout, stderr)
	}
	h.Requests()
	if status, _, stderr = run("fetch", "someone/model"); status != StatusPass || stderr != "" {
		t.Errorf("again: status %d, %q", status, stderr)
	}
	for _, r := range h.Requests() {
		if r.CDN && r.Range != "bytes=1000-" {
			t.Errorf("did not go on: %+v", r)
		}
	}
}

// changer changes a file of weights when the first byte is written to it.
type changer struct {
	once   sync.Once
	change func() error
	err    error
}

func (w *changer) Write(p []byte) (int, error) {
	w.once.Do(func() { w.err = w.change() })
	return len(p), nil
}

// Weights that change while they are in use are an error that names their file.
func TestChangedWeights(t *testing.T) {
	path := filepath.Join(longModel(t), "model.safetensors")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func() error{
		"in place":                 func() error { return os.Chtimes(path, time.Time{}, time.Now()) }, // as a write does
		"shorter by less than all": func() error { return os.Truncate(path, info.Size()-400) },
		"shorter":                  func() error { return os.Truncate(path, 1000) },
	} {
		if err := microModel([]string{filepath.Dir(path), "60000", "50257"}); err != nil {
			t.Fatal(err)
		}
		out, stderr := changer{change: change}, bytes.Buffer{}
		status := Main([]string{"generate", "--model", filepath.Dir(path), "--prompt", "Hello.", "--new", "3"}, &out, &stderr)
		want := "checkpoint12: error: " + path + ": changed while it was in use: run again when it is whole\n"
		if status != StatusError || stderr.String() != want || out.err != nil {
			t.Errorf("%s: status %d, %q, %v; want %q", name, status, stderr.String(), out.err, want)
		}
	}
}
