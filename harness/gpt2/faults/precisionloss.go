package faults

import (
	"fmt"
	"math"
)

// bits words what the patterns of noise are like.
var bits = map[string]string{
	PatternNoise10: "a stage that reads and writes 10 bits of mantissa: look for float16 or TF32",
	PatternNoise7:  "a stage that reads and writes 7 bits of mantissa: look for bfloat16, or for weights of 8 bits",
}

// noise: the error is as large, and as much without structure, as fewer bits of
// mantissa would leave it.
func (g *rowGroup) noise(e *wrongRow, at []int, full bool) (string, float64, string) {
	if e.base.odd > 0 || len(at) < 16 || len(e.Span) > 1 {
		return "", 0, ""
	}
	for _, t := range []struct {
		id, name string
		round    *rounding
	}{{PatternNoise10, "float16", float16}, {PatternNoise7, "bfloat16", bfloat16}} {
		if held(e.got, t.round) && !held(e.right, t.round) {
			return t.id, 0, fmt.Sprintf("every value of the output is one that %s holds: the stage, or what writes it, works in %s", t.name, t.name)
		}
	}
	if structured(e) {
		return "", 0, ""
	}
	part := e.base.rms() / scale(e.right)
	if !full && g.cost(e) >= heavy {
		if ratio := part / g.noisy; g.noisyID != "" && ratio > 0.25 && ratio < 4 {
			return g.noisyID, 0, fmt.Sprintf("the error has no structure and is %.2g times as large a part of the output as where it is like %s", ratio, bits[g.noisyID])
		}
		return "", 0, ""
	}
	e = g.sample(e)
	c := g.context(e, func(name string) []float32 { return g.own(e.Step, name) })
	c.kept = &g.kept
	for _, t := range []struct {
		id    string
		round *rounding
	}{{PatternNoise10, float16}, {PatternNoise7, bfloat16}} {
		like := between(t.round.of(c.rounded(t.round, t.round)), e.right, nil)
		if c.err() != nil || like.odd > 0 || like.squares == 0 {
			continue
		}
		if ratio := e.base.rms() / like.rms(); ratio > 0.25 && ratio < 4 {
			g.noisy, g.noisyID = part, t.id
			return t.id, 0, fmt.Sprintf("the error has no structure and is %.2g times that of %s", ratio, bits[t.id])
		}
	}
	return "", 0, ""
}

// held says whether every value is unchanged by a rounding.
func held(x []float32, round *rounding) bool {
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
func structured(e *wrongRow) bool {
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
