package cli

import (
	"errors"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"checkpoint12/harness/report"
)

// whole is a line that may go beyond its columns: a word, or a command, which is to be copied.
var whole = regexp.MustCompile(`^\s*(\S+|(cause: |look closer: )?(go run \.|checkpoint12) .*)$`)

// What compare says fits 80 columns, and hides nothing, whatever the dump is called.
func TestCompareInEightyColumns(t *testing.T) {
	for _, name := range []string{
		"mine", strings.Repeat("long", 50), strings.Repeat("many words ", 20) + "x", "::error::x ##[error]x", "a\nb::error::c\r\x1b[31m\u202ed\u2066",
	} {
		t.Run(strconv.QuoteToASCII(name[:min(len(name), 20)]), func(t *testing.T) {
			t.Setenv("CHECKPOINT12_MODELS", t.TempDir())
			t.Chdir(t.TempDir())
			err := microModel([]string{"micro"})
			for _, out := range []string{"case/candle", "case/tinygrad", name} {
				if status, _, stderr := run("dump", "--model", "micro", "--tokens", "5,7,11", "--new", "3", "--out", out); status != StatusPass {
					t.Skip(stderr)
				}
			}
			if err = errors.Join(err, byEngine([]string{"case/candle"}), byEngine([]string{"case/tinygrad"}), os.CopyFS("right", os.DirFS(name)), plant([]string{name, "step_02/h.1.mlp.c_proj.npy", "5", "9.5"}),
				plant([]string{name, "step_00/h.0.attn.q.npy", "5", "NaN"}), os.Remove(name+"/step_00/h.0.attn.scores.npy"),
				os.Remove(name+"/step_01/h.0.ln_1.npy"), os.Remove("right/manifest.json")); err != nil {
				t.Fatal(err)
			}
			for _, o := range []compareOptions{
				{golden: "case/candle", candidate: "right"},
				{golden: "case/candle", candidate: name},
				{golden: name, candidate: "case/candle"},
				{golden: "case", candidate: name},
				{golden: "case/candle", candidate: name, model: "micro"},
				{candidate: name, model: "micro"},
			} {
				var stderr, text strings.Builder
				args := []string{"compare", "--golden", o.golden, "--candidate", o.candidate, "--model", o.model}
				a := &app{program: programName(), args: args, stdout: &output{w: new(strings.Builder)}, stderr: &stderr}
				o.again = func(...string) []string { return args }
				j, err := a.compare(t.Context(), o, a.progress())
				if err == nil {
					err = j.text(&text, report.Style{Width: 80})
				}
				if err != nil {
					t.Errorf("%q: %v", args, err)
					continue
				}
				for line := range strings.Lines(text.String()) {
					line = strings.TrimSuffix(line, "\n")
					if n := utf8.RuneCountInString(line); n > 80 && !whole.MatchString(line) {
						t.Errorf("%q: %d columns: %s", args, n, line)
					}
					hidden := func(r rune) bool { return !strconv.IsPrint(r) }
					if strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(line, "##[") || strings.ContainsFunc(line, hidden) {
						t.Errorf("%q: a line that is not what it seems: %q", args, line)
					}
				}
			}
		})
	}
}
