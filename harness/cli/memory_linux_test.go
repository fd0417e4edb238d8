package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/shapes"
)

// sparse writes a stage of zeros, which take no room on disk, as the first step's.
func sparse(t *testing.T, stage string, shape ...int) (dir string) {
	t.Helper()
	dims := strings.Trim(strings.Join(strings.Fields(fmt.Sprint(shape)), ", "), "[]")
	text := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%s,)}\n", dims)
	text = "\x93NUMPY\x01\x00" + string(rune(len(text))) + "\x00" + text
	dir = t.TempDir()
	path := filepath.Join(dir, harness.Place{Stage: stage}.File())
	n, _ := shapes.Size(shape)
	for _, err := range []error{os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666), os.Truncate(path, int64(len(text)+4*n))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A limit under which Go might end the process is an error of one line.
func TestAddressLimit(t *testing.T) {
	if testing.Short() {
		t.Skip("short: the race detector takes all the address space that there is")
	}
	run := exec.Command("sh", "-c", `ulimit -v 2900000 && exec checkpoint12 verify`)
	out, _ := run.CombinedOutput()
	want := "checkpoint12: error: the process may have 2969 MB of addresses, and needs 3000 MB and the size of the weights: raise the limit (ulimit -v)\n"
	if status := run.ProcessState.ExitCode(); status != StatusError || string(out) != want {
		t.Errorf("exit status %d, %q; want %d, %q", status, out, StatusError, want)
	}
}

// What compare holds in memory does not grow with the tensors of two dumps in the
// schedule's layout, nor with one of a wrong shape; where it would need more than there
// is, it says so.
func TestCompareWithinMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("short: the race detector takes all the address space that there is")
	}
	golden := filepath.Join(gpt2test.Dir, "synthetic-tiny/hello/float64")
	for _, c := range []struct {
		reason            string
		golden, candidate string
		more              []string
		status            int
		want              string
	}{
		{"the same, in blocks", sparse(t, "logits", 1, 1000, 50257), sparse(t, "logits", 1, 1000, 50257), nil, StatusPass, "PASS"},
		{"a wrong shape", golden, sparse(t, "logits", 1, 40000, 50257), []string{"--model", "synthetic-tiny"}, StatusDivergence, "the shape is .1 40000 50257."},
		{"a wrong shape of an input", golden, sparse(t, "h.0.mlp.c_fc", 1, 5000000, 320), []string{"--model", "synthetic-tiny"}, StatusDivergence, "the shape is"},
		{"a layout that is put in order", sparse(t, "h.0.attn.q", 1, 8000000, 4, 20), sparse(t, "h.0.attn.q", 1, 4, 8000000, 20), nil, StatusError, "error: .*needs 2560 MB of memory"},
	} {
		args := append([]string{"compare", "--golden", c.golden, "--candidate", c.candidate}, c.more...)
		run := exec.Command("sh", append([]string{"-c", `ulimit -v 3000000 && exec checkpoint12 "$@"`, "sh"}, args...)...)
		peakFile := filepath.Join(t.TempDir(), "peak")
		run.Env = append(os.Environ(), "CHECKPOINT12_TEST_PEAK="+peakFile)
		out, err := run.CombinedOutput()
		if status := run.ProcessState.ExitCode(); status != c.status || !regexp.MustCompile("(?m)"+c.want).Match(bytes.Join(bytes.Fields(out), []byte(" "))) {
			t.Errorf("%s: exit status %d, want %d with %q, %v:\n%.3000s", c.reason, status, c.status, c.want, err, out)
		}
		if peak := ownPeak(t, peakFile); peak > 150e6 {
			t.Errorf("%s: %d MB at most, want 150", c.reason, peak/1e6)
		}
	}
}

// ownPeak returns the most memory that a process had since it began to run its program,
// from what it wrote at its end. What wait reports counts what its parent had, too.
func ownPeak(t *testing.T, path string) (bytes int64) {
	t.Helper()
	status, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscanf(after, "%d kB", &bytes); err != nil || bytes == 0 {
		t.Fatalf("%s has no VmHWM: %v", path, err)
	}
	return bytes << 10
}

func init() { peakMemory = ownPeak }
