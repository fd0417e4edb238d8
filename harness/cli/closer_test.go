package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The command that looks closer runs as a shell reads it, whatever the folders are called, and
// leaves the reports that were written as they are.
func TestCloserRuns(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	t.Setenv("CHECKPOINT12_MODELS", t.TempDir())
	for _, name := range []string{"mine", "it's mine", "-x --html", "a\nb\x1b[31m\u202e", "$(exit 9);`exit 9`", "'", "--json"} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			model := name + "m"
			if err := errors.Join(microModel([]string{"./" + model}), os.Mkdir("out", 0o777)); err != nil {
				t.Skip(err)
			}
			for _, out := range []string{"golden", "./" + name} {
				if status, _, stderr := run("dump", "--model", model, "--tokens", "5,7", "--new", "1", "--out", out); status != StatusPass {
					t.Fatal(stderr)
				}
			}
			if err := plant([]string{"./" + name, "step_00/h.1.mlp.c_proj.npy", "3", "9.5"}); err != nil {
				t.Fatal(err)
			}
			status, stdout, stderr := run("compare", "--html=out/r.html", "--golden", "golden", "--junit", "out/r.xml", "--candidate", name,
				"--markdown", "out/r.md", "--json", "out/r.json", "--model="+model)
			if status != StatusDivergence {
				t.Fatalf("status %d: %s", status, stderr)
			}
			line := regexp.MustCompile(`(?m)^ *` + programName() + ` (compare .*)$`).FindStringSubmatch(stdout)
			if line == nil {
				t.Fatalf("no command in\n%s", stdout)
			}
			for _, file := range []string{"r.html", "r.xml", "r.md", "r.json"} {
				if data, err := os.ReadFile(filepath.Join("out", file)); err != nil || file != "r.json" && !strings.Contains(string(data), "--verbose") {
					t.Errorf("%s has no such command: %v", file, err)
				}
			}
			before, err := os.Stat("out/r.json")
			if err != nil {
				t.Fatal(err)
			}
			words, err := exec.Command(sh, "-c", `printf '%s\000' `+line[1]).Output()
			if err != nil {
				t.Fatalf("%s: %v", line[1], err)
			}
			args := strings.Split(strings.TrimSuffix(string(words), "\x00"), "\x00")
			want := []string{"compare", "--golden", "golden", "--candidate", name, "--model=" + model, "--verbose"}
			if !slices.Equal(args, want) {
				t.Fatalf("%q, want %q", args, want)
			}
			if status, stdout, stderr := run(args...); status != StatusDivergence || !strings.Contains(stdout, "mismatched") {
				t.Errorf("status %d: %s", status, stderr)
			}
			if after, err := os.Stat("out/r.json"); err != nil || !os.SameFile(before, after) {
				t.Errorf("it writes the reports again: %v", err)
			}
		})
	}
}

// What a flag is followed by goes with it, and what only looks like the flag stays.
func TestWithout(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"compare --json - --candidate c", "compare --candidate c"},
		{"compare --json=x -v --candidate c --json y", "compare -v --candidate c"},
		{"compare --candidate --json --verbose --html h", "compare --candidate --json --verbose"},
		{"compare --verbose --json", "compare --verbose"},
		{"compare --require-all --junit j --golden=--json", "compare --require-all --golden=--json"},
	} {
		c := (&app{}).compareCommand()
		got := without(strings.Fields(tt.args), c, "json", "html", "junit", "markdown")
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q", tt.args, got)
		}
	}
}
