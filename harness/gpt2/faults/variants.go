package faults

import (
	"math"
	"slices"
	"strings"

	"github.com/tphakala/simd/f32"

	"checkpoint12/harness/internal/rounding"
	"checkpoint12/model"
	"checkpoint12/model/sample"
)

// A variant computes a stage's output with a fault in it; nil where the fault
// changes nothing: no past to overwrite, no second query to mask.
type variant = func(c *Context) []float32

// variants are the ways to make each fault of the catalogue, the usual one first.
var variants = map[string][]variant{
	"ln_unbiased":     {norm(func(_ *Context, n *normalising) { n.unbiased = true })},
	"ln_eps_1e-6":     {epsilon(1e-6)},
	"ln_eps_1e-12":    {epsilon(1e-12), epsilon(0)},
	"ln_mean_kept":    {norm(func(_ *Context, n *normalising) { n.keepMean = true })},
	"ln_gain_dropped": {norm(func(_ *Context, n *normalising) { n.gain = filled(n.width, 1) })},
	"ln_bias_dropped": {norm(func(_ *Context, n *normalising) { n.bias = filled(n.width, 0) })},
	"ln2_with_ln1_weights": {norm(func(c *Context, n *normalising) {
		n.gain, n.bias = c.weight(c.block("ln_1.weight")), c.weight(c.block("ln_1.bias"))
	})},
	"ln2_of_block_input": {norm(func(c *Context, n *normalising) { n.x = c.in(c.blockInput()) })},
	"final_norm_missing": {first},

	"pos_off_by_one": {func(c *Context) []float32 { return c.positionsFrom(c.Dims.P + 1) }},
	"pos_restarted":  {withPast(func(c *Context) []float32 { return c.positionsFrom(0) })},
	"pos_not_added":  {first},

	"conv1d_transposed": {func(c *Context) []float32 {
		w, bias := c.gain(), c.bias()
		return timesTransposed(c.reads(0), w, bias, len(w)/len(bias), nil)
	}},
	"bias_dropped":      {func(c *Context) []float32 { return c.product(nil, nil, nil) }},
	"qkv_order_kqv":     {func(c *Context) []float32 { return c.splitInOrder("kqv") }},
	"qkv_order_vkq":     {func(c *Context) []float32 { return c.splitInOrder("vkq") }},
	"qkv_per_head":      {func(c *Context) []float32 { return c.split(3*c.width(), c.third("qkv")*c.width(), 1) }},
	"heads_interleaved": {func(c *Context) []float32 { return c.split(1, c.third("qkv")*c.embd(), c.heads()) }},

	"cache_overwritten": {withPast(func(c *Context) []float32 {
		return c.cacheRows(func(head, s int) []float32 {
			if s < c.Dims.T {
				return c.added(head, s)
			}
			return c.cached(head, s)
		})
	})},
	"cache_stale":   {func(c *Context) []float32 { return c.cacheRows(c.cached) }},
	"cache_k_for_v": {otherWhole, otherRows, func(c *Context) []float32 { return c.in(c.otherCache()) }},
	"cache_shifted": {withPast(func(c *Context) []float32 {
		return c.cacheRows(func(head, s int) []float32 {
			if s < c.Dims.P-1 {
				return c.cached(head, s)
			}
			return c.added(head, s-c.Dims.P+1)
		})
	})},
	"cache_rolled": {rolled},

	"scale_missing": {ofReleasedScale(func(c *Context) []float32 { return c.scores(1, 0) })},
	"scale_d":       {ofReleasedScale(func(c *Context) []float32 { return c.scores(1/float64(c.width()), 0) })},
	"scale_c":       {ofReleasedScale(func(c *Context) []float32 { return c.scores(1/math.Sqrt(float64(c.embd())), 0) })},
	"mask_missing": {
		ofSeveral(func(c *Context) []float32 { return c.scores(c.scale(), c.keys()) }),
		ofSeveral(func(c *Context) []float32 { return c.bareScores(c.scale()) }),
	},
	"mask_diagonal_hidden": {
		func(c *Context) []float32 { return c.scores(c.scale(), -1) },
		func(c *Context) []float32 { return c.withFirst(c.scores(c.scale(), -1)) },
	},
	"mask_one_ahead":     {ofSeveral(func(c *Context) []float32 { return c.scores(c.scale(), 1) })},
	"mask_without_past":  {withPast(func(c *Context) []float32 { return c.scores(c.scale(), -c.Dims.P) })},
	"mask_leaking":       {leaking(false), leaking(true)},
	"softmax_axis":       {func(c *Context) []float32 { return c.softmaxAlong(c.Dims.T, c.keys(), false) }},
	"softmax_axis_heads": {func(c *Context) []float32 { return c.softmaxAlong(c.heads(), c.Dims.T*c.keys(), true) }},
	"heads_not_merged":   {ofSeveral(headsNotMerged)},

	"resid_missing":        {func(c *Context) []float32 { return c.reads(1) }},
	"resid_from_normed":    {func(c *Context) []float32 { return c.addedTo(c.normBefore()) }},
	"resid_of_block_input": {func(c *Context) []float32 { return c.addedTo(c.blockInput()) }},

	"gelu_erf":     {instead("gelu")},
	"gelu_relu":    {instead("relu")},
	"gelu_sigmoid": {instead("quick_gelu")},

	"head_untied":  {(*Context).empty},
	"head_shifted": {headShifted},
	"head_transposed": {func(c *Context) []float32 {
		return times(c.reads(0), c.unembedding(), c.headBias(), c.vocab(), nil)
	}},
	"position_before_last": {ofSeveral(func(c *Context) []float32 { return c.selected(c.Dims.T - 2) })},
	"position_first":       {ofSeveral(func(c *Context) []float32 { return c.selected(0) })},
	"argmin":               {chosen(func(v, best float32) bool { return v < best })},
	"tie_rule":             {chosen(func(v, best float32) bool { return v >= best })},
	"temperature_inverted": {distribution(func(t float64) float64 { return 1 / t })},
	"temperature_ignored":  {distribution(func(float64) float64 { return 1 })},

	"float16_weights":      {rounded(rounding.Float16, nil)},
	"float16_activations":  append(activations(nil, rounding.Float16), table),
	"bfloat16_weights":     {rounded(rounding.BFloat16, nil)},
	"bfloat16_activations": activations(nil, rounding.BFloat16),
	"tf32":                 {operands(rounding.TF32), operands(rounding.TF32Cut), rounded(rounding.TF32, rounding.TF32)},

	"padding_counted":          {underMask(noneMasked)},
	"padding_seen":             {underMask(fromPrompt)},
	"padding_masked_at_prompt": {underMask(afterPrompt)},
	"padding_of_other_row":     {underMask(ofOtherRows), withoutOwn(underMask(ofOtherRows))},
	"padding_taken_for_last":   {underMask(noneMasked)},
	"padding_nan": {
		spreading(func(int) int { return math.MaxInt }), // products with every key
		spreading(func(query int) int { return query }), // with those up to the query's own
	},
}

