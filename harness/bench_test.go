package harness_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/shapes"
)

// randomTensor is values in [-1, 1) of a shape.
func randomTensor(seed uint64, shape ...int) harness.Tensor {
	n, _ := shapes.Size(shape)
	rng := rand.New(rand.NewPCG(seed, 1))
	t := harness.Tensor{Shape: shape, F32: make([]float32, n)}
	for i := range t.F32 {
		t.F32[i] = 2*rng.Float32() - 1
	}
	return t
}

// BenchmarkMeasure counts the bytes of both tensors.
func BenchmarkMeasure(b *testing.B) {
	st := harness.Stage{Name: "x", Tolerance: harness.Tolerance{Abs: 1e-6, Reason: "benchmark"}}
	for _, n := range []int{1 << 12, 1 << 20} {
		want := randomTensor(1, n)
		near := harness.Tensor{Shape: want.Shape, F32: make([]float32, n)}
		for i, v := range want.F32 {
			near.F32[i] = v + float32(i%7)*1e-8
		}
		for name, got := range map[string]harness.Tensor{"pass": near, "fail": randomTensor(2, n)} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.SetBytes(int64(8 * n))
				for b.Loop() {
					if _, err := harness.CompareTensor(st, want, got, 0); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
