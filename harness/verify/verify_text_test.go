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

// A share past its bound is a multiple of what it is a part of: where no golden is, of rounding.
func TestRemarkNamesItsBound(t *testing.T) {
	for _, tt := range []struct{ engine, stage, want string }{
		{"float64", "h.0.ln_1", "1 fail: 20 times the tolerance at hello, step 1, h.0.ln_1"},
		{Self, "h.0.ln_1", "1 fail: 20 times the rounding bound at hello, step 1, h.0.ln_1"},
		{Self, "probs_t2", "1 fail: 20 times the tolerance at hello, step 1, probs_t2"},
		{Figures, "logits", "1 fail: 20 times the tolerance at hello, step 1, logits"},
	} {
		l := line{engine: tt.engine, compared: 1, failed: 1, worst: &Worst{Case: "hello", Engine: tt.engine, Step: 1, Stage: tt.stage, Share: 20}}
		if got := l.remark(report.Style{}); got != tt.want {
			t.Errorf("%s, %s: %q, want %q", tt.engine, tt.stage, got, tt.want)
		}
	}
}

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
