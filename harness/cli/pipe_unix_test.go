//go:build unix

package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Who reads the first lines alone has the report in its files all the same, and the exit status
// is the verdict's; of a report that goes to stdout itself it is not.
func TestBrokenPipe(t *testing.T) {
	t.Setenv("CHECKPOINT12_MODELS", t.TempDir())
	t.Chdir(t.TempDir())
	err := microModel([]string{"micro"})
	for _, out := range []string{"golden", "right", "wrong"} {
		if status, _, stderr := run("dump", "--model", "micro", "--tokens", "5,7", "--new", "1", "--out", out); status != StatusPass {
			t.Fatal(stderr)
		}
	}
	if err = errors.Join(err, plant([]string{"wrong", "step_00/h.1.mlp.act.npy", "3", "9.5"})); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		candidate string
		json      string
		status    int
		files     []string
	}{
		{"right", "r.json", StatusPass, []string{"r.json", "r.xml", "r.md", "r.html"}},
		{"wrong", "r.json", StatusDivergence, []string{"r.json", "r.xml", "r.md", "r.html"}},
		{"right", "-", StatusInterrupted, nil},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		var stderr bytes.Buffer
		status := Main([]string{"compare", "--golden", "golden", "--candidate", tt.candidate, "--model", "micro",
			"--json", tt.json, "--junit", "r.xml", "--markdown", "r.md", "--html", "r.html"}, w, &stderr)
		w.Close()
		if status != tt.status {
			t.Errorf("%s, --json %s: exit status %d, want %d: %s", tt.candidate, tt.json, status, tt.status, &stderr)
		}
		for _, file := range tt.files {
			if info, err := os.Stat(file); err != nil || info.Size() < 100 {
				t.Errorf("%s: %s: %v", tt.candidate, file, err)
			}
			os.Remove(file)
		}
	}
}

