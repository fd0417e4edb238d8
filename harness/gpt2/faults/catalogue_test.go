package faults

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/model"
	"checkpoint12/model/synthetic"
)

// TestIDs holds the catalogue against the one in numpy: the same ids, each of the
// same kind.
func TestIDs(t *testing.T) {
	text, err := os.ReadFile("../../../reference/float64/faults.py")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Kind{}
	calls := regexp.MustCompile(`\bfault\((f?)"([^"]+)", `).FindAllStringSubmatchIndex(string(text), -1)
	for i, at := range calls {
		end := len(text)
		if i+1 < len(calls) {
			end = calls[i+1][0]
		}
		kind := Plain
		if k := regexp.MustCompile(`kind="(\w+)"`).FindSubmatch(text[at[0]:end]); k != nil {
			kind = Kind(k[1])
		}
		names := []string{""}
		if at[2] < at[3] { // an f-string, for both small types
			names = []string{"float16", "bfloat16"}
		}
		for _, name := range names {
			want[strings.Replace(string(text[at[4]:at[5]]), "{_name}", name, 1)] = kind
		}
	}
	got := map[string]Kind{}
	for _, f := range Catalogue() {
		if _, twice := got[f.ID]; twice {
			t.Errorf("%s is there twice", f.ID)
		}
		got[f.ID] = f.Kind
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("catalogue (-faults.py +Go):\n%s", diff)
	}
	if len(got) < 50 {
		t.Errorf("%d faults, want those of faults.py", len(got))
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

// TestUnknownInputs: where an input is not known no fault says anything, and
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
				if outs := f.Outputs(c); outs != nil && stage != "wpe" {
					t.Errorf("%s at %s, without inputs: %d outputs", f.ID, stage, len(outs))
				}
			}
		}
	}
}
