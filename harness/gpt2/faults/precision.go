package faults

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/rounding"
	"checkpoint12/harness/internal/words"
	"checkpoint12/model"
)

// composites are two faults of the catalogue at once, as engines make them whose
// every tensor is of a small type, or that dump bare products. They are looked at where no
// single one is the cause, and are not planted.
var composites = []Fault{
	composite("float16", rounding.Float16),
	composite("bfloat16", rounding.BFloat16),
	{
		ID: "float16_variance", Kind: Precision, Stages: []string{"h.*.ln_*", "ln_f"},
		Text: "the variance overflows: |x - mean| is above 255 and its square no float16, " +
			"so that the output is the bias: square and average in float32",
		variants: []variant{overflowing},
	},
	softmaxSums("float16", rounding.Float16),
	softmaxSums("bfloat16", rounding.BFloat16),
	{
		ID: "scale_and_mask_missing", Kind: Plain, Stages: []string{"h.*.attn.scores"},
		Text: "q*k is neither scaled nor masked: divide by sqrt(D), and hide key j from the query at position i unless j <= i",
		variants: []variant{
			ofSeveral(func(c *Context) []float32 { return c.scores(1, c.keys()) }),
			func(c *Context) []float32 { return c.bareScores(1) },
		},
	},
}

// InTF32 returns a Planter's Plant that plants what another does, nil for nothing, and leaves
// no product of the others with factors of more bits than TF32. A row of a padded batch that
// takes something from padding, which it has not at hand, keeps its context as the model has it.
func InTF32(planted func(at harness.Place, c *Context) []float32) func(at harness.Place, c *Context) []float32 {
	tf32, _ := ByID("tf32")
	return func(at harness.Place, c *Context) []float32 {
		var out []float32
		if planted != nil {
			out = planted(at, c)
		}
		if out == nil && tf32.At(at.Stage) && !c.takesFromPadding() {
			out = tf32.Output(c)
		}
		return out
	}
}

// composite returns the fault of weights and activations through one rounding.
func composite(name string, round rounding.Rounding) Fault {
	return Fault{
		ID: name + "_weights+" + name + "_activations", Kind: Precision,
		Stages:   []string{"wte", "wpe", "h.*.ln_*", "h.*.c_*", "ln_f", "logits"}, // they read weights
		Text:     "weights and activations are " + name + ": run the engine in float32",
		variants: activations(round, round),
	}
}

// The variants of activations in which less is rounded than all.
const (
	outputAlone = 1
	inputsAlone = 2
	firstAlone  = 3 // of the two inputs of a sum, or of a product of activations
	secondAlone = 4
)

// activations returns a stage with weights through one rounding and what it reads and
// writes through another: both, the output alone, the inputs alone, one of two inputs.
func activations(weights, round rounding.Rounding) []variant {
	return []variant{
		func(c *Context) []float32 { return round.Of(c.rounded(weights, round)) },
		func(c *Context) []float32 { return round.Of(c.rounded(weights, nil)) },
		rounded(weights, round),
		oneRounded(round, 0),
		oneRounded(round, 1),
	}
}

// oneRounded returns a stage that computes with two inputs, one of which goes through a rounding.
func oneRounded(round rounding.Rounding, input int) variant {
	return func(c *Context) []float32 {
		switch wordOf(c.Stage) {
		case "embed", "resid_mid", "resid_post", "attn.scores", "attn.context":
		default:
			return nil
		}
		one := model.Reads(c.Model.Config(), c.Stage)[input]
		return c.apply(c.Stage, func(name string) []float32 {
			if name == one {
				return round.Of(c.in(name))
			}
			return c.in(name)
		})
	}
}

// operands returns a matrix product whose two factors go through a rounding and whose
// bias, unlike that of rounded, does not.
func operands(round rounding.Rounding) variant {
	return func(c *Context) []float32 {
		if isProduct(c.Stage) && c.Stage != "logits" {
			return c.product(round, round, c.bias())
		}
		return c.rounded(round, round)
	}
}

// rounded returns Context.rounded as a variant.
func rounded(weights, inputs rounding.Rounding) variant {
	return func(c *Context) []float32 { return c.rounded(weights, inputs) }
}

// rounded returns the stage's correct function of inputs and weights that went through
// roundings, nil for none.
func (c *Context) rounded(weights, inputs rounding.Rounding) []float32 {
	switch k := wordOf(c.Stage); {
	case k == "wte", k == "wpe": // their inputs are ids
		return weights.Of(c.Right())
	case weights == nil:
	case strings.HasPrefix(k, "ln_"):
		return norm(func(_ *Context, n *normalising) {
			n.x, n.gain, n.bias = inputs.Of(n.x), weights.Of(n.gain), weights.Of(n.bias)
		})(c)
	case k == "logits":
		bias := c.headBias()
		if bias != nil {
			bias = weights.Of(bias)
		}
		return timesTransposed(inputs.Of(c.reads(0)), c.unembedding(), bias, c.embd(), weights)
	case isProduct(c.Stage):
		return c.product(inputs, weights, weights.Of(c.bias()))
	}
	if inputs == nil {
		return c.Right()
	}
	return c.apply(c.Stage, func(name string) []float32 { return inputs.Of(c.in(name)) })
}

