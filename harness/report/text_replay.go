package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/internal/words"
)

// wrong is introduced stages of one family with the same causes.
type wrong struct {
	family  string
	span    string   // the other stages it was judged as one with, as families
	lacking []string // the same as the first place has them
	causes  []harness.Explanation
	rows    []*harness.Replayed
	places  []harness.Place
}

// wrongs groups the introduced stages, in order of first sight.
func (r page) wrongs() []*wrong {
	causes := map[harness.Place][]harness.Explanation{}
	for _, e := range r.Explanations {
		p := harness.Place{Step: e.Step, Stage: e.Stage}
		causes[p] = append(causes[p], e)
	}
	rows := make(map[harness.Place]*harness.Replayed, len(r.Introduced))
	for i := range r.Replayed {
		if r.Replayed[i].Verdict == harness.ReplayIntroduced {
			rows[r.Replayed[i].Place] = &r.Replayed[i]
		}
	}
	var all []*wrong
	for _, in := range r.Introduced {
		p := harness.Place{Step: in.Step, Stage: in.Stage}
		name := names.Family(in.Stage)
		var span, lacking []string
		for _, s := range in.Span {
			if s != in.Stage {
				span, lacking = append(span, names.Family(s)), append(lacking, s)
			}
		}
		joined := strings.Join(span, ", ")
		i := slices.IndexFunc(all, func(w *wrong) bool {
			return w.family == name && w.span == joined && slices.EqualFunc(w.causes, causes[p], sameFault)
		})
		if i < 0 {
			i = len(all)
			all = append(all, &wrong{family: name, span: joined, lacking: lacking, causes: causes[p]})
		}
		w := all[i]
		w.places = append(w.places, p)
		if row := rows[p]; row != nil {
			w.rows = append(w.rows, row)
		}
	}
	return all
}

// sameFault says whether two explanations are of one fault in stages of one family.
func sameFault(a, b harness.Explanation) bool {
	return a.Fault == b.Fault && slices.EqualFunc(a.At, b.At, func(x, y string) bool { return names.Family(x) == names.Family(y) })
}

// explained says whether a known fault explains the row.
func (r page) explained(row harness.Row) bool {
	return slices.ContainsFunc(r.Explanations, func(e harness.Explanation) bool {
		return e.Step == row.Step && e.Stage == row.Stage && e.Fault != "" && e.Explains > 0
	})
}

// clean is the replay of a place, if that found nothing wrong; else nil.
func (r page) clean(at harness.Place) *harness.Replayed {
	i := slices.IndexFunc(r.Replayed, func(p harness.Replayed) bool { return p.Place == at })
	if i < 0 || r.Replayed[i].Verdict != harness.ReplayClean {
		return nil
	}
	return &r.Replayed[i]
}

// wrongHeadline names the first introduced stage and its cause.
func (r page) wrongHeadline(ink ink) string {
	all := r.wrongs()
	first := all[0]
	p := first.places[0]
	s := fmt.Sprintf("%s computes stage %s wrong at step %d", r.Candidate, ink.bold(p.Stage), p.Step)
	stages, steps := map[string]bool{}, map[int]bool{}
	for _, in := range r.Introduced {
		stages[in.Stage], steps[in.Step] = true, true
	}
	switch {
	case len(all) > 1:
		s += fmt.Sprintf(" (in all %s at %s, in %d groups)", words.Count(len(stages), "stage"), words.Count(len(steps), "step"), len(all))
	case len(r.Introduced) > 1:
		s += fmt.Sprintf(" (in all %s at %s)", words.Count(len(stages), "stage"), words.Count(len(steps), "step"))
	}
	if len(first.causes) > 0 {
		s += ": " + first.causes[0].Text
	}
	return s
}

