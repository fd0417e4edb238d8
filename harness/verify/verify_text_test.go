package verify

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"checkpoint12/harness/report"
)

// whole is a line that may go beyond its columns: a word, or a command, which is to be copied.
var whole = regexp.MustCompile(`^\s*(\S+|((look closer: )?(go run \.|python3) .*))$`)

// checkWrapped checks that text that is not for a terminal is 100 columns wide at most, and that
// 80 are enough for what is not verbose.
func checkWrapped(t *testing.T, r *Report) {
	t.Helper()
	for _, columns := range []int{80, report.DefaultWidth} {
		var text strings.Builder
		verbose := columns > 80
		if err := r.WriteText(&text, TextOptions{Style: report.Style{Width: columns}, Verbose: verbose, Engines: true}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text.String()) {
			if line = strings.TrimRight(line, "\n"); utf8.RuneCountInString(line) > columns && !whole.MatchString(line) {
				t.Errorf("%s, verbose %t: %d columns: %s", r.Verdict, verbose, utf8.RuneCountInString(line), line)
			}
		}
	}
}
