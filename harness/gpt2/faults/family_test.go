package faults_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/gpt2/fit"
	"checkpoint12/model"
	"checkpoint12/model/activation"
	"checkpoint12/model/modeltest"
)

// relatives explains what an engine does that runs a model by another config.
func relatives(t *testing.T, asked, run model.Config) (introduced []string, all []harness.Explanation) {
	t.Helper()
	weights := modeltest.Weights(asked, 1)
	for name, w := range weights {
		if strings.HasSuffix(name, "mlp.c_fc.weight") {
			for i := range w {
				w[i] *= 3 // so that activations go where their functions differ
			}
		}
	}
	places, all := engine{
		judge: modeltest.Of(t, asked, weights), runs: modeltest.Of(t, run, weights), tokens: [][]int{{3, 1, 4, 1}, {5, 9, 2, 6}},
	}.explain(t)
	for _, p := range places {
		introduced = append(introduced, fmt.Sprint(p.Step, " ", p.Stage))
	}
	return introduced, all
}

// everywhere lists a stage of the micro model's blocks from a layer on, at both steps.
func everywhere(word string, from int) (all []string) {
	for step := range 2 {
		for n := from; n < modeltest.Micro.Layers; n++ {
			all = append(all, fmt.Sprint(step, " ", model.StageName{Layer: n, Word: word}.String()))
		}
	}
	return all
}

// TestActivations: an engine with another activation than the config's is wrong there and
// nowhere else, and is told which it has: by the catalogue where GPT-2's tanh form is asked for,
// by the function's name otherwise. One with the config's is correct.
func TestActivations(t *testing.T) {
	known := map[string]string{"gelu": "gelu_erf", "relu": "gelu_relu", "quick_gelu": "gelu_sigmoid"}
	for _, own := range []string{"", "gelu", "relu", "silu", "relu2", "tanh"} {
		for _, other := range activation.Functions() {
			asked, run := modeltest.Micro, modeltest.Micro
			asked.Activation, run.Activation = own, other.Name()
			introduced, all := relatives(t, asked, run)
			if other == asked.ActivationFunction() {
				if len(introduced) > 0 {
					t.Errorf("%s is asked for and run, and introduced at %v", other.Name(), introduced)
				}
				continue
			}
			if own == "gelu" && other.Name() == "gelu_10" {
				continue // the same wherever it is not above 10
			}
			if !slices.Equal(introduced, everywhere("mlp.act", 0)) {
				t.Errorf("%s for %q: introduced at %v", other.Name(), own, introduced)
			}
			want, text := faults.Activation, other.Name()+" in the place of "+asked.ActivationFunction().Name()
			if own == "" && known[other.Name()] != "" {
				want, text = known[other.Name()], "GELU"
			}
			if other.Name() == "linear" {
				want, text = fit.PatternCopy, "mlp.c_fc"
			}
			if other.Name() == "gelu_10" { // as gelu is, where nothing is above 10
				continue
			}
			for _, x := range all {
				if x.Fault != want || !strings.Contains(x.Text, text) || x.Explains < 0.999 {
					t.Errorf("%s for %q at %s: %s (%v), %s", other.Name(), own, x.Stage, x.Fault, x.Explains, x.Text)
				}
			}
		}
	}
}

// TestAttentionScales: so is an engine that scales attention otherwise.
func TestAttentionScales(t *testing.T) {
	type scale struct{ unscaled, byLayer bool }
	for _, test := range []struct {
		asked, run scale
		fault      string
		from       int // the first layer where it shows
	}{
		{scale{}, scale{}, "", 0},
		{scale{byLayer: true}, scale{byLayer: true}, "", 0},
		{scale{true, true}, scale{true, true}, "", 0},
		{scale{}, scale{unscaled: true}, "scale_missing", 0},
		{scale{}, scale{byLayer: true}, faults.AttentionScale, 1},
		{scale{byLayer: true}, scale{}, faults.AttentionScale, 1},
		{scale{byLayer: true}, scale{unscaled: true}, faults.AttentionScale, 0},
		{scale{unscaled: true}, scale{}, faults.AttentionScale, 0},
		{scale{unscaled: true}, scale{true, true}, faults.AttentionScale, 1},
	} {
		asked, run := modeltest.Micro, modeltest.Micro
		asked.Unscaled, asked.ScaleByLayer = test.asked.unscaled, test.asked.byLayer
		run.Unscaled, run.ScaleByLayer = test.run.unscaled, test.run.byLayer
		introduced, all := relatives(t, asked, run)
		want := everywhere("attn.scores", test.from)
		if test.fault == "" {
			want = nil
		}
		if !slices.Equal(introduced, want) {
			t.Errorf("%+v: introduced at %v, want %v", test, introduced, want)
		}
		for _, x := range all {
			if x.Fault != test.fault || x.Explains < 0.999 {
				t.Errorf("%+v at %s: %s (%v), %s", test, x.Stage, x.Fault, x.Explains, x.Text)
			}
		}
	}
}

// TestHeadBias: a head's bias that the file has and the engine leaves out is named.
func TestHeadBias(t *testing.T) {
	cfg, weights := modeltest.Micro, modeltest.Weights(modeltest.Micro, 1)
	without := modeltest.Of(t, cfg, weights)
	with := maps.Clone(weights)
	with["lm_head.bias"] = modeltest.Weights(cfg, 2)["wte.weight"][:cfg.Vocab]
	introduced, all := engine{
		judge: modeltest.Of(t, cfg, with), runs: without, tokens: [][]int{{3, 1, 4}},
		keep: func(string) bool { return true },
	}.explain(t)
	if len(introduced) != 2 || introduced[0].Stage != "logits" || introduced[1].Stage != "logits" {
		t.Errorf("introduced at %v", introduced)
	}
	for _, x := range all {
		if x.Fault != fit.PatternBias || !strings.Contains(x.Text, "the bias, lm_head.bias, is missing") {
			t.Errorf("%s: %s, %s", x.Stage, x.Fault, x.Text)
		}
	}
}
