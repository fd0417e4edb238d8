package faults

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/fit"
	"checkpoint12/model"
)

const (
	// mostTwins is how many causes are told beside another that gives the same.
	mostTwins = 2

	// moreNumbers is how many more numbers may be read off for a twin: what has more fits whatever
	// the plainer one does.
	moreNumbers = 1

	// moreElsewhere is how many more if it sits in another stage than all that are told: which it is, the
	// dump does not tell.
	moreElsewhere = 2

	// alikeLeft is how many times as much as a cause a twin may leave, if it is more than rounding.
	alikeLeft = 2

	// sameValues is the relative size of the difference between values up to which two causes are
	// one in other words.
	sameValues = 1e-3
)

// WithTwins returns the cause with others that give the same, all of which its Text tells.
func (c Cause) WithTwins(twins []Cause) Cause {
	c.alone = cmp.Or(c.alone, c.Text)
	c.Twins, c.Text = twins, c.alone
	for i, t := range twins {
		or := "; or, which gives the same, "
		if i > 0 {
			or = "; or "
		}
		c.Text += or + cmp.Or(t.alone, t.Text)
	}
	return c
}

// Repeats reports whether two causes are one, of this row and of another.
func (c Cause) Repeats(o Cause) bool {
	return c.Fault == o.Fault && c.made.fault.relation == o.made.fault.relation && slices.Equal(c.At, o.At)
}

// A contender is a fault of the catalogue or a hypothesis that holds of rows.
type contender struct {
	fault      string // its id, of the catalogue; else "" and
	hypothesis int    // its index
}

