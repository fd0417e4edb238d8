package gpt2test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"checkpoint12/model"
)

// Micro is small, and no two of its dimensions are the same.
var Micro = model.Config{Vocab: 37, Positions: 14, Embd: 12, Layers: 2, Heads: 3, Inner: 20, Eps: 1e-5}

// MicroModel returns a model of random weights, none of them zero.
func MicroModel(t testing.TB) *model.Model {
	t.Helper()
	type tensor struct {
		name  string
		shape []int
	}
	c := Micro
	list := []tensor{{"wte.weight", []int{c.Vocab, c.Embd}}, {"wpe.weight", []int{c.Positions, c.Embd}}}
	for n := range c.Layers {
		h := fmt.Sprintf("h.%d.", n)
		list = append(list,
			tensor{h + "ln_1.weight", []int{c.Embd}}, tensor{h + "ln_1.bias", []int{c.Embd}},
			tensor{h + "attn.c_attn.weight", []int{c.Embd, 3 * c.Embd}}, tensor{h + "attn.c_attn.bias", []int{3 * c.Embd}},
			tensor{h + "attn.c_proj.weight", []int{c.Embd, c.Embd}}, tensor{h + "attn.c_proj.bias", []int{c.Embd}},
			tensor{h + "ln_2.weight", []int{c.Embd}}, tensor{h + "ln_2.bias", []int{c.Embd}},
			tensor{h + "mlp.c_fc.weight", []int{c.Embd, c.Inner}}, tensor{h + "mlp.c_fc.bias", []int{c.Inner}},
			tensor{h + "mlp.c_proj.weight", []int{c.Inner, c.Embd}}, tensor{h + "mlp.c_proj.bias", []int{c.Embd}})
	}
	list = append(list, tensor{"ln_f.weight", []int{c.Embd}}, tensor{"ln_f.bias", []int{c.Embd}})

	rng := rand.New(rand.NewPCG(12, 1))
	header, data := map[string]any{}, []byte{}
	for _, w := range list {
		n, start := 1, len(data)
		for _, d := range w.shape {
			n *= d
		}
		for range n {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(0.1+0.5*rng.NormFloat64())))
		}
		header[w.name] = map[string]any{"dtype": "F32", "shape": w.shape, "data_offsets": []int{start, len(data)}}
	}
	h, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(h)))
	m, err := model.FromBytes("micro", c, append(append(file, h...), data...), nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
