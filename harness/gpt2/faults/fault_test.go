package faults

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness/internal/names"
	"checkpoint12/model"
	"checkpoint12/model/synthetic"
)

// TestCatalogue: the catalogue has every variant once, in words, and in a stage that
// there is. An entry without a variant is refused as the catalogue is read.
func TestCatalogue(t *testing.T) {
	stages := model.StageNames(model.Config{Layers: 2}, []float64{1})
	ids := map[string]bool{}
	for _, f := range slices.Concat(Catalogue(), composites) {
		if len(f.Text) < 20 || strings.HasSuffix(f.Text, ".") || strings.Contains(f.Text, "\n") {
			t.Errorf("%s: text %q: want what is wrong and what to do, in one line without a full stop", f.ID, f.Text)
		}
		for _, p := range f.Stages {
			if !slices.ContainsFunc(stages, func(s string) bool { return Fault{Stages: []string{p}}.At(s) }) {
				t.Errorf("%s: %q is no stage", f.ID, p)
			}
		}
		if ids[f.ID] || !slices.Contains([]Kind{Plain, GELU, Precision, Padding}, f.Kind) {
			t.Errorf("%s: twice, or of kind %q", f.ID, f.Kind)
		}
		ids[f.ID] = true
	}
	if len(Catalogue()) != len(variants) || len(variants) < 50 {
		t.Errorf("%d faults in the catalogue, %d with variants; want as many, and more than 50", len(Catalogue()), len(variants))
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
				for i := range f.variants {
					if f.output(c, i) != nil && stage != "wpe" {
						t.Errorf("%s at %s, without inputs: variant %d has an output", f.ID, stage, i)
					}
				}
			}
		}
	}
}

// TestNames: every pattern has its name among those that an explanation may have.
func TestNames(t *testing.T) {
	all, found := Names(), 0
	for _, dir := range []string{".", "../fit"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`\bPattern\w+ += "(\w+)"`).FindAllSubmatch(text, -1) {
				if found++; !slices.Contains(all, string(m[1])) {
					t.Errorf("%s: %s is not among the names", path, m[1])
				}
			}
		}
	}
	if found < 10 || !slices.Contains(all, "gelu_erf") || !slices.Contains(all, "bfloat16_weights+bfloat16_activations") {
		t.Errorf("%d patterns, names %v", found, all)
	}
	if sorted := slices.Sorted(slices.Values(all)); len(slices.Compact(sorted)) != len(all) {
		t.Errorf("a name is there twice: %v", all)
	}
}
