package model_test

import (
	"math"
	"testing"

	"checkpoint12/model"
)

func TestParseStage(t *testing.T) {
	for _, test := range []struct {
		name string
		want model.StageName
		kind string
	}{
		{"wte", model.StageName{-1, "wte", 0}, "wte"},
		{"logits_last", model.StageName{-1, "logits_last", 0}, "logits_last"},
		{"h.0.ln_1", model.StageName{0, "ln_1", 0}, "h.*.ln_1"},
		{"h.47.attn.cache_k", model.StageName{47, "attn.cache_k", 0}, "h.*.attn.cache_k"},
		{"probs_t1", model.StageName{-1, "probs_t", 1}, "probs_t*"},
		{"probs_t0.07", model.StageName{-1, "probs_t", 0.07}, "probs_t*"},
	} {
		got, ok := model.ParseStage(test.name)
		if !ok || got != test.want {
			t.Errorf("ParseStage(%q) = %+v, %v; want %+v", test.name, got, ok, test.want)
		}
		if got.String() != test.name || got.Kind() != test.kind {
			t.Errorf("%+v: String() = %q and Kind() = %q, want %q and %q", got, got, got.Kind(), test.name, test.kind)
		}
	}
	for _, test := range notStages {
		if got, ok := model.ParseStage(test.name); ok || got != (model.StageName{-1, test.name, 0}) {
			t.Errorf("ParseStage(%q) = %+v, %v: %s", test.name, got, ok, test.reason)
		}
	}
}

// notStages are names that no model's stage has.
var notStages = []struct{ name, reason string }{
	{"", "empty"},
	{"h.-1.ln_1", "a negative layer"},
	{"h.01.ln_1", "another spelling of h.1"},
	{"h.+1.ln_1", "another spelling of h.1"},
	{"h.1.0.ln_1", "no whole number"},
	{"h.99999999999999999999.ln_1", "a layer that no int holds"},
	{"h.*.ln_1", "the table's own name"},
	{"h.1.in", "an input, not a stage"},
	{"h.1", "no stage in it"},
	{"h.1.ln_f", "a stage of no layer"},
	{"ln_1", "a stage of every layer"},
	{"probs_t", "no temperature"},
	{"probs_t*", "the table's own name"},
	{"probs_t1.0", "another spelling of probs_t1"},
	{"probs_t0", "softmax has no temperature 0"},
	{"probs_t-1", "negative"},
	{"probs_tNaN", "no number"},
	{"probs_t+Inf", "not finite"},
	{"tokens", "an input, not a stage"},
	{"prev:h.0.attn.cache_k", "another step's"},
}

func FuzzParseStage(f *testing.F) {
	for _, test := range notStages {
		f.Add(test.name)
	}
	for _, name := range model.StageNames(model.Config{Layers: 12}, []float64{0.5, 1e300, 5e-324}) {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		s, ok := model.ParseStage(name)
		if s.String() != name {
			t.Errorf("ParseStage(%q) is %+v, which is %q", name, s, s)
		}
		cfg := model.Config{Layers: max(1, s.Layer+1)}
		if s.Layer < math.MaxInt && (model.Reads(cfg, name) != nil) != ok {
			t.Errorf("ParseStage(%q) reports %v, model.Reads of a model with that layer %q", name, ok, model.Reads(cfg, name))
		}
	})
}
