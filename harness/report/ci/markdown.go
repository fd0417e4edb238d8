package ci

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"checkpoint12/harness/internal/words"
)

// The size of Markdown: GitHub shows a job's summary of 1 MiB at most, and a comment of 65,536
// characters.
const (
	maxMarkdown = 60_000 // bytes of all
	maxSpan     = 1000   // characters of one text, of which each may be shown as ten
	maxBlock    = 20_000 // bytes of a block of lines
)

// WriteMarkdown writes a report as GitHub's Markdown: the verdict, what is wrong, where, what
// is accepted, and how the tests came out. What does not fit is left out, from the end, and counted.
func WriteMarkdown(w io.Writer, r *Report) error {
	m := &markdown{}
	m.add("### %s: %s\n\n", strings.ToUpper(r.Verdict), code(r.Name))
	m.add("%s\n", block(r.Text))
	if len(r.Problems) > 0 {
		m.add("#### What is wrong\n\n")
		for _, p := range r.Problems {
			m.add("- %s\n", code(p.Title))
			for _, line := range p.Lines {
				m.add("  - %s\n", code(line))
			}
		}
		m.add("\n")
	}
	if r.Map != "" {
		title := "Where"
		if len(r.Problems) == 0 {
			title = "How much of each bound"
		}
		m.add("#### %s\n\n%s\n", title, block(r.Map))
	}
	checks := r.byCheck()
	var accepted []string
	for _, c := range checks {
		for _, line := range c.accepted {
			if !slices.Contains(accepted, line) {
				accepted = append(accepted, line)
			}
		}
	}
	head, rule := "| | passed | failed | errors | not checked |", "|---|--:|--:|--:|--:|"
	if len(accepted) > 0 {
		slices.SortStableFunc(accepted, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
		m.add("#### Accepted\n\n%s\n", block(strings.Join(some(accepted), "\n")))
		head, rule = head+" accepted |", rule+"--:|"
	}
	m.add("%s\n%s\n", head, rule)
	for _, c := range checks {
		row := fmt.Sprintf("| %s | %d | %d | %d | %d |", code(c.check), c.of[Passed], c.of[Failed], c.of[Errored], c.of[NotChecked])
		if len(accepted) > 0 {
			row += " " + marks(c.accepted) + " |"
		}
		m.add("%s\n", row)
	}
	if m.left > 0 {
		fmt.Fprintf(&m.text, "\nLeft out here: %s of the report.\n", words.Count(m.left, "line"))
	}
	_, err := io.WriteString(w, m.text.String())
	return err
}

// markdown is a text of limited size.
type markdown struct {
	text strings.Builder
	left int // lines that did not fit
}

// add adds lines that stay together if all of them fit.
func (m *markdown) add(format string, args ...any) {
	part := fmt.Sprintf(format, args...)
	if m.left > 0 || m.text.Len()+len(part) > maxMarkdown {
		m.left += strings.Count(part, "\n")
		return
	}
	m.text.WriteString(part)
}

// tally counts the tests of a check by their outcomes.
type tally struct {
	check string
	of    [NotChecked + 1]int

	accepted []string
}

// byCheck counts the tests by what they check, in order of first sight.
func (r *Report) byCheck() (all []tally) {
	at := map[string]int{}
	for _, t := range r.Tests {
		i, ok := at[t.Check]
		if !ok {
			i = len(all)
			at[t.Check], all = i, append(all, tally{check: t.Check})
		}
		all[i].of[t.Outcome]++
		all[i].accepted = append(all[i].accepted, t.Accepted...)
	}
	return all
}

// code returns text as a span of code, in which nothing is markup, a link or a mention. What
// would end the span, or a table's cell, is written as Go's escapes.
func code(text string) string {
	text = strings.NewReplacer("`", `\x60`, "|", `\x7c`).Replace(words.Visible(cut(text)))
	if strings.Trim(text, " ") == "" {
		text = `""`
	}
	return "`" + text + "`"
}

// block returns lines as a block of code.
func block(text string) string {
	var out strings.Builder
	all := lines(text)
	for i, line := range all {
		line = words.Visible(cut(line))
		if out.Len()+len(line) > maxBlock {
			fmt.Fprintf(&out, "… and %s more\n", words.Count(len(all)-i, "line"))
			break
		}
		fmt.Fprintln(&out, line)
	}
	fence := "```"
	for strings.Contains(out.String(), fence) {
		fence += "`"
	}
	return fence + "text\n" + out.String() + fence + "\n"
}

// cut returns text of which what is too long is left out, and says so.
func cut(text string) string {
	n := utf8.RuneCountInString(text)
	if n <= maxSpan {
		return text
	}
	return fmt.Sprintf("%s… and %d characters more", string([]rune(text)[:maxSpan]), n-maxSpan)
}
