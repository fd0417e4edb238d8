package fit

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model"
)

func init() {
	searches["attn.probs"] = append(searches["attn.probs"], slopesByPosition)
	for _, word := range []string{"embed", "resid_mid", "resid_post"} {
		searches[word] = append(searches[word], sumsByPosition)
	}
}

// A byPosition reads a number k off each position, or distance, of which values y are k times values x.
type byPosition struct {
	xy, xx   map[int]float64
	rounding map[int]float64 // the square of what it may do to xy
	row      map[int]int     // in which there is something of a position
	repeated bool            // a position has several
	now      int             // the step that is read
	step     map[int]int     // of a position
}

func newByPosition() *byPosition {
	return &byPosition{xy: map[int]float64{}, xx: map[int]float64{}, rounding: map[int]float64{}, row: map[int]int{}, step: map[int]int{}}
}

// add adds a value y that is off by the bound at most, and x.
func (b *byPosition) add(row, position int, x, y, bound float64) {
	b.sum(row, position, x*x, x*y, x*bound)
}

// sum adds the sums over values of a row.
func (b *byPosition) sum(row, position int, xx, xy, bound float64) {
	b.xy[position] += xy
	b.xx[position] += xx
	b.rounding[position] += bound * bound
	b.step[position] = b.now
	if other, seen := b.row[position]; seen && other != row {
		b.repeated = true
	}
	b.row[position] = row
}

// How far from a function of the position numbers may be, and rounding may move them, as parts of how much
// they differ.
const (
	courseSlack    = 5e-3
	courseRounding = 0.04
)

// ofStep is the text of a course of numbers that go with the step.
const ofStep = "k"

// A course is how a number goes with the position.
type course struct {
	text    string
	where   string // what the text does not say
	numbers int
	of      func(p int) (k float64, ok bool)
}

// A growth is a function of the position.
type growth struct {
	text string // with %s for what it is multiplied with, which may be nothing
	of   func(p float64) float64
}

var growths = []growth{
	{"%s(p + 1)", func(p float64) float64 { return p + 1 }},
	{"%s1/(p + 1)", func(p float64) float64 { return 1 / (p + 1) }},
	{"%s√(p + 1)", func(p float64) float64 { return math.Sqrt(p + 1) }},
	{"%s1/√(p + 1)", func(p float64) float64 { return 1 / math.Sqrt(p+1) }},
	{"%sp", func(p float64) float64 { return p }},
	{"%sln(p + 1)", func(p float64) float64 { return math.Log(p + 1) }},
	{"%sln(p + 2)", func(p float64) float64 { return math.Log(p + 2) }},
}

// rounding returns what rounding may do at a place, which of a step around the row's own is not known.
func (r *Row) rounding(i int) float64 {
	return max(r.bound(i), math.Abs(float64(r.Right[i]))/(1<<22))
}

