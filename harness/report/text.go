package report

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/internal/words"
)

// page is a report as it is written.
type page struct{ *harness.Report }

// Options says how Write writes.
type Options struct {
	Color   bool // with colours, for a terminal
	Verbose bool // with a row for every stage of every step

	// Causes, if set, names the usual causes of a failure at a stage.
	Causes func(stage string) []string

	// Closer, if set, is the command that looks closer at a place.
	Closer func(step int, stage string) string

	// Label, if set, is a short name of a stage for the head of a column; the
	// last part of its name stands in for "".
	Label func(stage string) string
}

// Write writes the report for a person: the verdict and its reason; the
// stages whose own computation is wrong, with cause and remedy; the first
// divergence with all that is needed to act on it; the error by layer and stage
// or, of a pass, by stage alone; then what was missing, skipped, left out and
// could not be judged.
func Write(w io.Writer, report *harness.Report, o Options) error {
	r := page{report}
	b := bufio.NewWriter(w)
	ink := ink(o.Color)
	fmt.Fprintln(b, r.headline(ink))
	if line := r.replayLine(); line != "" {
		fmt.Fprintln(b, "      "+line)
	}
	r.writeIntroduced(b, ink)
	if r.FirstDivergence != nil {
		fmt.Fprintln(b)
		first := r.Row(*r.FirstDivergence)
		if r.explained(*first) || r.clean(first.Place()) != nil {
			o.Causes = nil // the cause is known, or not here: the usual ones would mislead
		}
		writeRow(b, first, ink, o, r.clean(first.Place()))
	}
	mapped := false
	if r.FirstDivergence != nil || len(r.Introduced) > 0 {
		mapped = r.writeMaps(b, ink, o)
		r.writeGrowth(b)
	}
	switch {
	case o.Verbose:
		fmt.Fprintf(b, "\n%s\n", rowTable(r.Stages, ink))
	case !mapped:
		fmt.Fprintf(b, "\n%s\n", stageTable(r.Stages, ink))
	}
	r.writeAbsent(b)
	r.writeUnknown(b)
	return b.Flush()
}

// headline is the verdict and its reason, on one line.
func (r page) headline(ink ink) string {
	n := map[harness.Status]int{}
	for i := range r.Stages {
		n[r.Stages[i].Status]++
	}
	bad := n[harness.Fail] + n[harness.Shape] + n[harness.Nonfinite]
	rest := ""
	if n[harness.Missing] > 0 {
		rest += fmt.Sprintf(", %d missing", n[harness.Missing])
	}
	if n[harness.Skipped] > 0 {
		rest += fmt.Sprintf(", %d skipped", n[harness.Skipped])
		i := slices.IndexFunc(r.Stages, func(row harness.Row) bool { return row.Status == harness.Skipped })
		if row := r.Stages[i]; row.Detail != "" {
			rest += fmt.Sprintf(" from step %d on: %s", row.Step, row.Detail)
		}
	}
	switch {
	case r.Passed():
		return fmt.Sprintf("%s  %s agrees with %s: %s within the bound%s",
			ink.green("PASS"), r.Candidate, r.Golden, words.Count(r.Compared, "tensor"), rest)
	case len(r.Introduced) > 0:
		return fmt.Sprintf("%s  %s", ink.red("FAIL"), r.wrongHeadline(ink))
	case r.FirstDivergence != nil:
		p := *r.FirstDivergence
		return fmt.Sprintf("%s  %s first leaves %s at step %d, stage %s: %d of %s outside the bound%s",
			ink.red("FAIL"), r.Candidate, r.Golden, p.Step, ink.bold(p.Stage), bad, words.Count(r.Compared, "tensor"), rest)
	case n[harness.Missing] > 0:
		return fmt.Sprintf("%s  %s lacks %s that %s has", ink.red("FAIL"), r.Candidate, words.Count(n[harness.Missing], "tensor"), r.Golden)
	}
	return fmt.Sprintf("%s  nothing compared", ink.red("FAIL"))
}

