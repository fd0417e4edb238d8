//go:build unix

package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// interrupter interrupts this process when the first byte is written to it.
type interrupter struct {
	once sync.Once
	n    int
}

func (w *interrupter) Write(p []byte) (int, error) {
	w.once.Do(func() { syscall.Kill(os.Getpid(), syscall.SIGINT) })
	w.n += len(p)
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
	if out.n == 0 {
		t.Error("nothing was printed before the interrupt")
	}
}

func TestInterruptDump(t *testing.T) {
	dir := t.TempDir()
	go func() { // once there is something half-written
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if half, _ := filepath.Glob(filepath.Join(dir, ".*", "step_03")); len(half) > 0 {
				break
			}
		}
		syscall.Kill(os.Getpid(), syscall.SIGINT)
	}()
	var stdout, stderr bytes.Buffer
	status := Main([]string{"dump", "--model", longModel(t), "--prompt", "Hello.", "--new", "50000", "--out", filepath.Join(dir, "d")}, &stdout, &stderr)
	if status != StatusInterrupted || !strings.Contains(stderr.String(), "interrupted") || stdout.Len() > 0 {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout.String(), stderr.String())
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestInterruptSynth(t *testing.T) {
	dir := t.TempDir()
	go func() { // once there is something half-written
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if half, _ := filepath.Glob(filepath.Join(dir, ".*.safetensors.*")); len(half) > 0 {
				break
			}
		}
		syscall.Kill(os.Getpid(), syscall.SIGINT)
	}()
	var stdout, stderr bytes.Buffer
	status := Main([]string{"synth", "synthetic-medium", "--out", dir}, &stdout, &stderr)
	if want := "checkpoint12: error: interrupted\n"; status != StatusInterrupted || stderr.String() != want || stdout.Len() > 0 {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout.String(), stderr.String())
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*safetensors*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