// A named pipe in the place of any file or folder, which to open would wait for ever, is
// exit 2 and one line, at once; and so is a file without end.
func TestPipesAndDevices(t *testing.T) {
	for name, value := range map[string]string{
		"CHECKPOINT12_MODELS": "", "HF_HUB_CACHE": "", "HF_TOKEN": "", "HUGGING_FACE_HUB_TOKEN": "", "HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "",
		"HF_HUB_DISABLE_IMPLICIT_TOKEN": "", "HF_ENDPOINT": "http://127.0.0.1:1",
	} {
		t.Setenv(name, value)
	}
	run := func(args []string) (status int, stderr string) {
		var b bytes.Buffer
		done := make(chan bool)
		go func() {
			defer close(done)
			status = Main(args, io.Discard, &b)
		}()
		select {
		case <-done:
			return status, b.String()
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: still running", strings.Join(args, " "))
			return 0, ""
		}
	}
	from := t.TempDir()
	if err := microModel([]string{filepath.Join(from, "model")}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dump", "foreign"} {
		args := []string{"dump", "--model", filepath.Join(from, "model"), "--tokens", "5,7", "--new", "1", "--out", filepath.Join(from, name)}
		if status, stderr := run(args); status != 0 {
			t.Fatal(stderr)
		}
	}
	if err := os.Remove(filepath.Join(from, "foreign/manifest.json")); err != nil {
		t.Fatal(err)
	}
	unread := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(unread, 0o600); err != nil {
		t.Fatal(err)
	}
	status, stderr := run([]string{"compare", "--golden", filepath.Join(from, "dump"), "--candidate", filepath.Join(from, "foreign"), "--json", unread})
	if want := "checkpoint12: error: --json " + unread + ": is a pipe that nobody reads\n"; status != 2 || stderr != want {
		t.Errorf("status %d, %q; want 2, %q", status, stderr, want)
	}
	const notFolder, isLink, notNumPy = "is a file; want the folder of a dump", "is a link", "not a .npy file"
	for _, tt := range []struct {
		place, args string // %s in args is the folder
		or          string // what the error may say in place of what is there
	}{
		{place: "dump/manifest.json", args: "compare --golden %s/dump --candidate %s/foreign"},
		{place: "dump/manifest.json", args: "compare --golden %s/foreign --candidate %s/dump"},
		{place: "dump/manifest.json", args: "compare --golden %s/foreign --candidate %s/dump --map transformers"},
		{place: "dump/manifest.json", args: "compare --golden %s --candidate %s/foreign"},
		{place: "dump/manifest.json", args: "dump --model %s/model --tokens 5 --new 1 --out %s/dump"},
		{place: "dump/step_00/ln_f.npy", args: "compare --golden %s/dump --candidate %s/foreign", or: notNumPy},
		{place: "foreign/step_00/ln_f.npy", args: "compare --golden %s/dump --candidate %s/foreign", or: notNumPy},
		{place: "foreign/tokens.npy", args: "compare --golden %s/dump --candidate %s/foreign", or: notNumPy},
		{place: "golden", args: "compare --golden %s/golden --candidate %s/foreign", or: notFolder},
		{place: "candidate", args: "compare --golden %s/dump --candidate %s/candidate", or: notFolder},
		{place: "map.json", args: "compare --golden %s/dump --candidate %s/foreign --map %s/map.json"},
		{place: "model/config.json", args: "generate --model %s/model --prompt x --new 1"},
		{place: "model/model.safetensors", args: "generate --model %s/model --prompt x --new 1", or: "safetensors header"},
		{place: "model/model.safetensors.index.json", args: "dump --model %s/model --tokens 5 --new 1 --out %s/new"},
		{place: "tiny/config.json", args: "synth synthetic-tiny --out %s/tiny"},
		{place: "goldens/synthetic-tiny/figures.json", args: "verify --goldens %s/goldens", or: isLink},
		{place: "goldens/synthetic-tiny/hello/float64/manifest.json", args: "verify --goldens %s/goldens", or: isLink},
		{place: "goldens", args: "verify --goldens %s/goldens", or: "/goldens: no such folder"},
		{place: "home/token", args: "fetch some/model"},
		{place: "home/hub/models--some--model/refs/main", args: "dump --model some/model --tokens 5 --new 1 --out %s/new", or: "no weights of some/model"},
	} {
		for kind, put := range map[string]func(path string) error{
			"a named pipe": func(path string) error { return syscall.Mkfifo(path, 0o600) },
			"a device":     func(path string) error { return os.Symlink("/dev/zero", path) },
			"too long": func(path string) error {
				return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 2<<30))
			},
		} {
			dir := t.TempDir()
			path := filepath.Join(dir, tt.place)
			err := os.CopyFS(dir, os.DirFS(from))
			if err == nil {
				os.Remove(path)
				if filepath.Ext(path) == ".json" && strings.Contains(path, "index") {
					os.Remove(filepath.Join(dir, "model/model.safetensors"))
				}
				os.MkdirAll(filepath.Dir(path), 0o700)
				err = put(path)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Setenv("HF_HOME", filepath.Join(dir, "home"))
			args := strings.ReplaceAll(tt.args, "%s", dir)
			status, stderr := run(strings.Fields(args))
			lines := 0
			for line := range strings.Lines(stderr) {
				more := strings.HasPrefix(line, "  ") // of a note
				if !more && !strings.HasPrefix(line, "checkpoint12: note: ") && !strings.HasPrefix(line, "checkpoint12: hint: ") {
					lines++
				}
			}
			want := path + ": is " + kind
			if kind == "too long" {
				want = path + ": longer than "
			}
			if status != 2 || lines != 1 || !strings.Contains(stderr, want) && (tt.or == "" || !strings.Contains(stderr, tt.or)) {
				t.Errorf("%s as %s: %s: status %d, want 2 and one line that says %q or %q\n%s", tt.place, kind, tt.args, status, want, tt.or, stderr)
			}
		}
	}
}
