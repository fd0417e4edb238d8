package faults

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/model"
)

const (
	// mostTwins is how many causes are told beside another that gives the same.
	mostTwins = 2

	// moreNumbers is how many more numbers may be read off for a twin: what has more fits whatever
	// the plainer one does.
	moreNumbers = 1

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
}

// choosing returns what there is to choose from.
func (g *rowGroup) choosing(answers map[int]*answer) *choosing {
	s := &choosing{g, answers, map[contender][]int{}, map[[2]contender]bool{}}
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
	if len(known)+len(fits) == 0 {
		return x.causes
	}
	slices.SortFunc(fits, func(a, b contender) int {
		return cmp.Or(len(s.holds[b])-len(s.holds[a]), s.hypotheses[a.hypothesis].numbers-s.hypotheses[b.hypothesis].numbers, a.hypothesis-b.hypothesis)
	})
	if len(known) == 0 || len(fits) > 0 && len(s.holds[known[0]]) < len(s.holds[fits[0]]) {
		known, fits = fits[:1], fits[1:]
	}
	known = s.unrefuted(known)
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
	for _, k := range fits {
		t := *k.of(x)
		same := func(o contender) bool { return s.alike(o, k) }
		if len(twins) < mostTwins && slices.Equal(s.holds[k], s.holds[known[0]]) && t.numbers <= causes[0].numbers+moreNumbers && !slices.ContainsFunc(told, same) {
			twins, told = append(twins, t), append(told, k)
		}
	}
	causes[0] = causes[0].WithTwins(twins)
	return causes
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
