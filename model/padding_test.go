package model_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"checkpoint12/model"
	"checkpoint12/model/modeltest"
)

// Each row of a padded batch has the logits that it has by itself, to the bit, tapped and
// not, wherever its padding stands and whatever the steps; and each stage is what Apply
// computes from its inputs under the same mask.
func TestPaddingChangesNothing(t *testing.T) {
	cfg := modeltest.Micro
	m := modeltest.New(t, cfg, 1)
	rapid.Check(t, func(t *rapid.T) {
		const columns = 6
		B := rapid.IntRange(1, 3).Draw(t, "batch")
		var ids, mask [][]int
		for b := range B {
			ids = append(ids, modeltest.Tokens(cfg, columns, uint64(b)))
			row := rapid.SliceOfN(rapid.IntRange(0, 1), columns, columns).Draw(t, fmt.Sprint("mask ", b))
			row[rapid.IntRange(0, columns-1).Draw(t, fmt.Sprint("token ", b))] = 1
			mask = append(mask, row)
		}
		var ends []int
		for end := 0; end < columns; {
			end = rapid.IntRange(end+1, columns).Draw(t, "end")
			ends = append(ends, end)
		}
		alone := make([][][]float32, B) // by row, the logits after each of its tokens
		for b := range B {
			s, err := m.NewSession(model.SessionOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for j, one := range mask[b] {
				if one == 1 {
					if _, err := s.Step(ids[b][j : j+1]); err != nil {
						t.Fatal(err)
					}
					alone[b] = append(alone[b], slices.Clone(s.LogitsLast()))
				}
			}
		}
		for _, tapped := range []bool{false, true} {
			o := model.SessionOptions{Batch: B, Mask: mask}
			var d model.Dims
			values := map[string][]float32{}
			if tapped {
				o.Tap = func(stage string, shape []int, data []float32) {
					out := make([]float32, len(data))
					if err := m.Apply(stage, d, func(name string) []float32 { return values[name] }, out); err != nil {
						t.Fatal(err)
					}
					if i := differAt(out, data); i >= 0 {
						t.Fatalf("%s of %v under %v: %v at %d, Apply gives %v", stage, ids, mask, data[i], i, out[i])
					}
					if want, err := model.Shape(cfg, stage, d); err != nil || !slices.Equal(shape, want) {
						t.Fatalf("%s is of shape %v, want %v (%v)", stage, shape, want, err)
					}
					values[stage] = slices.Clone(data)
				}
			}
			s, err := m.NewSession(o)
			if err != nil {
				t.Fatal(err)
			}
			seen, begin := make([]int, B), 0
			for _, end := range ends {
				d = model.Dims{B: B, T: end - begin, P: begin}
				padded := slices.ContainsFunc(mask, func(row []int) bool { return slices.Contains(row, 0) })
				for b := 0; padded && b < B; b++ {
					for j := range end {
						d.Mask = append(d.Mask, mask[b][j] == 1)
					}
				}
				var fed []int
				for b := range B {
					fed = append(fed, ids[b][begin:end]...)
				}
				for stage := range values {
					values["prev:"+stage] = values[stage]
				}
				values["tokens"], values["pos"] = floats(fed), []float32{float32(begin)}
				for n := range cfg.Layers {
					for _, cache := range []string{"cache_k", "cache_v"} {
						if name := fmt.Sprintf("prev:h.%d.attn.%s", n, cache); values[name] == nil {
							values[name] = []float32{}
						}
					}
				}
				next, err := s.Step(fed)
				if err != nil {
					t.Fatal(err)
				}
				for b := range B {
					before := seen[b]
					for j := begin; j < end; j++ {
						seen[b] += mask[b][j]
					}
					got := s.LogitsLast()[b*cfg.Vocab:][:cfg.Vocab]
					switch {
					case seen[b] == before && (next[b] != -1 || got[0] == got[0]):
						t.Fatalf("row %d of %v has no token before column %d and chooses %d", b, mask, end, next[b])
					case seen[b] > before && differAt(got, alone[b][seen[b]-1]) >= 0:
						t.Fatalf("row %d of %v, before column %d: %v, alone %v", b, mask, end, got[:4], alone[b][seen[b]-1][:4])
					}
				}
				begin = end
			}
		}
	})
}

// floats returns ids as an input of Apply.
func floats(ids []int) (out []float32) {
	for _, id := range ids {
		out = append(out, float32(id))
	}
	return out
}
