// Package ci writes what a command has judged for the systems that run checks: as JUnit's
// XML, as Markdown, and as annotations in the log of GitHub Actions.
//
// All text may come from outside: a dump, a folder's name, an engine's stderr. Each format
// shows what is not printed, and nothing in it is markup, a link or a command.
package ci

import (
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness/report"
)

// A Report is what a command has judged.
type Report struct {
	Name     string    // of the command and of what it judged
	Verdict  string    // in a word or a few: PASS
	Text     string    // the verdict and its reasons, as lines
	Tests    []Test    // by what is checked
	Problems []Problem // the most important first
	Map      string    // of the errors by layer and stage, as lines; "" if there is none
}

// A Test is a checkpoint, or another check, of one case by one engine.
type Test struct {
	Check   string // such as a checkpoint
	Name    string // of the case and the engine
	Outcome Outcome
	Message string // why it did not pass, on one line
	Text    string // more of that, as lines

	Accepted []string // what is wrong and passed over, a line each, which may begin with a mark
}

// An Outcome is what became of a Test.
type Outcome int

// The outcomes of a Test.
const (
	Passed     Outcome = iota
	Failed             // something is wrong
	Errored            // it could not be judged, which is an error
	NotChecked         // there was nothing to judge, or nothing to judge it by
)

// A Problem is something that is to be mended.
type Problem struct {
	Title string
	Lines []string // its causes, how large it is
}

// count counts the tests of an outcome.
func (r *Report) count(o Outcome) (n int) {
	for i := range r.Tests {
		if r.Tests[i].Outcome == o {
			n++
		}
	}
	return n
}

// Problems returns findings that are not accepted.
func Problems(findings []report.Finding) (all []Problem) {
	for _, f := range findings {
		if f.Accepted == "" {
			all = append(all, ProblemOf(f))
		}
	}
	return all
}

// ProblemOf returns a finding as a problem.
func ProblemOf(f report.Finding) Problem {
	p := Problem{Title: f.Title()}
	for _, c := range f.Causes {
		p.Lines = append(p.Lines, c.Text)
	}
	for _, line := range []string{f.Together, f.Distance} {
		if line != "" {
			p.Lines = append(p.Lines, line)
		}
	}
	return p
}

// maxAccepted is how much of what is accepted is listed.
const maxAccepted = 30

// some returns lines, of many the first and how many more there are.
func some(lines []string) []string {
	if n := len(lines) - maxAccepted; n > 0 {
		return append(slices.Clone(lines[:maxAccepted]), fmt.Sprintf("… and %d more", n))
	}
	return lines
}

// known are the marks that lines of what is accepted may begin with; "" is none.
var known = []string{report.MarkOwn, report.MarkInherited, ""}

// rank returns the index of the mark that a line begins with.
func rank(line string) int {
	return slices.IndexFunc(known, func(mark string) bool { return strings.HasPrefix(line, mark) })
}

// marks counts lines by their marks.
func marks(lines []string) string {
	var all []string
	for i, mark := range known {
		n := 0
		for _, line := range lines {
			if rank(line) == i {
				n++
			}
		}
		if n > 0 {
			all = append(all, strings.TrimSpace(fmt.Sprint(mark, " ", n)))
		}
	}
	return strings.Join(all, " ")
}

// lines returns the lines of a text, from the first to the last that is not empty.
func lines(text string) []string {
	if text = strings.Trim(text, "\n"); text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}