// withPast returns a variant that changes nothing at the first step.
func withPast(v variant) variant { return where(func(d model.Dims) bool { return d.P > 0 }, v) }

// ofSeveral returns a variant that changes nothing where there is one position alone.
func ofSeveral(v variant) variant { return where(func(d model.Dims) bool { return d.T > 1 }, v) }

// where returns a variant that changes nothing where it does not show.
func where(shows func(model.Dims) bool, compute variant) variant {
	return func(c *Context) []float32 {
		if !shows(c.Dims) {
			return nil
		}
		return compute(c)
	}
}

// first returns the first input.
func first(c *Context) []float32 { return c.reads(0) }

// positionsFrom returns T rows of wpe, the last row for positions beyond the table.
func (c *Context) positionsFrom(first int) (out []float32) {
	table, C := c.weight("wpe.weight"), c.embd()
	for t := range c.Dims.T {
		at := min(first+t, len(table)/C-1)
		out = append(out, table[at*C:(at+1)*C]...)
	}
	return out
}

// normBefore returns the name of the norm whose output the branch reads.
func (c *Context) normBefore() string {
	return c.block(map[string]string{"resid_mid": "ln_1", "resid_post": "ln_2"}[wordOf(c.Stage)])
}

// addedTo returns the branch, a residual sum's second input, added to another stage.
func (c *Context) addedTo(name string) []float32 {
	out := c.empty()
	f32.Add(out, c.in(name), c.reads(1))
	return out
}

// headShifted returns every id's logit at the next id.
func headShifted(c *Context) []float32 {
	right, out, V := c.Right(), c.empty(), c.vocab()
	for lo := 0; lo < len(out); lo += V {
		copy(out[lo+1:lo+V], right[lo:])
		out[lo] = right[lo+V-1]
	}
	return out
}

// selected returns the logits of one position of the step.
func (c *Context) selected(t int) (out []float32) {
	x, V := c.reads(0), c.vocab()
	for b := range c.Dims.B {
		out = append(out, x[(b*c.Dims.T+t)*V:][:V]...)
	}
	return out
}

// chosen returns for each row the id whose logit beats all before it; nil where a logit
// is NaN, which beats none and is beaten by none.
func chosen(beats func(v, best float32) bool) variant {
	return func(c *Context) []float32 {
		x, V, out := c.reads(0), c.vocab(), c.empty()
		for b := range out {
			row, best := x[b*V:(b+1)*V], 0
			for id, v := range row {
				if v != v {
					return nil
				}
				if id > 0 && beats(v, row[best]) {
					best = id
				}
			}
			out[b] = float32(best)
		}
		return out
	}
}

// distribution returns the softmax at another temperature than the one in the stage's
// name.
func distribution(other func(t float64) float64) variant {
	return func(c *Context) []float32 {
		s, _ := model.ParseStage(c.Stage)
		x, V, out := c.reads(0), c.vocab(), c.empty()
		for lo := 0; lo < len(out); lo += V {
			sample.Softmax(out[lo:lo+V], x[lo:lo+V], other(s.Temperature))
		}
		return out
	}
}