// replayLine is what there is to say of a replay right after the verdict.
func (r page) replayLine() string {
	if r.Replayed == nil {
		return ""
	}
	n := map[string]int{}
	for i := range r.Replayed {
		n[r.Replayed[i].Verdict]++
	}
	unknown := ""
	if n[harness.ReplayUnknown] > 0 {
		unknown = fmt.Sprintf("; %s could not be judged", words.Count(n[harness.ReplayUnknown], "stage"))
	}
	bad, inherited, broken := 0, 0, 0
	for i := range r.Stages {
		if row := &r.Stages[i]; row.Status.Diverges() {
			bad++
			if row.FailsOwnCheck() {
				broken++
			}
			if row.Origin == harness.OriginInherited {
				inherited++
			}
		}
	}
	judged := n[harness.ReplayClean] + n[harness.ReplayIntroduced]
	switch {
	case len(r.Introduced) > 0 && bad == 0:
		return fmt.Sprintf("no tensor is outside the bound of %s: the mistake is smaller than that%s", r.Golden, unknown)
	case len(r.Introduced) > 0:
		right := ""
		if inherited > 0 {
			right = fmt.Sprintf(", %d of them right for what came in", inherited)
		}
		golden := ""
		if r.GoldenReplayed != nil {
			golden = "; they part before that: " + r.goldenLine()
		}
		return fmt.Sprintf("%d of %s outside the bound of %s%s%s%s", bad, words.Count(r.Compared, "tensor"), r.Golden, right, unknown, golden)
	case bad > 0 && n[harness.ReplayUnknown] > 0:
		return fmt.Sprintf("replayed on its own inputs, none of %s is wrong%s: the mistake is in one of these", words.Count(judged, "stage"), unknown)
	case bad > 0 && broken == bad:
		return fmt.Sprintf("replayed on its own inputs, none of %s is wrong by more than rounding; the stage's own check allows less", words.Count(judged, "stage"))
	case bad > 0:
		return fmt.Sprintf("replayed on its own inputs, none of %s is wrong: %s", words.Count(judged, "stage"), r.goldenLine())
	}
	return fmt.Sprintf("replayed on its own inputs, each of %s is right%s", words.Count(judged, "stage"), unknown)
}

// goldenLine says why a candidate that is right throughout is outside the bounds.
func (r page) goldenLine() string {
	var wrong []harness.Place
	judged := 0
	for i := range r.GoldenReplayed {
		switch p := &r.GoldenReplayed[i]; p.Verdict {
		case harness.ReplayIntroduced:
			wrong = append(wrong, p.Place)
			judged++
		case harness.ReplayClean:
			judged++
		}
	}
	switch {
	case len(wrong) > 0:
		return fmt.Sprintf("the golden is, in %s of %d, the first %s; it is of another model or not right", words.Count(len(wrong), "stage"), judged, wrong[0])
	case judged > 0:
		return fmt.Sprintf("nor is any of the golden's %d; this is rounding, which the model magnifies beyond the bounds", judged)
	}
	return "rounding adds up to this, or the golden is of another model"
}

// writeIntroduced lists the stages whose own computation is wrong, with cause
// and remedy.
func (r page) writeIntroduced(w io.Writer, ink ink) {
	if len(r.Introduced) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", ink.bold("stages whose own computation is wrong"))
	for _, g := range r.wrongs() {
		fmt.Fprintf(w, "  %s: %s\n", ink.red(g.name()), extent(g.places))
		if len(g.lacking) > 0 {
			fmt.Fprintf(w, "    judged as one with what the dump lacks: %s\n", g.lacks())
		}
		for _, e := range g.causes {
			fmt.Fprintf(w, "    %s%s\n", cause(e, ink), g.text(e))
		}
		if row := g.worst(); row != nil {
			fmt.Fprintf(w, "    %s\n", describe(row))
		}
	}
}

// cause is the id of an explanation and how much of the error it explains.
func cause(e harness.Explanation, ink ink) string {
	switch {
	case e.Fault == "":
		return ""
	case e.Explains == 0:
		return ink.bold(e.Fault) + ": "
	}
	return fmt.Sprintf("%s: explains %.1f%%: ", ink.bold(e.Fault), 100*float64(e.Explains))
}

// name is the group's stage or, of several, their family.
func (g *wrong) name() string {
	for _, p := range g.places {
		if p.Stage != g.places[0].Stage {
			return g.family
		}
	}
	return g.places[0].Stage
}

// text is what an explanation of the group's first place says, of all its layers.
func (g *wrong) text(e harness.Explanation) string {
	if g.name() != e.Stage {
		return names.Family(e.Text)
	}
	return e.Text
}

// lacks lists the stages it was judged as one with. A name that begins as the one
// before it is given by its last word.
func (g *wrong) lacks() string {
	var list []string
	before := ""
	for _, stage := range g.lacking {
		if g.name() == g.family {
			stage = names.Family(stage)
		}
		i := strings.LastIndexByte(stage, '.') + 1
		word := stage
		if i > 0 && stage[:i] == before {
			word = stage[i:]
		}
		list, before = append(list, word), stage[:i]
	}
	return strings.Join(list, ", ")
}

