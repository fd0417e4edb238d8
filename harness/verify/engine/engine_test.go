//go:build unix

package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		line, why string
		want      []string // nil: an error
	}{
		{`engine {model}  --out={out}`, "blanks separate", []string{"engine", "{model}", "--out={out}"}},
		{`'my engine' "a b"\ c`, "quotes join", []string{"my engine", "a b c"}},
		{`e "\$x \" \n" '\n' ''`, "a backslash in quotes", []string{"e", `$x " \n`, `\n`, ""}},
		{"e $HOME ~ * `ls` #x", "nothing is expanded", []string{"e", "$HOME", "~", "*", "`ls`", "#x"}},
		{`sh -c 'a | b > c'`, "a shell's own words, quoted", []string{"sh", "-c", "a | b > c"}},
		{`e '>' "|"`, "an operator, quoted, is a word", []string{"e", ">", "|"}},
		{`e > log`, "no shell redirects", nil},
		{`a && b`, "no shell goes on", nil},
		{`e 'x`, "a quote without end", nil},
		{`e "x`, "a quote without end", nil},
		{`e \`, "a backslash at the end", nil},
		{` `, "no words", nil},
		{`'' x`, "no program", nil},
		{"e \x00", "a NUL", nil},
		{`e --m={model}{out} {dtype}`, "placeholders", []string{"e", "--m={model}{out}", "{dtype}"}},
		{`e {modle}`, "a placeholder misspelt", nil},
		{`e --in={model}/{file}`, "one within a word", nil},
		{`e {MODEL}`, "one in capitals", nil},
		{`e {} {1} {a,b} '{"a":1}' '{ print }'`, "braces that are none", []string{"e", "{}", "{1}", "{a,b}", `{"a":1}`, "{ print }"}},
		{`sh -c 'e ${CHECKPOINT12_MODEL}'`, "a shell's variable", []string{"sh", "-c", "e ${CHECKPOINT12_MODEL}"}},
	} {
		got, err := Parse(tt.line)
		if !slices.Equal(got, tt.want) || (err != nil) != (tt.want == nil) {
			t.Errorf("%s: %q: got %q and error %v, want %q", tt.why, tt.line, got, err, tt.want)
		}
	}
}

func TestPlaceholdersAreReplacedWithinWords(t *testing.T) {
	c := Command{"{model}", "--in={tokens}:{mask}", "{prompt}+{new}", "{dtype}", "{out}/x", "{ print }"}
	got := c.Words(Case{"m {out}", "t", "k", 2, 10, "f32", "o"})
	want := []string{"m {out}", "--in=t:k", "2+10", "f32", "o/x", "{ print }"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func runner(script string, timeout time.Duration) *Runner {
	return &Runner{Command: Command{"sh", "-c", script}, Timeout: timeout}
}

func TestRun(t *testing.T) {
	many := "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i >&2; done; exit 5"
	for _, tt := range []struct {
		script string
		want   string // of the error
		lines  int    // of stderr
	}{
		{`test "$CHECKPOINT12_OUT$CHECKPOINT12_NEW$CHECKPOINT12_DTYPE" = o10f32`, "", 0},
		{"echo out; test -z \"$(cat)\"", "", 0},
		{"exit 77", ErrCannotDo.Error(), 0},
		{many, "exit status 5: line 12", tailLines},
		{"kill -9 $$", "signal: killed", 0},
		{"echo slow >&2; sleep 60", "ran longer than 200ms: slow", 1},
		{"sleep 60 & exit 0", "", 0}, // what is left behind does not hold the run up
	} {
		begin := time.Now()
		err := runner(tt.script, 200*time.Millisecond).Run(t.Context(), Case{Out: "o", New: 10, DType: "f32"})
		got := ""
		if err != nil {
			got = err.Error()
		}
		failure, _ := errors.AsType[*Failure](err)
		if got != tt.want || failure != nil && len(failure.Stderr) != tt.lines {
			t.Errorf("%s: %q and %+v, want %q and %d lines", tt.script, got, failure, tt.want, tt.lines)
		}
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("%s: took %v", tt.script, d)
		}
	}
	err := (&Runner{Command: Command{"./no-such-engine"}}).Run(t.Context(), Case{})
	if _, failed := errors.AsType[*Failure](err); failed || err == nil || !strings.Contains(err.Error(), "no-such-engine") {
		t.Errorf("a program that is not there: %v", err)
	}
}

// What an engine has started ends with it, with its time, and with the context.
func TestGroupEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		then    string
		timeout time.Duration
		cancel  bool
	}{
		"with the program": {"exit 0", time.Minute, false},
		"with the time":    {"wait", 300 * time.Millisecond, false},
		"at an interrupt":  {"wait", time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			pidFile := filepath.Join(t.TempDir(), "pid")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tt.cancel {
				go func() {
					for pidOf(pidFile) == 0 {
						time.Sleep(time.Millisecond)
					}
					cancel()
				}()
			}
			r := runner("sleep 60 & echo $! > "+pidFile+".new; mv "+pidFile+".new "+pidFile+"; "+tt.then, tt.timeout)
			err := r.Run(ctx, Case{})
			if tt.cancel != errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
			pid := pidOf(pidFile)
			if pid == 0 {
				t.Fatal("it did not start")
			}
			for deadline := time.Now().Add(5 * time.Second); alive(pid); time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("process %d is alive", pid)
				}
			}
		})
	}
}

func pidOf(path string) int {
	b, _ := os.ReadFile(path)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

// alive reports whether a process runs; one that ended but was not waited for does not.
func alive(pid int) bool {
	if stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil {
		return !strings.Contains(string(stat), ") Z ")
	}
	return syscall.Kill(pid, 0) == nil
}

func TestFolderGoesWithClose(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	r := runner("exit 0", time.Minute)
	dir, err := r.Folder()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", dir, err)
	}
	if err := r.Run(t.Context(), Case{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a run after Close: %v", err)
	}
}

func TestFolderIsKept(t *testing.T) {
	t.Chdir(t.TempDir())
	r := runner("exit 0", time.Minute)
	r.Keep = "new/kept"
	dir, err := r.Folder()
	if err != nil || !filepath.IsAbs(dir) {
		t.Fatalf("%q, %v", dir, err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "x"), nil, 0o666), r.Close()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat("new/kept/x"); err != nil {
		t.Error(err)
	}
	again := runner("exit 0", time.Minute)
	again.Keep = r.Keep
	if _, err := again.Folder(); err == nil || !strings.Contains(err.Error(), "new/kept: is not empty") {
		t.Errorf("a folder that holds files: %v", err)
	}
}
