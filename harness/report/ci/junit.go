package ci

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"checkpoint12/harness/internal/words"
)

// suite is JUnit's testsuite.
type suite struct {
	Name     string     `xml:"name,attr"`
	Tests    int        `xml:"tests,attr"`
	Failures int        `xml:"failures,attr"`
	Errors   int        `xml:"errors,attr"`
	Skipped  int        `xml:"skipped,attr"`
	Cases    []testcase `xml:"testcase"`
	Output   output     `xml:"system-out"`
}

type output struct {
	Text string `xml:",cdata"`
}

type testcase struct {
	Name    string  `xml:"name,attr"`
	Class   string  `xml:"classname,attr"`
	Skipped *reason `xml:"skipped"`
	Error   *reason `xml:"error"`
	Failure *reason `xml:"failure"`
	Output  *output `xml:"system-out"`
}

// reason is why a test did not pass.
type reason struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",cdata"`
}

// WriteJUnit writes a report as JUnit's XML, as Jenkins, GitLab and others read it: a test
// case for each test, with what is passed over as its output, and the verdict as the suite's.
func WriteJUnit(w io.Writer, r *Report) error {
	s := suite{
		Name: words.Visible(r.Name), Tests: len(r.Tests),
		Failures: r.count(Failed), Errors: r.count(Errored), Skipped: r.count(NotChecked),
		Output: output{visibleLines(r.Text)},
	}
	for _, t := range r.Tests {
		c := testcase{Name: words.Visible(t.Name), Class: className(r.Name) + "." + className(t.Check)}
		why := &reason{words.Visible(t.Message), visibleLines(t.Text)}
		switch t.Outcome {
		case Failed:
			c.Failure = why
		case Errored:
			c.Error = why
		case NotChecked:
			c.Skipped = why
		}
		if len(t.Accepted) > 0 {
			c.Output = &output{visibleLines(strings.Join(some(t.Accepted), "\n"))}
		}
		s.Cases = append(s.Cases, c)
	}
	all := struct {
		XMLName  xml.Name `xml:"testsuites"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Errors   int      `xml:"errors,attr"`
		Suites   []suite  `xml:"testsuite"`
	}{Tests: s.Tests, Failures: s.Failures, Errors: s.Errors, Suites: []suite{s}}
	text, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, text)
	return err
}

// className returns text as one part of a class's name, which dots divide.
func className(text string) string { return strings.ReplaceAll(words.Visible(text), ".", "_") }

// visibleLines returns text of which the ends of lines alone are not printed.
func visibleLines(text string) string {
	all := lines(text)
	for i, line := range all {
		all[i] = words.Visible(line)
	}
	return strings.Join(all, "\n")
}
