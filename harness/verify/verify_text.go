package verify

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strconv"
	"text/tabwriter"
	"unicode/utf8"

	"checkpoint12/harness"
)

// TextOptions says how a report is written for people.
type TextOptions struct {
	Color   bool // with colours, for a terminal
	Verbose bool // with every stage of every step, and every failure in full
}

const (
	red, green, yellow, reset = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
	textWidth                 = 100 // of a generated text's line
)

// WriteText writes the report for a person: a line for each checkpoint and
// engine, the generated texts, what failed first, and one line of verdict.
func (r *VerifyReport) WriteText(w io.Writer, o TextOptions) error {
	b := bufio.NewWriter(w)
	r.writeLines(b, o)
	fmt.Fprintln(b)
	for _, t := range r.Texts {
		name := t.Case
		if t.Row > 0 {
			name = ""
		}
		fmt.Fprintf(b, "%-14s %s\n", name, shorten(strconv.Quote(t.Text), textWidth, o.Verbose))
	}
	r.writeFigures(b, o)
	if o.Verbose {
		r.writeRuns(b)
	}
	r.writeQuorums(b, o)
	fmt.Fprintln(b)
	r.writeFailures(b, o)
	fmt.Fprintln(b, paint(r.verdict(), r.Verdict, o.Color))
	return b.Flush()
}

// writeLines writes the table.
func (r *VerifyReport) writeLines(b io.Writer, o TextOptions) {
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "checkpoint\tengine\tcompared\tworst, of its bound\tverdict")
	var all []CheckpointReport
	for _, c := range r.before {
		if len(c.lines) > 0 && (o.Verbose || c.Checkpoint == Weights || c.Verdict == harness.VerdictFail) {
			all = append(all, c)
		}
	}
	command := ""
	for _, c := range append(all, r.Checkpoints...) {
		d := Describe(c.Checkpoint)
		title := fmt.Sprintf("%2d %s", d.Number, d.Title)
		if c.Checkpoint == Weights {
			title = "   " + d.Title
		}
		if c.Verdict == NotChecked && c.Checkpoint != Weights {
			fmt.Fprintf(tw, "%s\t-\t-\t-\t%s\n", title, paint(NotChecked, NotChecked, o.Color))
			command = c.Command
			continue
		}
		self := c.self()
		for _, l := range c.lines {
			if l.engine == Self && l.failed == 0 && len(c.lines) > 1 && !o.Verbose {
				continue // said on the engines' lines
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", title, l.engine, l.what(c.Checkpoint, self), l.where(), l.verdict(o.Color))
			title = ""
		}
	}
	tw.Flush()
	if command != "" {
		fmt.Fprintf(b, "\nto make goldens for what is not checked: %s\n", command)
	}
}

// self is the checkpoint's line without golden, or nil.
func (c *CheckpointReport) self() *line {
	for i := range c.lines {
		if c.lines[i].engine == Self {
			return &c.lines[i]
		}
	}
	return nil
}

// what says what was compared.
func (l *line) what(checkpoint int, self *line) string {
	if l.compared == 0 {
		return "-"
	}
	var s string
	switch {
	case l.engine == Figures:
		s = fmt.Sprintf("%d figures, %s values", l.compared, thousands(l.values))
	case checkpoint == 12 && l.engine == Self:
		return fmt.Sprintf("%d assertions", l.compared)
	case checkpoint == 12:
		s = fmt.Sprintf("%d texts", l.compared)
	case l.engine == Self:
		return fmt.Sprintf("%d of its own stages", l.compared)
	case checkpoint == 10:
		s = fmt.Sprintf("%d steps, %d certified", l.compared, l.certified)
		if l.ties > 0 {
			s += fmt.Sprintf(", %d near ties", l.ties)
		}
		if n := l.compared - l.certified - l.ties; n > 0 {
			s += fmt.Sprintf(", %d not certifiable", n)
		}
	default:
		s = fmt.Sprintf("%d stages, %s values", l.compared, thousands(l.values))
	}
	if self == nil || self.failed > 0 {
		return s
	}
	return s + map[int]string{3: ", own rows exact", 9: ", own row exact", 11: ", own softmax", 12: ", three runs alike"}[checkpoint]
}

