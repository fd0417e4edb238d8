package faults

import (
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/fit"
	"checkpoint12/model"
)

// fitLeft is how many times the rounding bound may be left where a hypothesis holds: the
// engine's rounding, and what that does to the numbers which were read off.
const fitLeft = 2

// A hypothesis is a fit as a fault that no catalogue lists, in a part of the output or all of it.
type hypothesis struct {
	Fault
	numbers int  // read off a row
	whole   bool // it cannot be held against a sample
	event   bool // it may begin at any step
	law     bool // it is a function of the layer's number

	unparted *Fault // without the part of the output in which it was found; nil if there is none

	channels bool // it is in some channels alone

	queries, steps int // positions of queries and steps that it takes to show it, if more than one
}

// on returns what of a row the hypothesis is held against.
func (h hypothesis) on(e *wrongRow) *wrongRow {
	if h.whole {
		return e
	}
	return e.some
}

// fitShown is how many times the rounding bound an error has to be in a narrow type: what is hardly
// more than its rounding, many numbers fit by chance.
const fitShown = 4

// holds reports whether all that the hypothesis leaves of a row's error is rounding, and more
// than that was there.
func (m match) holds() bool {
	return m.left.Nonfinite == 0 && m.beyond <= fitLeft && m.explains >= nearlyExplained && m.was >= fitShown
}

// fits returns the causes of a row by the hypotheses that hold of it, by index of g.fits. With
// search new ones are proposed where none of the others holds.
func (g *rowGroup) fits(e *wrongRow, search bool) map[int][]Cause {
	held := g.held(e, 0)
	if len(held) > 0 || !search {
		return held
	}
	if e.base.Wrong == 1 && len(e.got) > 1 && e.Stage != "next_token" {
		return held // of one value any function is true
	}
	known := len(g.hypotheses)
	for _, o := range g.observed(e) {
		for _, h := range append(fit.Propose(o.row), narrowWeights(o)...) {
			if h.OfRow && o.part != nil && o.part.keys {
				continue
			}
			f := g.hypothesis(e, h, o)
			if isAmong(g.hypotheses[known:], f) {
				continue
			}
			if m, ok := g.best(f.on(e), f.Fault); ok && m.holds() {
				f = f.alone(m, e.Span)
				for _, f := range append(g.mirrors(e, f, m), g.mirrorKeys(e, f, m)...) {
					if m, ok := g.best(f.on(e), f.Fault); ok && m.holds() && !isAmong(g.hypotheses[known:], f) {
						g.hypotheses = append(g.hypotheses, f)
					}
				}
			}
		}
		plain := func(h hypothesis) bool { return h.numbers <= fewNumbers } // else a part may say it by fewer
		if slices.ContainsFunc(g.hypotheses[known:], plain) && len(e.Span) == 1 {
			break
		}
	}
	return g.held(e, known)
}

// isAmong reports whether a hypothesis is among others that were read off the same row. Those of other rows
// may have its words, with numbers that these do not tell. Values in another order may be so in several stages.
func isAmong(all []hypothesis, f hypothesis) bool {
	return slices.ContainsFunc(all, func(h hypothesis) bool {
		return h.relation == f.relation && (f.ID != fit.PatternPermuted || slices.Equal(h.Stages, f.Stages))
	})
}

// held returns the causes of a row by the hypotheses from an index on that hold of it.
func (g *rowGroup) held(e *wrongRow, from int) map[int][]Cause {
	held := map[int][]Cause{}
	for i, h := range g.hypotheses[from:] {
		m, ok := g.best(h.on(e), h.Fault)
		if ok && !m.holds() && h.isOfCache(m) && len(e.Earlier) > 0 {
			m, ok = g.best(h.on(e).asRead(), h.Fault)
			m.read = true
		}
		if ok && m.holds() {
			held[from+i] = g.describe(e, []match{g.needed(h.on(e), m)})
			held[from+i][0].numbers, held[from+i][0].event = h.numbers, h.event
		}
	}
	return held
}

// isOfCache reports whether a match of a hypothesis is of a cache's rows in an order, which may be that of
// what is written into it or of what is read.
func (h hypothesis) isOfCache(m match) bool {
	return h.ID == fit.PatternPermuted && !h.event && len(m.stages) == 1 && strings.HasPrefix(wordOf(m.stages[0]), "attn.cache_")
}

