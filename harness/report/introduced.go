package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/internal/words"
)

// introduced has the introduced stages of one family that have the same causes.
type introduced struct {
	places  []harness.Place
	missing []string          // of the first place: the stages that were judged together with it
	why     string            // they are accepted
	worst   *harness.Replayed // with the largest error as a fraction of its rounding bound
}

// groupIntroduced groups the introduced stages, in order of first sight.
func (p *printer) groupIntroduced() []*introduced {
	var groups []*introduced
	for _, in := range p.Introduced {
		at := harness.Place{Step: in.Step, Stage: in.Stage}
		missing := slices.DeleteFunc(slices.Clone(in.Span), func(s string) bool { return s == in.Stage })
		i := slices.IndexFunc(groups, func(g *introduced) bool {
			first := g.places[0]
			return g.why == in.Accepted && sameFamily(first.Stage, in.Stage) && slices.EqualFunc(g.missing, missing, sameFamily) &&
				slices.EqualFunc(p.causes(first), p.causes(at), sameFault)
		})
		if i < 0 {
			i = len(groups)
			groups = append(groups, &introduced{missing: missing, why: in.Accepted})
		}
		g := groups[i]
		g.places = append(g.places, at)
		if row := p.replays[at]; row != nil && (g.worst == nil || row.Share() > g.worst.Share()) {
			g.worst = row
		}
	}
	return groups
}

// causes returns the explanations of a place.
func (p *printer) causes(at harness.Place) []harness.Explanation {
	var causes []harness.Explanation
	for _, e := range p.Explanations {
		if e.Step == at.Step && e.Stage == at.Stage {
			causes = append(causes, e)
		}
	}
	return causes
}

// sameFamily reports whether two stages differ in their numbers alone.
func sameFamily(a, b string) bool { return names.Family(a) == names.Family(b) }

// sameFault reports whether two explanations are of one fault in one family.
func sameFault(a, b harness.Explanation) bool {
	return a.Fault == b.Fault && slices.EqualFunc(a.At, b.At, sameFamily)
}

// writeIntroducedHeadline writes the first introduced stage and its cause.
func (p *printer) writeIntroducedHeadline() {
	first := p.wrong[0]
	what := "%s computes stage %s wrong at step %d"
	if p.IsOtherPoint(harness.Place{Step: first.Step, Stage: first.Stage}) {
		what = "%s does not use stage %s as it dumps it, at step %d"
	}
	p.Printf(what, p.Candidate, p.Bold(first.Stage), first.Step)
	stages, steps := map[string]bool{}, map[int]bool{}
	for _, in := range p.wrong {
		stages[in.Stage], steps[in.Step] = true, true
	}
	switch {
	case len(stages) > 1 && len(steps) == 1:
		p.Printf(" (the first of %d stages)", len(stages))
	case len(stages) > 1:
		p.Printf(" (the first of %d stages at %d steps)", len(stages), len(steps))
	case len(steps) > 1:
		p.Printf(" (the first of %d steps)", len(steps))
	}
	if causes := p.causes(harness.Place{Step: first.Step, Stage: first.Stage}); len(causes) > 0 {
		if at, known := p.knownLater(first, causes[0]); known.Fault != "" {
			p.Printf("; at %s%s", at, because(known.Text))
		} else {
			p.Printf("%s", because(causes[0].Text))
		}
	}
	p.Printf("\n")
}

// knownLater returns the cause of a later place of the same family where that of the first is not
// known: it says more than that nothing explains the first.
func (p *printer) knownLater(first harness.Introduced, cause harness.Explanation) (at harness.Place, known harness.Explanation) {
	if cause.Fault != "" && cause.Explains > 0 {
		return at, known
	}
	for _, in := range p.wrong {
		at = harness.Place{Step: in.Step, Stage: in.Stage}
		if causes := p.causes(at); sameFamily(in.Stage, first.Stage) && len(causes) > 0 && causes[0].Fault != "" && causes[0].Explains > 0.9 {
			return at, causes[0]
		}
	}
	return at, known
}

// WriteIntroduced writes the stages whose own computation is wrong, and why.
func WriteIntroduced(w *Writer, r *harness.Report) { newPrinter(w, r, Options{}).writeIntroduced() }

// writeIntroduced writes the stages whose own computation is wrong.
func (p *printer) writeIntroduced() {
	if len(p.Introduced) == 0 {
		return
	}
	all := p.findings()
	heading, mixed := "stages whose own computation is wrong", false
	for _, f := range all {
		mixed = mixed || f.OtherPoint != all[0].OtherPoint
	}
	if all[0].OtherPoint && !mixed {
		heading = "stages that are not used as they are dumped"
	}
	p.Printf("\n%s\n", p.Bold(heading))
	for _, f := range all {
		where := f.Extent
		if f.OtherPoint && mixed {
			where += ", " + Wrongly(true)
		}
		if f.Accepted == "" {
			p.Printf("  %s: %s\n", p.Red(f.Name), where)
		} else {
			p.Printf("  %s: %s, accepted: %s\n", p.Yellow(f.Name), where, f.Accepted)
		}
		if f.Together != "" {
			p.Printf("    %s\n", f.Together)
		}
		for _, c := range f.Causes {
			p.Printf("    %s%s\n", p.Bold(c.Fault), strings.TrimPrefix(c.Text, c.Fault))
		}
		if f.Distance != "" {
			p.Printf("    %s\n", f.Distance)
		}
	}
}

