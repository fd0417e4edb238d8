package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"checkpoint12/harness/report"
)

// What the program prints to no terminal is 100 columns wide at most; but an error is one
// line, and a command is not broken.
func TestWidth(t *testing.T) {
	t.Chdir(t.TempDir())
	err := microModel([]string{"micro"})
	for _, out := range []string{"case/one", "case/other", "mine"} {
		args := []string{"dump", "--model", "micro", "--tokens", "5,7,11", "--new", "3", "--out", out}
		if status, _, stderr := run(args...); status != StatusPass {
			t.Fatal(stderr)
		}
	}
	err = errors.Join(err, os.CopyFS("bare", os.DirFS("mine")),
		plant([]string{"bare", "step_02/h.1.mlp.act.npy", "5", "9.5"}), plant([]string{"bare", "step_00/h.0.attn.q.npy", "5", "NaN"}))
	for _, name := range []string{"h.0.attn.scores", "h.0.attn.probs", "h.1.attn.context"} {
		err = errors.Join(err, os.Remove("bare/step_00/"+name+".npy"))
	}
	for _, name := range []string{"a.name.that.is.of.no.stage", "another.name", "one.more"} {
		err = errors.Join(err, os.WriteFile("bare/step_00/"+name+".npy", nil, 0o666))
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, args := range [][]string{
		{"--help"}, {"verify", "--help"}, {"compare", "--help"}, {"dump", "--help"}, {"generate", "--help"},
		{"synth", "--help"}, {"fetch", "--help"}, {"selftest", "--help"}, {"--version"},
		{"compare", "--golden", "case/one", "--candidate", "mine"},
		{"compare", "--golden", "case/one", "--candidate", "bare"},
		{"compare", "--golden", "case", "--candidate", "bare"},
		{"compare", "--golden", "case/one", "--candidate", "bare", "--model", "micro"},
		{"compare", "--golden", "case/one", "--candidate", "bare", "--model", "micro", "--verbose"},
		{"compare", "--candidate", "bare", "--model", "micro"},
		{"compare", "--golden", "case/one", "--candidate", "bare", "--map", "transformers"},
		{"compare", "--golden", "case/one", "--candidate", "nowhere"},
		{"dump", "--model", "micro", "--tokens", "5", "--new", "1", "--out", "mine"},
		{"synth", "synthetic-tiny", "--out", "tiny"},
		{"verify"}, {"selftest"}, {"frobnicate"}, {"verify", "--modle", "x"},
	} {
		_, stdout, stderr := run(args...)
		for line := range strings.Lines(stdout + stderr) {
			lines++
			first, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			rest = strings.TrimSpace(rest)
			whole := strings.HasPrefix(rest, "error: ") || strings.HasPrefix(rest, "hint: ") || first == "checkpoint12:" && rest == "" ||
				strings.HasPrefix(strings.TrimSpace(line), programName()) || !strings.Contains(rest, " ") && strings.HasPrefix(line, "  ")
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 100 && !whole {
				t.Errorf("%q: %d columns:\n%s", args, n, line)
			}
		}
	}
	if lines < 400 {
		t.Errorf("only %d lines", lines)
	}
}

// Where no terminal tells its width, $COLUMNS does.
func TestColumns(t *testing.T) {
	for columns, want := range map[string]int{"": report.DefaultWidth, "80": 80, "140": 140, "0": report.DefaultWidth, "-1": report.DefaultWidth, "wide": report.DefaultWidth} {
		t.Setenv("COLUMNS", columns)
		if got := report.NewWriter(io.Discard, style(io.Discard)).Width; got != want {
			t.Errorf("COLUMNS=%s: %d columns, want %d", columns, got, want)
		}
	}
}

// A hint is a command that runs as it is printed.
func TestHintsRun(t *testing.T) {
	t.Setenv("CHECKPOINT12_MODELS", t.TempDir())
	t.Setenv("HF_HUB_CACHE", t.TempDir())
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dir  string // "" is one outside of the repository
		args []string
		want string // the hint, without the program
	}{
		{"", nil, ""},
		{"", []string{"verify"}, ""},
		{"", []string{"selftest"}, ""},
		{"", []string{"verfy"}, "verify --help"},
		{"", []string{"verify", "--modle", "x"}, "verify --help"},
		{"", []string{"compare"}, "compare --help"},
		{"", []string{"compare", "--candidate", "d"}, "compare --help"},
		{"", []string{"dump"}, "dump --help"},
		{"", []string{"fetch"}, "fetch --help"},
		{"harness", []string{"compare", "--golden=goldens/synthetic-tiny/hello/candle", "--candidate", "../goldens/synthetic-tiny/hello/float64"},
			"compare --golden=../goldens/synthetic-tiny/hello/candle --candidate ../goldens/synthetic-tiny/hello/float64"},
		{"", []string{"compare", "--golden", repository + "/goldens/synthetic-tiny/hello/candle", "--candidate",
			repository + "/goldens/synthetic-tiny/hello/float64", "--model", repository + "/goldens/synthetic-tiny"}, ""},
	} {
		if t.Chdir(t.TempDir()); c.dir != "" {
			t.Chdir(filepath.Join(repository, c.dir))
		}
		status, _, stderr := run(c.args...)
		_, hint, found := strings.Cut(stderr, "\ncheckpoint12: hint: "+programName()+" ")
		hint = strings.TrimSuffix(hint, "\n")
		if status != StatusError || hint != c.want || found != (c.want != "") {
			t.Errorf("%q: status %d, hint %q, want %q\n%s", c.args, status, hint, c.want, stderr)
		}
		if !found {
			continue
		}
		if status, _, stderr := run(strings.Fields(hint)...); status != StatusPass {
			t.Errorf("%q: the hint %q ends with status %d\n%s", c.args, hint, status, stderr)
		}
	}
}

