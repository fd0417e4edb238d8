package verify

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/report"
)

// TextOptions configures WriteText.
type TextOptions struct {
	report.Style
	Verbose bool // with every stage of every step, and every failure in full
}

// textWidth is the number of columns for a generated text.
const textWidth = 84

// WriteText writes the report for people: a line for each checkpoint and engine, the
// texts, the first failure, and the verdict.
func (r *Report) WriteText(w io.Writer, o TextOptions) error {
	b := report.NewWriter(w, o.Style)
	r.writeLines(b, o)
	fmt.Fprintln(b)
	texts := report.NewTable("", "")
	for _, t := range r.Texts {
		name := t.Case
		if t.Row > 0 {
			name = ""
		}
		texts.Row(name, shorten(strconv.Quote(t.Text), textWidth, o.Verbose))
	}
	b.Table(texts)
	r.writeFigures(b, o)
	if o.Verbose {
		r.writeRuns(b)
	}
	r.writeQuorums(b, o)
	fmt.Fprintln(b)
	r.writeFailures(b, o)
	paint := b.Green
	if r.Failed() {
		paint = b.Red
	}
	fmt.Fprintln(b, paint(r.verdict()))
	return b.Flush()
}

// writeLines writes the table.
func (r *Report) writeLines(b *report.Writer, o TextOptions) {
	t := report.NewTable("checkpoint", "engine", "compared", "worst, of tolerance", "verdict")
	var all []CheckpointReport
	for _, c := range r.before {
		if len(c.lines) > 0 && (o.Verbose || c.Checkpoint == CheckWeights || c.Verdict == harness.VerdictFail) {
			all = append(all, c)
		}
	}
	command := ""
	for _, c := range append(all, r.Checkpoints...) {
		d := Info(c.Checkpoint)
		title := fmt.Sprintf("%2d %s", d.Number, d.Title)
		if c.Checkpoint == CheckWeights {
			title = "   " + d.Title
		}
		if c.Verdict == NotChecked && c.Checkpoint != CheckWeights {
			t.Row(title, "-", "-", "-", b.Yellow(NotChecked))
			command = c.Command
			continue
		}
		own := slices.ContainsFunc(c.lines, func(l line) bool { return l.engine == Self && l.failed == 0 })
		for _, l := range c.lines {
			if l.engine == Self && l.failed == 0 && len(c.lines) > 1 && !o.Verbose {
				continue // said on the engines' lines
			}
			t.Row(title, l.engine, l.what(c.Checkpoint, own), l.where(), l.verdict(b.Style))
			title = ""
		}
	}
	b.Table(t)
	if command != "" {
		fmt.Fprintf(b, "\nto make goldens for what is not checked:\n  %s\n", report.Unbroken(command))
	}
}

// what returns what was compared, in words; own is whether the self-check passed.
func (l *line) what(checkpoint int, own bool) string {
	if l.compared == 0 {
		return "-"
	}
	var s string
	switch {
	case l.engine == Figures:
		s = count(l.compared, "figure") + ", " + count(l.values, "value")
	case checkpoint == 12 && l.engine == Self:
		return words.Count(l.compared, "assertion")
	case checkpoint == 12:
		s = words.Count(l.compared, "text")
	case l.engine == Self:
		return words.Count(l.compared, "stage") + " of its own"
	case checkpoint == 10:
		s = fmt.Sprintf("%s, %d certified", words.Count(l.compared, "step"), l.certified)
		if l.ties > 0 {
			s += ", " + words.Count(l.ties, "near tie")
		}
		if n := l.compared - l.certified - l.ties; n > 0 {
			s += fmt.Sprintf(", %d not certifiable", n)
		}
	default:
		s = count(l.compared, "stage") + ", " + count(l.values, "value")
	}
	if !own {
		return s
	}
	return s + map[int]string{3: ", own rows exact", 9: ", own row exact", 11: ", own softmax", 12: ", three runs alike"}[checkpoint]
}

