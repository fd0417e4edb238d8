package faults_test

import (
	"path"
	"slices"
	"strings"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/model"
	"checkpoint12/model/modeltest"
)

// oddModel is of a shape that shares no length with synthetic-tiny.
func oddModel(t *testing.T) *model.Model {
	cfg := model.Config{Vocab: 331, Positions: 40, Embd: 48, Layers: 4, Heads: 6, Inner: 112, Eps: 1e-5}
	return modeltest.Of(t, cfg, modeltest.Weights(cfg, 7))
}

// A fitCase is a fault that no catalogue lists, planted at every step and in every layer.
type fitCase struct {
	name   string
	stage  string // by its end
	id     string
	words  []string
	output func(c *faults.Context) []float32
}

// planted plants a case's fault.
func planted(c fitCase) planting {
	return func(at harness.Place, x *faults.Context) []float32 {
		if ok, _ := path.Match("*"+c.stage, at.Stage); !ok {
			return nil
		}
		return c.output(x)
	}
}

// testFits plants each fault in a model's run and asks for its words at all places.
func testFits(t *testing.T, e engine, cases []fitCase) {
	for _, c := range harnesstest.Draw(cases, 0, 3) {
		t.Run(c.name, func(t *testing.T) {
			e := e
			e.plant = planted(c)
			introduced, all := e.explain(t)
			if len(introduced) == 0 || len(all) != len(introduced) {
				t.Fatalf("%d rows introduced, %d explained", len(introduced), len(all))
			}
			for _, x := range all {
				if x.Fault != c.id || x.Explains < 0.999 || slices.ContainsFunc(c.words, func(w string) bool { return !strings.Contains(x.Text, w) }) {
					t.Errorf("%s at step %d: %s, %.4f: %q, want %s, %q", x.Stage, x.Step, x.Fault, float64(x.Explains), x.Text, c.id, c.words)
				}
			}
		})
	}
}
