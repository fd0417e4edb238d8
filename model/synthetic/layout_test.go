package synthetic

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"checkpoint12/model"
	"checkpoint12/model/modeltest"
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
	s, err := find(name)
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
		values := make([]byte, 4*tensor.Size())
		s.fill(values, tensor, 0)
		put(tensor.Name, tensor.Shape, values)
	}
	for file, content := range map[string][]byte{"config.json": s.config(), "model.safetensors": modeltest.File(header, data)} {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHubLayouts opens the same weights however a file from the hub names them.
func TestHubLayouts(t *testing.T) {
	want, err := Open("synthetic-tiny")
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	for _, l := range []layout{{"", true}, {"transformer.", false}, {"transformer.", true}} {
		t.Run(fmt.Sprintf("%+v", l), func(t *testing.T) {
			dir := t.TempDir()
			writeLayout(t, "synthetic-tiny", dir, l)
			m, err := model.Open("tiny", dir)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			names := 0
			for name := range m.Config().Weights() {
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
			if hash, err := m.WeightsSHA256(); err != nil || hash == SHA256("synthetic-tiny") {
				t.Errorf("hash %s, %v: this is another file", hash, err)
			}
		})
	}
}
