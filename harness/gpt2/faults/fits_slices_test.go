package faults_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/gpt2/fit"
	"checkpoint12/model"
)

// rowsOfTable returns rows of a table of weights, one for each place of [T] or [B,T] ids.
func rowsOfTable(c *faults.Context, name string, at func(b, t int) int) (out []float32) {
	w, shape, _ := c.Model.Weight(name)
	C := shape[1]
	for i := range len(c.Right()) / C {
		row := at(i/c.Dims.T, i%c.Dims.T)
		out = append(out, w[row*C:][:C]...)
	}
	return out
}

// TestLookups: rows of wte and wpe are found in the tables, and the rule is that of all steps.
func TestLookups(t *testing.T) {
	all := func(stage string) bool { return !strings.HasPrefix(stage, "logits") }
	tokens := [][]int{{40464, 2068, 17586, 15}, {35496, 11, 50000, 995}}
	id := func(c *faults.Context, b, t int) int { // as the correct row of wte has it
		w, shape, _ := c.Model.Weight("wte.weight")
		row := c.Right()[(b*c.Dims.T+t)*shape[1]:][:shape[1]]
		for i := 0; ; i++ {
			if slices.Equal(w[i*shape[1]:][:shape[1]], row) {
				return i
			}
		}
	}
	token := func(rule func(c *faults.Context, b, t int) int) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 {
			return rowsOfTable(c, "wte.weight", func(b, t int) int { return rule(c, b, t) })
		}
	}
	position := func(rule func(c *faults.Context, t int) int) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 {
			return rowsOfTable(c, "wpe.weight", func(_, t int) int { return rule(c, t) })
		}
	}
	testFits(t, engine{tokens: tokens, steps: 4, keep: all}, []fitCase{
		{"15 bits", "wte", fit.PatternLookup, []string{"modulo 32768 = 2^15"}, token(func(c *faults.Context, b, t int) int { return id(c, b, t) % 32768 })},
		{"int16", "wte", fit.PatternLookup, []string{"int16", "from the end"}, token(func(c *faults.Context, b, t int) int {
			v := int(int16(id(c, b, t)))
			return (v + 50257) % 50257
		})},
		{"clamped ids", "wte", fit.PatternLookup, []string{"ids from 30000 on read row 29999 of wte", "clamped at 29999"}, token(func(c *faults.Context, b, t int) int { return min(id(c, b, t), 29999) })},
		{"ids + 3", "wte", fit.PatternLookup, []string{"id n reads row n+3"}, token(func(c *faults.Context, b, t int) int { return id(c, b, t) + 3 })},
		{"row 0 of the batch", "wte", fit.PatternLookup, []string{"every batch row has the embeddings of row 0's tokens"}, token(func(c *faults.Context, b, t int) int { return id(c, 0, t) })},
		{"late ids", "wte", fit.PatternLookup, []string{"embedded as the one before it", "the first of all as id 7"}, func() func(c *faults.Context) []float32 {
			last := []int{7, 7}
			return token(func(c *faults.Context, b, t int) int {
				before := last[b]
				last[b] = id(c, b, t)
				if c.Dims.P == 0 && t == 0 {
					return 7
				}
				return before
			})
		}()},
		{"positions + 2", "wpe", fit.PatternLookup, []string{"position n reads row n+2 of wpe"}, position(func(c *faults.Context, t int) int { return c.Dims.P + t + 2 })},
		{"positions clamped", "wpe", fit.PatternLookup, []string{"positions from 3 on read row 2 of wpe", "clamped at 2"}, position(func(c *faults.Context, t int) int { return min(c.Dims.P+t, 2) })},
		{"positions modulo 2", "wpe", fit.PatternLookup, []string{"modulo 2 = 2^1"}, position(func(c *faults.Context, t int) int { return (c.Dims.P + t) % 2 })},
		{"P-1 at decode", "wpe", fit.PatternLookup, []string{"one too early, P-1"}, position(func(c *faults.Context, t int) int { return max(c.Dims.P-1, 0) + t })},
		{"positions count steps", "embed", fit.PatternLookup, []string{"positions count steps"}, func(c *faults.Context) []float32 {
			w, shape, _ := c.Model.Weight("wpe.weight")
			out, C := slices.Clone(c.In("wte")), shape[1]
			for i := range out {
				row := i / C % c.Dims.T
				if c.Dims.P > 0 {
					row += c.Dims.P - len(tokens[0]) + 1
				}
				out[i] += w[row*C+i%C]
			}
			return out
		}},
	})
	testFits(t, engine{judge: oddModel(t), tokens: [][]int{{1, 2, 300, 4, 5}}, steps: 3}, []fitCase{
		{"reversed", "wpe", fit.PatternLookup, []string{"in reverse"}, position(func(c *faults.Context, t int) int { return c.Dims.P + c.Dims.T - 1 - t })},
		{"of the other table", "wpe", fit.PatternLookup, []string{"position n reads row n of wte, where wpe's belong"}, func(c *faults.Context) []float32 {
			return rowsOfTable(c, "wte.weight", func(_, t int) int { return c.Dims.P + t })
		}},
		{"8 bits", "wte", fit.PatternLookup, []string{"modulo 256 = 2^8"}, token(func(c *faults.Context, b, t int) int { return id(c, b, t) % 256 })},
		{"one position", "wpe", fit.PatternLookup, []string{"other rows of wpe are read: position 4 reads row 1"}, position(func(c *faults.Context, t int) int { return []int{0, 1, 2, 3, 1, 5, 6, 7, 8}[c.Dims.P+t] })},
		{"one id", "wte", fit.PatternLookup, []string{"other rows of wte are read: id 300 reads row 62"}, token(func(c *faults.Context, b, t int) int {
			if v := id(c, b, t); v != 300 {
				return v
			}
			return 62
		})},
		{"decode steps at one position", "wpe", fit.PatternLookup, []string{"every position reads row 1 of wpe in steps with a past"}, position(func(c *faults.Context, t int) int {
			if c.Dims.P > 0 {
				return 1
			}
			return t
		})},
		{"unknown", "wte", fit.PatternLookup, []string{"read row 0 of wte", "out of the table"}, token(func(c *faults.Context, b, t int) int { return map[bool]int{true: id(c, b, t)}[id(c, b, t) < 5] })},
	})
}

