package model_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/model"
	"checkpoint12/model/modeltest"
)

// The names and their order are the contract's, spelled out here on purpose.
func TestStageNames(t *testing.T) {
	want := []string{"wte", "wpe", "embed"}
	for _, n := range []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"} {
		h := "h." + n + "."
		want = append(want, h+"ln_1", h+"attn.c_attn", h+"attn.q", h+"attn.k", h+"attn.v",
			h+"attn.cache_k", h+"attn.cache_v", h+"attn.scores", h+"attn.probs", h+"attn.context",
			h+"attn.c_proj", h+"resid_mid", h+"ln_2", h+"mlp.c_fc", h+"mlp.act", h+"mlp.c_proj", h+"resid_post")
	}
	want = append(want, "ln_f", "logits", "logits_last", "next_token", "probs_t0.5", "probs_t1", "probs_t2")
	cfg := modeltest.Micro
	cfg.Layers = 11
	temperatures := []float64{0.5, 1, 2}
	if diff := cmp.Diff(want, model.StageNames(cfg, temperatures)); diff != "" {
		t.Errorf("StageNames (-want +got):\n%s", diff)
	}
	m := modeltest.New(t, cfg, 1)
	tapped := record(t, m, model.SessionOptions{Temperatures: temperatures}, []int{1, 2}, []int{3})
	if diff := cmp.Diff(want, tapped.order); diff != "" {
		t.Errorf("tapped at a decode step (-want +got):\n%s", diff)
	}
	if n := len(tapped.steps[0]); n != len(want) {
		t.Errorf("the prompt step tapped %d stages, want %d", n, len(want))
	}
	without := model.StageNames(cfg, nil)
	if diff := cmp.Diff(want[:len(want)-3], without); diff != "" {
		t.Errorf("StageNames without temperatures (-want +got):\n%s", diff)
	}
}

// What every stage reads, spelled out: replaying single stages depends on it.
func TestReads(t *testing.T) {
	cfg := modeltest.Micro // 3 layers
	for _, test := range []struct {
		stage string
		want  []string
	}{
		{"wte", []string{"tokens"}},
		{"wpe", []string{"pos"}},
		{"embed", []string{"wte", "wpe"}},
		{"h.0.ln_1", []string{"embed"}},
		{"h.2.ln_1", []string{"h.1.resid_post"}},
		{"h.2.attn.c_attn", []string{"h.2.ln_1"}},
		{"h.2.attn.q", []string{"h.2.attn.c_attn"}},
		{"h.2.attn.k", []string{"h.2.attn.c_attn"}},
		{"h.2.attn.v", []string{"h.2.attn.c_attn"}},
		{"h.2.attn.cache_k", []string{"prev:h.2.attn.cache_k", "h.2.attn.k"}},
		{"h.2.attn.cache_v", []string{"prev:h.2.attn.cache_v", "h.2.attn.v"}},
		{"h.2.attn.scores", []string{"h.2.attn.q", "h.2.attn.cache_k"}},
		{"h.2.attn.probs", []string{"h.2.attn.scores"}},
		{"h.2.attn.context", []string{"h.2.attn.probs", "h.2.attn.cache_v"}},
		{"h.2.attn.c_proj", []string{"h.2.attn.context"}},
		{"h.0.resid_mid", []string{"embed", "h.0.attn.c_proj"}},
		{"h.2.resid_mid", []string{"h.1.resid_post", "h.2.attn.c_proj"}},
		{"h.2.ln_2", []string{"h.2.resid_mid"}},
		{"h.2.mlp.c_fc", []string{"h.2.ln_2"}},
		{"h.2.mlp.act", []string{"h.2.mlp.c_fc"}},
		{"h.2.mlp.c_proj", []string{"h.2.mlp.act"}},
		{"h.2.resid_post", []string{"h.2.resid_mid", "h.2.mlp.c_proj"}},
		{"ln_f", []string{"h.2.resid_post"}},
		{"logits", []string{"ln_f"}},
		{"logits_last", []string{"logits"}},
		{"next_token", []string{"logits_last"}},
		{"probs_t0.7", []string{"logits_last"}},
	} {
		if diff := cmp.Diff(test.want, model.Reads(cfg, test.stage)); diff != "" {
			t.Errorf("Reads(%s) (-want +got):\n%s", test.stage, diff)
		}
	}
}

func TestUnknownStages(t *testing.T) {
	tooMany := struct{ name, reason string }{"h.3.ln_1", "one layer too many"}
	for _, test := range append(notStages, tooMany) {
		if got := model.Reads(modeltest.Micro, test.name); got != nil {
			t.Errorf("Reads(%q) = %q, want nil: %s", test.name, got, test.reason)
		}
		if test.name != "tokens" && test.name != "prev:h.0.attn.cache_k" {
			if _, err := model.Shape(modeltest.Micro, test.name, model.Dims{B: 1, T: 1}); err == nil {
				t.Errorf("Shape(%q) gives no error: %s", test.name, test.reason)
			}
		}
	}
	if _, err := model.Shape(modeltest.Micro, "prev:h.0.ln_1", model.Dims{B: 1, T: 1}); err == nil {
		t.Error("Shape(prev:h.0.ln_1) gives no error: only caches outlive a step")
	}
}

// Shape gives beforehand the shapes that the tap then sees.
func TestShape(t *testing.T) {
	m := modeltest.New(t, modeltest.Micro, 1)
	r := record(t, m, model.SessionOptions{Batch: 2, Temperatures: []float64{1}},
		modeltest.Tokens(modeltest.Micro, 6, 1), modeltest.Tokens(modeltest.Micro, 2, 2))
	for k, d := range []model.Dims{{B: 2, T: 3}, {B: 2, T: 1, P: 3}} {
		for _, stage := range r.order {
			got, err := model.Shape(modeltest.Micro, stage, d)
			if err != nil || !slices.Equal(got, r.shape[k][stage]) {
				t.Errorf("step %d: model.Shape(%s) = %v, %v; tapped %v", k, stage, got, err, r.shape[k][stage])
			}
		}
	}
	got, err := model.Shape(modeltest.Micro, "prev:h.1.attn.cache_v", model.Dims{B: 2, T: 1, P: 3})
	if want := []int{2, 2, 3, 6}; err != nil || !slices.Equal(got, want) {
		t.Errorf("Shape of a previous cache = %v, %v; want %v", got, err, want)
	}
}

func TestAxes(t *testing.T) {
	for name, want := range map[string]string{
		"h.1.attn.c_attn": "B T (3 H D)", "probs_t0.5": "B V", "tokens": "B T", "pos": "1",
		"prev:h.1.attn.cache_v": "B H P D", "prev:h.1.attn.v": "", "h.1": "", "h.*.attn.q": "",
	} {
		if got := model.Axes(name); got != want {
			t.Errorf("Axes(%s) = %q, want %q", name, got, want)
		}
	}
}
