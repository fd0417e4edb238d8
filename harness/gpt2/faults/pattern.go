package faults

import (
	"fmt"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/fit"
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
)

// Names returns what the Fault of an explanation may be: the ids of the catalogue, of two of
// its faults at once, and of the patterns.
func Names() (all []string) {
	for _, f := range slices.Concat(catalogue, composites) {
		all = append(all, f.ID)
	}
	all = append(all, fit.OfNumbers...)
	return append(all, PatternShape, PatternNonfinite, PatternNoise10, PatternNoise7,
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
	if p := g.part(e); p != nil {
		where = p.text
	}
	for _, look := range []func(*wrongRow) finding{
		g.oneInput, g.precisionLoss, g.ofRows,
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
	nan, inf, hidden, lost := 0, 0, 0, 0
	for i, v := range e.got {
		switch w := e.right[i]; {
		case !e.isWrong(i):
		case v != v && w == w:
			nan++
		case wordOf(e.Stage) == "attn.scores" && v < 0 && !finite(v) && finite(w):
			hidden++
		case !finite(v) && finite(w):
			inf++
		case finite(v) && !finite(w):
			lost++
		}
	}
	var parts []string
	for _, c := range []struct {
		n    int
		what string
	}{
		{nan, "NaN"},
		{inf, "infinite (float16 overflows at 65504)"},
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
	same := product(e.shape) == product(want)
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
