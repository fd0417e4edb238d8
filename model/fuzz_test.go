package model_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"checkpoint12/model"
	"checkpoint12/model/modeltest"
)

// Whatever the bytes, ParseConfig does not panic, and what it accepts is valid
// and survives its own JSON.
func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(releasedConfig))
	f.Add([]byte(`{"vocab_size":9,"n_positions":8,"n_embd":6,"n_layer":4,"n_head":3,"n_inner":null}`))
	f.Add([]byte(`{"a":{"a":[1,null]},"a":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := model.ParseConfig(data)
		if err != nil {
			return
		}
		if err := c.Validate(); err != nil {
			t.Errorf("accepted an invalid config: %v", err)
		}
		if !json.Valid(c.JSON()) {
			t.Errorf("JSON() is not JSON: %q", c.JSON())
		}
		made := model.Config{Vocab: c.Vocab, Positions: c.Positions, Embd: c.Embd, Layers: c.Layers, Heads: c.Heads, Inner: c.Inner, Eps: c.Eps}
		again, err := model.ParseConfig(made.JSON())
		if err != nil {
			t.Fatalf("%s: %v", made.JSON(), err)
		}
		if diff := cmp.Diff(made, again, cmpopts.IgnoreUnexported(model.Config{})); diff != "" {
			t.Error(diff)
		}
	})
}

// Whatever the bytes of a weight file, reading them does not panic, and what is
// accepted computes.
func FuzzFromBytes(f *testing.F) {
	tiny := model.Config{Vocab: 3, Positions: 2, Embd: 2, Layers: 1, Heads: 1, Inner: 2, Eps: 1e-5}
	weights := modeltest.Weights(tiny, 1)
	f.Add(modeltest.Encode(tiny, weights))
	f.Add(encode(entries(tiny, weights, "BF16")))
	f.Add(misalign(modeltest.Encode(tiny, weights)))
	f.Add(append([]byte{4, 0, 0, 0, 0, 0, 0, 0}, "null"...))
	f.Add(append([]byte{2, 0, 0, 0, 0, 0, 0, 0}, "{}"...))
	f.Fuzz(func(t *testing.T, file []byte) {
		m, err := model.FromBytes("fuzz", tiny, file, nil)
		if err != nil {
			return
		}
		s, err := m.NewSession(model.SessionOptions{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Step([]int{0, 2}); err != nil {
			t.Error(err)
		}
	})
}
