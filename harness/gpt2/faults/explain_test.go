package faults_test

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/gpt2test"
)

// TestSpans: where the dump lacks stages, the fault is found in the span, at the
// prompt and at the steps after it, whose cache nobody wrote down.
func TestSpans(t *testing.T) {
	modules := func(stage string) bool { // what module hooks give
		return slices.ContainsFunc([]string{"wte", "embed", "ln_1", "ln_2", "c_attn", "c_proj", "c_fc", "act", "resid_post"},
			func(s string) bool { return strings.HasSuffix(stage, s) })
	}
	blocks := func(stage string) bool { return stage == "embed" || strings.HasSuffix(stage, "resid_post") }
	for _, c := range []struct {
		id     string
		stages []string
		keep   func(string) bool
		row    string
		silent int // steps at which the fault changes nothing
	}{
		{"gelu_erf", []string{"h.1.mlp.act"}, modules, "h.1.mlp.act", 0},
		{"scale_d", []string{"h.1.attn.scores"}, modules, "h.1.attn.c_proj", 0},
		{"qkv_order_kqv", []string{"h.1.attn.q", "h.1.attn.k"}, modules, "h.1.attn.c_proj", 0},
		{"heads_interleaved", []string{"h.1.attn.q", "h.1.attn.k", "h.1.attn.v"}, modules, "h.1.attn.c_proj", 0},
		{"cache_k_for_v", []string{"h.1.attn.cache_v"}, modules, "h.1.attn.c_proj", 0},
		{"cache_overwritten", []string{"h.1.attn.cache_k", "h.1.attn.cache_v"}, modules, "h.1.attn.c_proj", 1},
		{"resid_of_block_input", []string{"h.2.resid_post"}, modules, "h.2.resid_post", 0},
		{"gelu_erf", []string{"h.1.mlp.act"}, blocks, "h.1.resid_post", 0},
		{"mask_diagonal_hidden", []string{"h.0.attn.scores"}, func(stage string) bool {
			return !strings.HasSuffix(stage, ".scores") && !strings.HasPrefix(stage, "logits")
		}, "h.0.attn.probs", 0},
		{"bfloat16_weights", []string{"h.2.mlp.c_fc"}, blocks, "h.2.resid_post", 0},
	} {
		introduced, all := engine{steps: 3, plant: plant(t, c.id, c.stages...), keep: c.keep}.explain(t)
		if len(introduced) != 3-c.silent {
			t.Errorf("%s: introduced at %v, want %d steps", c.id, introduced, 3-c.silent)
		}
		for _, p := range introduced {
			if p.Stage != c.row || p.Step < c.silent {
				t.Errorf("%s: introduced at %s, want %s from step %d on", c.id, p, c.row, c.silent)
			}
			named := slices.IndexFunc(all, func(x harness.Explanation) bool {
				return x.Step == p.Step && x.Stage == p.Stage && x.Fault == c.id && x.Explains > 0.99
			})
			if named < 0 {
				t.Errorf("%s: %s is explained by %v", c.id, p, all)
			} else if c.stages[0] != c.row && !strings.Contains(all[named].Text, "in "+strings.Join(c.stages, ", ")) {
				t.Errorf("%s: text %q, want it to say in which of the span", c.id, all[named].Text)
			}
		}
	}
}

// TestManyRows: of the rows of a long prompt some are looked at, and faults that
// take many multiplications are named at every step all the same.
func TestManyRows(t *testing.T) {
	long := make([]int, 30)
	for i := range long {
		long[i] = 100 * i
	}
	for _, c := range []struct {
		id, stage string
		keep      func(string) bool
	}{
		{"bfloat16_weights", "h.1.mlp.c_fc", nil},
		{"conv1d_transposed", "h.1.attn.c_attn", nil},
		{"float16_weights", "logits", func(stage string) bool { return stage == "ln_f" || stage == "logits" }},
	} {
		e := engine{tokens: [][]int{long, long}, steps: 2, plant: plant(t, c.id, c.stage), keep: c.keep}
		if c.stage == "logits" {
			e.tokens, e.steps = [][]int{long[:4], long[3:7]}, 4
		}
		_, all := e.explain(t)
		if len(all) != e.steps {
			t.Errorf("%s: explanations %v, want one a step", c.id, all)
		}
		for _, x := range all {
			if x.Fault != c.id || x.Stage != c.stage {
				t.Errorf("%s at %s: got %v", c.id, c.stage, x)
			}
		}
	}
}

