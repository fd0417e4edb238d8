package dump

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/shapes"
)

// BenchmarkCompareDumps opens two dumps with manifests and compares them: 24
// layers of 12 stages and one step, the size of GPT-2 Medium's.
func BenchmarkCompareDumps(b *testing.B) {
	var stages []harness.Stage
	for layer := range 24 {
		for _, name := range []string{"ln_1", "q", "k", "v", "scores", "probs", "context", "mid", "ln_2", "fc", "act", "post"} {
			stages = append(stages, harness.Stage{Name: fmt.Sprintf("h.%d.%s", layer, name), Tolerance: harness.Tolerance{Abs: 1e-5, Reason: "benchmark"}})
		}
	}
	s, err := harness.NewSchedule(stages)
	if err != nil {
		b.Fatal(err)
	}
	dirs := [2]string{filepath.Join(b.TempDir(), "golden"), filepath.Join(b.TempDir(), "candidate")}
	bytes := int64(0)
	for _, dir := range dirs {
		w, err := Create(dir)
		if err != nil {
			b.Fatal(err)
		}
		for i, st := range stages {
			t := randomValues(uint64(i), 1, 32, 1024)
			bytes += int64(4 * t.Elements())
			if err := w.Put(0, st.Name, t); err != nil {
				b.Fatal(err)
			}
		}
		if err := w.Commit(nil, nil, harness.Manifest{Model: harness.ManifestModel{Name: "m"}, Engine: harness.Engine{Name: "e"}}); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(bytes)
	for b.Loop() {
		golden, _, err := Open(dirs[0], s)
		if err != nil {
			b.Fatal(err)
		}
		candidate, _, err := Open(dirs[1], s)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := harness.Compare(s, golden, candidate, harness.CompareOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

// randomValues is values in [-1, 1) of a shape.
func randomValues(seed uint64, shape ...int) harness.Tensor {
	n, _ := shapes.Size(shape)
	rng := rand.New(rand.NewPCG(seed, 1))
	t := harness.Tensor{Shape: shape, F32: make([]float32, n)}
	for i := range t.F32 {
		t.F32[i] = 2*rng.Float32() - 1
	}
	return t
}
