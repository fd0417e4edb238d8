package faults

import (
	"fmt"
	"math"
)

// noise: the error is as large, and as much without structure, as fewer bits of
// mantissa would leave it.
func (g *group) noise(e *evidence, at []int) (string, float64, string) {
	if e.base.odd > 0 || len(at) < 16 || len(e.Span) > 1 {
		return "", 0, ""
	}
	for _, t := range []struct {
		id, name string
		round    rounding
	}{{PatternNoise10, "float16", float16}, {PatternNoise7, "bfloat16", bfloat16}} {
		if held(e.got, t.round) && !held(e.right, t.round) {
			return t.id, 0, fmt.Sprintf("every value of the output is one that %s holds: the stage, or what writes it, works in %s", t.name, t.name)
		}
	}
	if structured(e) {
		return "", 0, ""
	}
	c := &Context{Model: g.model, Dims: e.dims, Stage: e.Stage, In: func(name string) []float32 { return g.own(e.Step, name) }}
	for _, t := range []struct {
		id, text string
		round    rounding
	}{
		{PatternNoise10, "10 bits of mantissa: float16 or TF32 somewhere in it", float16},
		{PatternNoise7, "7 bits of mantissa: bfloat16 somewhere in it", bfloat16},
	} {
		like := between(t.round.of(c.rounded(t.round, t.round)), e.right, nil)
		if c.err() != nil || like.odd > 0 || like.squares == 0 {
			continue
		}
		if ratio := e.base.rms() / like.rms(); ratio > 0.25 && ratio < 4 {
			return t.id, 0, fmt.Sprintf("the error has no structure and is %.2g times what rounding all that is read and written to %s would leave", ratio, t.text)
		}
	}
	return "", 0, ""
}

// held says whether every value is unchanged by a rounding.
func held(x []float32, round rounding) bool {
	rounded := round.of(x)
	for i, v := range x {
		if v == v && rounded[i] != v {
			return false
		}
	}
	return true
}

// structured says whether the error follows the right output or leans to one
// side more than chance would have it.
func structured(e *evidence) bool {
	var dd, dr, rr, d1, r1 float64
	n := float64(len(e.got))
	for i, g := range e.got {
		r := float64(e.right[i])
		d := float64(g) - r
		if d-d != 0 {
			continue
		}
		dd, dr, rr, d1, r1 = dd+d*d, dr+d*r, rr+r*r, d1+d, r1+r
	}
	if dd == 0 || rr == 0 {
		return true
	}
	chance := 4 / math.Sqrt(n)
	return math.Abs(dr)/math.Sqrt(dd*rr) > math.Max(0.1, chance) || math.Abs(d1)/math.Sqrt(n*dd) > math.Max(0.1, chance)
}
