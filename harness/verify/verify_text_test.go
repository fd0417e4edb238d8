package verify

import (
	"math"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"checkpoint12/harness"
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

// tableLine is a line of the table, of one of the checkpoints.
var tableLine = regexp.MustCompile(`^(   weights|   embeddings|[ 1][0-9] [A-Za-z]).*  (pass|FAIL|-) `)

// What is too long for a line of the table stands below it, or is cut where that is said.
func TestALineACheckpoint(t *testing.T) {
	worst := &Worst{Case: "a-case-with-a-long-name", Engine: "float64", Step: 12, Stage: "h.23.attn.cache_k", Share: 395000}
	for _, tt := range []struct {
		reason     string
		l          line
		room       int
		text, more string
	}{
		{"it fits", line{worst: worst}, 60, "3.95e+05x a-case-with-a-long-name/12/h.23.attn.cache_k", ""},
		{"a long case", line{worst: worst}, 33, "3.95e+05x a…/12/h.23.attn.cache_k", "worst at a-case-with-a-long-name, step 12, h.23.attn.cache_k"},
		{"two remarks", line{worst: &Worst{Case: "a", Stage: "next_token"}, tokens: 10, certified: 8, ties: 2}, 33, "exact; 8 of 10 certified", "2 near ties"},
		{"three, the first too long", line{worst: worst, tokens: 10, certified: 8, ties: 2, accepted: 1}, 60,
			"3.95e+05x a-case-with-a-long-name/12/h.23.attn.cache_k", "8 of 10 certified; 1 accepted; 2 near ties"},
		{"not checked", line{why: "the engine dumps none of it"}, 20, "not checked", "not checked: the engine dumps none of it"},
		{"not checked, and it fits", line{why: "so"}, 20, "not checked: so", ""},
		{"a NaN", line{worst: &Worst{Case: "a", Stage: "ln_f", Nonfinite: "NaN", Share: harness.Float(math.Inf(1))}}, 20, "NaN a/0/ln_f", ""},
		{"no multiple", line{worst: &Worst{Case: "a", Stage: "text", Share: harness.Float(math.Inf(1))}}, 33, "not the same a/0/text", ""},
	} {
		if text, more := tt.l.brief(tt.room); text != tt.text || more != tt.more {
			t.Errorf("%s: %q, %q; want %q, %q", tt.reason, text, more, tt.text, tt.more)
		}
	}
}

// checkWrapped checks that text that is not for a terminal is 100 columns wide at most, that 80
// are enough for what is not verbose, and there for a line of each checkpoint and the verdict of
// a run that passes.
func checkWrapped(t *testing.T, r *Report) {
	t.Helper()
	var table strings.Builder
	if err := r.WriteText(&table, TextOptions{Style: report.Style{Width: 80}}); err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut("\n"+table.String(), "\ncheckpoint  ")
	text, _, _ = strings.Cut(text, "\n\n")
	lines := strings.Split(text, "\n")[1:]
	for _, line := range lines {
		if utf8.RuneCountInString(line) > 80 || !tableLine.MatchString(line) {
			t.Errorf("%s: not a line of one checkpoint: %q", r.Verdict, line)
		}
	}
	if n := len(lines); !found || n < CheckpointCount || n > CheckpointCount+2 {
		t.Errorf("%s: %d lines for %d checkpoints:\n%s", r.Verdict, n, CheckpointCount, &table)
	}
	if head, _, _ := strings.Cut(table.String(), "\n"); !r.Failed() && r.unchecked() == 0 && !strings.HasSuffix(head, " s") {
		t.Errorf("the verdict takes more than a line: %q", head)
	}
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
