package verify

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/report"
)

// Text that is not for a terminal is 100 columns wide at most; only a word, or a command,
// which is to be copied, goes beyond.
func TestTextIsWrapped(t *testing.T) {
	t.Parallel()
	whole := regexp.MustCompile(`^\s*(\S+|((look closer: )?(go run \.|python3) .*))$`)
	m := gpt2test.Tiny(t)
	all, err := open(m, Options{Model: "synthetic-tiny", Goldens: gpt2test.Dir, Command: "go run ."})
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*Suite{"pass": all, "fail": withTap(t, plant(m, gpt2test.Named("q/k/v order")))} {
		r, err := s.Verify(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict != name {
			t.Fatalf("%s, want %s", r.Verdict, name)
		}
		for _, verbose := range []bool{false, true} {
			var text strings.Builder
			if err := r.WriteText(&text, report.Style{}, verbose); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(text.String()) {
				if line = strings.TrimRight(line, "\n"); utf8.RuneCountInString(line) > report.DefaultWidth && !whole.MatchString(line) {
					t.Errorf("%s, verbose %t: %d columns: %s", name, verbose, utf8.RuneCountInString(line), line)
				}
			}
		}
	}
}