// where returns the worst error and its place.
func (l *line) where() string {
	if l.worst == nil {
		return "-"
	}
	w := l.worst
	place := fmt.Sprintf("%s step %d %s", w.Case, w.Step, w.Stage)
	switch {
	case w.Share == 0:
		return extent(w.Share)
	case w.Stage == w.Case: // of a figure
		place = w.Case
	}
	if math.IsInf(float64(w.Share), 1) {
		place = "at " + place
	}
	return extent(w.Share) + " " + place
}

func (l *line) verdict(s report.Style) string {
	switch {
	case l.compared == 0:
		return s.Yellow(NotChecked) + ": " + l.why
	case l.failed > 0:
		return s.Red(fmt.Sprintf("FAIL, %d of %d", l.failed, l.compared))
	}
	return s.Green("pass")
}

// writeFailures writes the first failure; verbose, every failure in full.
func (r *Report) writeFailures(b *report.Writer, o TextOptions) {
	if r.First == nil {
		return
	}
	if o.Verbose {
		for _, f := range r.Failures {
			fmt.Fprintf(b, "%s\n\n", f.report())
		}
	}
	r.writeFirst(b)
	i := slices.IndexFunc(r.Failures, func(f Finding) bool { return f.Checkpoint == CheckpointCount })
	if i >= 0 && r.First.Checkpoint != CheckpointCount && r.First.Checkpoint != CheckWeights {
		fmt.Fprintf(b, "the text is wrong too: %s\n", r.Failures[i].Line())
	}
}

// FirstFailure returns the first failure in full, its proof, if any, and where to look;
// "" if nothing failed.
func (r *Report) FirstFailure() string {
	var text strings.Builder
	if r.First != nil {
		b := report.NewWriter(&text, report.Style{})
		r.writeFirst(b)
		_ = b.Flush() // to memory
	}
	return strings.TrimRight(text.String(), "\n")
}

func (r *Report) writeFirst(b *report.Writer) {
	fmt.Fprintf(b, "%s\n\n", r.First.report())
	if r.Graft != nil {
		fmt.Fprintf(b, "proof: %s\n", r.Graft)
	}
	fmt.Fprintf(b, "fix: %s\n", r.fix())
}

// fix returns where to look.
func (r *Report) fix() string {
	switch f := r.First; {
	case f.Outlier:
		return "not this model, but the golden: make it again and see whether it comes out the same:\n  " +
			report.Unbroken(fmt.Sprintf("python3 scripts/regenerate_goldens.py --check --engine %s --model %s --case %s", f.Engine, r.Model, f.Case))
	case f.Checkpoint != CheckpointCount:
		return Info(f.Checkpoint).Fix
	case r.unchecked() > 0:
		return "not known: some of checkpoints 1 to 11 were not checked; make goldens and verify again"
	}
	return "checkpoints 1 to 11 do not fail: look at what is between them: the token list, start_pos, the choice of the token, the tokenizer"
}

// verdict returns the last line.
func (r *Report) verdict() string {
	engines := map[string]bool{}
	for _, run := range r.Runs {
		engines[run.Engine] = true
	}
	summary := fmt.Sprintf("%s: %s, %s, %d stages and assertions, %.1f s", r.Model,
		words.Count(len(r.Checkpoints)-r.unchecked(), "checkpoint"), words.Count(len(engines), "engine"), r.Compared, r.seconds)
	if n := r.unchecked(); n > 0 {
		summary += fmt.Sprintf("; %s not checked", words.Count(n, "checkpoint"))
	}
	if r.First == nil {
		return "pass: " + summary
	}
	f := r.First
	return fmt.Sprintf("FAIL: %s first fails at %s; %s", Info(f.Checkpoint), f.Name(), summary)
}

// writeRuns writes every row of every comparison.
func (r *Report) writeRuns(b *report.Writer) {
	for _, run := range r.Runs {
		fmt.Fprintf(b, "\n%s/%s\n", run.Case, run.Engine)
		t := report.NewTable("", "", "", "", "")
		for i := range run.Stages {
			row := &run.Stages[i]
			t.Row("  "+row.Place.String(), fmt.Sprint(row.Shape), fmt.Sprintf("%.3g", float64(row.MaxAbs)), extent(harness.Float(row.Share())), string(row.Status))
		}
		b.Table(t)
	}
}