// of returns the contender's cause in an answer; nil if it does not hold there.
func (k contender) of(x *answer) *Cause {
	list := x.causes
	if k.fault == "" {
		list = x.fits[k.hypothesis]
	} else if !x.known {
		return nil
	}
	i := slices.IndexFunc(list, func(c Cause) bool { return k.fault == "" || c.Fault == k.fault })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// contenders returns those of an answer, the catalogue's first.
func (x *answer) contenders() (known, fits []contender) {
	for _, c := range x.causes {
		if x.known {
			known = append(known, contender{fault: c.Fault})
		}
	}
	for h := range x.fits {
		fits = append(fits, contender{hypothesis: h})
	}
	return known, fits
}

// choosing chooses among the contenders of a group's rows.
type choosing struct {
	*rowGroup
	answers map[int]*answer
	holds   map[contender][]int // rows
	same    map[[2]contender]bool
	refutes map[refutation]bool
}

// choosing returns what there is to choose from.
func (g *rowGroup) choosing(answers map[int]*answer) *choosing {
	s := &choosing{g, answers, map[contender][]int{}, map[[2]contender]bool{}, map[refutation]bool{}}
	for _, i := range g.rows {
		if x := answers[i]; x != nil {
			known, fits := x.contenders()
			for _, k := range slices.Concat(known, fits) {
				s.holds[k] = append(s.holds[k], i)
			}
		}
	}
	return s
}

// causes returns the causes of a row by its answer: of faults of the catalogue and hypotheses that
// hold of it what holds of most rows, the catalogue's first and then that with the fewest numbers.
// Others that hold of the same rows are its twins.
func (s *choosing) causes(x *answer) []Cause {
	known, fits := x.contenders()
	contradicted := func(k contender) bool { return s.isContradicted(*k.of(x)) }
	known, fits = without(known, contradicted), without(without(fits, s.isUnproven), contradicted)
	if len(known)+len(fits) == 0 {
		if len(x.causes) == 0 || x.known {
			if e, err := s.wrongRow(x.row); err == nil {
				return s.unknown(e)
			}
		}
		return x.causes
	}
	forgotten := func(k contender) bool { return s.isForgotten(k, x) }
	if k, f := without(known, forgotten), without(fits, forgotten); len(k)+len(f) > 0 {
		known, fits = k, f
	}
	later := func(k contender) int { // a rule of all steps goes before what may begin at any
		if len(known) == 0 && s.hypotheses[k.hypothesis].event {
			return 1
		}
		return 0
	}
	slices.SortFunc(fits, func(a, b contender) int {
		return cmp.Or(len(s.holds[b])-len(s.holds[a]), s.hypotheses[a.hypothesis].numbers-s.hypotheses[b.hypothesis].numbers, later(a)-later(b), a.hypothesis-b.hypothesis)
	})
	if len(known) == 0 || len(fits) > 0 && len(s.holds[known[0]]) < len(s.holds[fits[0]]) {
		known, fits = fits[:1], fits[1:]
	}
	known = s.unrefuted(known)
	if len(known)+len(fits) > 1 {
		most := 0 // rows that one which is not refuted holds of
		refuted := func(k contender) bool {
			is := s.isRefuted(k, *k.of(x))
			if !is {
				most = max(most, len(s.holds[k]))
			}
			return is
		}
		k, f := without(known, refuted), without(fits, refuted)
		switch {
		case most < len(s.holds[known[0]]): // then something is done from a step on
		case len(k) > 0:
			known, fits = k, f
		default:
			known, fits = f[:1], f[1:]
		}
	}
	if i := slices.IndexFunc(fits, func(k contender) bool { return s.isPlainer(k, known) }); i >= 0 {
		known, fits = fits[i:i+1:i+1], append(slices.Concat(known, fits[:i]), fits[i+1:]...)
	}
	var causes, twins []Cause
	for i, k := range known {
		c := *k.of(x)
		var others []string
		for j, o := range known {
			if j != i {
				others = append(others, o.fault)
			}
		}
		c.Text += c.factor.also(s.model.Config(), s.layers(k))
		if len(others) > 0 {
			c.Text += fmt.Sprintf(" (which cannot be told from %s here)", strings.Join(others, ", "))
		}
		causes = append(causes, c)
	}
	told := slices.Clone(known)
	for _, elsewhere := range []bool{true, false} { // one in each stage first
		more := moreNumbers
		if elsewhere {
			more = moreElsewhere
		}
		for _, k := range fits {
			t := *k.of(x)
			same := func(o contender) bool { return s.alike(o, k) }
			there := func(o contender) bool { return slices.Equal(o.of(x).At, t.At) }
			if len(twins) < mostTwins && slices.Equal(s.holds[k], s.holds[known[0]]) && t.numbers <= causes[0].numbers+more && t.made.beyond <= max(1, alikeLeft*causes[0].made.beyond) &&
				!slices.ContainsFunc(told, same) && !(elsewhere && slices.ContainsFunc(told, there)) {
				twins, told = append(twins, t), append(told, k)
			}
		}
	}
	causes[0] = causes[0].WithTwins(twins)
	return causes
}

// isForgotten reports whether a contender is of a cache's rows that are other than they should be and right
// at a later step: what is lost stays lost, and only what one step reads is without it.
func (s *choosing) isForgotten(k contender, x *answer) bool {
	if k.fault != "cache_stale" && (k.fault != "" || s.hypotheses[k.hypothesis].ID != fit.PatternCache) {
		return false
	}
	var steps, from []int
	for _, i := range s.holds[k] {
		if o := s.answers[i]; o.row.Stage == x.row.Stage {
			steps, from = append(steps, o.row.Step), append(from, k.of(o).made.from)
		}
	}
	return len(steps) > 1 && slices.Max(from) > slices.Min(steps)
}

// isPlainer reports whether a contender is a softmax with no number in it that gives the same as keys
// which are not written, since without keys all scores are 0.
func (s *choosing) isPlainer(k contender, known []contender) bool {
	h := s.hypotheses[k.hypothesis]
	return len(known) == 1 && known[0].fault == "cache_stale" && h.ID == fit.PatternSoftmax && h.numbers == 0 && slices.Equal(s.holds[k], s.holds[known[0]])
}

// layers returns those in which a contender sits.
func (s *choosing) layers(k contender) (all []int) {
	for _, i := range s.holds[k] {
		for _, stage := range k.of(s.answers[i]).At {
			if name, _ := model.ParseStage(stage); !slices.Contains(all, name.Layer) {
				all = append(all, name.Layer)
			}
		}
	}
	return all
}

// unrefuted returns the contenders of a row but for those that hold of some only of the rows of
// which another does.
func (s *choosing) unrefuted(all []contender) []contender {
	return slices.DeleteFunc(slices.Clone(all), func(a contender) bool {
		return slices.ContainsFunc(all, func(b contender) bool {
			lacks := func(i int) bool { return !slices.Contains(s.holds[b], i) }
			return len(s.holds[a]) < len(s.holds[b]) && !slices.ContainsFunc(s.holds[a], lacks)
		})
	})
}

// without returns the contenders of which something is not so.
func without(all []contender, is func(k contender) bool) []contender {
	return slices.DeleteFunc(slices.Clone(all), is)
}

// isRefuted reports whether a contender is refuted at a stage by steps with a past or without, as is
// that of its cause there; one that may begin at any step is not.
func (s *choosing) isRefuted(k contender, at Cause) bool {
	if at.made.fault.Kind != Plain || k.fault == "" && s.hypotheses[k.hypothesis].event {
		return false
	}
	d, _ := s.dims(at.Step)
	key := refutation{k, at.Stage, min(d.P, 1)}
	is, known := s.refutes[key]
	if !known {
		is = s.refuted(at)
		s.refutes[key] = is
	}
	return is
}

// A refutation is a contender at a stage, and whether at steps with a past.
type refutation struct {
	contender
	stage string
	past  int
}

// refuted reports whether a fault would have changed the same stage at another step, with a past as
// this one or without, at which it is right: what an engine does is what it does at every step.
func (g *rowGroup) refuted(at Cause) bool {
	own, _ := g.dims(at.Step)
	return slices.ContainsFunc(g.judged, func(row harness.Replayed) bool {
		d, _ := g.dims(row.Step)
		if row.Stage != at.Stage || row.Step == at.Step || row.Verdict != harness.ReplayClean || min(d.P, 1) != min(own.P, 1) {
			return false
		}
		e, err := g.wrongRow(row)
		if err != nil || e.right == nil {
			return false
		}
		m := at.made
		m.from = row.Step
		out, _ := g.output(e, m)
		return len(out) == len(e.got) && harness.Between(out, e.got, e.bound).Wrong > 0
	})
}

// isContradicted reports whether a cause, in all stages in which it may sit, would make another stage
// of the step wrong that is right.
func (s *choosing) isContradicted(at Cause) bool {
	if kind := at.made.fault.Kind; kind != Plain && kind != Precision || s.refutedBy(at) == "" {
		return false
	}
	return !slices.ContainsFunc(at.Or, func(o Cause) bool { return s.refutedBy(o) == "" })
}

// refutedBy returns a stage of a cause's step that is right and would not be if the stages which the
// candidate lacks had the values that the cause gives them; "" if there is none.
func (g *rowGroup) refutedBy(at Cause) string {
	if at.Values == nil {
		return ""
	}
	values := at.Values()
	run := g.run.With(values)
	for _, row := range g.judged {
		made := func(stage string) bool {
			_, is := values[harness.Place{Step: row.Step, Stage: stage}]
			return is && stage != row.Stage
		}
		if row.Step != at.Step || row.Verdict != harness.ReplayClean || !slices.ContainsFunc(row.Span, made) {
			continue
		}
		flips := 0 // where fewer bits are rounded the other way
		if at.made.fault.Kind == Precision {
			flips = row.Elements / maxFlips
		}
		if again, err := run.JudgeAt(row.Place); err == nil && again.Verdict == harness.ReplayIntroduced && again.Mismatched > flips {
			return row.Stage
		}
	}
	return ""
}

// alike reports whether two contenders are one in other words: at the first and last of the rows of
// which both hold they sit in the same stages and give these the same values.
func (s *choosing) alike(a, b contender) bool {
	same, known := s.same[[2]contender{a, b}]
	if known {
		return same
	}
	both := slices.DeleteFunc(slices.Clone(s.holds[a]), func(i int) bool { return !slices.Contains(s.holds[b], i) })
	same = len(both) > 0 && !slices.ContainsFunc([]int{both[0], both[len(both)-1]}, func(i int) bool {
		x := s.answers[i]
		return !a.of(x).sameAs(*b.of(x))
	})
	s.same[[2]contender{a, b}] = same
	return same
}

// mayHaveTwins reports whether other causes may give the same as matches that reproduce a row: if
// the candidate lacks stages in which they sit.
func (g *rowGroup) mayHaveTwins(e *wrongRow, matches []match) bool {
	return len(e.Span) > 1 && !slices.ContainsFunc(matches, func(m match) bool { return m.fault.Kind == Precision || m.fault.Kind == Padding })
}

// sameAs reports whether two causes of a row are one in other words: they sit in the same stages and
// give these the same values.
func (c Cause) sameAs(o Cause) bool {
	if !slices.Equal(c.At, o.At) {
		return false
	}
	if c.Values == nil || o.Values == nil {
		return true
	}
	mine, others := c.Values(), o.Values()
	for at, v := range mine {
		w, ok := others[at]
		if !ok {
			return false
		}
		d := harness.Between(v.F32, w.F32, nil)
		if d.Nonfinite > 0 || math.Sqrt(d.SqDiff) > sameValues*math.Sqrt(d.SqGot) {
			return false
		}
	}
	return len(mine) == len(others)
}

// WithOr returns the cause with others of one fault in other stages, in the place of those that its
// Text names.
func (c Cause) WithOr(others []Cause) Cause {
	named := func(stages []string) string {
		return fmt.Sprintf(" (in %s it would give the same)", strings.Join(stages, " or "))
	}
	for i, text := range []*string{&c.Text, &c.alone} {
		before, after, found := strings.Cut(*text, named(c.Explanation.Or))
		if *text = before; len(others) > 0 && (found || i == 0) {
			*text += named(atOf(others))
		}
		*text += after
	}
	c.Or, c.Explanation.Or = others, atOf(others)
	return c
}

// atOf lists the stages in which causes sit.
func atOf(causes []Cause) (all []string) {
	for _, c := range causes {
		all = append(all, c.At...)
	}
	return all
}
