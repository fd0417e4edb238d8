package diagnose

import (
	"fmt"
	"math"
	"strings"

	"checkpoint12/harness/gpt2"
)

// normInput is what a LayerNorm reads; "" for ln_f, whose input depends on the
// number of layers.
func normInput(stage string) string {
	switch {
	case stage == "ln_f":
		return ""
	case strings.HasSuffix(stage, ".ln_2"):
		return strings.TrimSuffix(stage, "ln_2") + "resid_mid"
	}
	return blockInput(stage)
}

// What a normalised row may be off for no other reason than how an engine takes
// its mean and variance. Over all LayerNorms of the committed goldens, tiny and
// medium, the mean is within 8e-8 of 0 and the mean square within 1e-6 of what it
// must be; a mean that is kept or a variance divided by C-1 show by 1e-3 and more.
const normSlack = 3e-5

// norm asks whether a LayerNorm's output [B,T,C], its bias taken off and its gain
// divided out, has mean 0 and mean square var/(var+eps): 1, nearly. var is the
// variance of the input, where the dump has it; else the mean square is only
// held to be no more than 1.
//
// A channel of so small a gain that rounding hides its normalised value is left
// out. What that leaves unknown has bounds: all channels sum to 0 and their
// squares to at most C, so if n are left out, then by Cauchy and Schwarz the
// others' sum is at most the root of n·(C - the others' sum of squares).
func (c *invariants) norm(stage, input string) {
	y, ok := c.get(c.step, stage, 3)
	if !ok || c.m == nil {
		return
	}
	if input == "" {
		input = fmt.Sprintf("h.%d.resid_post", c.m.Config().Layers-1)
	}
	gain, _, ok1 := c.m.Weight(stage + ".weight")
	bias, _, ok2 := c.m.Weight(stage + ".bias")
	C := y.Shape[2]
	if !ok1 || !ok2 || len(gain) != C || len(bias) != C {
		return
	}
	x, known := c.get(c.step, input, 3)
	known = known && len(x.F32) == len(y.F32)
	var mean, square worst
	for row := 0; row < len(y.F32); row += C {
		n := normalised(y.F32[row:row+C], gain, bias)
		if n.kept == 0 {
			continue
		}
		limit := float64(C)
		if known {
			v := variance(x.F32[row : row+C])
			limit *= v / (v + c.m.Config().Eps)
		}
		slack := normSlack * float64(C)
		rest := max(0, limit+slack+n.squareOff-n.square)
		hidden := float64(C - n.kept)
		mean.add(row, math.Abs(n.sum), math.Sqrt(hidden*rest)+slack+n.sumOff,
			func() string { return fmt.Sprintf("%.6g", n.sum/float64(C)) })
		off := n.square - limit // more than there can be
		if known && n.kept == C {
			off = math.Abs(off)
		}
		square.add(row, off, slack+n.squareOff,
			func() string { return fmt.Sprintf("%.9g, want %.9g", n.square/float64(C), limit/float64(C)) })
	}
	if mean.of > 0 {
		c.check(stage, "its mean before the gain is not 0", mean.detail("rows", y.Shape))
		c.check(stage, "its variance before the gain is not 1", square.detail("rows", y.Shape))
	}
}

// normSums is what a row was before gain and bias.
type normSums struct {
	kept              int     // channels whose normalised value is known
	sum, square       float64 // over these
	sumOff, squareOff float64 // what rounding of the output does to the two
}

// normalised takes gain and bias from a row of a LayerNorm's output.
func normalised(y, gain, bias []float32) (n normSums) {
	var off2, squareOff2 float64
	for i, v := range y {
		g, b := math.Abs(float64(gain[i])), float64(bias[i])
		h := (float64(v) - b) / float64(gain[i])
		// The product with the gain was rounded, the sum with the bias, and the
		// output when it was stored.
		off := gpt2.Unit * (2*math.Abs(float64(v)) + math.Abs(b) + math.Abs(h)*g) / g
		if !(off <= normSlack*math.Sqrt(float64(len(y)))) && !math.IsNaN(float64(v)) {
			continue // a gain near 0
		}
		n.kept++
		n.sum += h
		n.square += h * h
		off2 += off * off
		squareOff2 += 4 * h * h * off * off
	}
	n.sumOff, n.squareOff = gpt2.Lambda*math.Sqrt(off2), gpt2.Lambda*math.Sqrt(squareOff2)
	return n
}

// variance is the biased variance of a row.
func variance(x []float32) float64 {
	var mean, v float64
	for _, a := range x {
		mean += float64(a) / float64(len(x))
	}
	for _, a := range x {
		v += (float64(a) - mean) * (float64(a) - mean) / float64(len(x))
	}
	return v
}
