package faults

import (
	"math"
	"slices"

	"github.com/tphakala/simd/f32"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model"
)

// underMask returns a variant that computes a stage of a row of a padded batch as if other
// columns of the row were its tokens: every fault that only padding has is the correct
// function under a mask of its own. masks returns those that the engine may have taken, nil
// where the fault changes nothing.
func underMask(masks func(r *paddedRow) [][]int) variant {
	return func(c *Context) (best []float32) {
		if c.padded == nil {
			return nil
		}
		least := harness.Distance{}
		for _, mask := range masks(c.padded) {
			out := c.padded.output(c, mask)
			if c.padded.got == nil { // it is planted
				if slices.Equal(out, c.Full(c.Right())) {
					continue
				}
				return out
			}
			if len(out) != len(c.padded.got) {
				continue
			}
			if d := harness.Between(out, c.padded.got, nil); best == nil || compareDistance(d, least) < 0 {
				best, least = out, d
			}
		}
		return best
	}
}

// noneMasked is a mask that takes padding for tokens.
func noneMasked(r *paddedRow) [][]int {
	return [][]int{slices.Repeat([]int{1}, len(r.own()))}
}

// fromPrompt are the masks of an engine that masks padding at no step.
func fromPrompt(r *paddedRow) [][]int {
	if masked, known := r.maskedBefore(); known && masked {
		return nil
	}
	return noneMasked(r)
}

// afterPrompt are the masks of an engine that masks padding at its first step alone.
func afterPrompt(r *paddedRow) [][]int {
	if masked, known := r.maskedBefore(); r.Padding().Cut[r.at.Step].P == 0 || known && !masked {
		return nil
	}
	return noneMasked(r)
}

// ofOtherRows are the masks of the other rows of the batch; of a row without padding it is
// noneMasked.
func ofOtherRows(r *paddedRow) (all [][]int) {
	p := r.Padding()
	for i := range len(p.Whole.Tokens()) - 1 {
		mask := maskOf(p, (p.Row+1+i)%len(p.Whole.Tokens()))
		if slices.Contains(mask, 0) && !slices.Equal(mask, r.own()) {
			all = append(all, mask)
		}
	}
	return all
}

// withoutOwn makes a variant in which a query at what the mask takes for padding does not see
// its own key, of which no model says whether it does.
func withoutOwn(v variant) variant {
	return func(c *Context) []float32 {
		if c.padded == nil {
			return nil
		}
		c.padded.blind = true
		return v(c)
	}
}

// spreading returns a variant in which a probability of 0 times a value at padding that is not
// finite is NaN, of the keys up to the last that a query's products are taken with.
func spreading(last func(query int) int) variant {
	own := underMask(func(r *paddedRow) [][]int { return [][]int{r.own()} })
	return func(c *Context) []float32 {
		if c.padded == nil {
			return nil
		}
		c.padded.spreads = last
		return own(c)
	}
}

// A paddedRow is a row of a batch with its padding, of which an output is computed.
type paddedRow struct {
	*harness.BatchRow
	at     harness.Place
	got    []float32 // the engine's output, as the row has it with the keys at padding; nil where a fault is planted
	stages []string  // in which the fault sits,
	from   int       // from this step on

	blind   bool                // see withoutOwn
	spreads func(query int) int // see spreading
}

// alter makes what blind and spreads say of the output of a stage in which the fault sits.
func (r *paddedRow) alter(cfg model.Config, stage string, d model.Dims, in map[string][]float32, out []float32) {
	S, H, nan := d.P+d.T, cfg.Heads, float32(math.NaN())
	switch wordOf(stage) {
	case "attn.scores": // [H,T,S]
		for i := range out {
			if own := d.P + i/S%d.T; r.blind && i%S == own && !d.Mask[own] {
				out[i] = float32(math.Inf(-1))
			}
		}
	case "attn.context": // [T,H,D]
		D, v := cfg.Embd/H, in[model.Reads(cfg, stage)[1]]
		for i := range out {
			t, h := i/cfg.Embd, i/D%H
			for s := 0; r.spreads != nil && s < S && s <= r.spreads(d.P+t); s++ {
				if !d.Mask[s] && !finite(v[(h*S+s)*D+i%D]) {
					out[i] = nan
				}
			}
		}
	}
}

// maskOf returns which columns of a row are tokens, up to the last that is fed.
func maskOf(p harness.Padding, row int) (mask []int) {
	end := len(p.Whole.Tokens()[row])
	for _, span := range p.Cut {
		end = max(end, span.End())
	}
	mask = slices.Repeat([]int{1}, end)
	if all := harness.MaskOf(p.Whole); all != nil {
		copy(mask, all[row])
	}
	return mask
}

// takesFromPadding reports whether the stage is the context of a row of a padded batch in which
// a query looks at padding: the probabilities of its tokens' keys do not sum to 1.
func (c *Context) takesFromPadding() bool {
	if c.padded == nil || wordOf(c.Stage) != "attn.context" {
		return false
	}
	probs := c.reads(0)
	for lo := 0; lo < len(probs); lo += c.keys() {
		sum := float32(0)
		for _, p := range probs[lo : lo+c.keys()] {
			sum += p
		}
		if !(sum > 1-1e-5) {
			return true
		}
	}
	return false
}

func (r *paddedRow) own() []int { return maskOf(r.Padding(), r.Padding().Row) }

