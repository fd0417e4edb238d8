package model

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// layout is how a file from the hub differs from one of ours: OpenAI's have
// causal masks among the weights, files saved from a whole GPT2LMHeadModel a
// prefix too.
type layout struct {
	prefix string
	masks  bool
}

// writeLayout writes a synthetic model as files from the hub are laid out.
func writeLayout(t testing.TB, name, dir string, l layout) {
	t.Helper()
	s, err := findSynthetic(name)
	if err != nil {
		t.Fatal(err)
	}
	header := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	var data []byte
	put := func(name string, shape []int, values []byte) {
		header[l.prefix+name] = map[string]any{"dtype": "F32", "shape": shape, "data_offsets": []int{len(data), len(data) + len(values)}}
		data = append(data, values...)
	}
	if l.masks {
		n := s.positions
		mask := make([]byte, 4*n*n)
		for i := range n {
			for j := range i + 1 {
				binary.LittleEndian.PutUint32(mask[4*(i*n+j):], math.Float32bits(1))
			}
		}
		for k := range s.layers {
			put(fmt.Sprintf("h.%d.attn.bias", k), []int{1, 1, n, n}, mask)
			put(fmt.Sprintf("h.%d.attn.masked_bias", k), []int{}, binary.LittleEndian.AppendUint32(nil, math.Float32bits(-1e4)))
		}
	}
	tensors := s.tensors()
	slices.Reverse(tensors) // the order is nothing to rely on
	for _, tensor := range tensors {
		values := make([]byte, 4*tensor.size)
		s.fill(values, tensor, 0)
		put(tensor.name, tensor.shape, values)
	}
	for file, content := range map[string][]byte{"config.json": s.config(), "model.safetensors": assembleFile(header, data)} {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHubLayouts opens the same weights however a file from the hub names them.
func TestHubLayouts(t *testing.T) {
	want, err := Synthetic("synthetic-tiny")
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	for _, l := range []layout{{"", true}, {"transformer.", false}, {"transformer.", true}} {
		t.Run(fmt.Sprintf("%+v", l), func(t *testing.T) {
			dir := t.TempDir()
			writeLayout(t, "synthetic-tiny", dir, l)
			m, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			names := 0
			for name := range m.cfg.weights() {
				got, _, _ := m.Weight(name)
				expected, _, ok := want.Weight(name)
				if !slices.Equal(got, expected) {
					t.Errorf("%s differs", name)
				}
				if ok {
					names++
				}
			}
			if names != 2+12*3+2 {
				t.Errorf("compared %d weights", names)
			}
			if hash, err := m.WeightsSHA256(); err != nil || hash == SyntheticSHA256("synthetic-tiny") {
				t.Errorf("hash %s, %v: this is another file", hash, err)
			}
		})
	}
}

// TestSyntheticHeader reads the header as any reader of the format does.
func TestSyntheticHeader(t *testing.T) {
	for _, s := range synthetics {
		b := s.header()
		if n := binary.LittleEndian.Uint64(b); len(b)%8 != 0 || n != uint64(len(b)-8) {
			t.Errorf("%s: %d bytes, of which the first eight say %d", s.name, len(b), n)
		}
		var header map[string]struct {
			DType   string `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}
		if err := json.Unmarshal(b[8:], &header); err != nil {
			t.Fatal(err)
		}
		end := 0
		for _, tensor := range s.tensors() {
			h := header[tensor.name]
			if h.DType != "F32" || !slices.Equal(h.Shape, tensor.shape) || h.Offsets != [2]int{end, end + 4*tensor.size} {
				t.Errorf("%s: %s is %+v", s.name, tensor.name, h)
			}
			end = h.Offsets[1]
		}
		if len(header) != len(s.tensors()) {
			t.Errorf("%s: %d tensors in the header, %d in the list", s.name, len(header), len(s.tensors()))
		}
	}
}