// in returns the name of another stage, layers from a stage of a block.
func in(stage string, layers int, word string) string {
	s, _ := model.ParseStage(stage)
	return model.StageName{Layer: s.Layer + layers, Word: word}.String()
}

// on is the function of a stage, layers away, on another input; nil where one of them is none.
func on(layers int, word string, inputLayers int, input string) func(c *faults.Context) []float32 {
	return func(c *faults.Context) []float32 {
		s, _ := model.ParseStage(c.Stage)
		if n := c.Model.Config().Layers; s.Layer+layers < 0 || s.Layer+layers >= n || s.Layer+inputLayers < 0 {
			return nil
		}
		return apply(in(c.Stage, layers, word), in(c.Stage, inputLayers, input))(c)
	}
}

// weightOf returns a weight of the model's.
func weightOf(c *faults.Context, name string) []float32 {
	w, _, ok := c.Model.Weight(name)
	if !ok {
		panic(name)
	}
	return w
}

// TestOperands: other inputs, weights and biases are found, and named as seen from the stage.
func TestOperands(t *testing.T) {
	cases := []fitCase{
		{"the layer's weights after", ".mlp.c_fc", fit.PatternOtherWeights, []string{"the weights of mlp.c_fc of the next layer"}, on(1, "mlp.c_fc", 0, "ln_2")},
		{"two layers before", ".attn.c_proj", fit.PatternOtherWeights, []string{"the weights of attn.c_proj of two layers before"}, on(-2, "attn.c_proj", 0, "attn.context")},
		{"its own bias", ".attn.c_proj", fit.PatternOtherWeights, []string{"its matrix is that of attn.c_proj of the layer before", "its bias is its own"}, func(c *faults.Context) []float32 {
			data := on(-1, "attn.c_proj", 0, "attn.context")(c)
			if data == nil {
				return nil
			}
			own, others := weightOf(c, c.Stage+".bias"), weightOf(c, in(c.Stage, -1, "attn.c_proj")+".bias")
			for i := range data {
				data[i] += own[i%len(own)] - others[i%len(own)]
			}
			return data
		}},
		{"another bias", ".mlp.c_proj", fit.PatternOtherWeights, []string{"its bias is that of mlp.c_proj of the layer before"}, func(c *faults.Context) []float32 {
			if strings.HasPrefix(c.Stage, "h.0.") {
				return nil
			}
			data := slices.Clone(c.Right())
			own, others := weightOf(c, c.Stage+".bias"), weightOf(c, in(c.Stage, -1, "mlp.c_proj")+".bias")
			for i := range data {
				data[i] += others[i%len(own)] - own[i%len(own)]
			}
			return data
		}},
		{"un-normed", ".attn.c_attn", fit.PatternOtherInput, []string{"it reads the block's input, where ln_1 belongs"}, func(c *faults.Context) []float32 {
			return apply(c.Stage, model.Reads(c.Model.Config(), in(c.Stage, 0, "ln_1"))[0])(c)
		}},
		{"parallel", ".mlp.c_fc", fit.PatternOtherInput, []string{"it reads ln_1, where ln_2 belongs"}, on(0, "mlp.c_fc", 0, "ln_1")},
		{"the layer before's input", ".mlp.c_fc", fit.PatternOtherInput, []string{"it reads ln_2 of the layer before"}, on(0, "mlp.c_fc", -1, "ln_2")},
		{"transposed", ".attn.c_proj", "conv1d_transposed", nil, func(c *faults.Context) []float32 {
			x, w, bias, C := c.In(in(c.Stage, 0, "attn.context")), weightOf(c, c.Stage+".weight"), weightOf(c, c.Stage+".bias"), c.Model.Config().Embd
			out := make([]float32, len(x))
			for i := range out {
				sum := float64(bias[i%C])
				for k := range C {
					sum += float64(x[i/C*C+k]) * float64(w[i%C*C+k])
				}
				out[i] = float32(sum)
			}
			return out
		}},
		{"ln_2 of the norm", ".ln_2", fit.PatternOtherInput, []string{"it reads ln_1, where resid_mid belongs"}, on(0, "ln_2", 0, "ln_1")},
		{"ln_1 of the next", ".ln_1", fit.PatternOtherWeights, []string{"the weights of ln_1 of the next layer"}, func(c *faults.Context) []float32 {
			s, _ := model.ParseStage(c.Stage)
			if s.Layer+1 >= c.Model.Config().Layers {
				return nil
			}
			return apply(in(c.Stage, 1, "ln_1"), model.Reads(c.Model.Config(), c.Stage)[0])(c)
		}},
		{"a layer skipped", ".ln_1", fit.PatternOtherInput, []string{"it reads resid_post of two layers before, where the block's input belongs"}, on(0, "ln_1", -2, "resid_post")},
		{"everywhere layer 0", ".mlp.c_proj", fit.PatternOtherWeights, []string{"the weights of h.0.mlp.c_proj: check"}, func(c *faults.Context) []float32 {
			if strings.HasPrefix(c.Stage, "h.0.") {
				return nil
			}
			return apply("h.0.mlp.c_proj", in(c.Stage, 0, "mlp.act"))(c)
		}},
		{"unnormed logits", "logits", fit.PatternOtherInput, []string{"resid_post, where ln_f belongs"}, func(c *faults.Context) []float32 {
			return apply("logits", model.Reads(c.Model.Config(), "ln_f")[0])(c)
		}},
		{"ln_f", "ln_f", fit.PatternOtherWeights, []string{"the weights of h.1.ln_2"}, func(c *faults.Context) []float32 {
			return apply("h.1.ln_2", model.Reads(c.Model.Config(), "ln_f")[0])(c)
		}},
		{"k of the layer before", ".attn.k", fit.PatternOtherInput, []string{"it reads attn.c_attn of the layer before"}, on(0, "attn.k", -1, "attn.c_attn")},
		{"act of the layer before", ".mlp.act", fit.PatternOtherInput, []string{"it reads mlp.c_fc of the layer before"}, on(0, "mlp.act", -1, "mlp.c_fc")},
		{"cache of the layer before", ".attn.context", fit.PatternOtherInput, []string{"it reads attn.cache_v of the layer before"}, func(c *faults.Context) []float32 {
			if strings.HasPrefix(c.Stage, "h.0.") {
				return nil
			}
			out := make([]float32, len(c.Right()))
			err := c.Model.Apply(c.Stage, c.Dims, func(name string) []float32 {
				if strings.HasSuffix(name, "cache_v") {
					return c.In(in(c.Stage, -1, "attn.cache_v"))
				}
				return c.In(name)
			}, out)
			if err != nil {
				panic(err)
			}
			return out
		}},
	}
	keep := func(string) bool { return true }
	testFits(t, engine{keep: keep, judge: oddModel(t), tokens: [][]int{{1, 2, 300, 4, 5, 6, 7}, {8, 9, 10, 11, 12, 13, 14}}, steps: 3}, cases)
	testFits(t, engine{keep: keep}, cases)
}

