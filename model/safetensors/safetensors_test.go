package safetensors

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"testing"
)

func TestFromFloat16(t *testing.T) {
	for _, test := range []struct {
		bits uint16
		want float64
	}{
		{0x0000, 0}, {0x8000, math.Copysign(0, -1)}, {0x3c00, 1}, {0xc000, -2}, {0x7bff, 65504},
		{0x0400, 0x1p-14}, {0x0001, 0x1p-24}, {0x03ff, 0x3ffp-24}, {0x8001, -0x1p-24}, {0x3555, 0x1.554p-2},
		{0x7c00, math.Inf(1)}, {0xfc00, math.Inf(-1)}, {0x7e00, math.NaN()},
	} {
		got := float64(fromFloat16(test.bits))
		if math.Float64bits(got) != math.Float64bits(test.want) && !(got != got && test.want != test.want) {
			t.Errorf("fromFloat16(%#04x) = %v, want %v", test.bits, got, test.want)
		}
	}
}

// Any reader of the format finds the tensors one after the other.
func TestHeader(t *testing.T) {
	tensors := []Info{{"wte.weight", []int{5, 3}}, {"scalar", []int{}}, {"ln_f.bias", []int{3}}}
	b := Header(tensors)
	if n := binary.LittleEndian.Uint64(b); len(b)%8 != 0 || n != uint64(len(b)-8) {
		t.Errorf("%d bytes, of which the first eight say %d", len(b), n)
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
	for _, tensor := range tensors {
		h := header[tensor.Name]
		if h.DType != "F32" || !slices.Equal(h.Shape, tensor.Shape) || h.Offsets != [2]int{end, end + 4*tensor.Size()} {
			t.Errorf("%s is %+v", tensor.Name, h)
		}
		end = h.Offsets[1]
	}
	if len(header) != len(tensors) {
		t.Errorf("%d tensors in the header, %d in the list", len(header), len(tensors))
	}
}
