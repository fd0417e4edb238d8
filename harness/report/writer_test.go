package report

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestWriterWraps(t *testing.T) {
	for _, c := range []struct{ reason, in, want string }{
		{"what fits stays", "12345 789 1234567890", "12345 789 1234567890\n"},
		{"a line breaks between words", "12345 789 1234567890 x", "12345 789 1234567890\n  x\n"},
		{"the rest stands below the text", "  12345 7890 123456 890", "  12345 7890 123456\n    890\n"},
		{"behind a label", "  x:  1234567 901234 x", "  x:  1234567 901234\n      x\n"},
		{"but not behind one that leaves no room", "  a long label:  1234567 x", "  a long label:\n    1234567 x\n"},
		{"nor where a word is too long for that", "  x:       " + string(Unbroken("go run . verify")), "  x:\n    go run . verify\n"},
		{"a path stays whole", "see goldens/synthetic-tiny/hello/float64 there", "see\n  goldens/synthetic-tiny/hello/float64\n  there\n"},
		{"a command too", "try " + string(Unbroken("go run . verify --verbose")) + " now", "try\n  go run . verify --verbose\n  now\n"},
		{"and an index", "off at index [0 1 156] of x", "off at index\n  [0 1 156] of x\n"},
		{"colours take no room", "\x1b[1;31mFAIL\x1b[0m  1234567890 234", "\x1b[1;31mFAIL\x1b[0m  1234567890 234\n"},
		{"nor do they move what continues", "\x1b[1;31mFAIL\x1b[0m  1234567890 234 x", "\x1b[1;31mFAIL\x1b[0m  1234567890 234\n      x\n"},
		{"runes are counted, not bytes", "ääääää äää ääääää äää", "ääääää äää ääääää\n  äää\n"},
		{"lines, and the last without an end", "a\n\nb", "a\n\nb\n"},
	} {
		var b bytes.Buffer
		w := NewWriter(&b, Style{Width: 20})
		for _, r := range c.in { // however it is cut into writes
			w.Printf("%s", Text(r))
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, b.String()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.reason, diff)
		}
	}
}

func TestProse(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b, Style{Width: 20})
	w.Prose("One two three\nfour five six seven.\n\n  --flag  what it does so\n\nEnd:\n  x\n")
	w.Flush()
	want := "One two three four\nfive six seven.\n\n  --flag  what it\n          does so\n\nEnd:\n  x\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// What a value holds is visible and ends no line; what the format and a Text hold is as it is.
func TestWriterShowsAll(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b, Style{Color: true})
	w.Printf("%s\n%v %d %q\n", "a\nPASS", errors.New("\x1b[2J"), 7, "\r")
	w.Printf("%-8s|%s|%s\n", "\u202e", Text("\x1b[1mbold\x1b[0m"), w.Red("\x1b[0m\u00a0"))
	table := NewTable("\n", "b")
	table.Row([]string{"\x07"}, Unbroken("c\td e"))
	w.Table(table)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "a\\nPASS\n\\x1b[2J 7 \"\\r\"\n" +
		"\\u202e       |\x1b[1mbold\x1b[0m|\x1b[1;31m\\x1b[0m\\u00a0\x1b[0m\n" +
		"\\n    b\n[\\a]  c\\td e\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Whatever is written, no word is lost or cut, and no line is too long that has
// more than one word.
func TestWriterKeepsWords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.StringMatching(`( {0,4}[a-z:]{1,12}){0,12}`).Draw(t, "line")
		columns := rapid.IntRange(1, 40).Draw(t, "columns")
		var b bytes.Buffer
		w := NewWriter(&b, Style{Width: columns})
		w.Printf("%s\n", line)
		w.Flush()
		out := strings.ReplaceAll(b.String(), `\`, "") // which makes a command none
		if diff := cmp.Diff(strings.Fields(line), strings.Fields(out)); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
		for got := range strings.Lines(out) {
			if got = strings.TrimSuffix(got, "\n"); len(got) > columns && len(strings.Fields(got)) > 1 {
				t.Fatalf("%q is longer than %d", got, columns)
			}
		}
	})
}

func TestTable(t *testing.T) {
	table := NewTable("stage", ">n", "why")
	table.Row("h.0.attn", "7", "a reason that is too long for the line")
	table.Row(Style{Color: true}.Red("wte"), "12345")
	table.Row("", "1", "short")
	var b bytes.Buffer
	w := NewWriter(&b, Style{Width: 43})
	w.Table(table)
	w.Flush()
	want := "" +
		"stage         n  why\n" +
		"h.0.attn      7  a reason that is too long\n" +
		"                 for the line\n" +
		"\x1b[1;31mwte\x1b[0m       12345\n" +
		"              1  short\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	// Where the last column has little room it goes on behind the first.
	b.Reset()
	table = NewTable("", "", "")
	table.Row("stage", "a cell of 24 columns ...", "pass")
	table.Row("", "-", "a reason that is too long for the line")
	w = NewWriter(&b, Style{Width: 35})
	w.Table(table)
	w.Flush()
	want = "" +
		"stage  a cell of 24 columns ...\n" +
		"         pass\n" +
		"       -                         a\n" +
		"         reason that is too long\n" +
		"         for the line\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestItems(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b, Style{Width: 16})
	w.items("  ", []Text{"wte =", "wpe =", "probs_t0.5 !", "x"})
	w.Flush()
	if diff := cmp.Diff("  wte =  wpe =\n    probs_t0.5 !\n    x\n", b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriterKeepsTheError(t *testing.T) {
	w := NewWriter(fullDisk{}, Style{})
	for range 10_000 {
		w.Printf("a line that fills the buffer\n")
	}
	if err := w.Flush(); err == nil || err.Error() != "disk full" {
		t.Errorf("error %v", err)
	}
}

// No line, wrapped or not, is a command of the log that it is printed to.
func TestWriterGivesNoCommands(t *testing.T) {
	for text, want := range map[string]string{
		"::error::x":              `\::error::x`,
		"  ::x":                   `  \::x`,
		"a ::b":                   "a ::b",
		"a ##[err]b":              `a #\#[err]b`,
		"a ##[error]b":            "a\n  #\\#[error]b", // which is wider with its mark
		"word word ::x":           "word word\n  \\::x",
		"a\u00a0::b":              `a\u00a0::b`,
		"two: words\n::error:: x": `two: words\n::error:: x`,
	} {
		var b strings.Builder
		w := NewWriter(&b, Style{Width: 12})
		w.Printf("%s\n", text)
		if len(text) > 15 {
			w.Width = 80
		}
		if err := w.Flush(); err != nil || b.String() != want+"\n" {
			t.Errorf("%q: %q, %v; want %q", text, b.String(), err, want)
		}
	}
}