// maskedBefore reports whether the layer of the output masks padding at the step before,
// known false if that is not to be seen.
func (r *paddedRow) maskedBefore() (masked, known bool) {
	i := slices.Index(r.Steps(), r.at.Step)
	if i <= 0 {
		return false, false
	}
	s, _ := model.ParseStage(r.at.Stage)
	for _, word := range []string{"attn.scores", "attn.probs"} {
		s.Word = word
		at := harness.Place{Step: r.Steps()[i-1], Stage: s.String()}
		if _, ok := r.Shape(at.Step, at.Stage); !ok || s.Layer < 0 {
			continue
		}
		_, seen, err := r.AtPadding(at)
		return !seen, err == nil
	}
	return false, false
}

// output returns what the stages put out under a mask, with the keys at padding.
func (r *paddedRow) output(c *Context, mask []int) []float32 {
	at, places := r.at, r.Places(r.at.Step, r.at.Stage, true)
	shape, _ := r.Shape(at.Step, at.Stage)
	if at.Stage == "logits" && shape[1] == 1 && r.Padding().Cut[at.Step].T > 1 { // of the last position alone
		at.Stage, r.stages = "logits_last", append(slices.Clone(r.stages), "logits_last")
	}
	whole := r.compute(c.Model, at, mask, map[harness.Place][]float32{})
	out := make([]float32, len(places))
	for i, place := range places {
		out[i] = whole[place%len(whole)]
	}
	return out
}

// compute computes a stage of the row with its padding, of what it needs each once.
func (r *paddedRow) compute(m *model.Model, at harness.Place, mask []int, done map[harness.Place][]float32) []float32 {
	if out, ok := done[at]; ok {
		return out
	}
	span, ok := r.Padding().Cut.At(at.Step)
	if !ok {
		panic(unknown(at.String()))
	}
	tokens := mask
	if !slices.Contains(r.stages, at.Stage) || at.Step < r.from {
		tokens = r.own()
	}
	d := model.Dims{B: 1, T: span.T, P: span.P}
	for _, one := range tokens[:span.End()] {
		d.Mask = append(d.Mask, one == 1)
	}
	size := func(name string) int {
		shape, _ := model.Shape(m.Config(), name, d)
		return shapes.Product(shape)
	}
	in := map[string][]float32{}
	for _, name := range model.Reads(m.Config(), at.Stage) {
		from := harness.InputPlace(at.Step, name)
		switch x, err := r.WithPadding(from.Step, from.Stage); {
		case name == "pos":
			in[name] = []float32{float32(span.P)}
		case name == "tokens":
			in[name] = values(harness.Tensor{I64: ids(r.Padding().Whole.Tokens()[r.Padding().Row][span.P:span.End()])})
		case from.Step < at.Step && span.P == 0:
			in[name] = []float32{}
		case err == nil && len(values(x)) == size(name):
			in[name] = values(x)
		default:
			in[name] = r.compute(m, from, mask, done)
		}
	}
	out := make([]float32, size(at.Stage))
	err := m.Apply(at.Stage, d, func(name string) []float32 { return in[name] }, out)
	if err != nil {
		panic(unknown(err.Error()))
	}
	if slices.Contains(r.stages, at.Stage) && at.Step >= r.from {
		r.alter(m.Config(), at.Stage, d, in, out)
	}
	done[at] = out
	return out
}

func ids(tokens []int) (all []int64) {
	for _, id := range tokens {
		all = append(all, int64(id))
	}
	return all
}

// inBatch returns the row in its batch; nil if it is of none.
func (g *rowGroup) inBatch(e *wrongRow) *paddedRow {
	row, ok := g.candidate.(*harness.BatchRow)
	if !ok {
		return nil
	}
	got, _, _, _ := e.compared()
	return &paddedRow{BatchRow: row, at: e.Place, got: got}
}

// bareScores returns the scores of a row of a padded batch without any mask, those of keys
// at padding too.
func (c *Context) bareScores(scale float64) []float32 {
	if c.padded == nil {
		return nil
	}
	r := c.padded
	q, err1 := r.WithPadding(r.at.Step, c.block("attn.q"))
	k, err2 := r.WithPadding(r.at.Step, c.block("attn.cache_k"))
	span := r.Padding().Cut[r.at.Step]
	T, S, D := span.T, span.End(), c.width()
	if err1 != nil || err2 != nil || len(q.F32) != T*c.embd() || len(k.F32) != S*c.embd() {
		return nil
	}
	places := r.Places(r.at.Step, c.Stage, true)
	out := make([]float32, len(places))
	for i, place := range places {
		at := place % (c.heads() * T * S)
		head, t, s := at/(T*S), at/S%T, at%S
		out[i] = float32(float64(f32.DotProduct(q.F32[(head*T+t)*D:][:D], k.F32[(head*S+s)*D:][:D])) * scale)
	}
	return out
}

// hasUnpadded reports whether a row of the candidate's batch has no padding.
func (c *candidateRun) hasUnpadded() bool {
	row, ok := c.candidate.(*harness.BatchRow)
	if !ok {
		return false
	}
	p := row.Padding()
	for i := range p.Whole.Tokens() {
		if !slices.Contains(maskOf(p, i), 0) {
			return true
		}
	}
	return false
}

// padsAlone is what is said of a row that is right but for keys at padding.
const padsAlone = "keys at padding take part in attention: put -inf in their places"
