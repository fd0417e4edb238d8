package harness

import (
	"errors"
	"fmt"

	"checkpoint12/harness/internal/shapes"
)

// Tensor is an array in C order: values in F32 or ids in I64, never both. The
// zero Tensor, with a nil Shape, stands for "there is none".
type Tensor struct {
	Shape []int
	F32   []float32
	I64   []int64
}

// Elements returns the number of elements.
func (t Tensor) Elements() int { return len(t.F32) + len(t.I64) }

// IDs reports whether the tensor holds ids.
func (t Tensor) IDs() bool { return t.I64 != nil }

// DType returns numpy's name of the element type: "float32" or "int64".
func (t Tensor) DType() string {
	if t.IDs() {
		return "int64"
	}
	return "float32"
}

// At returns the element at flat index i as a float64, which holds every float32 and
// every id below 2⁵³ exactly.
func (t Tensor) At(i int) float64 {
	if t.IDs() {
		return float64(t.I64[i])
	}
	return float64(t.F32[i])
}

// Check returns an error unless the data goes with the shape and is of one kind.
func (t Tensor) Check() error {
	n, ok := shapes.Size(t.Shape)
	switch {
	case t.Shape == nil:
		return errors.New("no tensor")
	case t.F32 != nil && t.I64 != nil:
		return fmt.Errorf("tensor of shape %v holds values and ids at once", t.Shape)
	case !ok:
		return fmt.Errorf("%v is not a shape", t.Shape)
	case n != t.Elements():
		return fmt.Errorf("shape %v needs %d elements, got %d", t.Shape, n, t.Elements())
	}
	return nil
}
