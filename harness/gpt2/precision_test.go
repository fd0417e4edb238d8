package gpt2_test

import (
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/gpt2test"
	"checkpoint12/harness/replay"
)

// A run in a precision is right for its inputs in that one and in coarser ones, with room for
// an engine that rounds more often; in finer ones it is not.
func TestReplayInPrecision(t *testing.T) {
	m, s := gpt2test.Tiny(t), gpt2.Schedule(3, nil)
	for i, p := range gpt2.Precisions {
		planter := faults.Planter{Model: m, Plant: faults.InTF32(nil)}
		products := gpt2.Override{Value: planter.Value}
		rec, err := gpt2.Record(t.Context(), m, gpt2.Run{
			Tokens: [][]int{{464, 2068, 7586}}, New: 2, Tap: func(stage string, shape []int, data []float32) {
				if p.Name == gpt2.TF32.Name {
					products.Tap(stage, shape, data)
				}
				p.Tap(stage, shape, data)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		for j, as := range gpt2.Precisions {
			rows, err := replay.Judge(t.Context(), s, rec, gpt2.NewReplayer(m, nil, as), replay.Options{})
			if err != nil {
				t.Fatal(err)
			}
			wrong, worst := 0, 0.0
			for _, r := range rows {
				if r.Verdict != harness.ReplayClean {
					wrong++
				} else if r.Status.Compared() {
					worst = max(worst, r.Share())
				}
			}
			switch {
			case i <= j:
				if wrong > 0 || worst > 0.97 { // a value is stored once: half a unit of the last place is just within
					t.Errorf("%s judged in %s: %d of %d are wrong, the worst right one has %.2g of its bound", p.Name, as.Name, wrong, len(rows), worst)
				}
			case wrong == 0:
				t.Errorf("%s judged in %s: nothing of %d is wrong", p.Name, as.Name, len(rows))
			}
		}
	}
}
