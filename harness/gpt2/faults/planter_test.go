package faults_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/model"
)

// TestPlanter: the stages that follow read what is planted, and the next step finds
// it as what was before; a second run begins at position 0 again.
func TestPlanter(t *testing.T) {
	m := gpt2test.Tiny(t)
	const stage = "h.0.attn.cache_k"
	var dims []model.Dims
	var planted []float32
	p := faults.Planter{Model: m, Plant: func(at harness.Place, c *faults.Context) []float32 {
		if at.Stage != stage {
			return nil
		}
		dims = append(dims, c.Dims)
		before := c.In("prev:" + stage)
		if c.Dims.P > 0 && !slices.Equal(before, planted) || c.Dims.P == 0 && (before == nil || len(before) > 0) {
			t.Errorf("%+v: before it were %d values, want what was planted", c.Dims, len(before))
		}
		planted = make([]float32, len(c.Right()))
		return planted
	}}
	tap := (&gpt2.Override{Value: p.Value}).Tap
	for range 2 {
		rec, err := gpt2.Record(t.Context(), m, gpt2.Run{Tokens: [][]int{{1, 2, 3}}, New: 3, Temperatures: []float64{}, Tap: tap})
		if err != nil {
			t.Fatal(err)
		}
		scores, err := rec.Tensor(2, "h.0.attn.scores")
		if err != nil || slices.ContainsFunc(scores.F32, func(v float32) bool { return v != 0 }) {
			t.Errorf("scores %v, %v; want those of keys that are all 0", scores.F32, err)
		}
	}
	one := []model.Dims{{B: 1, T: 3, P: 0}, {B: 1, T: 1, P: 3}, {B: 1, T: 1, P: 4}}
	if diff := cmp.Diff(slices.Concat(one, one), dims); diff != "" {
		t.Errorf("dimensions (-want +got):\n%s", diff)
	}
}
