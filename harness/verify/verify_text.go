package verify

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/report"
)

// textWidth is the number of columns for a generated text.
const textWidth = 84

// TextOptions configures a report for people.
type TextOptions struct {
	report.Style
	Verbose bool // every stage of every step, and every failure in full
	Engines bool // a line for each engine of the goldens
}

// WriteText writes the report for people: the verdict and the first failure, a line for
// each checkpoint, and the texts.
func (r *Report) WriteText(w io.Writer, o TextOptions) error {
	b, verbose := report.NewWriter(w, o.Style), o.Verbose
	paint := b.Green
	if r.Failed() || r.Err() != nil {
		paint = b.Red
	}
	b.Printf("%s\n", paint(r.verdict()))
	report.WriteBounds(b, r.bounds, r.judged...)
	if r.First != nil {
		b.Printf("\n")
	}
	r.writeFailures(b, verbose)
	r.EngineReport.write(b)
	b.Printf("\n")
	if o.Engines {
		r.writeEngines(b, o)
	} else {
		r.writeLines(b, o)
	}
	if len(r.Texts) > 0 {
		b.Printf("\n")
	}
	texts := report.NewTable("", "")
	for _, t := range r.Texts {
		name := t.Case
		if t.Row > 0 {
			name = ""
		}
		texts.Row(name, shorten(strconv.Quote(t.Text), textWidth, verbose))
	}
	b.Table(texts)
	r.writeFigures(b, verbose)
	if verbose {
		r.writeRuns(b)
	}
	r.writeQuorums(b, verbose)
	return b.Flush()
}

// writeFailures writes the first failure; verbose, every failure in full.
func (r *Report) writeFailures(b *report.Writer, verbose bool) {
	if r.First == nil {
		return
	}
	if verbose {
		for _, f := range r.Failures {
			f.write(b)
			b.Printf("\n")
		}
	}
	r.writeFirst(b)
	i := slices.IndexFunc(r.Failures, func(f Finding) bool { return f.Checkpoint == CheckpointCount })
	if i >= 0 && r.First.Checkpoint != CheckpointCount && r.First.Checkpoint != CheckWeights {
		b.Printf("the text is wrong too: %s\n", r.Failures[i].Line())
	}
}

// FirstFailure returns the first failure in full, its proof, if any, and where to look;
// "" if nothing failed.
func (r *Report) FirstFailure() string {
	if r.First == nil {
		return ""
	}
	return strings.TrimRight(report.AsText(report.DefaultWidth, r.writeFirst), "\n")
}

func (r *Report) writeFirst(b *report.Writer) {
	r.First.write(b)
	b.Printf("\n")
	if r.Graft != nil {
		b.Printf("proof: %s\n", r.Graft)
	}
	b.Printf("look at: %s\n", r.lookAt())
}

// lookAt returns where to look.
func (r *Report) lookAt() report.Text {
	switch f := r.First; {
	case f.Outlier:
		return "the golden, not this model: make it again and see whether it comes out the same:\n  " +
			report.Unbroken("python3 scripts/regenerate_goldens.py --check "+
				words.Shell("--engine", f.Engine, "--model", r.Model, "--case", f.Case))
	case f.Checkpoint == CheckWeights && f.Engine == Self: // as the engine loads them
		return report.Text(f.Cause)
	case f.Checkpoint != CheckpointCount:
		return report.Text(Info(f.Checkpoint).Fix)
	case r.unchecked() > 0:
		return "those of checkpoints 1 to 11 that were not checked: make goldens and verify again"
	}
	return "what is between checkpoints 1 to 11, which do not fail: the token list, start_pos, the choice of the token, the tokenizer"
}

// verdict returns the first line.
func (r *Report) verdict() string {
	engines := map[string]bool{}
	for _, run := range r.Runs {
		engines[run.Engine] = true
	}
	summary := fmt.Sprintf("%s: %s, %s, %d checks, %.1f s", r.Model,
		words.Count(len(r.Checkpoints)-r.unchecked(), "checkpoint"), words.Count(len(engines), "engine"),
		r.Compared, r.seconds)
	if n := r.unchecked(); n > 0 {
		summary += fmt.Sprintf("; %s not checked", words.Count(n, "checkpoint"))
	}
	if r.Accepted > 0 {
		summary += fmt.Sprintf("; %s accepted", words.Count(r.Accepted, "failure"))
	}
	summary += r.EngineReport.summary()
	switch {
	case r.First == nil && r.Err() != nil:
		return "NOT ALL JUDGED: " + summary
	case r.First == nil:
		return "PASS: " + summary
	}
	f := r.First
	how := ""
	if f.Nonfinite != "" {
		how = " with " + f.Nonfinite
	}
	return fmt.Sprintf("FAIL: %s first fails at %s%s; %s", Info(f.Checkpoint), f.Name(), how, summary)
}

// writeRuns writes every row of every comparison.
func (r *Report) writeRuns(b *report.Writer) {
	for _, run := range r.Runs {
		b.Printf("\n%s/%s\n", run.Case, run.Engine)
		b.Table(b.RowTable(run.Stages))
	}
}

// writeFigures writes the source of each kind of figure; verbose, every figure.
func (r *Report) writeFigures(b *report.Writer, verbose bool) {
	if len(r.Figures) == 0 {
		return
	}
	b.Printf("\nfigures\n")
	sources, judged := report.NewTable("", ""), report.NewTable("", "", "", "")
	for i, g := range r.Figures {
		source := shorten(g.Source, textWidth, verbose)
		if i > 0 && g.Source == r.Figures[i-1].Source {
			source = ""
		}
		sources.Row("  "+g.Figure, source)
	}
	for _, f := range r.figures {
		share := extent(f.Share, tolerance)
		if f.Failed {
			share = "FAIL: " + share
		}
		if verbose {
			judged.Row("  "+f.Figure, fmt.Sprintf("%s of %s", words.Count(f.Elements, "value"), f.Stage), share, f.Note)
		} else if f.Checkpoint == CheckWeights && f.Note != "" && !f.Failed {
			judged.Row("  "+f.Figure, f.Note)
		}
	}
	b.Table(sources)
	b.Table(judged)
}

// writeQuorums writes which golden is wrong and where tolerances are narrow for correct
// engines; verbose, each engine's largest distance from the reference, over all cases.
func (r *Report) writeQuorums(b *report.Writer, verbose bool) {
	worst := [CheckpointCount][]diagnose.Spread{} // of each engine
	for _, q := range r.Quorums {
		for _, line := range q.Lines() {
			b.Printf("\n%s: %s\n", q.Case, line)
		}
		for _, w := range q.Spread {
			list := &worst[w.Checkpoint]
			i := slices.IndexFunc(*list, func(have diagnose.Spread) bool { return have.Engine == w.Engine })
			if i < 0 {
				*list = append(*list, w)
			} else if w.Share > (*list)[i].Share || math.IsNaN(float64(w.Share)) {
				(*list)[i] = w
			}
		}
	}
	if !verbose || len(r.Quorums) == 0 {
		return
	}
	b.Printf("\ndistance of each engine from %s, as a fraction of the tolerance\n", diagnose.Reference)
	t := report.NewTable("checkpoint", "engine", ">distance", "at")
	for n := 1; n < CheckpointCount; n++ {
		for _, w := range worst[n] {
			t.Row(fmt.Sprintf("%2d %s", n, Info(n).Title), w.Engine,
				fmt.Sprintf("%.2g%%", 100*float64(w.Share)), w.Place.String())
		}
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

// thousands returns 2000 as "2,000".
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