// asRead returns a row as one of a step that reads what earlier ones wrote as it belongs there.
func (e *wrongRow) asRead() *wrongRow {
	row := *e
	row.readAnew = true
	return &row
}

// readings tells of causes in a cache that hold at later steps of what is read alone that this is so at
// every step: what is written into the cache is right.
func (g *rowGroup) readings(answers map[int]*answer) {
	for k := range g.hypotheses {
		read := map[string]bool{} // rows' stages
		for _, x := range answers {
			if held := x.fits[k]; held != nil && held[0].made.read {
				read[x.row.Stage] = true
			}
		}
		for _, x := range answers {
			if held := x.fits[k]; held != nil && read[x.row.Stage] {
				held[0].Text += ": it is read so anew at each of these steps, what is written into it is right"
				held[0].Values = nil
			}
		}
	}
}

// An observation is a row as package fit has it, or what is wrong of it in one part.
type observation struct {
	row  *fit.Row
	part *part // nil is all of it

	// input is set for an input of the row's stage that follows from its output: what the engine
	// must have read in the place of what it has there.
	input bool
}

// readBy is the input of a stage that follows from its output.
var readBy = map[string]string{"attn.c_proj": "attn.context", "attn.context": "attn.probs"}

// observed returns what a row shows of the functions of its stages: its own as a whole and, if
// they are not all of it, the wrong values alone; then those that follow from it.
func (g *rowGroup) observed(e *wrongRow) []observation {
	row, c := g.observe(e.some)
	if e.some != e {
		row.Whole, _ = g.observe(e)
	}
	all := []observation{{row: row}}
	for _, p := range g.parts(e) {
		own := *row
		own.Part = p.of(e, g.model.Config())
		all = append(all, observation{row: &own, part: p})
	}
	if len(e.Span) == 1 {
		if read := readBy[wordOf(e.Stage)]; read != "" && e.sampled == nil && e.some == e {
			rows, _ := g.recoverer.Recover(row, []string{c.block(read)})
			for _, r := range rows {
				all = append(all, observation{row: r, input: true})
			}
		}
		return all
	}
	shown := map[string]bool{e.Stage: true}
	for _, r := range g.recovered(e, row) {
		all, shown[r.Name] = append(all, observation{row: r}), true
		inner := wrongRow{Replayed: e.Replayed, dims: r.Dims, got: r.Got, right: r.Right, bound: r.Bound}
		inner.Stage = r.Name
		for _, p := range g.parts(&inner) {
			own := *r
			own.Part = p.places(g.model.Config(), &Context{Dims: r.Dims, Stage: r.Name})
			all = append(all, observation{row: &own, part: p})
		}
	}
	for _, stage := range e.Span {
		if inner := row.Stage; !shown[stage] {
			inner.Name = stage
			all = append(all, observation{row: &fit.Row{Stage: inner, End: row}})
		}
	}
	return all
}

// recovered returns what the engine must have had in stages of a row's span: those that follow
// from the row, and those of the residual stream that follow from later ones.
func (g *rowGroup) recovered(e *wrongRow, row *fit.Row) []*fit.Row {
	rows, why := g.recoverer.Recover(row, e.Span)
	e.unrecovered = why
	for _, stage := range e.Span {
		at := harness.Place{Step: e.Step, Stage: stage}
		if at == e.Place || g.has(at) {
			continue
		}
		if v, ok := g.subtract(at); ok {
			r := &fit.Row{Stage: row.Stage, Got: v.F32, Bound: v.Bound, Right: g.input(g.run, at.Step, at.Stage), Recovered: true}
			r.Name, r.Correct = stage, func() []float32 { return r.Right }
			if len(r.Right) == len(r.Got) {
				rows = append(rows, r)
			}
		}
	}
	return rows
}

// observe returns a row as package fit has it, and its Context.
func (g *rowGroup) observe(e *wrongRow) (*fit.Row, *Context) {
	d, _ := g.dims(e.Step)
	c := e.context(g.model, d, func(name string) []float32 { return g.input(g.run, e.Step, name) })
	c.step, c.at, c.right, c.wrong = e.Step, g.anyStep(e, d), e.right, g.computesWrong
	stage := c.stage()
	stage.Stages = g.candidate.Stages(e.Step)
	stage.Has = func(step int, name string) bool { return g.has(harness.Place{Step: step, Stage: name}) }
	return &fit.Row{Stage: *stage, Got: e.got, Right: e.right, Bound: e.bound}, c
}