// courses returns how the numbers go with the position, called by the name of a variable, the plainest
// first; nothing where they are one, or of too few positions to tell. Where half of them or more are the
// number that changes nothing it is a part of the positions that has something.
func (b *byPosition) courses(variable string, none float64) (all []course) {
	positions := slices.DeleteFunc(slices.Sorted(maps.Keys(b.xx)), func(p int) bool { return !(b.xx[p] > 0) })
	if len(positions) < 3 {
		return nil
	}
	k, off, idle := map[int]float64{}, map[int]float64{}, 0
	least, most, furthest := math.Inf(1), math.Inf(-1), 0.0
	for _, p := range positions {
		k[p] = b.xy[p] / b.xx[p]
		off[p] = math.Sqrt(b.rounding[p]) / b.xx[p]
		least, most, furthest = min(least, k[p]), max(most, k[p]), max(furthest, off[p])
		if math.Abs(k[p]-none) < sameNumber {
			idle++
		}
	}
	if !(most-least > sameNumber*max(math.Abs(most), math.Abs(least))) || 2*idle >= len(positions) {
		return nil
	}
	// Of numbers that hardly differ any function is near: it has to follow how they differ.
	follow := func(of func(p float64) float64) bool {
		return furthest < courseRounding*(most-least) && !slices.ContainsFunc(positions, func(p int) bool {
			return !(math.Abs(k[p]-of(float64(p))) <= courseSlack*(most-least)+2*off[p])
		})
	}
	for _, g := range growths {
		var fy, ff float64
		for _, p := range positions {
			f := g.of(float64(p))
			fy, ff = fy+b.xx[p]*k[p]*f, ff+b.xx[p]*f*f
		}
		a := fy / ff
		if !follow(func(p float64) float64 { return a * g.of(p) }) {
			continue
		}
		add := func(text string, a float64, numbers int) {
			all = append(all, course{strings.ReplaceAll(text, "p", variable), "", numbers, func(p int) (float64, bool) { return a * g.of(float64(p)), true }})
		}
		if n := math.Round(math.Exp(1 / a)); strings.HasPrefix(g.text, "%sln") && n > 2 && math.Abs(a*math.Log(n)-1) < sameNumber {
			add(fmt.Sprintf(g.text+"/ln %v", "", n), 1/math.Log(n), 1)
		}
		for i, a := range written(a) {
			text := decimal(a) + "·"
			if a == 1 {
				text = ""
			}
			add(fmt.Sprintf(g.text, text), a, 1+i)
		}
	}
	var line regression
	for _, p := range positions {
		line.add(float64(p), k[p], b.xx[p])
	}
	xx, xy := line.within()
	slope := xy / xx
	first := (line.y - slope*line.x) / line.w
	if len(all) == 0 && len(positions) > 3 && follow(func(p float64) float64 { return first + slope*p }) {
		slopes := written(slope)
		for i, a := range written(first) {
			s := slopes[min(i, len(slopes)-1)]
			text := fmt.Sprintf("(%s + %s·%s)", decimal(a), decimal(s), variable)
			all = append(all, course{text, "", 2 + i, func(p int) (float64, bool) { return a + s*float64(p), true }})
		}
	}
	ends, several := map[int][2]float64{}, false // of the numbers of a step
	for _, p := range positions {
		end, seen := ends[b.step[p]]
		if several = several || seen; !seen {
			end = [2]float64{k[p], k[p]}
		}
		ends[b.step[p]] = [2]float64{min(end[0], k[p]), max(end[1], k[p])}
	}
	if alike := func(p int) bool {
		end := ends[b.step[p]]
		return end[1]-end[0] <= courseSlack*(most-least)+2*off[p]
	}; several && len(ends) > 1 && !slices.ContainsFunc(positions, func(p int) bool { return !alike(p) }) {
		var few []string
		last := -1
		for _, p := range positions {
			if step := b.step[p]; step != last {
				few, last = append(few, fmt.Sprintf("%.5g at step %d", k[p], step)), step
			}
		}
		if len(few) > 4 {
			few = append(few[:4], fmt.Sprintf("… (%d steps in all)", len(few)))
		}
		return append(all, course{ofStep, "; k is one number at each step: " + strings.Join(few, ", "), len(ends), func(p int) (float64, bool) {
			v, ok := k[p]
			return v, ok
		}})
	}
	var few []string
	for _, p := range positions[:min(len(positions), 4)] {
		few = append(few, fmt.Sprintf("%.5g at %d", k[p], p))
	}
	if len(positions) > 4 {
		few = append(few, fmt.Sprintf("… (%d in all)", len(positions)))
	}
	return append(all, course{"k(" + variable + ")", "; k(" + variable + ") is " + strings.Join(few, ", "), len(positions), func(p int) (float64, bool) {
		v, ok := k[p]
		return v, ok
	}})
}

// written returns a number with few digits, if these are nearly it, and as it is.
func written(v float64) (all []float64) {
	for digits := 1; digits <= 4; digits++ {
		if short, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', digits, 64), 64); math.Abs(short-v) <= sameNumber*math.Abs(v) {
			all = append(all, short)
			break
		}
	}
	full, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 7, 64), 64)
	return append(all, full)
}

// positionOf returns the position of a flat index of a stage whose last axis but one are positions; ok if
// the stage is such.
func (s *Stage) positionOf() (of func(i int) int, ok bool) {
	axes := strings.Fields(model.Axes(s.Name))
	shape, err := model.Shape(s.Model.Config(), s.Name, s.Dims)
	width := 1
	if err == nil && len(shape) > 1 {
		width = shape[len(shape)-1]
	}
	ok = len(shape) > 1 && len(axes) >= len(shape) && shape[len(shape)-2] == s.Dims.T && slices.Contains(axes, "T")
	return func(i int) int { return s.Dims.P + i/width%s.Dims.T }, ok
}

