package faults_test

import (
	"math"
	"path"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/model"
	"checkpoint12/model/modeltest"
)

// queries changes the correct probabilities of each query, in its head at its position.
func queries(change func(row []float32, head, query int)) func(c *faults.Context) []float32 {
	return func(c *faults.Context) []float32 {
		out := append([]float32{}, c.Right()...)
		S, T, H := c.Dims.P+c.Dims.T, c.Dims.T, c.Model.Config().Heads
		for lo := 0; lo < len(out); lo += S {
			change(out[lo:lo+S], lo/S/T%H, c.Dims.P+lo/S%T)
		}
		return out
	}
}

// times multiplies the probabilities of one query.
func times(k float32, query int) func(c *faults.Context) []float32 {
	return queries(func(row []float32, _, q int) {
		for j := range row {
			if q == query {
				row[j] *= k
			}
		}
	})
}

// TestTwins: causes that give the same, of the catalogue or read off the tensors, are all told, and
// are told apart where the dump can.
func TestTwins(t *testing.T) {
	uniform := queries(func(row []float32, _, q int) {
		clear(row)
		for j := range q + 1 {
			row[j] = 1 / float32(q+1)
		}
	})
	lost := func(row int) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 {
			out := append([]float32{}, c.Right()...)
			D, S := c.Model.Config().Embd/c.Model.Config().Heads, c.Dims.P+c.Dims.T
			for lo := 0; lo < len(out) && c.Dims.P > 0; lo += S * D {
				clear(out[lo+row*D:][:D])
			}
			return out
		}
	}
	once := func(P int, output func(c *faults.Context) []float32) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 {
			if c.Dims.P != P {
				return nil
			}
			return output(c)
		}
	}
	each := func(from func(d, D int) int, sign float32) func(c *faults.Context) []float32 { // of a head's channels
		return func(c *faults.Context) []float32 {
			out, D := make([]float32, len(c.Right())), c.Model.Config().Embd/c.Model.Config().Heads
			for i := range out {
				out[i] = sign * c.Right()[i-i%D+from(i%D, D)]
			}
			return out
		}
	}
	negated := each(func(d, _ int) int { return d }, -1)
	halves := each(func(d, D int) int { return (d + D/2) % D }, 1)
	rolled := each(func(d, D int) int { return (d + 1) % D }, 1)
	plus := func(of func(c *faults.Context) []float32) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 {
			out, x := append([]float32{}, c.Right()...), of(c)
			for i := range out {
				out[i] += x[i%len(x)]
			}
			return out
		}
	}
	before := func(c *faults.Context) string { // what the block reads
		s, _ := model.ParseStage(c.Stage)
		return model.Reads(c.Model.Config(), model.StageName{Layer: s.Layer, Word: "ln_1"}.String())[0]
	}
	reading := func(input int) func(c *faults.Context) []float32 { // an input as bfloat16
		return func(c *faults.Context) []float32 {
			out, one := make([]float32, len(c.Right())), model.Reads(c.Model.Config(), c.Stage)[input]
			if err := c.Model.Apply(c.Stage, c.Dims, func(name string) []float32 {
				if name == one {
					return bfloat16(c.In(name))
				}
				return c.In(name)
			}, out); err != nil {
				t.Fatal(err)
			}
			return out
		}
	}
	later := func(output func(c *faults.Context) []float32) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 {
			if c.Dims.P == 0 {
				return nil
			}
			return output(c)
		}
	}
	newRow := func(head int) func(c *faults.Context) []float32 { // of zeros
		return func(c *faults.Context) []float32 {
			out := append([]float32{}, c.Right()...)
			D, S := c.Model.Config().Embd/c.Model.Config().Heads, c.Dims.P+c.Dims.T
			clear(out[((head+1)*S-1)*D:][:D])
			return out
		}
	}
	exchanged5 := func(c *faults.Context) []float32 { // the last two rows
		out := append([]float32{}, c.Right()...)
		D, S := c.Model.Config().Embd/c.Model.Config().Heads, c.Dims.P+c.Dims.T
		for lo := 0; lo < len(out); lo += S * D {
			copy(out[lo+(S-2)*D:][:D], c.Right()[lo+(S-1)*D:][:D])
			copy(out[lo+(S-1)*D:][:D], c.Right()[lo+(S-2)*D:][:D])
		}
		return out
	}
	mixing := func(of func(v []float32, S, D int) []float32) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 {
			out, D := make([]float32, len(c.Right())), c.Model.Config().Embd/c.Model.Config().Heads
			if err := c.Model.Apply(c.Stage, c.Dims, func(name string) []float32 {
				if x := c.In(name); strings.HasSuffix(name, "cache_v") {
					return of(x, c.Dims.P+c.Dims.T, D)
				} else {
					return x
				}
			}, out); err != nil {
				t.Fatal(err)
			}
			return out
		}
	}
	const or = "; or, which gives the same, "
	const other, exchanged = "the values have the other sign", "the halves of each head are exchanged"
	const every = "in h.*.attn.probs: every key has the same probability: no softmax, the mean of all"
	modules := gpt2test.IsModule
	all := func(stage string) bool { return strings.HasPrefix(stage, "h.") }
	but := func(word string) func(string) bool {
		return func(stage string) bool { return all(stage) && !strings.HasSuffix(stage, word) }
	}
	for _, c := range []struct {
		name, stage string
		output      func(c *faults.Context) []float32
		keep        func(stage string) bool
		rows        int // of a layer
		fault       string
		words, not  []string
	}{
		{"no softmax", "attn.probs", uniform, modules, 4, "pattern_softmax",
			[]string{every + or + "in h.*.attn.cache_k: this step's rows are not written"}, nil},
		{"no softmax, more keys than channels", "attn.probs", uniform, modules, 4, "pattern_softmax",
			[]string{every + or + "in h.*.attn.cache_k: this step's rows are not written"}, nil},
		{"no softmax, keys dumped", "attn.probs", uniform, but("attn.probs"), 4, "pattern_softmax", []string{every[len("in h.*.attn.probs: "):]}, []string{or, "cache"}},
		{"no softmax, all dumped", "attn.probs", uniform, all, 4, "pattern_softmax", []string{every[len("in h.*.attn.probs: "):]}, []string{or}},
		{"keys of zeros", "attn.cache_k", func(c *faults.Context) []float32 { return make([]float32, len(c.Right())) }, all, 4, "", nil, []string{or, "softmax"}},
		{"a lost row", "attn.cache_[kv]", lost(4), modules, 3, "cache_shifted",
			[]string{"new rows are written one position too early", or + "in h.*.attn.cache_k, h.*.attn.cache_v: the row of position 4 is lost: it is zeros in the cache"}, nil},
		{"a lost row, dumped", "attn.cache_[kv]", lost(4), all, 2, "pattern_cache", []string{"the row of position 4 is lost"}, []string{or, "too early"}},
		{"a row lost once", "attn.cache_[kv]", once(7, lost(6)), modules, 1, "pattern_cache", []string{"in h.*.attn.cache_k, h.*.attn.cache_v: the row of position 6 is lost"}, []string{"too early", "off their place"}},
		{"a row lost for one step", "attn.cache_[kv]", once(6, lost(4)), modules, 2, "pattern_cache", []string{"in h.*.attn.cache_k, h.*.attn.cache_v: the row of position 4 is lost"}, []string{"too early", "off their place"}},
		{"another lost row", "attn.cache_[kv]", lost(2), modules, 3, "pattern_cache", []string{"the row of position 2 is lost"}, []string{"window"}},
		{"a norm of a rounded sum", "ln_2", reading(0), modules, 4, "bfloat16_activations", []string{"in h.*.ln_2: it reads h.*.resid_mid as bfloat16"}, []string{or, "would give the same"}},
		{"a norm of a rounded sum, dumped", "ln_2", reading(0), all, 4, "bfloat16_activations", []string{"it reads h.*.resid_mid as bfloat16: keep activations in float32, autocast off"}, []string{"writes"}},
		{"a sum of a rounded sum", "resid_post", reading(0), modules, 4, "bfloat16_activations", []string{"in h.*.resid_post: it reads h.*.resid_mid as bfloat16"}, []string{or, "would give the same"}},
		{"a sum of a rounded branch", "resid_mid", reading(1), all, 4, "bfloat16_activations", []string{"it reads h.*.attn.c_proj as bfloat16"}, []string{"writes"}},
		{"a rounded cache", "attn.cache_[kv]", func(c *faults.Context) []float32 { return bfloat16(c.Right()) }, modules, 4, "bfloat16_activations",
			[]string{"in h.*.attn.scores, h.*.attn.context: it reads h.*.attn.cache_k and h.*.attn.cache_v as bfloat16"}, []string{"attn.q", "attn.c_proj"}},
		{"an input left out", "attn.c_proj", func(c *faults.Context) []float32 {
			out, x, C := append([]float32{}, c.Right()...), c.In(strings.TrimSuffix(c.Stage, "c_proj")+"context"), c.Model.Config().Embd
			w, _, _ := c.Model.Weight(c.Stage + ".weight")
			for i := range out {
				out[i] -= x[i/C*C+9] * w[9*C+i%C]
			}
			return out
		}, modules, 4, "", []string{or + "in h.*.attn.v: ", "(in h.*.attn.cache_v it would give the same); or in h.*.attn.c_proj: input 9 of 48 is left out of the sum"}, nil},
		{"a channel of values lost", "attn.v", func(c *faults.Context) []float32 {
			out := append([]float32{}, c.Right()...)
			for i, h, D := 0, len(out)/c.Dims.B/6, 8; i < len(out); i++ {
				if i/h%6 == 1 && i%D == 3 {
					out[i] = 0
				}
			}
			return out
		}, modules, 4, "pattern_zero", []string{or + "in h.*.attn.v: the output is 0: it is never computed, or never written, in head 1, channel of a head 3 (in h.*.attn.cache_v it would give the same)"}, nil},
		{"a head lost from step 1 on", "attn.context", func(c *faults.Context) []float32 {
			out := append([]float32{}, c.Right()...)
			for i := range out {
				if c.Dims.P > 0 && i/8%6 == 2 {
					out[i] = 0
				}
			}
			return out
		}, modules, 3, "pattern_zero", []string{"in h.*.attn.cache_v: the output is 0"}, []string{"attn.v"}},
		{"a query halved", "attn.probs", times(0.5, 2), modules, 1, "pattern_scaled_weights",
			[]string{"in h.*.attn.c_proj: ", "the weights or the input are scaled, in position 2", "in h.*.attn.probs: the output is 0.5 times the correct one, half of it, in query position 2"}, nil},
		{"a later query halved", "attn.probs", times(0.5, 5), modules, 1, "pattern_scaled_weights",
			[]string{"in h.*.attn.context: the output is 0.5 times the correct one", "in h.*.attn.probs: the output is 0.5 times the correct one"}, []string{"absolute"}},
		{"a key hidden, dumped", "attn.scores", later(queries(func(row []float32, _, _ int) { row[0] = float32(math.Inf(-1)) })), all, 3, "pattern_scores",
			[]string{"key 0 is left out, the first"}, []string{"window", "key position"}},
		{"own blocks and those before, dumped", "attn.scores", later(queries(func(row []float32, _, q int) {
			for j := range max(q/2*2-2, 0) {
				row[j] = float32(math.Inf(-1))
			}
		})), all, 3, "pattern_scores", []string{"are left out, the first"}, []string{"window"}},
		{"one head's new row", "attn.cache_k", later(newRow(1)), all, 3, "pattern_zero",
			[]string{"the output is 0", "head 1, from key position 5 on"}, []string{"full", "off their place"}},
		{"one head's new value", "attn.cache_v", later(newRow(1)), modules, 3, "pattern_zero",
			[]string{"the output is 0", "head 1, from key position 5 on", or + "in h.*.attn.cache_v"}, nil},
		{"rows of values exchanged", "attn.cache_v", later(exchanged5), modules, 3, "pattern_permuted", []string{"attn.probs: key positions", or + "in h.*.attn.cache_v"}, nil},
		{"values of the row before, dumped", "attn.context", mixing(func(v []float32, S, D int) []float32 {
			var out []float32
			for lo := 0; lo < len(v); lo += S * D {
				out = slices.Concat(out, v[lo+(S-1)*D:lo+S*D], v[lo:lo+(S-1)*D])
			}
			return out
		}), all, 4, "pattern_permuted", []string{"attn.probs as it is dumped: each key position", or + "it does not read attn.cache_v as it is dumped: each key position has the values that belong 1 before it"}, nil},
		{"foreign rows in both caches, dumped", "attn.cache_[kv]", later(func(c *faults.Context) []float32 {
			out := append([]float32{}, c.Right()...)
			D, S := c.Model.Config().Embd/c.Model.Config().Heads, c.Dims.P+c.Dims.T
			for i := range out {
				if i/D%S < 2 && c.Dims.P == 5 {
					out[i] = float32(i%D+i/D%S*D) / 7
				}
			}
			return out
		}), all, 2, "pattern_copy", []string{"which is wrong too"}, []string{"written over", "wrong buffer"}},
		{"a query halved, dumped", "attn.probs", times(0.5, 2), all, 1, "pattern_ratio", []string{"0.5 times", "in query position 2"}, []string{or}},
		{"scaled twice", "attn.scores", func(c *faults.Context) []float32 {
			f, _ := faults.ByID("scale_d")
			return f.Output(c)
		}, modules, 4, "scale_d", []string{"q*k is divided by D", or + "in h.*.attn.probs: the softmax is of 0.35355 = 1/√D"}, nil},
		{"keys of the other sign", "attn.k", negated, modules, 4, "pattern_heads", []string{"in h.*.attn.q: " + other + or + "in h.*.attn.k: " + other}, nil},
		{"queries of the other sign", "attn.q", negated, modules, 4, "pattern_heads", []string{"in h.*.attn.q: " + other + or + "in h.*.attn.k: " + other}, nil},
		{"keys of the other sign, dumped", "attn.k", negated, all, 4, "", []string{"sign"}, []string{or}},
		{"keys of the other sign, once", "attn.k", once(7, negated), modules, 1, "pattern_heads", []string{"in h.*.attn.k: " + other}, []string{or, "attn.q:"}},
		{"halves of keys", "attn.k", halves, modules, 4, "pattern_columns", []string{"in h.*.attn.q: " + exchanged + or + "in h.*.attn.k: " + exchanged}, nil},
		{"halves of queries", "attn.q", halves, modules, 4, "pattern_columns", []string{"in h.*.attn.q: " + exchanged + or + "in h.*.attn.k: " + exchanged}, nil},
		{"the block's input twice, modules", "resid_post", plus(func(c *faults.Context) []float32 { return c.In(before(c)) }), modules, 4, "pattern_sum",
			[]string{"in h.*.resid_post: the sum is resid_mid + mlp.c_proj + the block's input"}, []string{or, "resid_mid: ", "embed: "}},
		{"positions added in every block", "resid_post", plus(func(c *faults.Context) []float32 { return c.In("wpe") }), but("resid_mid"), 4, "pattern_sum",
			[]string{"in h.*.resid_post: the sum is resid_mid + mlp.c_proj + wpe"}, []string{or, "embed: "}},
		{"a number in the sum, modules", "resid_mid", plus(func(*faults.Context) []float32 { return []float32{0.1} }), modules, 4, "pattern_offset",
			[]string{"in h.*.resid_post: the output is the correct one plus 0.1" + or, "in h.*.resid_mid: the output is the correct one plus 0.1"}, nil},
		{"channels of keys, rolled", "attn.k", rolled, modules, 4, "pattern_permuted", []string{"in h.*.attn.q: each channel of a head has the values that belong 1 before it, rolled over the end" + or +
			"in h.*.attn.k: each channel of a head has the values that belong 1 after it, rolled over the end"}, nil},
	} {
		e := engine{
			judge: oddModel(t), tokens: [][]int{{1, 2, 300, 4, 19}, {7, 8, 9, 30, 200}}, steps: 4, keep: c.keep,
			plant: func(at harness.Place, x *faults.Context) []float32 {
				if ok, _ := path.Match("*"+c.stage, at.Stage); !ok {
					return nil
				}
				return c.output(x)
			},
		}
		if strings.Contains(c.name, "more keys") {
			e.tokens = [][]int{{1, 2, 300, 4, 19, 7, 8, 9, 30, 200, 11, 12}}
		}
		introduced, found := e.explain(t)
		for _, x := range found {
			s, _ := model.ParseStage(x.Stage)
			layer := strings.TrimSuffix(x.Stage, s.Word)
			if text := strings.ReplaceAll(x.Text, layer, "h.*."); c.fault != "" && x.Fault != c.fault || !says(text, c.words, c.not) {
				t.Errorf("%s: %s at step %d: %s: %q", c.name, x.Stage, x.Step, x.Fault, text)
			}
		}
		n := c.rows * e.judge.Config().Layers
		if len(introduced) != n || len(found) != n {
			t.Errorf("%s: %d rows introduced and %d explained, want %d", c.name, len(introduced), len(found), n)
		}
	}
}

