package faults

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/fit"
	"checkpoint12/harness/internal/rounding"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/harness/internal/words"
	"checkpoint12/model"
)

// The ids of explanations that name no known fault but what the error looks
// like. Explains is the fraction of the error that the pattern reproduces; it is 0
// for one that only names the kind of error. Where the id is empty there is no
// pattern either, and the Text describes the error.
const (
	PatternShape     = "pattern_shape"         // the output has another shape
	PatternNonfinite = "pattern_nonfinite"     // NaN or infinities where numbers belong
	PatternNoise10   = "pattern_noise_10_bits" // as rounding to 10 bits of mantissa would leave it
	PatternNoise7    = "pattern_noise_7_bits"  // as rounding to 7 bits would
	PatternRank      = "pattern_rank"          // few vectors over channels, each times one number per row
)

// Names returns what the Fault of an explanation may be: the ids of the catalogue, of two of
// its faults at once, and of the patterns.
func Names() (all []string) {
	for _, f := range slices.Concat(catalogue, composites) {
		all = append(all, f.ID)
	}
	all = append(all, fit.OfNumbers...)
	return append(all, PatternShape, PatternNonfinite, PatternNoise10, PatternNoise7, PatternRank,
		fit.PatternCopy, fit.PatternOtherWeights, fit.PatternOtherInput, fit.PatternSum, fit.PatternSoftmax, fit.PatternScores, fit.PatternHeads, fit.PatternLookup, fit.PatternInputs,
		fit.PatternPermuted, fit.PatternColumns, fit.PatternCache, fit.PatternChoice)
}

// A finding is the id of a pattern, the fraction of the error that it reproduces, and
// its words; the zero finding is none.
type finding struct {
	id       string
	explains float64
	text     string
}

// pattern describes the error of a row that no known fault reproduces.
func (g *rowGroup) pattern(e *wrongRow) harness.Explanation {
	x := harness.Explanation{Step: e.Step, Stage: e.Stage}
	if e.Stage == "next_token" {
		x.Text = g.choice(e)
		return x
	}
	where, found := "", e.nonfinite()
	if p := g.part(e, false); p != nil {
		where = p.text
	}
	for _, look := range []func(*wrongRow) finding{
		g.oneInput, g.ofRows, g.lowRank, g.precisionLoss,
	} {
		if found.id == "" {
			found = look(e)
		}
	}
	only := ""
	if where != "" {
		only = "; only these values are wrong: " + where
	}
	text := "no known fault; " + found.text + only
	if e.untried {
		text = "no fault that was found in other rows, and others were not tried; " + found.text + only
	}
	if found.id == "" {
		text = g.unexplained(e, where)
	}
	switch n := len(e.Span); {
	case n > 3:
		text = fmt.Sprintf("somewhere between %s and %s (%d stages): %s", e.Span[0], e.Span[n-1], n, text)
	case n > 1:
		text = "somewhere in " + words.And(e.Span) + ": " + text
	}
	x.Fault, x.Explains, x.Text = found.id, harness.Float(found.explains), text
	return x
}

// choice describes ids chosen by how the engine's own logits rank them.
func (g *rowGroup) choice(e *wrongRow) string {
	logits, V := g.input(g.run, e.Step, "logits_last"), g.model.Config().Vocab
	for b, id := range e.got {
		if id == e.right[b] {
			continue
		}
		text := fmt.Sprintf("no known fault gives this choice: id %v in row %d, the correct one is %v",
			id, b, e.right[b])
		if id < 0 || int(id) >= V || len(logits) < (b+1)*V {
			return text
		}
		row, above := logits[b*V:(b+1)*V], 0
		for _, v := range row {
			if v != v {
				return fmt.Sprintf("the logits of row %d are NaN, so no choice is correct: look further up", b)
			}
			if v > row[int(id)] {
				above++
			}
		}
		return text + fmt.Sprintf("; %s above that of the chosen id", words.Count(above, "logit"))
	}
	return "no known fault gives this choice"
}

// oneInput finds an error that follows one number at every place.
func (g *rowGroup) oneInput(e *wrongRow) finding {
	if e.base.Nonfinite > 0 || len(e.Span) > 1 {
		return finding{}
	}
	row, _ := g.observe(e.some)
	text := fit.OneInput(row)
	if text == "" {
		return finding{}
	}
	return finding{fit.PatternFunction, 0, text}
}

