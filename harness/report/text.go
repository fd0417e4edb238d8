// Package report writes a comparison as text for people.
package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/words"
)

// Options configures Write.
type Options struct {
	Style
	Verbose bool // with a row for every stage of every step

	// Causes, if set, returns the usual causes of a failure that shows at the first of
	// the stages and sits in one of them.
	Causes func(stages []string) []string

	// Closer says what looks closer at the first divergence, such as an Unbroken command.
	Closer Text

	// Label, if set, returns a short name of a stage for the head of a column, or "".
	Label func(stage string) string
}

// Write writes the report for a person: the verdict and its reason; the introduced
// stages with their causes; the first divergence; the error by layer and stage or, of
// a pass, by stage alone; then what was missing, skipped and could not be judged.
func Write(w io.Writer, report *harness.Report, o Options) error {
	p := newPrinter(NewWriter(w, o.Style), report, o)
	p.writeVerdict()
	WriteWeights(p.Writer, p.Report)
	p.writeIntroduced()
	if len(p.Stages) == 0 { // the weights as loaded are all there is
		return p.Flush()
	}
	mapped := false
	if p.Narrow == nil || p.Replayed != nil && p.bad > 0 {
		p.writeFirstDivergence()
		mapped = p.Verdict == harness.VerdictFail && p.writeMaps()
	}
	if mapped {
		p.writeAmplification()
	}
	switch {
	case o.Verbose:
		p.Printf("\n")
		p.Table(p.RowTable(p.Stages))
	case !mapped:
		p.Printf("\n")
		p.Table(p.stageTable())
	}
	p.writeAbsent()
	return p.Flush()
}

// A printer writes a report.
type printer struct {
	*Writer
	*harness.Report
	options Options

	bad     int                  // how many rows diverge and are not accepted
	shapes  int                  // how many of them are of a wrong shape
	wrong   []harness.Introduced // that are not accepted
	skipped *harness.Row         // the first
	rows    map[harness.Place]*harness.Row
	replays map[harness.Place]*harness.Replayed
}

func newPrinter(w *Writer, r *harness.Report, o Options) *printer {
	p := &printer{
		Writer: w, Report: r, options: o,
		rows:    map[harness.Place]*harness.Row{},
		replays: map[harness.Place]*harness.Replayed{},
	}
	for i := range p.Replayed {
		p.replays[p.Replayed[i].Place] = &p.Replayed[i]
	}
	for _, in := range p.Introduced {
		if in.Accepted == "" {
			p.wrong = append(p.wrong, in)
		}
	}
	for i := range p.Stages {
		row := &p.Stages[i]
		if p.rows[row.Place] == nil || !row.OfGolden() {
			p.rows[row.Place] = row
		}
		if own := p.replays[row.Place]; own != nil && row.Status == harness.Skipped && row.Detail == own.Why {
			continue // without a golden: it could not be judged
		}
		if row.Status.Diverges() && row.Accepted == "" {
			p.bad++
			if row.Status == harness.WrongShape {
				p.shapes++
			}
		}
		if row.Status == harness.Skipped && p.skipped == nil {
			p.skipped = row
		}
	}
	return p
}

// writeVerdict writes the verdict, its reason and what rules have done to it.
func (p *printer) writeVerdict() {
	p.writeHeadline()
	if p.OtherWeights && !p.Passed() {
		p.Printf("      the two were made from different weights, as their manifests say\n")
	}
	p.writeReplayed()
	WriteBounds(p.Writer, p.Bounds, p.Report)
}

