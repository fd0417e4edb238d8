package faults

import (
	"fmt"
	"math"

	"checkpoint12/harness"
)

// precisions are the fewer bits of mantissa whose errors are recognised.
var precisions = []struct {
	id, name string
	round    rounding
	like     string
}{
	{PatternNoise10, "float16", float16, "a stage that reads and writes 10 bits of mantissa: look for float16 or TF32"},
	{PatternNoise7, "bfloat16", bfloat16, "a stage that reads and writes 7 bits of mantissa: look for bfloat16, or for weights of 8 bits"},
}

const (
	// sameNoise is by what factor an error may be larger or smaller than that of a
	// stage all of whose numbers have few bits: some of them, weights or the output
	// alone, leave a part of it, and sums in few bits leave more.
	sameNoise = 4

	// leastNoise is how many wrong values it takes to say that they have no
	// structure: fewer than 16 lean to one side by a quarter by chance.
	leastNoise = 16
)

// precisionLoss: the error is as large and as shapeless as fewer bits would leave it.
func (g *rowGroup) precisionLoss(e *wrongRow) finding {
	if e.base.Nonfinite > 0 || len(e.wrongPlaces()) < leastNoise || len(e.Span) > 1 {
		return finding{}
	}
	for _, p := range precisions {
		if holds(p.round, e.got) && !holds(p.round, e.right) {
			return finding{p.id, 0, fmt.Sprintf("every value of the output is one that %s holds: the stage, or what writes it, works in %s", p.name, p.name)}
		}
	}
	if e.hasStructure() {
		return finding{}
	}
	d, _ := g.dims(e.Step)
	some := e.some
	c := some.context(g.model, d, func(name string) []float32 { return g.input(g.run, e.Step, name) })
	for _, p := range precisions {
		var out []float32
		if !ifKnown(func() { out = p.round.of(c.rounded(p.round, p.round)) }) {
			continue
		}
		like := harness.Between(some.right, out, nil)
		if ratio := rms(some.base) / rms(like); like.Nonfinite == 0 && ratio > 1.0/sameNoise && ratio < sameNoise {
			return finding{p.id, 0, fmt.Sprintf("the error has no structure and is %.2g times that of %s", ratio, p.like)}
		}
	}
	return finding{}
}

// holds reports whether every value is unchanged by a rounding.
func holds(r rounding, x []float32) bool {
	rounded := r.of(x)
	for i, v := range x {
		if v == v && rounded[i] != v {
			return false
		}
	}
	return true
}

// hasStructure reports whether the error follows the right output, or leans to one
// side, more than rounding errors do: four times as much as is chance, and by a
// tenth at least, since what rounds the output itself follows it a little.
func (e *wrongRow) hasStructure() bool {
	var dd, dr, rr, sum float64
	n := float64(len(e.got))
	for i, g := range e.got {
		r := float64(e.right[i])
		d := float64(g) - r
		if d-d != 0 {
			continue
		}
		dd, dr, rr, sum = dd+d*d, dr+d*r, rr+r*r, sum+d
	}
	if dd == 0 || rr == 0 {
		return true
	}
	chance := math.Max(0.1, 4/math.Sqrt(n))
	return math.Abs(dr)/math.Sqrt(dd*rr) > chance || math.Abs(sum)/math.Sqrt(n*dd) > chance
}
