package model_test

import (
	"encoding/binary"
	"math"
	"sync"
	"testing"

	"checkpoint12/model"
	"checkpoint12/model/internal/safetensors"
	"checkpoint12/model/modeltest"
)

// medium has the shape of GPT-2 Medium: 355 M parameters.
var medium = model.Config{Vocab: 50257, Positions: 1024, Embd: 1024, Layers: 24, Heads: 16, Inner: 4096, Eps: 1e-5}

// mediumModel is made once for all benchmarks: 1.4 GB of cheap random weights.
var mediumModel = sync.OnceValues(func() (*model.Model, error) {
	var tensors []safetensors.Info
	size := 0
	for name, shape := range medium.Weights() {
		if t := (safetensors.Info{Name: name, Shape: shape}); name != "lm_head.weight" {
			tensors, size = append(tensors, t), size+4*t.Size()
		}
	}
	header := safetensors.Header(tensors)
	file := append(make([]byte, 0, len(header)+size), header...)[:len(header)+size]
	x := uint32(1)
	for b := file[len(header):]; len(b) > 0; b = b[4:] {
		x = x*1664525 + 1013904223
		binary.LittleEndian.PutUint32(b, math.Float32bits((float32(x>>8)*0x1p-24-0.5)*0.1))
	}
	return model.FromBytes("medium", medium, file, nil)
})

// bytesRead is what a decode step reads of the weights: all but the embeddings'
// other rows, and wte once more as the head.
func bytesRead(c model.Config) int64 {
	return 4 * int64(c.Layers*(c.Embd*(4*c.Embd+2*c.Inner)+9*c.Embd+c.Inner)+c.Vocab*c.Embd)
}

func BenchmarkDecode(b *testing.B) {
	for _, bench := range []struct {
		name string
		tap  model.Tap
	}{
		{"untapped", nil},
		{"tapped", func(string, []int, []float32) {}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			m, err := mediumModel()
			if err != nil {
				b.Fatal(err)
			}
			s, err := m.NewSession(model.SessionOptions{Length: 128, Tap: bench.tap})
			if err != nil {
				b.Fatal(err)
			}
			next, err := s.Step([]int{15496, 13})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(bytesRead(medium))
			b.ReportAllocs()
			for b.Loop() {
				if s.Pos() == 128 {
					s.Reset()
				}
				if next, err = s.Step(next); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}

func BenchmarkPrompt(b *testing.B) {
	for _, bench := range []struct {
		name string
		T    int
		tap  model.Tap
	}{
		{"2/untapped", 2, nil},
		{"128/untapped", 128, nil},
		{"128/tapped", 128, func(string, []int, []float32) {}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			m, err := mediumModel()
			if err != nil {
				b.Fatal(err)
			}
			s, err := m.NewSession(model.SessionOptions{Length: 128, Tap: bench.tap})
			if err != nil {
				b.Fatal(err)
			}
			tokens := modeltest.Tokens(medium, bench.T, 1)
			for b.Loop() {
				s.Reset()
				if _, err := s.Step(tokens); err != nil {
					b.Fatal(err)
				}
			}
			seconds := b.Elapsed().Seconds() / float64(b.N)
			b.ReportMetric(float64(bench.T)/seconds, "tokens/s")
			b.ReportMetric(float64(bench.T)*float64(bytesRead(medium))/2/seconds/1e9, "GFLOP/s")
		})
	}
}