// nearSteps returns the stage at the steps around its own, itself first, of which the engine has the output:
// what follows from later stages is of its own step alone.
func (r *Row) nearSteps() (all []*Row) {
	all = []*Row{r}
	if r.Recovered || r.Has == nil || r.At == nil || r.Part != nil {
		return all
	}
	cfg := r.Model.Config()
	for step := max(0, r.Step-stepsRead); step <= r.Step+stepsRead; step++ {
		if step == r.Step || !r.Has(step, r.Name) {
			continue
		}
		s := r.step(step)
		s.Dims.T = len(s.In("tokens")) / r.Dims.B
		s.Dims.P = len(s.In("h.0.attn.cache_k"))/(r.Dims.B*cfg.Embd) - s.Dims.T
		shape, err := model.Shape(cfg, r.Name, s.Dims)
		if err != nil || s.Dims.T < 1 || s.Dims.P < 0 {
			continue
		}
		got, right := s.In(r.Name), make([]float32, shapes.Product(shape))
		known := !slices.ContainsFunc(model.Reads(cfg, r.Name), func(name string) bool { return len(s.In(name)) == 0 })
		if !known || len(got) != len(right) || r.Model.Apply(r.Name, s.Dims, s.In, right) != nil {
			continue
		}
		s.Correct = func() []float32 { return right }
		all = append(all, &Row{Stage: *s, Got: got, Right: right})
	}
	return all
}

// whole returns the row of which this is a sample of positions, or itself; nil where that is too large.
func (r *Row) whole() *Row {
	if r.Whole == nil {
		return r
	}
	if len(r.Whole.Got) > mostMoved {
		return nil
	}
	return r.Whole
}

// hypotheses returns those that hold of a function of the output's index and the number of its position.
func (b *byPosition) hypotheses(p *values, id, text string, none float64, f func(s *Stage, k float64, i int) float64) (all []Hypothesis) {
	for _, c := range b.courses("p", none) {
		if c.where != "" && !b.repeated {
			if strings.HasPrefix(stageName(p.Name).Word, "ln_") {
				continue // of which NormRows tells more
			}
			if c.text != ofStep {
				c.where += ": each position has but one row, so this may be a number of each row's own"
			}
		}
		at := ", at position p"
		if c.text == ofStep {
			at = ""
		}
		h := Hypothesis{ID: id, Text: fmt.Sprintf(text, c.text) + at + c.where, Numbers: c.numbers, Whole: true, Output: func(s *Stage) []float32 {
			position, ok := s.positionOf()
			out := slices.Clone(s.Correct())
			for i, v := range out {
				k, known := c.of(position(i))
				if !ok || !known {
					return nil
				}
				if finite(v) {
					out[i] = float32(f(s, k, i))
				}
			}
			return out
		}}
		if out := h.Output(&p.Stage); out != nil && (p.Recovered || p.holds(func(i int) float64 { return float64(out[i]) })) {
			all = append(all, h)
		}
	}
	return all
}