// linearOf is a linear stage whose inputs count other numbers of times than once: from says which
// input is taken for input k, and how often.
func linearOf(c *faults.Context, from func(k, j int) (int, float64)) []float32 {
	x, w := c.In(model.Reads(c.Model.Config(), c.Stage)[0]), weightOf(c, c.Stage+".weight")
	bias := weightOf(c, c.Stage+".bias")
	N := len(bias)
	K := len(w) / N
	out := make([]float32, len(c.Right()))
	for i := range out {
		sum, j := float64(bias[i%N]), i%N
		for k := range K {
			at, times := from(k, j)
			sum += times * float64(x[i/N*K+at]) * float64(w[k*N+j])
		}
		out[i] = float32(sum)
	}
	return out
}

// timesOf is the linear stage with a number of times for each input.
func timesOf(times func(k, K, j int) float64) func(c *faults.Context) []float32 {
	return func(c *faults.Context) []float32 {
		K := len(weightOf(c, c.Stage+".weight")) / len(weightOf(c, c.Stage+".bias"))
		return linearOf(c, func(k, j int) (int, float64) { return k, times(k, K, j) })
	}
}

// without is 0 where a condition holds, else 1.
func without(is bool) float64 {
	if is {
		return 0
	}
	return 1
}

// TestInputs: inputs that are left out of a product, or counted twice, or stand in another order.
func TestInputs(t *testing.T) {
	for _, e := range []struct {
		engine
		C, F, D int
	}{
		{engine{judge: oddModel(t), tokens: [][]int{{1, 2, 300, 4, 5, 6, 7}, {8, 9, 10, 11, 12, 13, 14}}, steps: 3}, 48, 112, 8},
		{engine{}, 80, 320, 20},
	} {
		say := fmt.Sprintf
		testFits(t, e.engine, []fitCase{
			{"a tail", ".mlp.c_fc", fit.PatternInputs, []string{say("inputs %d to %d of %d (the last 16", e.C-16, e.C-1, e.C), "left out of the sum"}, timesOf(func(k, K, _ int) float64 { return without(k >= K-16) })},
			{"a head", ".attn.c_proj", fit.PatternInputs, []string{"(head 1)", "left out"}, timesOf(func(k, _, _ int) float64 { return without(k/e.D == 1) })},
			{"a range twice", ".mlp.c_proj", fit.PatternInputs, []string{"inputs 10 to 19", "counted twice"}, timesOf(func(k, _, _ int) float64 { return 2 - without(k >= 10 && k < 20) })},
			{"a range scaled", ".mlp.c_proj", fit.PatternInputs, []string{"inputs 10 to 19", "counted 0.3 times"}, timesOf(func(k, _, _ int) float64 {
				if k >= 10 && k < 20 {
					return 0.3
				}
				return 1
			})},
			{"every third", ".attn.c_attn", fit.PatternInputs, []string{"of every 3 inputs those with k mod 3 = 1"}, timesOf(func(k, _, _ int) float64 { return without(k%3 == 1) })},
			{"half", ".mlp.c_proj", fit.PatternInputs, []string{"1 of 2 shards"}, timesOf(func(k, K, _ int) float64 { return without(k >= K/2) })},
			{"one", ".mlp.c_fc", fit.PatternInputs, []string{"input 17 of"}, timesOf(func(k, _, _ int) float64 { return without(k == 17) })},
			{"some", ".mlp.c_fc", fit.PatternInputs, []string{"inputs 3, 17, 18, 40", "left out"}, timesOf(func(k, _, _ int) float64 { return without(k == 3 || k == 17 || k == 18 || k == 40) })},
			{"the bias alone", ".mlp.c_fc", fit.PatternInputs, []string{"the bias alone is there", "in units 32 to 47"}, timesOf(func(_, _, j int) float64 { return without(j/16 == 2) })},
			{"all twice", ".mlp.c_proj", fit.PatternInputs, []string{"the product, without the bias, is counted twice"}, timesOf(func(_, _, j int) float64 { return 2 })},
			{"shifted", ".mlp.c_proj", fit.PatternInputs, []string{"shifted", "k+1"}, func(c *faults.Context) []float32 {
				return linearOf(c, func(k, _ int) (int, float64) { return (k + 1) % e.F, 1 })
			}},
			{"heads exchanged", ".attn.c_proj", fit.PatternInputs, []string{"heads 0 and 2 of its input are exchanged"}, func(c *faults.Context) []float32 {
				return linearOf(c, func(k, _ int) (int, float64) {
					switch k / e.D {
					case 0:
						return k + 2*e.D, 1
					case 2:
						return k - 2*e.D, 1
					}
					return k, 1
				})
			}},
			{"a tile transposed", ".mlp.c_fc", fit.PatternInputs, []string{"a tile of 16×16 of its weight is transposed: inputs 16 to 31, outputs 32 to 47"}, func(c *faults.Context) []float32 {
				out, w, N := slices.Clone(c.Right()), weightOf(c, c.Stage+".weight"), e.F
				x := c.In(model.Reads(c.Model.Config(), c.Stage)[0])
				for i := range out {
					if j := i % N; j/16 == 2 {
						sum := float64(out[i])
						for d := range 16 {
							sum += float64(x[i/N*e.C+16+d]) * (float64(w[(16+j%16)*N+32+d]) - float64(w[(16+d)*N+j]))
						}
						out[i] = float32(sum)
					}
				}
				return out
			}},
		})
	}
	_, all := engine{judge: oddModel(t), steps: 1, plant: func(at harness.Place, x *faults.Context) []float32 {
		switch s, _ := model.ParseStage(at.Stage); s.Word {
		case "attn.context":
			out := slices.Clone(x.Right())
			for i := range out {
				out[i] *= float32(without(i%48 >= 40))
			}
			return out
		case "attn.c_proj":
			return timesOf(func(k, _, _ int) float64 { return 2 - without(k >= 36) })(x)
		}
		return nil
	}, tokens: [][]int{{1, 2, 300, 4, 5}}}.explain(t)
	for _, x := range all {
		if strings.HasSuffix(x.Stage, "c_proj") && !strings.Contains(x.Text, "inputs 36 to 39 of 48, and perhaps more up to 47, which are 0, are counted twice") {
			t.Errorf("a range whose end is silent: %s: %q", x.Stage, x.Text)
		}
	}
}

