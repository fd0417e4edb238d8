package diagnose

import (
	"slices"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/internal/harnesstest"
)

// A stage that is correct for its inputs fails for nothing else: no row but the
// stage of the fault's, nor one that follows from it.
func TestWithoutGoldenFailsNoStageThatIsRight(t *testing.T) {
	m := gpt2test.Tiny(t)
	g := gpt2test.Golden(t, gpt2.Schedule(3, nil), "synthetic-tiny/hello/float64")
	for _, b := range harnesstest.Draw(gpt2test.Faults, 0, 3) {
		t.Run(b.Name, func(t *testing.T) {
			c, changed := faulty(t, m, g, true, b)
			alone := comparisonOf(m, nil, c)
			alone.Prompt = len(g.Manifest().Tokens[0])
			r, err := Compare(t.Context(), alone)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range r.Violations {
				if v.Stage != b.Stage {
					t.Errorf("%s contradicts the dump: %s, %s", v.Place, v.Rule, v.Detail)
				}
			}
			for i := range r.Stages {
				row := &r.Stages[i]
				if wrong := slices.Contains(changed, row.Place); row.Status.Diverges() != wrong {
					t.Errorf("%s: %s", row.Place, row.Status)
				}
			}
			if r.FirstDivergence == nil || *r.FirstDivergence != (harness.Place{Step: b.Step, Stage: b.Stage}) {
				t.Errorf("first divergence %v", r.FirstDivergence)
			}
		})
	}
}

func TestWithoutGoldenTellsTheShapeWanted(t *testing.T) {
	m := gpt2test.Tiny(t)
	s := gpt2.Schedule(3, nil)
	g := gpt2test.Golden(t, s, "synthetic-tiny/hello/float64")
	c := gpt2test.Foreign(t, s, g, func(step int, stage string, x harness.Tensor, _ map[string]int) harness.Tensor {
		if step == 0 && stage == "h.1.ln_2" {
			return harness.Tensor{Shape: []int{1, 1, 80}, F32: x.F32[80:]}
		}
		return x
	})
	r, err := Compare(t.Context(), comparisonOf(m, nil, c))
	if err != nil {
		t.Fatal(err)
	}
	row := r.Row(harness.Place{Step: 0, Stage: "h.1.ln_2"})
	if row.Status != harness.WrongShape || !slices.Equal(row.Shape, []int{1, 2, 80}) || !slices.Equal(row.GotShape, []int{1, 1, 80}) {
		t.Errorf("%s: got %v, want %v", row.Status, row.GotShape, row.Shape)
	}
}
