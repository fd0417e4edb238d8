package cli

import (
	"strconv"
	"strings"
	"testing"

	"checkpoint12/harness/verify/figures"
)

// TestFiguresDocumented holds the table of figures in CHECKPOINTS.md against the
// tolerances in the file.
func TestFiguresDocumented(t *testing.T) {
	file, err := figures.Published()
	if err != nil {
		t.Fatal(err)
	}
	rows := table(t, document(t, "CHECKPOINTS.md"), "| figure | cp | abs | rel | of |", 5)
	seen := map[string]bool{}
	for _, row := range rows {
		name := strings.Trim(row[0], "`")
		abs, err1 := strconv.ParseFloat(row[2], 64)
		rel, err2 := strconv.ParseFloat(row[3], 64)
		if err1 != nil || err2 != nil || row[4] == "" {
			t.Errorf("%s: %q", name, row)
		}
		seen[name] = true
		found := false
		for model, m := range file.Models {
			if tol, ok := toleranceOf(m, name); ok {
				found = true
				if tol.Abs != abs || tol.Rel != rel {
					t.Errorf("%s of %s: %g and %g in CHECKPOINTS.md, %g and %g in the file", name, model, abs, rel, tol.Abs, tol.Rel)
				}
			}
		}
		if !found {
			t.Errorf("CHECKPOINTS.md: %s is no figure", name)
		}
	}
	if len(seen) != 8 {
		t.Errorf("%d figures in CHECKPOINTS.md, want 8", len(seen))
	}
}

// toleranceOf is that of a figure as the table names it.
func toleranceOf(m *figures.Model, name string) (t figures.Tolerance, ok bool) {
	switch {
	case name == "weights" && m.Weights.Tensors != nil:
		return m.Weights.Tolerance, true
	case name == "ln_f":
		return m.LnF.Tolerance, true
	case name == "logits":
		return m.Logits.Tolerance, true
	case name == "logits.mean_nll":
		return m.Logits.NLLTolerance, true
	case name == "token_logprobs" && m.TokenLogprobs != nil:
		return m.TokenLogprobs.Tolerance, true
	case name == "token_logprobs.sum" && m.TokenLogprobs != nil:
		return m.TokenLogprobs.SumTolerance, true
	case name == "ln_f_hello_world" && m.FirstHidden != nil:
		return m.FirstHidden.Tolerance, true
	case name == "next_logit" && m.NextLogit != nil:
		return m.NextLogit.Tolerance, true
	}
	return t, false
}
