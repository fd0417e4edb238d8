package faults

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/harness/internal/words"
)

// numbersRead are the numbers in a hypothesis's words, with the expressions that give them.
var numbersRead = regexp.MustCompile(`-?\d+(\.\d+)?(e[-+]?\d+)?( = (?:[^\s(),]|\([^()]*\))+(, at this config also (?:[^():;]|\([^()]*\))*)?| \(also (?:[^()]|\([^()]*\))* here\))?`)

// layerNamed is the layer of a stage in a hypothesis's words, which is no number that was read.
var layerNamed = regexp.MustCompile(`\bh\.\d+`)

// AcrossSteps says of causes that were read off a stage at one step where other steps of it refute
// them: that a number in them changes from step to step, and at which steps nothing explains what is
// wrong, so that they do not hold there. causes are the first of each row that is wrong, by step.
func AcrossSteps(causes []*Cause) {
	stages := map[string][]*Cause{}
	for _, c := range causes {
		stages[c.Stage] = append(stages[c.Stage], c)
	}
	for _, all := range stages {
		told := make([]string, len(all))
		for i, c := range all {
			told[i] = c.acrossSteps(all)
		}
		for i, c := range all {
			c.Text += told[i]
			if p := c.made.fault.part; p != nil && p.on != "" && c.goesOn(all) {
				c.Text = strings.ReplaceAll(c.Text, c.in, p.on)
			}
		}
	}
}

// unnamed returns a hypothesis's words without what of the numbers in them were not read but are names: of
// layers and of a part of the output.
func (c *Cause) unnamed() (text, names string) {
	text = c.made.fault.Text
	if p := c.made.fault.part; p != nil {
		text, names = strings.Replace(text, p.text, "", 1), p.text
	}
	return layerNamed.ReplaceAllString(text, "h."), names + strings.Join(layerNamed.FindAllString(text, -1), "")
}

// goesOn reports whether a cause in a part of the output is that of a stage at all of several steps, up to
// the last of the run.
func (c *Cause) goesOn(all []*Cause) bool {
	return c.everyStep() && len(all) > 1 && len(all) == c.last+1-all[0].Step && !slices.ContainsFunc(all, func(o *Cause) bool {
		return o.made.fault.relation != c.made.fault.relation || o.Fault != c.Fault
	})
}

// acrossSteps returns what all causes of a stage say of one of them.
func (c *Cause) acrossSteps(all []*Cause) (text string) {
	if !c.everyStep() {
		return ""
	}
	frame := func(c *Cause) string {
		text, names := c.unnamed()
		return names + numbersRead.ReplaceAllString(text, "#")
	}
	numbers := func(c *Cause) []string {
		text, _ := c.unnamed()
		return numbersRead.FindAllString(text, -1)
	}
	var with []int           // steps at which it holds but for numbers
	var read [][]string      // numbers of those with
	rounding := 0.0          // what it may do to a value of those
	var refuting, open []int // steps that nothing explains: at which it was seen to fail, and others
	for _, o := range all {
		switch {
		case o.everyStep() && slices.Equal(o.At, c.At) && frame(o) == frame(c):
			with, read, rounding = append(with, o.Step), append(read, numbers(o)), max(rounding, o.rounding)
		case o.Fault == "" && !o.Rest:
			if o.refutes[c.made.fault.relation] {
				refuting = append(refuting, o.Step)
			} else {
				open = append(open, o.Step)
			}
		}
	}
	var differ []int // numbers
	for i := range read[0] {
		if slices.ContainsFunc(read, func(x []string) bool { return otherNumber(x[i], read[0][i], rounding) }) {
			differ = append(differ, i)
		}
	}
	holds := "and this, in the same form, does not give it: it is not all, or has another form there"
	switch { // there they may be others
	case c.numbers == 1 && len(read[0]) > 0:
		holds = "and not by this number"
	case c.numbers > 1: // of which not all may be told
		holds = "and not by these numbers"
	}
	if len(differ) == 1 {
		var numbers []string
		for _, x := range read {
			number, _, _ := strings.Cut(x[differ[0]], " = ")
			number, _, _ = strings.Cut(number, " (also ")
			numbers = append(numbers, number)
		}
		text = fmt.Sprintf("; the number changes from step to step: it is %s at %s", words.And(numbers), plural("step", with))
		holds = "by no one such number"
	}
	if len(refuting) > 0 {
		text += fmt.Sprintf("; at %s the stage is wrong too, %s", plural("step", refuting), holds)
	}
	if len(open) > 0 {
		text += fmt.Sprintf("; at %s the stage is wrong too, and no cause was found there", plural("step", open))
	}
	return text
}

// isOpen reports whether nothing explains a row that can be held against hypotheses.
func (x *answer) isOpen() bool {
	return len(x.fits) == 0 && x.tried < math.MaxInt && len(x.causes) == 1 && x.causes[0].Fault == "" && !x.causes[0].Rest
}