// TestUnknownFaults: where an unknown fault is in every layer and step, the
// catalogue is searched for the first rows alone, and the same is found each time;
// and a known one in a later layer is found all the same.
func TestUnknownFaults(t *testing.T) {
	unknown := func(at harness.Place, c *faults.Context) []float32 {
		if !strings.HasSuffix(at.Stage, ".mlp.act") {
			return nil
		}
		out := slices.Clone(c.Right())
		for i, v := range out {
			out[i] = v + float32(math.Cos(float64(3*v)))
		}
		return out
	}
	runs := faults.CountRuns(t, "gelu_relu")
	everywhere := engine{steps: 4, plant: unknown}
	introduced, all := everywhere.explain(t)
	if len(introduced) != 12 || len(all) != 12 {
		t.Fatalf("introduced %v, explained %v; want 3 layers at 4 steps", introduced, all)
	}
	for _, x := range all {
		if x.Fault != "" {
			t.Errorf("%s at step %d: %q", x.Stage, x.Step, x.Fault)
		}
	}
	if n := runs.Load(); n != 6 {
		t.Errorf("gelu_relu was computed %d times, want 3 times at the prompt and 3 times later", n)
	}
	if _, again := everywhere.explain(t); !reflect.DeepEqual(again, all) {
		t.Errorf("explained again: %v, want %v", again, all)
	}

	known := plant(t, "gelu_erf", "h.2.mlp.act")
	_, all = engine{steps: 3, plant: func(at harness.Place, c *faults.Context) []float32 {
		if at.Stage == "h.2.mlp.act" {
			return known(at, c)
		}
		return unknown(at, c)
	}}.explain(t)
	for _, x := range all {
		if x.Stage == "h.2.mlp.act" && x.Fault != "gelu_erf" || x.Stage != "h.2.mlp.act" && x.Fault != "" {
			t.Errorf("%s at step %d: %q", x.Stage, x.Step, x.Fault)
		}
	}
	if len(all) != 9 {
		t.Errorf("explained %v, want 3 layers at 3 steps", all)
	}
}

// TestFlips: where another order of summation lets a few values fall the other way
// as they are rounded to fewer bits, that is no second fault.
func TestFlips(t *testing.T) {
	stage := "h.1.mlp.act"
	_, all := engine{plant: at(0, stage, gpt2test.Edit(func(data []float32) {
		for i := range data {
			data[i] *= 1 + float32(i%3-1)/(1<<21)
		}
		copy(data, bfloat16(data))
	}))}.explain(t)
	if len(all) != 1 || all[0].Fault != "bfloat16_activations" || all[0].Explains == 1 || strings.Contains(all[0].Text, "second fault") {
		t.Errorf("got %v, want bfloat16_activations alone, with a few values left", all)
	}
}

// bfloat16 rounds values to the 8 significant bits of bfloat16.
func bfloat16(x []float32) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		b := math.Float32bits(v)
		out[i] = math.Float32frombits((b + 0x7fff + b>>16&1) &^ 0xffff)
	}
	return out
}

// TestComposite: an engine whose every tensor is of a small type.
func TestComposite(t *testing.T) {
	stage := "h.1.mlp.c_fc"
	output := func(c *faults.Context) []float32 {
		w, _, _ := c.Model.Weight(stage + ".weight")
		bias, _, _ := c.Model.Weight(stage + ".bias")
		x, w, bias := bfloat16(c.In("h.1.ln_2")), bfloat16(w), bfloat16(bias)
		out := make([]float32, len(c.Right()))
		n := len(bias)
		in := len(w) / n
		for i := range out {
			sum := float64(bias[i%n])
			for k := range in {
				sum += float64(x[i/n*in+k]) * float64(w[k*n+i%n])
			}
			out[i] = float32(sum)
		}
		return bfloat16(out)
	}
	_, all := engine{plant: at(0, stage, output)}.explain(t)
	if len(all) != 1 || all[0].Fault != "bfloat16_weights+bfloat16_activations" {
		t.Errorf("got %v", all)
	}
}

// TestClean: of a right run nothing is explained.
func TestClean(t *testing.T) {
	if introduced, all := (engine{steps: 3}).explain(t); len(introduced) > 0 || len(all) > 0 {
		t.Errorf("introduced %v, explained %v", introduced, all)
	}
}