// computesWrong reports whether a stage of a step that the candidate has is wrong by its own computation.
func (c *candidateRun) computesWrong(step int, stage string) bool {
	return slices.ContainsFunc(c.judged, func(row harness.Replayed) bool {
		return row.Step == step && row.Stage == stage && row.Verdict == harness.ReplayIntroduced
	})
}

// anyStep returns an input of any step: of a sample its own rows of what has a row for each.
func (c *candidateRun) anyStep(e *wrongRow, d model.Dims) func(step int, stage string) []float32 {
	return func(step int, stage string) []float32 {
		x := c.input(c.run, step, stage)
		if e.sampled != nil && step == e.Step && strings.HasPrefix(model.Axes(stage), "B T") {
			return pick(x, e.sampled, d.B*d.T)
		}
		return x
	}
}

// hypothesis returns a fit on what a row shows as a fault.
func (g *rowGroup) hypothesis(e *wrongRow, h fit.Hypothesis, o observation) hypothesis {
	f := Fault{ID: h.ID, Kind: Plain, Stages: h.Stages, Text: h.Text, fit: true}
	output := func(c *Context) []float32 { return h.Output(c.stage()) }
	var unparted *Fault
	if o.part != nil {
		f.Text += ", " + o.part.text
		f.part = o.part
		whole := output
		bare := f
		bare.Text, bare.relation, bare.variants, bare.part = h.Text, h.Text, []variant{whole}, nil
		unparted = &bare
		output = func(c *Context) []float32 {
			out := slices.Clone(whole(c))
			for i, wrong := range o.part.places(c.Model.Config(), c) {
				if out != nil && !wrong {
					out[i] = c.Right()[i]
				}
			}
			return out
		}
	}
	if o.input {
		own, _ := model.ParseStage(e.Stage)
		read := wordOf(o.row.Name)
		const reads = "it does not read %s as it is dumped: "
		text := f.Text
		f.Stages, f.Text = []string{own.Kind()}, fmt.Sprintf(reads, read)+text
		input := output
		if other := keyMirrors[read]; other != "" && h.ID == fit.PatternPermuted {
			if orders, ok := (&Context{Model: g.model, Dims: o.row.Dims, Stage: o.row.Name, step: e.Step}).keyOrders(output); ok {
				f.Text += "; or, which gives the same, " + fmt.Sprintf(reads, other) + orders.text(text, true)
			}
		}
		output = func(c *Context) []float32 {
			other := *c
			other.Stage, other.right, other.got = c.block(read), nil, nil
			x := input(&other)
			if x == nil {
				return nil
			}
			return c.apply(c.Stage, func(name string) []float32 {
				if name == other.Stage {
					return x
				}
				return c.in(name)
			})
		}
	}
	f.variants, f.relation = []variant{output}, f.Text+" in "+strings.Join(f.Stages, " ")
	channels := o.part != nil && strings.Contains(o.part.text, "channel")
	return hypothesis{f, h.Numbers, h.Whole || o.part != nil && o.part.rows, h.Event, h.OfLayer, unparted, channels, h.Queries, h.Steps}
}

// narrowWeights proposes weights of a part of a matrix in few bits; of all of it the catalogue tells.
func narrowWeights(o observation) (all []fit.Hypothesis) {
	if o.part == nil || o.input || !isProduct(o.row.Name) {
		return nil
	}
	name, _ := model.ParseStage(o.row.Name)
	for _, p := range precisions {
		for _, both := range []bool{false, true} {
			what := "the weights"
			if both {
				what += " and the bias"
			}
			all = append(all, fit.Hypothesis{ID: fit.PatternWeights, Text: what + " are rounded to " + p.name + ": take the file's as they are", Stages: []string{name.Kind()}, Output: func(s *fit.Stage) []float32 {
				c := &Context{Model: s.Model, Dims: s.Dims, Stage: s.Name, In: s.In, right: s.Correct()}
				if both || s.Name == "logits" {
					return c.rounded(p.round, nil)
				}
				return c.product(nil, p.round, c.bias())
			}})
		}
	}
	return all
}

// stage returns the Context as package fit has it.
func (c *Context) stage() *fit.Stage {
	return &fit.Stage{Model: c.Model, Dims: c.Dims, Name: c.Stage, Step: c.step, In: c.In, At: c.at, Wrong: c.wrong, Correct: c.Right, Seen: c.got}
}