// unseen returns how much the verdict is not about.
func (p *printer) unseen() string {
	var text string
	add := func(n int, count, what string) {
		if n > 0 {
			text += ", " + count + what
		}
	}
	u := p.Unseen
	add(u.Accepted, strconv.Itoa(u.Accepted), " accepted")
	add(u.Doubted, strconv.Itoa(u.Doubted), " in doubt")
	add(u.Shared, strconv.Itoa(u.Shared), " in the golden's own files")
	add(u.Rows, words.Count(u.Rows, "row")+" of the batch", " compared with nothing")
	add(u.Missing, strconv.Itoa(u.Missing), " missing")
	add(u.Unmatched, strconv.Itoa(u.Unmatched), " without a golden")
	add(u.Unjudged, words.Count(u.Unjudged, "stage"), " could not be judged")
	add(u.Unknown, words.Count(u.Unknown, "name"), " not understood")
	if add(u.Skipped, strconv.Itoa(u.Skipped), " skipped"); p.skipped != nil {
		if p.skipped.Detail != "" {
			text += fmt.Sprintf(" from step %d on: %s", p.skipped.Step, p.skipped.Detail)
		}
	}
	return text
}

// writeHeadline writes the verdict and its reason.
func (p *printer) writeHeadline() {
	compared, rest := words.Count(p.Compared, "tensor"), p.unseen()
	if p.Passed() {
		but := ""
		if p.Unseen.Accepted > 0 {
			but, compared = ", but for what is accepted", fmt.Sprintf("%d of %s", p.within(), compared)
		}
		p.Printf("%s  %s agrees with %s%s: %s within tolerance%s\n",
			p.Green("PASS"), p.Candidate, p.Golden, but, compared, rest)
		return
	}
	p.Printf("%s  ", p.Red("FAIL"))
	switch at, weight := p.FirstDivergence, p.WrongWeight(); {
	case p.Narrow != nil:
		p.writeNarrowHeadline()
	case weight != nil:
		p.writeWeightsHeadline(weight)
	case len(p.wrong) > 0:
		p.writeIntroducedHeadline()
	case at != nil:
		p.Printf("%s first differs from %s at step %d, stage %s: %d of %s outside tolerance%s\n",
			p.Candidate, p.Golden, at.Step, p.Bold(at.Stage), p.bad, compared, rest)
	case len(p.Unusable) > 0:
		first := p.Unusable[0]
		p.Printf("%s has %s of a wrong shape, first at step %d, stage %s: %s within tolerance%s\n",
			p.Candidate, words.Count(len(p.Unusable), "tensor"), first.Step, p.Bold(first.Stage), compared, rest)
	case len(p.Violations) > 0:
		first := p.Violations[0]
		p.Printf("%s contradicts itself at %d of %s checked, first at step %d, stage %s: %s; %s within tolerance%s\n",
			p.Candidate, len(p.Violations), words.Count(p.Checked, "place"),
			first.Step, p.Bold(first.Stage), first.Rule, compared, rest)
	case p.RequireAll && p.Compared > 0:
		p.Printf("%s leaves %s of %s uncompared: %s within tolerance%s\n",
			p.Candidate, words.Count(len(p.Stages)-p.Compared, "tensor"), p.Golden, compared, rest)
	default:
		p.Printf("nothing compared\n")
	}
}

// within counts the rows that are within tolerance and not accepted though wrong.
func (p *printer) within() (n int) {
	for i := range p.Stages {
		if p.Stages[i].Status == harness.Pass && p.Stages[i].Accepted == "" {
			n++
		}
	}
	return n
}

// WriteBounds writes what each rule of a file has done.
func WriteBounds(w *Writer, b *harness.Bounds, reports ...*harness.Report) {
	for _, line := range b.Lines(reports...) {
		w.Printf("      %s\n", line)
	}
	if accepted := func(r *harness.Report) bool { return r.Replayed == nil && r.Unseen.Accepted > 0 }; slices.ContainsFunc(reports, accepted) {
		w.Printf("      without --model it is not known which other stages only inherit from what is accepted\n")
	}
}

// writeNarrowHeadline writes that all values are of a narrower type than was asked for. Where
// nothing was judged in that type, how they differ otherwise says little.
func (p *printer) writeNarrowHeadline() {
	p.Printf("%s computes in %s; %s was asked for", p.Candidate, p.Bold(p.Narrow.Type), p.Narrow.Asked)
	if p.Narrow.DType != "" {
		p.Printf(": judge it with --dtype %s", p.Narrow.DType)
	}
	p.Printf("\n")
	if p.bad > 0 {
		p.Printf("      %d of %s outside tolerance%s\n", p.bad, words.Count(p.Compared, "tensor"), p.unseen())
	}
	if p.options.Closer != "" {
		p.Printf("    %s\n", p.options.Closer)
	}
}