// writeFigures writes the source of every figure; verbose, every figure.
func (r *Report) writeFigures(b *report.Writer, o TextOptions) {
	kinds := map[string][]string{} // by source
	for i, g := range r.Figures {
		if i == 0 {
			fmt.Fprintln(b)
		}
		kinds[g.Source] = append(kinds[g.Source], g.Figure)
	}
	for _, g := range r.Figures {
		if kinds[g.Source][0] != g.Figure {
			continue // with the source's first
		}
		t := report.NewTable("", "", "", "")
		for _, f := range r.figures {
			judged := extent(f.Share)
			if f.Failed {
				judged = "FAIL: " + judged
			}
			switch {
			case f.Source != g.Source:
			case o.Verbose:
				t.Row("  "+f.Figure, fmt.Sprintf("%s of %s", words.Count(f.Elements, "value"), f.Stage), judged, f.Note)
			case f.Checkpoint == CheckWeights && f.Note != "" && !f.Failed:
				t.Row("  "+f.Figure, f.Note)
			}
		}
		fmt.Fprintf(b, "figures: %s: %s\n", strings.Join(kinds[g.Source], ", "), shorten(g.Source, textWidth, o.Verbose))
		b.Table(t)
	}
}

// writeQuorums writes which golden is wrong and where tolerances are narrow for correct
// engines; verbose, each engine's largest distance from the reference, over all cases.
func (r *Report) writeQuorums(b *report.Writer, o TextOptions) {
	columns := []string{"checkpoint"}
	var engines []string
	worst := map[string]diagnose.Spread{} // by checkpoint and engine
	key := func(checkpoint int, engine string) string { return fmt.Sprint(checkpoint, engine) }
	for _, q := range r.Quorums {
		for _, line := range q.Lines() {
			fmt.Fprintf(b, "\n%s: %s\n", q.Case, line)
		}
		for _, w := range q.Spread {
			if !slices.Contains(engines, w.Engine) {
				engines, columns = append(engines, w.Engine), append(columns, ">"+w.Engine, "at")
			}
			k := key(w.Checkpoint, w.Engine)
			if have, ok := worst[k]; !ok || w.Share > have.Share || math.IsNaN(float64(w.Share)) {
				worst[k] = w
			}
		}
	}
	if !o.Verbose || len(engines) == 0 {
		return
	}
	fmt.Fprintf(b, "\ndistance of each engine from %s, as a fraction of the tolerance\n", diagnose.Reference)
	t := report.NewTable(columns...)
	for n := 1; n < CheckpointCount; n++ {
		cells := []string{fmt.Sprintf("%2d %s", n, Info(n).Title)}
		for _, e := range engines {
			if w, ok := worst[key(n, e)]; ok {
				cells = append(cells, fmt.Sprintf("%.2g%%", 100*float64(w.Share)), w.Place.String())
			} else {
				cells = append(cells, "-", "")
			}
		}
		t.Row(cells...)
	}
	b.Table(t)
}

// shorten cuts a text in the middle: its end was generated.
func shorten(s string, width int, whole bool) string {
	n := utf8.RuneCountInString(s)
	if whole || n <= width {
		return s
	}
	r := []rune(s)
	head := width / 3
	return string(r[:head]) + " … " + string(r[n-(width-head-3):])
}

// extent returns a share of a tolerance in per cent or, past it, as a multiple.
func extent(s harness.Float) string {
	switch share := float64(s); {
	case share == 0:
		return "exact"
	case math.IsInf(share, 1):
		return "not the same"
	case share > 1:
		return fmt.Sprintf("%.3gx", share)
	case share < 0.0995:
		return fmt.Sprintf("%.2g%%", 100*share)
	default:
		return fmt.Sprintf("%.0f%%", 100*share)
	}
}

// count returns "1 value" or "2,000 values".
func count(n int, noun string) string {
	text := words.Count(n, noun)
	for i := len(strconv.Itoa(n)) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