// worst is the row with the largest share of its bound.
func (g *wrong) worst() *harness.Replayed {
	var worst *harness.Replayed
	for _, row := range g.rows {
		if worst == nil || row.Share > worst.Share {
			worst = row
		}
	}
	return worst
}

// describe says how far an introduced stage is from what its inputs should give.
func describe(p *harness.Replayed) string {
	switch {
	case p.Status == harness.Shape:
		return p.Why
	case p.Worst == nil:
		return p.Why
	}
	at := fmt.Sprintf("at step %d, %s, index %v: got %s, for its inputs right is %s", p.Step, p.Stage, p.Worst.Index, exact(p.Worst.Got), exact(p.Worst.Want))
	switch share := float64(p.Share); {
	case p.Status == harness.Nonfinite:
		return "not finite, or finite where it should not be, " + at
	case math.IsInf(share, 1):
		return fmt.Sprintf("%d of %s not the same, worst %s", p.Mismatched, words.Count(p.Elements, "value"), at)
	default:
		return fmt.Sprintf("%d of %s off by more than rounding, up to %s times that, %s", p.Mismatched, words.Count(p.Elements, "value"), num(share), at)
	}
}

// extent says where places of one family are: layers, steps and how many.
func extent(places []harness.Place) string {
	var layers, steps []string
	for _, p := range places {
		if l := names.Numbers(p.Stage); l != "" && !slices.Contains(layers, l) {
			layers = append(layers, l)
		}
		if s := fmt.Sprint(p.Step); !slices.Contains(steps, s) {
			steps = append(steps, s)
		}
	}
	s := ranged("step", steps)
	if len(layers) > 1 {
		s = ranged("layer", layers) + ", " + s
	}
	if len(places) > 1 {
		s += fmt.Sprintf(" (%s)", words.Count(len(places), "tensor"))
	}
	return s
}

// ranged is "step 0", "steps 0 to 9", or how many of which range.
func ranged(what string, numbers []string) string {
	first, last := numbers[0], numbers[len(numbers)-1]
	var lo, hi int
	if _, err := fmt.Sscan(first, &lo); err == nil && len(numbers) > 1 {
		for _, n := range numbers {
			var v int
			fmt.Sscan(n, &v)
			lo, hi = min(lo, v), max(hi, v)
		}
		first, last = fmt.Sprint(lo), fmt.Sprint(hi)
	}
	switch {
	case len(numbers) == 1:
		return what + " " + first
	case len(numbers) == 2:
		return fmt.Sprintf("%ss %s and %s", what, first, last)
	case hi-lo+1 == len(numbers):
		return fmt.Sprintf("%ss %s to %s", what, first, last)
	}
	return fmt.Sprintf("%d %ss from %s to %s", len(numbers), what, first, last)
}

// writeGrowth says where what came in from elsewhere grows most.
func (r page) writeGrowth(w io.Writer) {
	inherited := map[harness.Place]bool{}
	for i := range r.Stages {
		if row := &r.Stages[i]; row.Origin == harness.OriginInherited {
			inherited[row.Place()] = true
		}
	}
	var most *harness.Replayed
	for i := range r.Replayed {
		p := &r.Replayed[i]
		if !inherited[p.Place] {
			continue
		}
		if !math.IsNaN(float64(p.Amplification)) && (most == nil || p.Amplification > most.Amplification) {
			most = p
		}
	}
	if most == nil {
		return
	}
	fmt.Fprintf(w, "\n%s inherited from what came in; grows most, by a factor of %s relative to each tensor's maximum, at %s\n",
		words.Count(len(inherited), "error"), num(float64(most.Amplification)), most.Place)
}

// writeUnknown lists what could not be judged, and why.
func (r page) writeUnknown(w io.Writer) {
	var groups []*wrong
	why := map[string]string{}
	for i := range r.Replayed {
		p := &r.Replayed[i]
		if p.Verdict != harness.ReplayUnknown {
			continue
		}
		name := names.Family(p.Stage)
		j := slices.IndexFunc(groups, func(g *wrong) bool { return g.family == name })
		if j < 0 {
			j = len(groups)
			groups = append(groups, &wrong{family: name})
			why[name] = p.Why
		}
		groups[j].places = append(groups[j].places, p.Place)
	}
	if len(groups) == 0 {
		return
	}
	fmt.Fprint(w, "\ncould not be judged:\n")
	for _, g := range groups {
		fmt.Fprintf(w, "  %-24s %s: %s\n", g.name(), extent(g.places), why[g.family])
	}
}