// byPosition proposes the correct output times or plus a number that goes with the position, and of a
// product or norm all but its bias.
func (p *values) byPosition() (all []Hypothesis) {
	r := p.Row.whole()
	if r == nil {
		return nil
	}
	if _, ok := r.positionOf(); !ok {
		return nil
	}
	if r != p.Row {
		if p = newValues(r); p == nil {
			return nil
		}
	}
	bias := ownBiasOf(&r.Stage)
	ratio, offset, bare := newByPosition(), newByPosition(), newByPosition()
	for _, at := range r.nearSteps() {
		position, _ := at.positionOf()
		ratio.now, offset.now, bare.now = at.Step, at.Step, at.Step
		for _, i := range at.places() {
			got, right, row, pos := float64(at.Got[i]), float64(at.Right[i]), i/p.width, position(i)
			ratio.add(row, pos, right, got, at.rounding(i))
			offset.add(row, pos, 1, got-right, at.rounding(i))
			if bias != nil {
				b := float64(bias[i%len(bias)])
				bare.add(row, pos, right-b, got-b, at.rounding(i))
			}
		}
	}
	right := func(s *Stage, i int) float64 { return float64(s.Correct()[i]) }
	all = append(all, ratio.hypotheses(p, PatternRatio, "the output is %s times the correct one", 1, func(s *Stage, k float64, i int) float64 { return k * right(s, i) })...)
	all = append(all, bare.hypotheses(p, PatternScaled, "without the bias the output is %s times the correct one, and the bias is added once", 1, func(s *Stage, k float64, i int) float64 {
		bias := ownBiasOf(s)
		if bias == nil {
			return math.NaN()
		}
		b := float64(bias[i%len(bias)])
		return k*(right(s, i)-b) + b
	})...)
	return append(all, offset.hypotheses(p, PatternOffset, "the output is the correct one plus %s", 0, func(s *Stage, k float64, i int) float64 { return right(s, i) + k })...)
}

// ownBiasOf returns the bias that a stage adds; nil if it adds none.
func ownBiasOf(s *Stage) []float32 {
	name := ownBias(s.Model, s.Name)
	if name == "" {
		return nil
	}
	bias, _, _ := s.Model.Weight(name)
	return bias
}

// slopesByPosition proposes softmaxes of the scores times a number that goes with the position.
func slopesByPosition(r *Row) (all []Hypothesis) {
	slopes := newByPosition()
	for _, at := range r.nearSteps() {
		slopes.now = at.Step
		softmaxRows(&at.Stage, at, func(row *softmaxRow, lo int) {
			var line regression
			rounding := 0.0
			for j, known := range row.known {
				if known && row.x[j]-row.x[j] == 0 && (r.Part == nil || r.Part[lo+j]) {
					line.add(row.x[j], math.Log(row.got[j]), row.got[j]*row.got[j])
					rounding += math.Pow(row.x[j]*row.got[j]*at.rounding(lo+j), 2)
				}
			}
			if xx, xy := line.within(); line.n > 1 && xx > 0 {
				slopes.sum(row.head, row.query, xx, xy, math.Sqrt(rounding))
			}
		})
	}
	for _, c := range slopes.courses("p", 1) {
		all = append(all, Hypothesis{ID: PatternSoftmax, Numbers: c.numbers, Whole: true,
			Text: "the softmax is of " + c.text + " times the scores, for the query at position p" + c.where + ": look for another scale of q·k, or a temperature",
			Output: softmaxOf(func(row *softmaxRow, x []float64) {
				k, known := c.of(row.query)
				if !known && row.n > 1 {
					k = math.NaN()
				} else if !known {
					k = 1
				}
				for j := range x {
					x[j] *= k
				}
			})})
	}
	return all
}

// sumsByPosition proposes sums of which one term has a coefficient that goes with the position.
func sumsByPosition(r *Row) (all []Hypothesis) {
	if r = r.whole(); r == nil {
		return nil
	}
	p := newValues(r)
	if p == nil {
		return nil
	}
	cfg, own := r.Model.Config(), stageName(r.Name)
	names := ownTerms(cfg, own)
	for term, name := range model.Reads(cfg, r.Name) {
		read := newByPosition()
		for _, at := range r.nearSteps() {
			position, _ := at.positionOf()
			read.now = at.Step
			x := at.In(name)
			if len(x) == 0 {
				continue
			}
			for _, i := range at.places() {
				v := float64(x[i%len(x)])
				read.add(i/p.width, position(i), v, float64(at.Got[i])-float64(at.Right[i])+v, at.rounding(i))
			}
		}
		parts := slices.Clone(names)
		parts[term] = "%s·" + parts[term]
		text := "the sum is " + strings.Join(parts, " + ") + ", where " + strings.Join(names, " + ") + " belongs"
		all = append(all, read.hypotheses(p, PatternSum, text, 1, func(s *Stage, k float64, i int) float64 {
			x := s.In(model.Reads(s.Model.Config(), s.Name)[term])
			if len(x) == 0 {
				return math.NaN()
			}
			return float64(s.Correct()[i]) + (k-1)*float64(x[i%len(x)])
		})...)
	}
	return all
}
