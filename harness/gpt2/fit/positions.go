package fit

import (
	"fmt"
	"math"
	"slices"
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
