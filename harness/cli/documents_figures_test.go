package cli

import (
	"strconv"
	"strings"
	"testing"

	"checkpoint12/harness/verify/figures"
)

// TestFiguresDocumented holds the table of figures in CHECKPOINTS.md against the
// tolerances in the file: each figure is in the row of its name, or of its kind.
func TestFiguresDocumented(t *testing.T) {
	file, err := figures.Published()
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]figures.Tolerance{}
	for _, row := range table(t, document(t, "CHECKPOINTS.md"), "| figure | cp | abs | rel | of |", 5) {
		abs, err1 := strconv.ParseFloat(row[2], 64)
		rel, err2 := strconv.ParseFloat(row[3], 64)
		if err1 != nil || err2 != nil || row[4] == "" {
			t.Errorf("%q", row)
		}
		documented[strings.Trim(row[0], "`")] = figures.Tolerance{Abs: abs, Rel: rel}
	}
	seen := map[string]bool{}
	for model, list := range file.Models {
		for _, f := range list {
			if f.Exact() {
				continue
			}
			name := f.Name
			if _, ok := documented[name]; !ok {
				name = f.Kind()
			}
			seen[name] = true
			if want, ok := documented[name]; !ok || f.Abs != want.Abs || f.Rel != want.Rel {
				t.Errorf("%s of %s: %g and %g in the file, %g and %g in CHECKPOINTS.md", f.Name, model, f.Abs, f.Rel, want.Abs, want.Rel)
			}
		}
	}
	for name := range documented {
		if !seen[name] {
			t.Errorf("CHECKPOINTS.md: %s is no figure", name)
		}
	}
}