// nonfinite counts the NaN and infinities that do not belong there.
func (e *wrongRow) nonfinite() finding {
	nan, inf, below, hidden, lost := 0, 0, 0, 0, 0
	for i, v := range e.got {
		switch w := e.right[i]; {
		case !e.isWrong(i):
		case v != v && w == w:
			nan++
		case wordOf(e.Stage) == "attn.scores" && v < 0 && !finite(v) && finite(w):
			hidden++
		case v < 0 && !finite(v) && finite(w):
			below++
		case !finite(v) && finite(w):
			inf++
		case finite(v) && !finite(w):
			lost++
		}
	}
	var parts []string
	less := "-inf, where nothing is masked"
	if inf > 0 {
		less = "-inf"
	}
	for _, c := range []struct {
		n    int
		what string
	}{
		{nan, "NaN"},
		{inf, "infinite (float16 overflows at 65504)"},
		{below, less},
		{hidden, "keys hidden that the query should see"},
		{lost, "finite where -inf belongs"},
	} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	if len(parts) == 0 {
		return finding{}
	}
	return finding{PatternNonfinite, 0, fmt.Sprintf("of %s, %s", words.Count(len(e.got), "value"), words.And(parts))}
}

// shape describes an output of another shape than the correct one's.
func (g *rowGroup) shape(e *wrongRow) harness.Explanation {
	want, _ := model.Shape(g.model.Config(), e.Stage, e.dims)
	text := fmt.Sprintf("the shape is %v, it must be %v", e.shape, want)
	same := shapes.Product(e.shape) == shapes.Product(want)
	var differ []int // axes, of shapes of as many
	for i := range want {
		if len(e.shape) == len(want) && e.shape[i] != want[i] {
			differ = append(differ, i)
		}
	}
	one := len(differ) == 1
	n, of, past := 0, 0, false // of the one axis that differs
	if one {
		n, of = e.shape[differ[0]], want[differ[0]]
		past = of == e.dims.P+e.dims.T
	}
	switch {
	case same && slices.Equal(slices.Sorted(slices.Values(e.shape)), slices.Sorted(slices.Values(want))):
		text += ": the same axes in another order"
	case same:
		text += ": as many values, laid out another way"
	case past && n == e.dims.P:
		text += ": the cache ends before this step; append this step's rows, then read it"
	case past && n == e.dims.T:
		text += ": only this step's rows are there; the cached ones, P of them, come first"
	case past && n == of+e.dims.T:
		text += ": this step's rows are there twice"
	case one && n == g.model.Config().Positions:
		text += ": all n_positions rows were written, not only those in use; leave the others out, or let compare --map cut them off (\"pad\")"
	case one && wordOf(e.Stage) == "wte" && differ[0] == 1:
		text += fmt.Sprintf(": the step feeds %d tokens, where %d were expected; if your engine's steps overlap, write cut.json", n, of)
	case one && of == g.model.Config().Vocab && n > of:
		text += ": the vocabulary is padded; leave the columns after it out, or let compare --map cut them off (\"pad\")"
	case one:
		text += fmt.Sprintf(": axis %d is off", differ[0])
	}
	return harness.Explanation{Step: e.Step, Stage: e.Stage, Fault: PatternShape, Text: text}
}

// precisions are the fewer bits of mantissa whose errors are recognised.
var precisions = []struct {
	id, name string
	round    rounding.Rounding
	like     string
}{
	{PatternNoise10, "float16", rounding.Float16,
		"a stage that reads and writes 10 bits of mantissa: look for float16 or TF32, or for sums in float16"},
	{PatternNoise7, "bfloat16", rounding.BFloat16,
		"a stage that reads and writes 7 bits of mantissa: look for bfloat16, for weights or inputs of 8 bits, or for sums of many terms in float16"},
}

const (
	// sameNoise is the factor by which an error may be larger or smaller than that of a
	// stage all of whose numbers have few bits: some of them, weights or the output
	// alone, leave a part of it, and sums in few bits leave more.
	sameNoise = 4

	// leastMantissa is how many bits of mantissa bfloat16 has, the fewest of the types that are named.
	leastMantissa = 7

	// leastNoise is the number of wrong values that it takes to say that they have no
	// structure: fewer than 16 lean to one side by a quarter by chance.
	leastNoise = 16
)