// tryOthers holds hypotheses that explain the stage at other steps against a row that nothing explains:
// against what is wrong of it alone.
func (g *rowGroup) tryOthers(x *answer, answers map[int]*answer) {
	var e *wrongRow
	var nearly []match
	refutes := map[string]bool{}
	for k, h := range g.hypotheses {
		explains := func(o *answer) bool { return o.row.Stage == x.row.Stage && o.fits[k] != nil }
		if h.event || !slices.ContainsFunc(slices.Collect(maps.Values(answers)), explains) {
			continue
		}
		if e == nil {
			var err error
			if e, err = g.wrongRow(x.row); err != nil || e.right == nil || e.full != nil || g.isLong(e) {
				return
			}
		}
		f := h.Fault
		if h.unparted != nil {
			f = *h.unparted
		}
		m, ok := g.best(e, f)
		if !ok {
			continue
		}
		for _, p := range g.wrongAlone(e) {
			part, ok := g.inPart(e, m, p)
			if ok && (part.holds() || part.reproduces()) {
				causes := g.describe(e, []match{part})
				if causes[0].numbers = h.numbers; p.text != "" {
					causes[0].Text += ", " + p.text
				}
				x.fits[k] = causes
				break
			}
			if ok && part.explains > m.explains {
				m = part
			}
		}
		switch {
		case x.fits[k] != nil || len(e.Earlier) > 0: // of a cache that may not be the engine's own
		case m.isNearly():
			nearly = append(nearly, m)
		default:
			refutes[h.relation] = m.left.Nonfinite == 0
		}
	}
	if len(nearly) > 0 && len(x.fits) == 0 {
		x.causes = g.describe(e, nearly[:1])
	}
	x.causes[0].refutes = refutes
}

// inPart returns a match as one of a fault in some places alone; ok is false if it changes nothing there.
func (g *rowGroup) inPart(e *wrongRow, m match, p placesAlone) (match, bool) {
	whole, _ := g.output(e, m)
	if len(whole) != len(e.got) {
		return m, false
	}
	out := slices.Clone(e.right)
	for i, in := range p.in {
		if in {
			out[i] = whole[i]
		}
	}
	if harness.Between(e.right, out, nil).At < 0 || undecided(out, e.got) {
		return m, false
	}
	m.measure(e, out, e.got, e.right, e.bound, numbersAlone(e.right, e.got, e.bound, e.base))
	return m, true
}

// placesAlone are places of a row.
type placesAlone struct {
	text string
	in   []bool
}

// wrongAlone returns the places of a row of which what is wrong may be all that a fault has: those that no
// mask hides, the batch rows and positions that have a wrong value, and the wrong values.
func (g *rowGroup) wrongAlone(e *wrongRow) (all []placesAlone) {
	axes, shape := axesOf(g.model.Config(), e.Stage, e.dims)
	if shapes.Product(shape) != len(e.got) {
		return nil
	}
	seen, wrong, rows := make([]bool, len(e.got)), make([]bool, len(e.got)), make([]bool, len(e.got))
	type row struct{ b, t int }
	of := func(index []int) (r row) {
		for a, axis := range axes {
			switch axis.Letter {
			case "B":
				r.b = index[a]
			case "T":
				r.t = index[a]
			}
		}
		return r
	}
	some, n := map[row]bool{}, 0
	for i := range e.got {
		if index := shapes.Index(i, shape); e.isWrong(i) {
			wrong[i], some[of(index)] = true, true
			n++
		}
	}
	for i := range e.got {
		index := shapes.Index(i, shape)
		rows[i], seen[i] = some[of(index)], true
		if k := len(index) - 1; k >= 2 && axes[k].Letter == "S" && strings.HasPrefix(wordOf(e.Stage), "attn.") {
			seen[i] = index[k] <= e.dims.P+index[k-1]
			rows[i] = rows[i] && seen[i]
		}
	}
	all = append(all, placesAlone{"", seen}, placesAlone{fmt.Sprintf("in %d of %s", len(some), words.Count(e.dims.B*e.dims.T, "row")), rows})
	return append(all, placesAlone{fmt.Sprintf("in %d of %s", n, words.Count(len(e.got), "value")), wrong})
}

// otherNumber reports whether two numbers that were read off rows differ by more than that, and than
// rounding may do to a value.
func otherNumber(a, b string, rounding float64) bool {
	var x, y float64
	fmt.Sscan(a, &x)
	fmt.Sscan(b, &y)
	return math.Abs(x-y) > 10*sameValues*math.Abs(x)+rounding
}

// everyStep reports whether a cause was read off a row, of a function that is the same at every step.
func (c *Cause) everyStep() bool {
	return c.Fault != "" && !c.Rest && c.made.fault.fit && !c.event && c.made.from == 0
}