// because returns the text of a cause as the end of a sentence.
func because(text string) string {
	if strings.HasPrefix(text, "in ") || strings.HasPrefix(text, "somewhere ") {
		return ", " + text
	}
	return ": " + text
}

// Explained returns an explanation as a sentence: its fault, how much of the error
// that explains, and its text.
func Explained(e harness.Explanation) string {
	text := e.Fault
	switch {
	case e.Fault == "":
		return e.Text
	case e.Explains >= 0.9995:
		text += " (explains all of the error)"
	case e.Explains > 0:
		text += fmt.Sprintf(" (explains %.1f%% of the error)", 100*float64(e.Explains))
	}
	return text + because(e.Text)
}

// causeText returns the text of the i-th explanation of places, with * for the
// number of the layer or, if they differ in more, that of the first place.
func (p *printer) causeText(places []harness.Place, i int) string {
	first := p.causes(places[0])[i].Text
	if nameOf(places) == places[0].Stage {
		return first
	}
	common := withoutLayer(first, places[0].Stage)
	for _, at := range places {
		if withoutLayer(p.causes(at)[i].Text, at.Stage) != common {
			return fmt.Sprintf("at %s: %s", places[0], first)
		}
	}
	return common
}

// withoutLayer returns text with * for the stage's own layer in names of stages.
func withoutLayer(text, stage string) string {
	layer := names.Layer(stage)
	return strings.ReplaceAll(text, layer, names.Family(layer))
}

// span returns the stages that were judged together, and which of them to dump next.
func (p *printer) span(g *introduced) string {
	lacks := "which the dump lacks"
	for _, stage := range g.missing {
		row := p.rows[harness.Place{Step: g.places[0].Step, Stage: stage}]
		if row != nil && row.Status == harness.WrongShape {
			lacks = "which the dump lacks or has in another shape"
		}
	}
	missing := g.missing
	if nameOf(g.places) != g.places[0].Stage {
		missing = slices.Clone(missing)
		for i := range missing {
			missing[i] = names.Family(missing[i])
		}
	}
	s := fmt.Sprintf("judged together with %s, %s", shortened(missing), lacks)
	if causes := p.causes(g.places[0]); len(causes) == 1 && causes[0].Fault != "" && len(causes[0].At) > 0 {
		return s
	}
	next := "it"
	if n := len(missing); n > 1 {
		// Few stages are read past these two, so what lies between is judged by itself.
		next = words.And([]string{missing[min(2*n/3, n-2)], missing[n-1]})
	}
	return fmt.Sprintf("%s: dump %s next to tell them apart", s, next)
}

// shortened lists stages; a name that begins as the one before, with three words or
// more, is cut to its last word.
func shortened(stages []string) string {
	list, before := slices.Clone(stages), ""
	for i, stage := range stages {
		dot := strings.LastIndexByte(stage, '.') + 1
		if strings.Count(before, ".") > 2 && stage[:dot] == before {
			list[i] = stage[dot:]
		}
		before = stage[:dot]
	}
	return words.And(list)
}

