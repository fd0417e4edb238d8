package verify

import (
	"path/filepath"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/gpt2test"
)

// Verify names the golden that is wrong, and not the model.
func TestVerifyNamesTheOutlier(t *testing.T) {
	root := t.TempDir()
	for _, engine := range []string{"float64", "candle", "tinygrad"} {
		g := gpt2test.Golden(t, gpt2.Schedule(3, nil), "synthetic-tiny/quick-brown/"+engine)
		copied := gpt2test.Foreign(t, gpt2.Schedule(3, nil), g, func(step int, stage string, x harness.Tensor, _ map[string]int) harness.Tensor {
			if engine == "candle" && stage == "h.1.mlp.act" {
				for i := range x.F32 {
					x.F32[i] *= 1.01
				}
			}
			return x
		})
		man := *g.Manifest()
		man.Files = nil
		if err := dump.Write(copied, filepath.Join(root, "synthetic-tiny", "quick-brown", engine), man); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Verify(t.Context(), Options{Model: "synthetic-tiny", Goldens: root})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Failed() || r.First == nil || !r.First.Outlier || r.First.Engine != "candle" || r.First.Stage != "h.1.mlp.act" || r.Graft != nil {
		t.Errorf("verdict %s, first %+v, graft %v", r.Verdict, r.First, r.Graft)
	}
	if len(r.Quorums) != 1 || len(r.Quorums[0].Outliers) != 3 {
		t.Errorf("quorums %+v, want one with three outliers", r.Quorums)
	}
	text := textOf(t, r)
	for _, part := range []string{
		"quick-brown: the golden of candle is the outlier, not the candidate: at step_00/h.1.mlp.act it is",
		"; as in 3 of its tensors",
		"usual causes: the golden's engine computes the stage wrong",
		"look at: the golden, not this model: make it again",
		"regenerate_goldens.py --check --engine candle --model synthetic-tiny --case quick-brown",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("report lacks %q:\n%s", part, text)
		}
	}
}
