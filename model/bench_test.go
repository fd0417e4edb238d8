package model_test

import (
	"os"
	"runtime"
	"sync"
	"testing"

	"checkpoint12/model"
	"checkpoint12/model/internal/kernel/ceiling"
	"checkpoint12/model/modeltest"
	"checkpoint12/model/synthetic"
)

// medium has the shape of GPT-2 Medium, 355 M parameters; made once, in 1.4 GB.
var medium = sync.OnceValues(func() (*model.Model, error) { return synthetic.Open("synthetic-medium") })

// small has the shape of the smallest GPT-2, 124 M parameters.
var small = sync.OnceValues(func() (*model.Model, error) {
	return synthetic.Random("small", model.Config{Vocab: 50257, Positions: 1024, Embd: 768, Layers: 12, Heads: 12, Inner: 3072, Eps: 1e-5}, 1)
})

// BenchmarkStep feeds a prompt of T tokens, and after one of 2 a token at a time. It reports the
// shares of what the processor multiplies at most and, for a token at a time, of what it reads of
// the same weights at most. scripts/bench.py gives the folder of another model.
func BenchmarkStep(b *testing.B) {
	if dir := os.Getenv("CHECKPOINT12_BENCH"); dir != "" {
		b.Run("given", func(b *testing.B) {
			benchmarkStep(b, func() (*model.Model, error) { return model.Open("given", dir) })
		})
		return
	}
	b.Run("medium", func(b *testing.B) { benchmarkStep(b, medium) })
	b.Run("small", func(b *testing.B) { benchmarkStep(b, small) })
}

func benchmarkStep(b *testing.B, open func() (*model.Model, error)) {
	m, err := open()
	if err != nil {
		b.Fatal(err)
	}
	c := m.Config()
	// What a step reads of the weights: all but the embeddings' other rows, and wte
	// once more as the head.
	read := 4 * int64(c.Layers*(c.Embd*(4*c.Embd+2*c.Inner)+9*c.Embd+c.Inner)+c.Vocab*c.Embd)
	var weights [][]float32
	for name := range c.Weights() {
		values, _, _ := m.Weight(name)
		weights = append(weights, values)
	}
	nop := func(string, []int, []float32) {}
	for _, bench := range []struct {
		name   string
		T      int
		decode bool
		tap    model.Tap
	}{
		{"decode/untapped", 2, true, nil}, {"decode/tapped", 2, true, nop},
		{"prompt 2/untapped", 2, false, nil}, {"prompt 8/untapped", 8, false, nil},
		{"prompt 128/untapped", 128, false, nil}, {"prompt 128/tapped", 128, false, nop},
		{"prompt 512/untapped", 512, false, nil},
	} {
		b.Run(bench.name, func(b *testing.B) {
			tokens := modeltest.Tokens(c, bench.T, 1)
			options := model.SessionOptions{Length: max(128, bench.T), Tap: bench.tap}
			s, err := m.NewSession(options) // to warm up
			if err != nil {
				b.Fatal(err)
			}
			if _, err := s.Step(tokens); err != nil {
				b.Fatal(err)
			}
			fed := 0
			for b.Loop() {
				b.StopTimer()
				step := tokens
				if !bench.decode || s.Pos() == 128 {
					if s, err = m.NewSession(options); err != nil {
						b.Fatal(err)
					}
					if bench.decode {
						if _, err := s.Step(tokens); err != nil {
							b.Fatal(err)
						}
					}
				}
				if bench.decode {
					step = tokens[:1]
				}
				fed += len(step)
				b.StartTimer()
				if _, err := s.Step(step); err != nil {
					b.Fatal(err)
				}
			}
			seconds := b.Elapsed().Seconds()
			b.ReportMetric(float64(fed)/seconds, "tokens/s")
			// A multiplication and an addition for each of the four bytes of a weight.
			b.ReportMetric(100*float64(fed)*float64(read)/2/seconds/ceiling.FMA(runtime.GOMAXPROCS(0)), "%ofFMA")
			if bench.decode {
				b.ReportMetric(100*float64(fed)*float64(read)/seconds/ceiling.Read(runtime.GOMAXPROCS(0), weights), "%ofRead")
			}
		})
	}
}
