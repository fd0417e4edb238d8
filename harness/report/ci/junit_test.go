package ci

import (
	"encoding/xml"
	"strings"
	"testing"
	"unicode/utf8"

	"checkpoint12/harness/internal/words"
)

// hostile has what XML forbids, what ends its markup, and what a terminal or a log obeys.
const hostile = "evil]]>\n<b a='\"'>&amp;\x1b[31m\x00\x01\u202e\u2066\ufffe\xff`|@all\r\n::error::x"

func sample(text string) *Report {
	return &Report{
		Name: "compare " + text, Verdict: "FAIL", Text: text + "\nsecond\n",
		Tests: []Test{
			{Check: "checkpoint 01 (" + text + ")", Name: text, Accepted: []string{"● " + text}},
			{Check: "checkpoint 02", Name: text, Outcome: Failed, Message: text, Text: text},
			{Check: "checkpoint 03", Name: text, Outcome: Errored, Message: text, Text: text},
			{Check: "checkpoint 04", Name: text, Outcome: NotChecked, Message: text},
		},
		Problems: []Problem{{text, []string{text, "why"}}}, Map: text + "\nmap",
	}
}

// read returns the suite as a reader of XML has it.
func read(t *testing.T, text string) suite {
	t.Helper()
	var all struct {
		Suite suite `xml:"testsuite"`
	}
	d := xml.NewDecoder(strings.NewReader(text))
	d.Strict = true
	if err := d.Decode(&all); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	return all.Suite
}

func FuzzJUnit(f *testing.F) {
	f.Add(hostile)
	f.Add("")
	f.Add("]]>]]&gt;")
	f.Fuzz(func(t *testing.T, text string) {
		var b strings.Builder
		if err := WriteJUnit(&b, sample(text)); err != nil {
			t.Fatal(err)
		}
		if i := strings.IndexFunc(b.String(), func(r rune) bool {
			return r < ' ' && r != '\n' || r == 0xfffd && utf8.ValidString(text) && !strings.ContainsRune(text, r)
		}); i >= 0 {
			t.Errorf("a character that XML forbids at %d of %q", i, b.String())
		}
		s := read(t, b.String())
		want := words.Visible(text)
		c := s.Cases[1]
		if c.Name != want || c.Failure == nil || c.Failure.Message != want || c.Failure.Text != visibleLines(text) {
			t.Errorf("%q: read as %+v, %+v", text, c, c.Failure)
		}
		if s.Tests != 4 || s.Failures != 1 || s.Errors != 1 || s.Skipped != 1 || s.Cases[2].Error == nil || s.Cases[3].Skipped == nil ||
			s.Cases[0].Failure != nil {
			t.Errorf("%+v", s)
		}
		if o := s.Cases[0].Output; o == nil || o.Text != visibleLines("● "+text) || s.Cases[1].Output != nil {
			t.Errorf("%q: what is accepted is read as %+v", text, o)
		}
		if n := strings.Count(s.Cases[1].Class, "."); n != 1 {
			t.Errorf("class %q has %d dots", s.Cases[1].Class, n)
		}
	})
}
