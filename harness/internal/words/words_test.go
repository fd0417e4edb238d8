package words

import (
	"os/exec"
	"strings"
	"testing"
)

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 tensors", 1: "1 tensor", 2: "2 tensors"} {
		if got := Count(n, "tensor"); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestAnd(t *testing.T) {
	for _, c := range []struct {
		want  string
		items []string
	}{{"", nil}, {"a", []string{"a"}}, {"a and b", []string{"a", "b"}}, {"a, b and c", []string{"a", "b", "c"}}} {
		if got := And(c.items); got != c.want {
			t.Errorf("And(%q) = %q, want %q", c.items, got, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"golden", "candidate", "map"}
	for word, want := range map[string]string{"goldne": "golden", "candidates": "candidate", "golden": "golden", "mpa": "map", "xx": "", "": ""} {
		if got := Nearest(word, 2, names); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"":                     "",
		`plain "text" \ ä → 界`: `plain "text" \ ä → 界`,
		"a\nb":                 `a\nb`,
		"\x1b[31m\\ \"":        `\x1b[31m\\ "`,
		"\u202eabc":            `\u202eabc`,
		"a\u00a0b\u200b":       `a\u00a0b\u200b`,
		"\xff":                 `\xff`,
		"\U000e0041":           `\U000e0041`,
	} {
		if got := Visible(text); got != want {
			t.Errorf("Visible(%q) = %s, want %s", text, got, want)
		}
	}
}

func TestSome(t *testing.T) {
	items := []string{"a", "b", "c", "d"}
	for most, want := range map[int]string{1: "a and 3 more", 2: "a, b and 2 more", 4: "a, b, c and d", 9: "a, b, c and d"} {
		if got := Some(items, most); got != want {
			t.Errorf("Some(%q, %d) = %q, want %q", items, most, got, want)
		}
	}
	if items[1] != "b" {
		t.Errorf("items are now %q", items)
	}
}

// A POSIX shell reads back the words that were given, and a terminal shows all of them.
func TestShell(t *testing.T) {
	words := []string{
		"", "plain", "-x", "a b", "it's", `"$HOME"`, "`id`", "$(id)", `back\slash`, `{model}`, "*?[a]", "a;b&c|d", "~", "#x", "!x",
		"\x1b[31m100%\\n'q'\u202e", "new\nline", "tab\t", "--x=\ny", "no\u00a0break", "\xff\xfe", "ä界", "%s%%",
	}
	line := Shell(words...)
	if Visible(line) != line {
		t.Errorf("%q hides something", line)
	}
	out, err := exec.Command("sh", "-c", `printf '%s\000' `+line).Output()
	if err != nil {
		t.Skip(err)
	}
	got := strings.Split(string(out), "\x00")
	for i, want := range words {
		if got[i] != want {
			t.Errorf("%q is read as %q", want, got[i])
		}
	}
}
