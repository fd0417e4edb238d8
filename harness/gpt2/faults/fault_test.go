package faults

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness/internal/names"
	"checkpoint12/model"
	"checkpoint12/model/synthetic"
)

// TestVariants: the catalogue has an entry for every variant, and none twice.
// Those without a variant are refused as the catalogue is read.
func TestVariants(t *testing.T) {
	entries := map[string]int{}
	for _, f := range Catalogue() {
		entries[f.ID]++
	}
	if len(entries) < 50 {
		t.Errorf("%d faults, want more than 50", len(entries))
	}
	want := map[string]int{}
	for id := range variants {
		want[id] = 1
	}
	if diff := cmp.Diff(want, entries); diff != "" {
		t.Errorf("ids (-variants +catalogue.json):\n%s", diff)
	}
}

// TestCatalogue: every fault has words, and sits in a stage that there is.
func TestCatalogue(t *testing.T) {
	stages := model.StageNames(model.Config{Layers: 2}, []float64{1})
	for _, f := range slices.Concat(Catalogue(), composites) {
		if len(f.Text) < 20 || strings.HasSuffix(f.Text, ".") || strings.Contains(f.Text, "\n") {
			t.Errorf("%s: text %q: want what is wrong and what to do, in one line without a full stop", f.ID, f.Text)
		}
		for _, p := range f.Stages {
			if !slices.ContainsFunc(stages, func(s string) bool { return Fault{Stages: []string{p}}.At(s) }) {
				t.Errorf("%s: %q is no stage", f.ID, p)
			}
		}
		if !slices.Contains([]Kind{Plain, GELU, Precision}, f.Kind) {
			t.Errorf("%s: kind %q", f.ID, f.Kind)
		}
	}
	for _, x := range Identities() {
		some := func(f Fault) bool { return names.Match(x.Faults, f.ID) }
		if !slices.ContainsFunc(Catalogue(), some) || x.Reason == "" {
			t.Errorf("identity %+v: want a fault of the catalogue, and a reason", x)
		}
	}
	for _, stage := range stages {
		if stage != "next_token" && !slices.ContainsFunc(Catalogue(), func(f Fault) bool { return f.Kind == Precision && f.At(stage) }) {
			t.Errorf("%s: no fault of precision can sit there", stage)
		}
	}
}

func TestByID(t *testing.T) {
	if f, err := ByID("gelu_erf"); err != nil || f.ID != "gelu_erf" {
		t.Errorf("ByID(gelu_erf) = %q, %v", f.ID, err)
	}
	if _, err := ByID("nonsense"); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("ByID(nonsense): error %v, want one that names it", err)
	}
}

// TestUnknownInputs: where an input is not known no fault puts anything out, and
// none panics.
func TestUnknownInputs(t *testing.T) {
	m, err := synthetic.Open("synthetic-tiny")
	if err != nil {
		t.Fatal(err)
	}
	for _, stage := range model.StageNames(m.Config(), []float64{2}) {
		if strings.HasPrefix(stage, "h.1") || strings.HasPrefix(stage, "h.2") || stage == "logits" {
			continue
		}
		for _, f := range slices.Concat(Catalogue(), composites) {
			if !f.At(stage) || f.ID == "head_untied" {
				continue
			}
			for _, in := range []func(string) []float32{
				func(string) []float32 { return nil },
				func(string) []float32 { return make([]float32, 3) }, // no input's size
			} {
				c := &Context{Model: m, Dims: model.Dims{B: 1, T: 2, P: 3}, Stage: stage, In: in}
				// Rows of wpe need no input but P.
				if outs := f.outputs(c); outs != nil && stage != "wpe" {
					t.Errorf("%s at %s, without inputs: %d outputs", f.ID, stage, len(outs))
				}
			}
		}
	}
}