// writeRow writes what an engineer needs to know of a row that diverges. clean is its
// replay, if that found nothing wrong.
func writeRow(w io.Writer, r *harness.Row, ink ink, o Options, clean *harness.Replayed) {
	head := fmt.Sprintf("step %d, stage %s, shape %v", r.Step, r.Stage, r.Shape)
	if r.Checkpoint > 0 {
		head = fmt.Sprintf("checkpoint %d: %s", r.Checkpoint, head)
	}
	fmt.Fprintln(w, ink.bold(head))
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-31s%s\n", name+":", fmt.Sprintf(format, args...))
	}
	if r.Status == harness.Shape {
		line("shape", "got %v, want %v", r.GotShape, r.Shape)
	} else {
		line("mismatched elements", "%d / %d (%.1f%%)", r.Mismatched, r.Elements, 100*float64(r.Mismatched)/float64(r.Elements))
		line("greatest absolute difference", "%s at index %v: got %s, want %s",
			num(float64(r.MaxAbs)), r.Worst.Index, exact(r.Worst.Got), exact(r.Worst.Want))
		if !math.IsNaN(r.Scale) {
			line("greatest relative difference", "%s of max|want| %s", num(float64(r.MaxRel)), num(r.Scale))
		}
		line("allowed", "%s", r.Allowed())
		if !math.IsNaN(float64(r.Cosine)) {
			line("rms, cosine", "%s, %.9f", num(float64(r.RMS)), float64(r.Cosine))
		}
	}
	if r.Tolerance.Reason != "" {
		line("reason of the bound", "%s", r.Tolerance.Reason)
	}
	if r.Detail != "" {
		line("the stage's own check", "%s", r.Detail)
	}
	switch {
	case clean == nil:
	case r.FailsOwnCheck():
		line("replayed on its inputs", "right to within what float32 may round here, of which the check allows less")
	default:
		line("replayed on its inputs", "right: what is off came in with them, or is the golden's")
	}
	if o.Causes != nil {
		for i, cause := range o.Causes(r.Stage) {
			name := ""
			if i == 0 {
				name = "usual causes:"
			}
			fmt.Fprintf(w, "  %-31s%s\n", name, cause)
		}
	}
	if o.Closer != nil {
		if cmd := o.Closer(r.Step, r.Stage); cmd != "" {
			line("look closer", "%s", cmd)
		}
	}
}

// writeAbsent says what was not compared, and why.
func (r page) writeAbsent(w io.Writer) {
	var skipped []harness.Place
	why := ""
	for i := range r.Stages {
		if r.Stages[i].Status == harness.Skipped {
			skipped, why = append(skipped, r.Stages[i].Place()), r.Stages[i].Detail
		}
	}
	if len(skipped) > 0 {
		fmt.Fprintf(w, "\nskipped from step %d on, %s: %s\n", skipped[0].Step, words.Count(len(skipped), "tensor"), why)
		if r.Replayed != nil {
			fmt.Fprintln(w, "  the golden says nothing of these steps; they were replayed all the same")
		}
	}
	if len(r.Missing) > 0 {
		fmt.Fprintf(w, "\nmissing in %s:\n", r.Candidate)
		for _, g := range groupPlaces(r.Missing) {
			fmt.Fprintf(w, "  %-24s %s\n", g.name, g.where())
		}
	}
	if len(r.LeftOut) > 0 {
		fmt.Fprintf(w, "\nleft out of %s:\n", r.Golden)
		for _, l := range r.LeftOut {
			fmt.Fprintf(w, "  %-24s steps %s: %s\n", l.Stages, l.Steps, l.Reason)
		}
	}
}

// placeGroup is places whose stages differ only in a number.
type placeGroup struct {
	name   string
	places []harness.Place
}

func (g placeGroup) where() string {
	if len(g.places) == 1 {
		return fmt.Sprintf("step %d", g.places[0].Step)
	}
	lo, hi := g.places[0].Step, g.places[0].Step
	for _, p := range g.places {
		lo, hi = min(lo, p.Step), max(hi, p.Step)
	}
	if lo == hi {
		return fmt.Sprintf("%d at step %d", len(g.places), lo)
	}
	return fmt.Sprintf("%d at steps %d to %d", len(g.places), lo, hi)
}

// groupPlaces groups places by their stage's family, in order of first sight.
func groupPlaces(places []harness.Place) []placeGroup {
	var groups []placeGroup
	for _, p := range places {
		name := names.Family(p.Stage)
		i := slices.IndexFunc(groups, func(g placeGroup) bool { return g.name == name })
		if i < 0 {
			i = len(groups)
			groups = append(groups, placeGroup{name: name})
		}
		groups[i].places = append(groups[i].places, p)
	}
	return groups
}

// num is a measure to three digits.
func num(v float64) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case v == 0:
		return "0"
	}
	return fmt.Sprintf("%.3g", v)
}

// exact is a float32 or an id to all its digits.
func exact(v harness.Float) string { return fmt.Sprintf("%.9g", float64(v)) }

// ink colours text, or does not.
type ink bool

func (on ink) paint(code, s string) string {
	if !on {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (on ink) bold(s string) string   { return on.paint("1", s) }
func (on ink) red(s string) string    { return on.paint("1;31", s) }
func (on ink) green(s string) string  { return on.paint("1;32", s) }
func (on ink) yellow(s string) string { return on.paint("33", s) }
func (on ink) warm(s string) string   { return on.paint("31", s) }
func (on ink) alarm(s string) string  { return on.paint("1;37;41", s) }
