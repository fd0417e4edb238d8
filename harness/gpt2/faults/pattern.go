package faults

import (
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/words"
	"checkpoint12/model"
)

// The ids of explanations that name no known fault but what the error looks
// like. Explains is the fraction of the error that the pattern reproduces; it is 0
// for one that only names the kind of error. Where the id is empty there is no
// pattern either, and the Text describes the error.
const (
	PatternShape         = "pattern_shape"          // the output has another shape
	PatternNonfinite     = "pattern_nonfinite"      // NaN or infinities where numbers belong
	PatternZero          = "pattern_zero"           // what is wrong is 0: it was never written
	PatternRatio         = "pattern_ratio"          // the correct output times one number
	PatternOffset        = "pattern_offset"         // the correct output plus one number
	PatternBias          = "pattern_bias"           // the bias is in it twice, half, …
	PatternChannelOffset = "pattern_channel_offset" // the same vector is added to every row
	PatternChannelRatio  = "pattern_channel_ratio"  // every row is multiplied by the same vector
	PatternCopy          = "pattern_copy"           // it is another tensor of the dump
	PatternOtherWeights  = "pattern_other_weights"  // another layer's, or norm's, weights give it
	PatternOtherInput    = "pattern_other_input"    // another layer's inputs give it
	PatternPermuted      = "pattern_permuted"       // the correct values in another order
	PatternNoise10       = "pattern_noise_10_bits"  // as rounding to 10 bits of mantissa would leave it
	PatternNoise7        = "pattern_noise_7_bits"   // as rounding to 7 bits would
)

// A finding is the id of a pattern, the fraction of the error that it reproduces, and
// its words; the zero finding is none.
type finding struct {
	id       string
	explains float64
	text     string
}

// pattern describes the error of a row that no known fault reproduces. With
// search it also computes the stage with the weights and inputs of other layers.
func (g *rowGroup) pattern(e *wrongRow, search bool) harness.Explanation {
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
		g.fitted, g.copied, g.permuted, func(e *wrongRow) finding { return g.otherLayer(e, search) }, g.precisionLoss,
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

// fewValues is the number of different values up to which a tensor is equal to another by
// chance, as a constant is, or what has one probability of 1 in each row.
const fewValues = 8

// copied finds an output that is another tensor of the candidate's, of the same step or,
// for its own kind of stage, of an earlier one.
func (g *rowGroup) copied(e *wrongRow) finding {
	if len(e.got) > maxSearched || e.base.Nonfinite > 0 {
		return finding{}
	}
	few := map[float32]bool{}
	for i := 0; i < len(e.got) && len(few) <= fewValues; i++ {
		few[e.got[i]] = true
	}
	if len(few) <= fewValues {
		return finding{}
	}
	order := model.StageNames(g.model.Config(), nil)
	for _, at := range g.equal(e.got) {
		text := fmt.Sprintf("the output is that of %s: the wrong buffer was read or written", at.Stage)
		switch {
		case at == e.Place || at.Step > e.Step || isMoved(e.Stage, at.Stage):
			continue
		case at.Step < e.Step && wordOf(at.Stage) != wordOf(e.Stage):
			continue
		case at.Step < e.Step:
			text = fmt.Sprintf("the output is %s of step %d: a buffer that was not written again", at.Stage, at.Step)
		case slices.Index(order, at.Stage) > slices.Index(order, e.Stage):
			text = fmt.Sprintf("the output is that of %s, which comes later: "+
				"the buffer was written over before it was kept; copy it in the hook", at.Stage)
		}
		return finding{PatternCopy, 1, text}
	}
	return finding{}
}

// isMoved reports whether one of two stages may be equal to the other in a correct run.
func isMoved(a, b string) bool {
	a, b = min(wordOf(a), wordOf(b)), max(wordOf(a), wordOf(b))
	return a == "logits" && b == "logits_last" ||
		a == "attn.cache_k" && b == "attn.k" || a == "attn.cache_v" && b == "attn.v"
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

// otherLayer finds an output that the stage's function gives with the weights, or with
// the inputs, of another place in the model. Without search only relations between layers that
// explained another row are tried.
func (g *rowGroup) otherLayer(e *wrongRow, search bool) finding {
	var faults []Fault
	for _, stage := range e.Span {
		for _, other := range kin(g.model.Config(), stage) {
			faults = append(faults, withOther(g.model.Config(), stage, other)...)
		}
	}
	if !search {
		faults = slices.DeleteFunc(faults, func(f Fault) bool { return !f.isAmong(g.found) })
	}
	matches := g.matches(e.some, faults)
	if len(matches) == 0 {
		return finding{}
	}
	g.remember(matches[:1])
	best := matches[0]
	remedy := "check which weights each layer is given"
	if best.fault.ID == PatternOtherInput {
		remedy = "check what each layer is handed"
	}
	return finding{best.fault.ID, best.explains, best.fault.Text + " gives it: " + remedy}
}

// withOther returns a stage with the weights, and with the inputs, of another, as faults
// that no catalogue lists.
func withOther(cfg model.Config, stage, other string) (all []Fault) {
	here, _ := model.ParseStage(stage)
	there, _ := model.ParseStage(other)
	relation := other
	if here.Layer >= 0 {
		relation = fmt.Sprintf("%s, layer %+d", there.Word, there.Layer-here.Layer)
	}
	own, others := model.Reads(cfg, stage), model.Reads(cfg, other)
	if model.NeedsWeights(stage) {
		all = append(all, Fault{
			ID: PatternOtherWeights, Stages: []string{stage}, relation: relation,
			Text: fmt.Sprintf("%s with the weights of %s", stage, other), variants: []variant{with(other, others, own)},
		})
	}
	if there.Word != here.Word || there.Layer > here.Layer {
		return all // what comes later is computed from this very output
	}
	inputs := []variant{with(stage, own, others)}
	for i := 0; len(own) > 1 && i < len(own); i++ { // or one of several inputs
		inputs = append(inputs, with(stage, own[i:i+1], others[i:i+1]))
	}
	return append(all, Fault{
		ID: PatternOtherInput, Stages: []string{stage}, relation: relation,
		Text: fmt.Sprintf("%s on the inputs of %s", stage, other), variants: inputs,
	})
}

// with returns the function of a stage that is given one input in the place of another.
func with(stage string, asked, given []string) variant {
	return func(c *Context) []float32 {
		return c.apply(stage, func(name string) []float32 {
			if i := slices.Index(asked, name); i >= 0 {
				name = given[i]
			}
			return c.in(name)
		})
	}
}

// kin returns the other stages whose weights, or inputs, are of the same shapes as the
// stage's: the same stage of other layers and, for a norm, every norm.
func kin(cfg model.Config, stage string) []string {
	isNorm := func(stage string) bool { return strings.HasPrefix(wordOf(stage), "ln_") }
	return slices.DeleteFunc(model.StageNames(cfg, nil), func(other string) bool {
		alike := wordOf(other) == wordOf(stage) || isNorm(other) && isNorm(stage)
		return !alike || other == stage
	})
}
