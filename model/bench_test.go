package model

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"sync"
	"testing"
)

// medium has the shape of GPT-2 Medium: 355 M parameters.
var medium = Config{Vocab: 50257, Positions: 1024, Embd: 1024, Layers: 24, Heads: 16, Inner: 4096, Eps: 1e-5}

// mediumModel is made once for all benchmarks: 1.4 GB of cheap random weights.
var mediumModel = sync.OnceValues(func() (*Model, error) {
	header := map[string]any{}
	size := 0
	for name, shape := range medium.weights() {
		if name == "lm_head.weight" {
			continue
		}
		n := 4
		for _, d := range shape {
			n *= d
		}
		header[name] = map[string]any{"dtype": "F32", "shape": shape, "data_offsets": []int{size, size + n}}
		size += n
	}
	h, err := json.Marshal(header)
	if err != nil {
		return nil, err
	}
	for len(h)%8 != 0 {
		h = append(h, ' ')
	}
	file := make([]byte, 8+len(h)+size)
	binary.LittleEndian.PutUint64(file, uint64(len(h)))
	copy(file[8:], h)
	x := uint32(1)
	for b := file[8+len(h):]; len(b) > 0; b = b[4:] {
		x = x*1664525 + 1013904223
		binary.LittleEndian.PutUint32(b, math.Float32bits((float32(x>>8)*0x1p-24-0.5)*0.1))
	}
	return FromBytes("medium", medium, file)
})

// bytesRead is what a decode step reads of the weights: all but the embeddings'
// other rows, and wte once more as the head.
func bytesRead(c Config) int64 {
	return 4 * int64(c.Layers*(c.Embd*(4*c.Embd+2*c.Inner)+9*c.Embd+c.Inner)+c.Vocab*c.Embd)
}

func BenchmarkDecode(b *testing.B) {
	for _, bench := range []struct {
		name string
		tap  Tap
	}{
		{"untapped", nil},
		{"tapped", func(string, []int, []float32) {}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			m, err := mediumModel()
			if err != nil {
				b.Fatal(err)
			}
			s, err := m.NewSession(SessionOptions{Length: 128, Tap: bench.tap})
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
		tap  Tap
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
			s, err := m.NewSession(SessionOptions{Length: 128, Tap: bench.tap})
			if err != nil {
				b.Fatal(err)
			}
			tokens := ids(medium, bench.T, 1)
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