// writeFirstDivergence writes all about the first row that diverges.
func (p *printer) writeFirstDivergence() {
	if p.FirstDivergence == nil {
		return
	}
	r := p.rows[*p.FirstDivergence]
	head := fmt.Sprintf("step %d, stage %s, shape %v", r.Step, r.Stage, r.Shape)
	if r.Checkpoint > 0 {
		head = fmt.Sprintf("checkpoint %d: %s", r.Checkpoint, head)
	}
	p.Printf("\n%s\n", p.Bold(head))
	line := func(name, format string, args ...any) {
		p.Printf("  %-31s"+format+"\n", append([]any{name + ":"}, args...)...)
	}
	if r.Status == harness.WrongShape {
		line("shape", "got %v, want %v", r.GotShape, r.Shape)
	} else {
		if p.Cut != "" && r.Position != nil {
			line("first position that is wrong", "%d", *r.Position)
		}
		line("mismatched elements", "%d / %d (%.1f%%)",
			r.Mismatched, r.Elements, 100*float64(r.Mismatched)/float64(r.Elements))
		worst := fmt.Sprintf("at index %v: got %s, want %s", r.Worst.Index, exact(r.Worst.Got), exact(r.Worst.Want))
		if r.IDs {
			line("an id that differs", "%s", worst)
		} else {
			line("greatest absolute difference", "%s %s", num(r.MaxAbs), worst)
		}
		if !math.IsNaN(r.Scale) && !r.IDs {
			line("greatest relative difference", "%s of max|want| %s", num(r.MaxRel), num(r.Scale))
		}
		line("tolerance", "%s", r.Allowed())
		if !math.IsNaN(float64(r.Cosine)) && !r.IDs {
			line("rms, cosine", "%s, %.9f", num(r.RMS), float64(r.Cosine))
		}
	}
	if r.Tolerance.Reason != "" {
		line("reason for the tolerance", "%s", r.Tolerance.Reason)
	}
	if r.Detail != "" {
		line("the stage's own check", "%s", r.Detail)
	}
	replay := p.replays[r.Place]
	clean := replay != nil && replay.Verdict == harness.ReplayClean
	known := func(e harness.Explanation) bool { return e.Fault != "" }
	switch {
	case clean && r.FailsOwnCheck():
		line("replayed on its inputs", "correct within float32 rounding; the stage's own check is stricter")
	case clean:
		line("replayed on its inputs", "correct: the error came in with them, or is the golden's")
	case p.options.Causes == nil || p.OtherWeights || slices.ContainsFunc(p.causes(r.Place), known):
	case replay != nil && len(replay.Span) > 1: // the usual causes of one stage say little
	default:
		p.writeCauses(r)
	}
	if p.options.Closer != "" && !p.OtherWeights && p.Narrow == nil {
		line("look closer", "%s", p.options.Closer)
	}
}

// writeCauses writes the usual causes of an error at the row's stage, or at one that is
// missing just before it.
func (p *printer) writeCauses(r *harness.Row) {
	name, stages := "usual causes:", []string{r.Stage}
	own := slices.IndexFunc(p.Stages, func(row harness.Row) bool { return row.Place == r.Place })
	for i := own - 1; i >= 0 && p.Stages[i].Status == harness.Missing; i-- {
		stages = append(stages, p.Stages[i].Stage)
	}
	for _, cause := range p.options.Causes(stages) {
		p.Printf("  %-31s%s\n", name, cause)
		name = ""
	}
}

// num returns a measure to three digits.
func num[F ~float64](v F) string {
	if math.IsNaN(float64(v)) {
		return "NaN"
	}
	return fmt.Sprintf("%.3g", float64(v))
}

// exact returns a float32 or an id to all its digits.
func exact(v harness.Float) string { return fmt.Sprintf("%.9g", float64(v)) }
