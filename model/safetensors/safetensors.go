// Package safetensors reads and writes the files that weights come in, and dumps may.
package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"unsafe"

	"github.com/nlpodyssey/safetensors"

	"checkpoint12/model/strictjson"
)

// Tensor is a tensor as it lies in a file.
type Tensor struct {
	Shape  []int
	Offset int64 // in the file
	dtype  safetensors.DType
	data   []byte
}

// maxHeader bounds what is parsed as a header: GPT-2 XL's has less than 64 KiB, a dump's
// 100 bytes for each tensor.
const maxHeader = 16 << 20

// Parse returns the tensors in the bytes of a safetensors file, by name. They share
// its memory. A key that is there twice, which the library accepts, is an error.
func Parse(file []byte) (map[string]Tensor, error) {
	if len(file) < 8 {
		return nil, fmt.Errorf("%d bytes are not a safetensors file", len(file))
	}
	n := binary.LittleEndian.Uint64(file)
	if n > uint64(len(file)-8) {
		return nil, fmt.Errorf("header claims %d bytes, but the file ends after %d: cut short, or not a safetensors file",
			n, len(file)-8)
	}
	if n > maxHeader {
		return nil, fmt.Errorf("header of %d bytes is longer than %d", n, maxHeader)
	}
	keys, err := strictjson.Object(file[8 : 8+n])
	if err != nil {
		return nil, fmt.Errorf("safetensors header: %w", err)
	}
	for name, value := range keys {
		if value[0] != '{' {
			return nil, fmt.Errorf("safetensors header: tensor %.80q: want a JSON object", name)
		}
	}
	st, err := safetensors.Deserialize(file)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	tensors := make(map[string]Tensor, st.Len())
	for _, t := range st.Tensors() {
		shape := make([]int, len(t.TensorView.Shape()))
		for i, d := range t.TensorView.Shape() {
			if d > math.MaxInt32 {
				return nil, fmt.Errorf("tensor %.80q has a dimension of %d", t.Name, d)
			}
			shape[i] = int(d)
		}
		data := t.TensorView.Data() // ends where it ends, and can grow to the file's end
		tensors[t.Name] = Tensor{Shape: shape, Offset: int64(cap(file) - cap(data)), dtype: t.TensorView.DType(), data: data}
	}
	return tensors, nil
}

// DType returns the type of the values as the file has it, such as F32.
func (t Tensor) DType() string { return t.dtype.String() }

// Floats returns the values as float32, without a copy where memory holds them so.
func (t Tensor) Floats() ([]float32, error) {
	widen := fromFloat16
	switch t.dtype {
	case safetensors.F32:
		if f, ok := View(t.data); ok {
			return f, nil
		}
		f := make([]float32, len(t.data)/4)
		_, err := binary.Decode(t.data, binary.LittleEndian, f)
		return f, err
	case safetensors.F16:
	case safetensors.BF16:
		widen = func(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }
	default:
		return nil, fmt.Errorf("values are %v: want F32, F16 or BF16", t.dtype)
	}
	f := make([]float32, len(t.data)/2)
	for i := range f {
		f[i] = widen(binary.LittleEndian.Uint16(t.data[2*i:]))
	}
	return f, nil
}

// littleEndian reports whether this machine keeps numbers as the file does.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// View returns the float32 values in b without a copy, if this machine allows it.
func View(b []byte) ([]float32, bool) {
	p := unsafe.Pointer(unsafe.SliceData(b))
	if !littleEndian || uintptr(p)%unsafe.Alignof(float32(0)) != 0 {
		return nil, false
	}
	return unsafe.Slice((*float32)(p), len(b)/4), true
}

// fromFloat16 widens an IEEE binary16 value.
func fromFloat16(h uint16) float32 {
	sign, rest := uint32(h&0x8000)<<16, uint32(h&0x7fff)<<13
	if rest>>23 == 0x1f { // infinity and NaN
		return math.Float32frombits(sign | 0x7f800000 | rest)
	}
	const up = 1 << (127 - 15) // the difference of the exponents' biases, exact for subnormals too
	return math.Float32frombits(sign | math.Float32bits(math.Float32frombits(rest)*up))
}

// Info describes a tensor of float32 that is to be written.
type Info struct {
	Name  string
	Shape []int
}

// Size returns the number of the tensor's elements.
func (i Info) Size() int {
	n := 1
	for _, d := range i.Shape {
		n *= d
	}
	return n
}

// Header returns the first bytes of a file whose tensors follow in this order.
func Header(tensors []Info) []byte {
	b := make([]byte, 8, 1<<16)
	open, offset := byte('{'), 0
	for _, t := range tensors {
		b = append(b, open)
		open = ','
		shape := strings.ReplaceAll(strings.Trim(fmt.Sprint(t.Shape), "[]"), " ", ",")
		b = fmt.Appendf(b, `"%s":{"dtype":"F32","shape":[%s],"data_offsets":[%d,%d]}`,
			t.Name, shape, offset, offset+4*t.Size())
		offset += 4 * t.Size()
	}
	b = append(b, '}')
	for len(b)%8 != 0 {
		b = append(b, ' ')
	}
	binary.LittleEndian.PutUint64(b, uint64(len(b)-8))
	return b
}