// Of many notes the first are printed, and how many more there are.
func TestManyNotes(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := microModel([]string{"micro"}); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{"golden", "mine"} {
		if status, _, stderr := run("dump", "--model", "micro", "--tokens", "5,7", "--new", "1", "--out", out); status != StatusPass {
			t.Fatal(stderr)
		}
	}
	if err := os.Remove("mine/manifest.json"); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		if err := os.WriteFile(fmt.Sprintf("mine/step_00/theirs.%d.npy", i), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	status, _, stderr := run("compare", "--golden", "golden", "--candidate", "mine", "--allow-unknown")
	if n := strings.Count(stderr, "checkpoint12: note: "); status != StatusPass || n > 25 ||
		!strings.Contains(stderr, "checkpoint12: note: and 98") {
		t.Errorf("status %d, %d notes:\n%s", status, n, stderr)
	}
}

// Progress is one line on a terminal; elsewhere a remark every ten seconds at most, which goes
// on where nothing new is told, and ends with what was to be done.
func TestProgress(t *testing.T) {
	for _, tt := range []struct {
		why      string
		terminal bool
		every    time.Duration // between two of the lines that are told
		told     int
		takes    time.Duration // after them
		shown    string        // on the terminal
		notes    string
	}{
		{"quick, to a file", false, 0, 1, inAWhile - time.Second, "", ""},
		{"slow, to a file", false, 0, 1, inAWhile + time.Second, "", "line 0 (after 10 s)\n"},
		{"long silent", false, 0, 1, 3*inAWhile + time.Second, "", "line 0 (after 10 s)\nline 0 (after 20 s)\nline 0 (after 30 s)\n"},
		{"many lines", false, time.Second / 8, 200, time.Second, "", "line 79 (after 10 s)\nline 159 (after 20 s)\n"},
		{"on a terminal", true, time.Second, 2, inAWhile + time.Second, "\r\x1b[Kline 0\r\x1b[Kline 1\r\x1b[K", ""},
		{"too fast for a terminal", true, 0, 9, time.Second, "\r\x1b[Kline 0\r\x1b[K", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			var shown, notes strings.Builder
			p := &progress{note: func(text string) { fmt.Fprintln(&notes, text) }}
			if tt.terminal {
				p.w = &shown
			}
			for i := range tt.told {
				fmt.Fprintf(p, "line %d\n", i)
				time.Sleep(tt.every)
				synctest.Wait()
			}
			time.Sleep(tt.takes)
			p.clear()
			time.Sleep(time.Minute)
			if shown.String() != tt.shown || notes.String() != tt.notes {
				t.Errorf("%s: %q and notes %q", tt.why, shown.String(), notes.String())
			}
		})
	}
}

// What may take long is shown at once on a terminal, whatever stood there just now.
func TestProgressBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shown strings.Builder
		p := &progress{w: &shown}
		fmt.Fprintln(p, "\x1b[31mone\u202e")
		p.begin("searching")
		if want := "\r\x1b[K\\x1b[31mone\\u202e\r\x1b[Ksearching"; shown.String() != want {
			t.Errorf("%q, want %q", shown.String(), want)
		}
		shown.Reset()
		p.wide = 8
		p.begin("seven 7")
		p.begin("eight 88")
		if want := "\r\x1b[Kseven 7\r\x1b[Keight …"; shown.String() != want {
			t.Errorf("in 8 columns: %q, want %q", shown.String(), want)
		}
	})
}