// A normalising is a LayerNorm with its faults; the zero ones are none.
type normalising struct {
	x          []float32 // [rows, width]
	gain, bias []float32 // [width]
	width      int
	eps        float64
	unbiased   bool // divides by width-1
	keepMean   bool // the mean is not taken off the values
}

// norm returns the stage's LayerNorm with a fault.
func norm(fault func(c *Context, n *normalising)) variant {
	return func(c *Context) []float32 {
		n := normalising{x: c.reads(0), gain: c.gain(), bias: c.bias(), width: c.embd(), eps: c.Model.Config().Eps}
		fault(c, &n)
		return n.run()
	}
}

// epsilon returns the stage's LayerNorm with another epsilon, unless it is the correct one.
func epsilon(eps float64) variant {
	other := norm(func(_ *Context, n *normalising) { n.eps = eps })
	return func(c *Context) []float32 {
		if c.Model.Config().Eps == eps {
			return nil
		}
		return other(c)
	}
}

// filled returns n times one number.
func filled(n int, v float32) []float32 { return slices.Repeat([]float32{v}, n) }

// run computes in float64 and rounds once.
func (n normalising) run() []float32 {
	out := make([]float32, len(n.x))
	for lo := 0; lo+n.width <= len(n.x); lo += n.width {
		x, y := n.x[lo:lo+n.width], out[lo:lo+n.width]
		var sum, squares float64
		for _, v := range x {
			sum += float64(v)
		}
		mean := sum / float64(n.width)
		by := float64(n.width)
		for _, v := range x {
			d := float64(v) - mean
			squares += d * d
		}
		if n.unbiased {
			by--
		}
		scale := 1 / math.Sqrt(squares/by+n.eps)
		if n.keepMean {
			mean = 0
		}
		for i, v := range x {
			y[i] = float32((float64(v)-mean)*scale*float64(n.gain[i]) + float64(n.bias[i]))
		}
	}
	return out
}

// product returns a linear stage: reads(0)*weight + bias, where the input and the matrix
// go through roundings, nil for none. A nil bias is not added.
func (c *Context) product(input, matrix rounding.Rounding, bias []float32) []float32 {
	return times(input.Of(c.reads(0)), c.gain(), bias, len(c.bias()), matrix)
}

// sumsOf is the number of products that are added up before their sum joins the others.
const sumsOf = 128

// times returns x*w + bias in float32, summed in blocks: x [rows,in], w [in,out] which
// goes through round, bias [out] or nil.
func times(x, w, bias []float32, out int, round rounding.Rounding) []float32 {
	in := len(w) / out
	rows := len(x) / max(in, 1)
	y, sums, scratch := make([]float32, rows*out), make([]float32, rows*out), make([]float32, out)
	for r := range rows {
		copy(y[r*out:(r+1)*out], bias)
	}
	for k0 := 0; k0 < in; k0 += sumsOf {
		clear(sums)
		for k := k0; k < min(k0+sumsOf, in); k++ {
			row := round.In(scratch, w[k*out:(k+1)*out])
			for r := range rows {
				f32.AddScaled(sums[r*out:(r+1)*out], x[r*in+k], row)
			}
		}
		f32.Add(y, y, sums)
	}
	return y
}

// timesTransposed returns x*wᵀ + bias: x [rows,in], w [out,in] which goes through
// round, bias [out] or nil.
func timesTransposed(x, w, bias []float32, in int, round rounding.Rounding) []float32 {
	rows, out := len(x)/in, len(w)/in
	y, scratch := make([]float32, rows*out), make([]float32, in)
	for o := range out {
		row := round.In(scratch, w[o*in:(o+1)*in])
		for r := range rows {
			s := f32.DotProduct(row, x[r*in:(r+1)*in])
			if bias != nil {
				s += bias[o]
			}
			y[r*out+o] = s
		}
	}
	return y
}

// third returns which of q, k and v the stage is, in their order.
func (c *Context) third(order string) int {
	return strings.Index(order, strings.TrimPrefix(wordOf(c.Stage), "attn."))
}

// splitInOrder returns the stage's third of c_attn in another order of the three;
// nil where that is the correct one.
func (c *Context) splitInOrder(order string) []float32 {
	third := c.third(order)
	if third == c.third("qkv") {
		return nil
	}
	return c.split(c.width(), third*c.embd(), 1)
}

// split returns [B,H,T,D] of c_attn [B,T,3C], whose columns for the stage begin at
// first: those of the heads are perHead apart, and the values of one are perValue
// apart.
func (c *Context) split(perHead, first, perValue int) []float32 {
	x, out := c.reads(0), c.empty()
	T, H, D := c.Dims.T, c.heads(), c.width()
	for i := range out {
		b, h, t, d := i/(H*T*D), i/(T*D)%H, i/D%T, i%D
		out[i] = x[(b*T+t)*3*c.embd()+first+h*perHead+d*perValue]
	}
	return out
}