// writeReplayed writes, below the verdict, what the replay adds to it.
func (p *printer) writeReplayed() {
	if p.Replayed == nil {
		return
	}
	inherited, ownCheck := 0, 0
	for i := range p.Stages {
		switch row := &p.Stages[i]; {
		case row.Accepted != "":
		case row.Origin == harness.OriginInherited:
			inherited++
		case row.FailsOwnCheck():
			ownCheck++
		}
	}
	n := verdicts(p.Replayed)
	judged := words.Count(n[harness.ReplayClean]+n[harness.ReplayIntroduced], "stage")
	text, none := "", "replayed on its own inputs, none of "+judged+" is wrong"
	if n := len(p.Introduced) - len(p.wrong); n > 0 {
		none += fmt.Sprintf(" but for %d that are accepted", n)
	}
	switch {
	case len(p.wrong) > 0 && p.bad == 0 && p.Unseen.Accepted > 0:
		text = fmt.Sprintf("%d of %s within tolerance of %s%s",
			p.within(), words.Count(p.Compared, "tensor"), p.Golden, p.unseen())
	case len(p.wrong) > 0 && p.bad == 0:
		all, below := "every tensor", ", so the fault is below the tolerance"
		compared := func(in harness.Introduced) bool {
			row := p.rows[harness.Place{Step: in.Step, Stage: in.Stage}]
			return row != nil && row.Status == harness.Pass
		}
		switch {
		case !slices.ContainsFunc(p.wrong, compared):
			all, below = "what was compared", ", and what is wrong was compared with nothing"
		case p.Rows > 0:
			all, below = "what was compared", ""
		}
		text = fmt.Sprintf("%s is within tolerance of %s%s%s", all, p.Golden, below, p.unseen())
	case len(p.wrong) > 0:
		text = fmt.Sprintf("%d of %s outside tolerance of %s%s",
			p.bad, words.Count(p.Compared, "tensor"), p.Golden, p.unseen())
		if inherited > 0 {
			text += fmt.Sprintf("; %d of those outside are correct for their inputs", inherited)
		}
		if p.GoldenReplayed != nil {
			text += "; the two differ before that: " + p.blameGolden()
		}
	case len(p.Introduced) > 0 && p.bad == 0:
		text = fmt.Sprintf("replayed on its own inputs, each of %s is correct but for %d that are accepted",
			judged, len(p.Introduced))
	case p.bad == 0:
		text = "replayed on its own inputs, each of " + judged + " is correct"
	case n[harness.ReplayUnknown] > 0:
		text = none + ": the fault is in one that could not be judged"
	case ownCheck == p.bad:
		text = none + " beyond rounding; the stage's own check is stricter"
	default:
		text = none + ": " + p.blameGolden()
	}
	p.Printf("      %s\n", text)
}

// verdicts counts rows by their verdict.
func verdicts(rows []harness.Replayed) map[string]int {
	n := map[string]int{}
	for i := range rows {
		n[rows[i].Verdict]++
	}
	return n
}

// blameGolden returns why stages correct for their inputs are outside tolerance. A wrong
// shape is never taken for rounding.
func (p *printer) blameGolden() string {
	n := verdicts(p.GoldenReplayed)
	wrong, judged := n[harness.ReplayIntroduced], n[harness.ReplayClean]+n[harness.ReplayIntroduced]
	for i := range p.GoldenReplayed {
		if row := &p.GoldenReplayed[i]; row.Verdict == harness.ReplayIntroduced {
			return fmt.Sprintf("the golden is wrong in %d of %s, first at %s: it is of another model, or faulty",
				wrong, words.Count(judged, "stage"), row.Place)
		}
	}
	shapes := words.Count(p.shapes, "tensor") + " of another shape than the golden's"
	if p.shapes > 0 && p.shapes == p.bad {
		return shapes + ", which is no rounding: dump what the golden has"
	}
	text := "either rounding adds up to this, or the golden is of another model"
	if judged > 0 {
		what := "rounding"
		if p.loosened() {
			what += ", or what rules of --bounds allow"
		}
		text = fmt.Sprintf("none of the golden's %d is wrong either, so this is %s, which the model amplifies beyond tolerance",
			judged, what)
	}
	if p.shapes > 0 {
		text += ", but for " + shapes
	}
	return text
}

// loosened reports whether a rule of Bounds gives a stage that was replayed its tolerance.
func (p *printer) loosened() bool {
	return slices.ContainsFunc(p.Replayed, func(row harness.Replayed) bool {
		_, ok := p.Bounds.Tolerance(row.Place, row.IDs)
		return ok
	})
}

// noGrowth is the amplification from which on three digits show more than 1.
const noGrowth = 1.005

// writeAmplification writes where inherited errors grow most.
func (p *printer) writeAmplification() {
	var most *harness.Replayed
	for i := range p.Stages {
		if p.Stages[i].Origin != harness.OriginInherited {
			continue
		}
		row := p.replays[p.Stages[i].Place]
		if row.Amplification >= noGrowth && (most == nil || row.Amplification > most.Amplification) {
			most = row
		}
	}
	if most != nil {
		p.Printf("\nerrors inherited from the inputs grow most at %s: %s times, relative to each tensor's largest value\n",
			most.Place, num(most.Amplification))
	}
}

// distance returns how far an introduced stage is from the replayed value.
func distance(r *harness.Replayed) string {
	if r.Status == harness.WrongShape || r.Worst == nil {
		return r.Why
	}
	at := fmt.Sprintf("at step %d, %s, index %v: got %s, want %s for these inputs",
		r.Step, r.Stage, r.Worst.Index, exact(r.Worst.Got), exact(r.Worst.Want))
	values := words.Count(r.Elements, "value")
	switch share := r.Share(); {
	case r.Status == harness.Nonfinite:
		return "NaN or infinite where a finite value belongs, or the reverse, " + at
	case math.IsInf(share, 1):
		return fmt.Sprintf("%d of %s wrong, worst %s", r.Mismatched, values, at)
	default:
		return fmt.Sprintf("%d of %s off by more than rounding, up to %s times the rounding bound, %s",
			r.Mismatched, values, num(share), at)
	}
}