// isAskedFor reports whether a fault is a rounding that changes no value which the engine is meant
// to store: one of as many bits, and as wide a range.
func (f Fault) isAskedFor(e *wrongRow) bool {
	if e.stored == nil {
		return false
	}
	values := e.stored.Of([]float32{1 + 0x1p-10, 1e-30, 1e5})
	for name, round := range map[string]rounding.Rounding{"float16": rounding.Float16, "bfloat16": rounding.BFloat16, "tf32": rounding.TF32} {
		if f.ID == name || f.ID == name+"_weights" || f.ID == name+"_activations" || f.ID == name+"_weights+"+name+"_activations" {
			return round.Holds(values)
		}
	}
	return false
}

// textOf returns a match's words at a row.
func (g *rowGroup) textOf(e *wrongRow, m match) string {
	if narrow, ok := strings.CutSuffix(m.fault.ID, "_activations"); ok && m.variant >= inputsAlone && m.variant <= secondAlone && wordOf(m.stages[0]) != "mlp.act" {
		var all []string
		for _, stage := range m.stages {
			reads := model.Reads(g.model.Config(), stage)
			switch m.variant {
			case firstAlone:
				reads = reads[:1]
			case secondAlone:
				reads = reads[1:2]
			}
			all = append(all, reads...)
		}
		_, remedy, _ := strings.Cut(m.fault.Text, ": ")
		return fmt.Sprintf("it reads %s as %s: %s", words.And(all), narrow, remedy)
	}
	if m.fault.ID != "float16_activations" || wordOf(e.Stage) != "mlp.act" || len(e.Span) > 1 {
		return m.fault.Text
	}
	inputs := g.input(g.run, e.Step, strings.TrimSuffix(e.Stage, "act")+"c_fc")
	switch {
	case rounding.Rounding(rounding.Float16).Holds(inputs):
		return m.fault.Text
	case m.variant == outputAlone:
		return "the output is rounded to float16, of an input that is not: keep it in float32"
	case m.variant == inputsAlone:
		return "the input is rounded to float16 and the output is not: compute it in float32"
	}
	return "the activation is looked up in a table of float16 numbers, as llama.cpp's on a CPU is: compute it in float32"
}

// table returns an activation looked up in a table of float16: beyond 10 it is x or 0.
func table(c *Context) []float32 {
	if wordOf(c.Stage) != "mlp.act" {
		return nil
	}
	out := rounding.Rounding(rounding.Float16).Of(c.rounded(nil, rounding.Float16))
	for i, v := range c.reads(0) {
		if v >= 10 {
			out[i] = v
		} else if v <= -10 {
			out[i] = 0
		}
	}
	return out
}

// overflowing returns a norm in which rows with a square that float16 does not hold have an
// infinite variance.
func overflowing(c *Context) []float32 {
	x, bias, C := c.reads(0), c.bias(), c.embd()
	var out []float32
	for lo := 0; lo < len(x); lo += C {
		var sum, most float64
		for _, v := range x[lo : lo+C] {
			sum += float64(v)
		}
		for _, v := range x[lo : lo+C] {
			most = max(most, math.Abs(float64(v)-sum/float64(C)))
		}
		if most*most < 65520 {
			continue
		}
		if out == nil {
			out = slices.Clone(c.Right())
		}
		copy(out[lo:lo+C], bias)
	}
	return out
}

// softmaxSums returns the fault of a softmax that adds up in a narrow type.
func softmaxSums(name string, round rounding.Rounding) Fault {
	return Fault{
		ID: name + "_softmax_sums", Kind: Precision, Stages: []string{"h.*.attn.probs", "probs_t*"},
		Text:     "the softmax is summed in " + name + ", which loses the small terms, so that all probabilities are too large: accumulate in float32",
		variants: []variant{summedIn(round, false), summedIn(round, true)},
	}
}

// summedIn returns a softmax of values that go through a rounding, as does their sum, one term
// after the other; with read it is summed in another order, and the sum is the one that the
// engine's own output shows, if that lies between this one and the correct one.
func summedIn(round rounding.Rounding, read bool) variant {
	return func(c *Context) []float32 {
		s, _ := model.ParseStage(c.Stage)
		t, n, x := float32(1), c.keys(), c.reads(0)
		if s.Temperature > 0 {
			t, n = float32(s.Temperature), c.vocab()
		}
		out := c.empty()
		for lo := 0; lo < len(out); lo += n {
			e := out[lo : lo+n]
			top, largest := slices.Max(x[lo:lo+n]), 0
			for i, v := range x[lo : lo+n] {
				e[i] = (v - top) / t
			}
			round(e, e)
			sum, exact := []float32{0}, 0.0
			for i, v := range e {
				e[i] = float32(math.Exp(float64(v)))
				if e[i] > e[largest] {
					largest = i
				}
			}
			round(e, e)
			for _, v := range e {
				sum[0] += v
				round(sum, sum)
				exact += float64(v)
			}
			by := float64(sum[0])
			if read {
				if c.got == nil {
					return nil
				}
				own := float64(e[largest]) / float64(c.got[lo+largest])
				if own < by*0.99 || own > exact*1.01 {
					return nil
				}
				by = own
			}
			for i, v := range e {
				e[i] = float32(float64(v) / by)
			}
		}
		return round.Of(out)
	}
}