// where is the worst error and its place.
func (l *line) where() string {
	if l.worst == nil {
		return "-"
	}
	share := float64(l.worst.Share)
	place := fmt.Sprintf("%s step %d %s", l.worst.Case, l.worst.Step, l.worst.Stage)
	if l.worst.Stage == l.worst.Case { // of a figure
		place = l.worst.Case
	}
	switch {
	case share == 0:
		return "exact"
	case math.IsInf(share, 1):
		return "not the same: " + place
	}
	return percent(share) + " " + place
}

func (l *line) verdict(color bool) string {
	switch {
	case l.compared == 0:
		return paint(NotChecked, NotChecked, color) + ": " + l.why
	case l.failed > 0:
		return paint(fmt.Sprintf("FAIL, %d of %d", l.failed, l.compared), harness.VerdictFail, color)
	}
	return paint("pass", harness.VerdictPass, color)
}

// writeFailures writes the first divergence in full, checkpoint 12's first
// failure if there is one, and what to fix; verbose, every failure.
func (r *VerifyReport) writeFailures(b io.Writer, o TextOptions) {
	if r.First == nil {
		return
	}
	seen12 := r.First.Checkpoint == Weights // then no text is worth as many words
	for i := range r.Failures {
		f := &r.Failures[i]
		if o.Verbose || f.Checkpoint == 12 && !seen12 {
			fmt.Fprintf(b, "%s\n\n", f.Report())
		}
		seen12 = seen12 || f.Checkpoint == 12
	}
	if r.First.Checkpoint != 12 {
		fmt.Fprintf(b, "%s\n\n", r.First.Report())
	}
	if r.Graft != nil {
		fmt.Fprintf(b, "proof: %s\n", r.Graft)
	}
	fmt.Fprintf(b, "fix: %s\n", r.fix())
}

// unknown is what to do when checkpoint 12 fails and others were not checked.
const unknown = "not known: some of checkpoints 1 to 11 were not checked; make goldens and verify again"

// between is where to look when nothing but checkpoint 12 fails.
const between = "checkpoints 1 to 11 do not fail: look at what is between them: the token list, start_pos, the choice of the token, the tokenizer"

// fix says where to look.
func (r *VerifyReport) fix() string {
	switch {
	case r.First.Checkpoint != 12:
		return r.First.fix(r.Model)
	case r.unchecked() > 0:
		return unknown
	}
	return between
}

// verdict is the last line.
func (r *VerifyReport) verdict() string {
	engines := map[string]bool{}
	for _, run := range r.Runs {
		engines[run.Engine] = true
	}
	summary := fmt.Sprintf("%s: %d checkpoints, %d engines, %d stages and assertions, %.1f s",
		r.Model, len(r.Checkpoints)-r.unchecked(), len(engines), r.Compared, r.seconds)
	if n := r.unchecked(); n > 0 {
		summary += fmt.Sprintf("; %d checkpoints not checked", n)
	}
	if r.First == nil {
		return "pass: " + summary
	}
	f := r.First
	return fmt.Sprintf("FAIL: %s first fails at %s; %s", Describe(f.Checkpoint), f.Name(), summary)
}

// writeRuns writes every row of every comparison.
func (r *VerifyReport) writeRuns(b io.Writer) {
	for _, run := range r.Runs {
		fmt.Fprintf(b, "\n%s/%s\n", run.Case, run.Engine)
		tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
		for i := range run.Stages {
			row := &run.Stages[i]
			fmt.Fprintf(tw, "  %s\t%v\t%.3g\t%s\t%s\n", row.Place(), row.Shape, float64(row.MaxAbs), percent(row.Share()), row.Status)
		}
		tw.Flush()
	}
}

func paint(s, verdict string, color bool) string {
	if !color {
		return s
	}
	return map[string]string{harness.VerdictPass: green, harness.VerdictFail: red, NotChecked: yellow}[verdict] + s + reset
}

// shorten cuts a text in the middle so that its end, what was generated, is seen.
func shorten(s string, width int, whole bool) string {
	n := utf8.RuneCountInString(s)
	if whole || n <= width {
		return s
	}
	r := []rune(s)
	head := width / 3
	return string(r[:head]) + " … " + string(r[n-(width-head-3):])
}

// percent is a share of a bound; past the bound, how many times it.
func percent(share float64) string {
	switch {
	case share > 1:
		return fmt.Sprintf("%.3gx", share)
	case share < 0.0995:
		return fmt.Sprintf("%.2g%%", 100*share)
	}
	return fmt.Sprintf("%.0f%%", 100*share)
}

func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