// byHeads is this step's rows of a stage in the place of heads, of a cache's newest rows too, or heads in
// the place of rows.
func byHeads(word string) func(c *faults.Context) []float32 {
	return func(c *faults.Context) []float32 {
		cfg, x, out, T := c.Model.Config(), c.In(in(c.Stage, 0, word)), slices.Clone(c.Right()), c.Dims.T
		D, S := cfg.Embd/cfg.Heads, len(out)/c.Dims.B/cfg.Embd
		for i := range x {
			b, t, h, d := i/cfg.Embd/T, i/cfg.Embd%T, i/D%cfg.Heads, i%D
			if of := ((b*cfg.Heads+h)*S+S-T+t)*D + d; word == "attn.q" {
				out[i] = x[of]
			} else {
				out[of] = x[i]
			}
		}
		return out
	}
}

// TestSplits: q, k and v are read from other columns of c_attn.
func TestSplits(t *testing.T) {
	split := func(of func(c *faults.Context, s, h, d, H, D int) int) func(c *faults.Context) []float32 {
		return func(c *faults.Context) []float32 {
			cfg, x, T := c.Model.Config(), c.In(model.Reads(c.Model.Config(), c.Stage)[0]), c.Dims.T
			H, D, C := cfg.Heads, cfg.Embd/cfg.Heads, cfg.Embd
			third := strings.Index("qkv", c.Stage[len(c.Stage)-1:])
			out := make([]float32, len(c.Right()))
			for i := range out {
				b, h, t, d := i/(H*T*D), i/(T*D)%H, i/D%T, i%D
				out[i] = x[(b*T+t)*3*C+of(c, third, h, d, H, D)]
			}
			return out
		}
	}
	qkv := ".attn.[qkv]"
	for _, e := range []engine{{judge: oddModel(t), tokens: [][]int{{1, 2, 300, 4, 5}, {8, 9, 10, 11, 12}}}, {}} {
		testFits(t, e, []fitCase{
			{"two shards", qkv, fit.PatternColumns, []string{"2 tensor-parallel shards"}, split(func(_ *faults.Context, s, h, d, H, D int) int { return h/(H/2)*3*H/2*D + s*H/2*D + h%(H/2)*D + d })},
			{"interleaved", qkv, fit.PatternColumns, []string{"read as [H, D, 3]"}, split(func(_ *faults.Context, s, h, d, H, D int) int { return (h*D+d)*3 + s })},
			{"order", qkv, fit.PatternColumns, []string{"in the order q, v, k"}, split(func(_ *faults.Context, s, h, d, H, D int) int { return []int{0, 2, 1}[s]*H*D + h*D + d })},
			{"rotary", ".attn.k", fit.PatternColumns, []string{"rotary"}, split(func(_ *faults.Context, s, h, d, H, D int) int { return s*H*D + h*D + d%2*(D/2) + d/2 })},
			{"grouped", ".attn.v", fit.PatternColumns, []string{"grouped-query"}, split(func(_ *faults.Context, s, h, d, H, D int) int { return s*H*D + h/2*D + d })},
			{"some heads", ".attn.v", fit.PatternColumns, []string{"head 1 is head 3 of k"}, split(func(_ *faults.Context, s, h, d, H, D int) int {
				if h == 1 {
					return 1*H*D + 3*D + d
				}
				return s*H*D + h*D + d
			})},
			{"not projected", qkv, fit.PatternCopy, []string{"that of ln_1, split into heads: the wrong buffer"}, byHeads("ln_1")},
			{"nor written to the cache", ".attn.cache_k", fit.PatternCopy, []string{"that of ln_1, split into heads"}, byHeads("ln_1")},
			{"queries are all", ".attn.context", fit.PatternCopy, []string{"that of attn.q, its heads side by side"}, byHeads("attn.q")},
		})
	}
}