// says reports whether a text has all of some words and none of others.
func says(text string, words, not []string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	for _, w := range not {
		if strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// TestFactors: a fault of the catalogue that is one number says which other expressions of the config
// give it, in the layers that have it.
func TestFactors(t *testing.T) {
	cfg := model.Config{Vocab: 307, Positions: 40, Embd: 96, Layers: 2, Heads: 4, Inner: 200, Eps: 1e-5}
	four := modeltest.Of(t, cfg, modeltest.Weights(cfg, 7))
	for _, c := range []struct {
		name  string
		judge *model.Model
		id    string
		from  int // the first layer
		words []string
		not   []string
	}{
		{"in layer 1", four, "scale_c", 1, []string{"q*k is divided by sqrt(C)", "0.5 = 1/√H times the correct output", "also 1/L, 1/√(2L) and 1/(n+1) in layer n"}, nil},
		{"in all layers", four, "scale_c", 0, []string{"0.5 = 1/√H times the correct output", "also 1/L and 1/√(2L)"}, []string{"n+1"}},
		{"as no other", four, "scale_d", 0, []string{"q*k is divided by D"}, []string{"times the correct output", "q·k"}},
		{"the root of C", four, "scale_c", 0, []string{"q·k is divided by √96, which is √C, at this config also 2√D"}, nil},
		{"D is 2L", oddModel(t), "scale_d", 0, []string{"0.35355 = 1/√D times the correct output, at this config also 1/√(2L)"}, nil},
	} {
		for _, modules := range []bool{false, true} {
			e := engine{judge: c.judge, tokens: [][]int{{1, 2, 300, 4, 19}, {7, 8, 9, 30, 200}}, plant: func(at harness.Place, x *faults.Context) []float32 {
				s, _ := model.ParseStage(at.Stage)
				if s.Word != "attn.scores" || s.Layer < c.from {
					return nil
				}
				f, _ := faults.ByID(c.id)
				return f.Output(x)
			}}
			if modules {
				e.keep = gpt2test.IsModule
			}
			_, found := e.explain(t)
			if len(found) == 0 {
				t.Errorf("%s, modules %t: nothing is explained", c.name, modules)
			}
			for _, x := range found {
				alone, _, _ := strings.Cut(x.Text, "; or, which")
				if x.Fault != c.id || !says(alone, c.words, c.not) {
					t.Errorf("%s, modules %t: %s at step %d: %s: %q", c.name, modules, x.Stage, x.Step, x.Fault, x.Text)
				}
			}
		}
	}
}