// precisionLoss finds an error as large and as shapeless as fewer bits would leave it.
func (g *rowGroup) precisionLoss(e *wrongRow) finding {
	if e.base.Nonfinite > 0 || len(e.wrongPlaces()) < leastNoise || len(e.Span) > 1 {
		return finding{}
	}
	if _, right := g.elsewhere(e.Place); len(right) > 0 {
		return finding{} // whatever bits the stage computes in, it does at every step
	}
	for _, p := range slices.Backward(precisions) { // the fewest bits first
		if p.round.Holds(e.got) && !p.round.Holds(e.right) {
			if _, step, ok := fit.FixedStep(e.got); ok && !e.isRounded(p.round) {
				return finding{fit.PatternLevels, 0, "every value of the output is a multiple of " + step + ": it is rounded to a fixed step"}
			} else if !e.isRounded(p.round) {
				continue
			}
			if bits := fit.MantissaBits(e.got); bits < leastMantissa {
				return finding{p.id, 0, fmt.Sprintf("every value of the output has %d bits of mantissa at most: the stage, or what writes it, works in so few", bits)}
			}
			text := "every value of the output is one that %s holds: the stage, or what writes it, works in %[1]s"
			return finding{p.id, 0, fmt.Sprintf(text, p.name)}
		}
	}
	sums := isProduct(e.Stage) || strings.Contains(e.Stage, "ln_") || slices.Contains([]string{"attn.scores", "attn.context"}, wordOf(e.Stage))
	if !sums || e.hasStructure() {
		return finding{} // what other functions make of values with fewer bits is told value for value
	}
	d, _ := g.dims(e.Step)
	some := e.some
	c := some.context(g.model, d, func(name string) []float32 { return g.input(g.run, e.Step, name) })
	var near []finding
	own := g.part(e, false)
	if own == nil {
		own = g.tail(e)
	}
	off := func(f finding) float64 { return math.Abs(math.Log(f.explains)) }
	for _, p := range precisions {
		out := composite(p.name, p.round).output(c, 0)
		if out == nil {
			continue
		}
		like := harness.Between(some.right, g.onlyIn(own, e, out, some.right), nil)
		f := finding{p.id, some.base.RMS() / like.RMS(), p.like}
		if like.Nonfinite == 0 && off(f) < math.Log(sameNoise) {
			near = append(near, f)
		}
	}
	if len(near) == 0 {
		return finding{}
	}
	slices.SortStableFunc(near, func(a, b finding) int { return cmp.Compare(off(a), off(b)) })
	var like []string
	for _, f := range near {
		like = append(like, fmt.Sprintf("%.2g times that of %s", f.explains, f.text))
	}
	return finding{near[0].id, 0, "no structure was found in the error, which is " + strings.Join(like, "; or ")}
}

// mostRounded is how many times the error may be that of rounding the output alone, where what
// writes it works in few bits.
const mostRounded = 64

// isRounded reports whether an output of a type's values may come of rounding to them: if the correct
// ones, rounded, are as far off, and have no larger step.
func (e *wrongRow) isRounded(round rounding.Rounding) bool {
	rounded := round.Of(e.right)
	if h, _, ok := fit.FixedStep(e.got); ok && fit.MultiplesOf(rounded, h) < len(rounded)*7/8 {
		return false
	}
	like := harness.Between(e.right, rounded, nil)
	return like.Nonfinite > 0 || e.base.RMS() <= mostRounded*like.RMS()
}

// hasStructure reports whether the error follows the correct output, or leans to one
// side, more than rounding errors do: four times as much as is chance, and by a
// tenth at least, since what rounds the output itself follows it a little. So it does if
// values next to each other in size are off by nearly the same, or become the same.
func (e *wrongRow) hasStructure() bool {
	d, n := e.base, float64(len(e.got))
	if d.SqDiff == 0 || d.SqWant == 0 {
		return true
	}
	chance := math.Max(0.1, 4/math.Sqrt(n))
	along := math.Abs(d.GotWant-d.SqWant) / math.Sqrt(d.SqDiff*d.SqWant)
	if along > chance || math.Abs(e.sumOfErrors())/math.Sqrt(n*d.SqDiff) > chance {
		return true
	}
	if different(e.got) < different(e.right)*15/16 { // values fall on a grid
		return true
	}
	order := e.wrongPlaces()
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(e.right[i], e.right[j]) })
	var steps, squares float64 // of errors that do not depend on each other steps have twice the squares
	for k, i := range order {
		off := float64(e.got[i]) - float64(e.right[i])
		squares += off * off
		if k > 0 {
			before := order[k-1]
			step := off - (float64(e.got[before]) - float64(e.right[before]))
			steps += step * step
		}
	}
	return steps < squares
}

// different returns how many different values there are.
func different(x []float32) int {
	seen := map[float32]bool{}
	for _, v := range x {
		seen[v] = true
	}
	return len(seen)
}
