package faults

import (
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/fit"
	"checkpoint12/model"
)

// fewNumbers are those of a function of one row; what has more is of channels or distances.
const fewNumbers = 2

// isUnproven reports whether what a hypothesis holds of is as little as the numbers in it, rows of
// one position each, while the same stage is wrong in another way elsewhere: a number that is read
// off each row by itself says nothing. Any divisor of a norm is such a number, and has to hold of
// more positions than it fails at. Nor do channels that are wrong in one row alone, where other rows
// have others: dropout does that.
func (s *choosing) isUnproven(k contender) bool {
	h := s.hypotheses[k.hypothesis]
	if queries, steps := s.evidence(k); k.fault == "" && (h.queries > queries || h.steps > steps) {
		return true
	}
	few := 0 < h.numbers && h.numbers <= fewNumbers
	if k.fault != "" || !few && !h.channels && !h.law && h.queries == 0 || h.event {
		return false
	}
	norm, held, layers, right := false, 0, map[int]bool{}, false
	for _, i := range s.holds[k] {
		x := s.answers[i]
		held += s.positions(x)
		for _, stage := range k.of(x).At {
			norm = norm || isNorm(stage)
		}
		layers[layerOf(x.row.Stage)] = true
		right = right || h.law && s.isRightFrom(2, x.row.Place)
	}
	same, all := 0, 0 // positions that it does not hold of, in layers where it does and in any
	for _, i := range s.rows {
		x := s.answers[i]
		if x == nil || x.tried == math.MaxInt || x.fits[k.hypothesis] != nil {
			continue
		}
		n := s.positions(x)
		all += n
		if layers[layerOf(x.row.Stage)] {
			same += n
		}
	}
	if h.queries > 0 && same > 0 || h.channels && held <= 1 && same > 0 || right || h.law && len(layers) < 2 {
		return true
	}
	if !few {
		return false
	}
	if !norm { // other functions of one row are seldom told by chance, but for its size
		return (h.ID == fit.PatternRatio || h.ID == fit.PatternScaled) && held <= h.numbers && same > 0
	}
	return held <= h.numbers && all > 0 || same >= held
}

// evidence returns at how many positions of the run, and at how many steps, a contender holds.
func (s *choosing) evidence(k contender) (positions, steps int) {
	at, in := map[int]bool{}, map[int]bool{}
	for _, i := range s.holds[k] {
		step := s.answers[i].row.Step
		d, _ := s.dims(step)
		in[step] = true
		for t := range d.T {
			at[d.P+t] = true
		}
	}
	return len(at), len(in)
}

// isRightFrom reports whether a place's stage is right at its step in a layer from n on but its own: a function
// of the layer's number that changes these is not the cause.
func (c *candidateRun) isRightFrom(n int, at harness.Place) bool {
	layers, _ := c.elsewhere(at)
	return slices.ContainsFunc(layers, func(layer int) bool { return layer >= n })
}

// positions returns how many positions the step of an answer's row has.
func (s *choosing) positions(x *answer) int {
	d, _ := s.dims(x.row.Step)
	return d.B * d.T
}

func isNorm(stage string) bool { return strings.HasPrefix(wordOf(stage), "ln_") }

func layerOf(stage string) int {
	name, _ := model.ParseStage(stage)
	return name.Layer
}

// ofRows describes a norm whose rows are each scaled, or shifted too, by numbers of their own.
func (g *rowGroup) ofRows(e *wrongRow) finding {
	if e.base.Nonfinite > 0 || !isNorm(e.Stage) {
		return finding{}
	}
	row, _ := g.observe(e.some)
	if text := fit.NormRows(row); text != "" {
		return finding{fit.PatternStatistics, 0, text}
	}
	return finding{}
}
