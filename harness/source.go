package harness

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness/internal/shapes"
)

// A Source holds what a model computed: for each step, tensors by stage.
// [Recorder] is one, in memory; package dump has one of files. All methods may be
// called from several goroutines once the source is complete; callers do not
// change what they are given.
type Source interface {
	// Name returns what messages call the source: a folder, an engine.
	Name() string

	// Err returns why the source cannot be relied on, or nil.
	Err() error

	// Tokens returns the ids [B, prompt + new]: the prompt, what was fed, and
	// the last choice. Nil means that they are not known.
	Tokens() [][]int

	// Steps returns the steps of which there is anything, ascending.
	Steps() []int

	// Stages returns the stages there are at a step, in no particular order.
	Stages(step int) []string

	// Shape returns the shape of a stage at a step; ok is false if the stage is
	// not there.
	Shape(step int, stage string) (shape []int, ok bool)

	// Tensor returns the stage at a step. A stage that is not there is an error.
	Tensor(step int, stage string) (Tensor, error)

	// Manifest returns what binds the source to what made it, or nil.
	Manifest() *Manifest
}

// A Reader is a Source whose tensors are read in parts. Those of any other Source are
// taken whole.
type Reader interface {
	// Open returns the stage at a step. A stage that is not there is an error.
	Open(step int, stage string) (Parts, error)
}

// Parts is a tensor to be read in parts; a [Tensor] is one.
type Parts interface {
	// Part returns the n elements from flat index i on, without a shape, in memory of
	// the tensor's own or in mem's, which is left there for the next call.
	Part(i, n int, mem *Tensor) (Tensor, error)
	Close() error
}

// Open returns a stage of a source, to be read in parts where the source is a [Reader].
func Open(src Source, step int, stage string) (Parts, error) {
	if r, ok := src.(Reader); ok {
		return r.Open(step, stage)
	}
	t, err := src.Tensor(step, stage)
	if err == nil {
		err = t.Check()
	}
	if shape, _ := src.Shape(step, stage); err == nil && !slices.Equal(shape, t.Shape) {
		err = fmt.Errorf("%s: is of shape %v, and not %v as its source says", Place{step, stage}, t.Shape, shape)
	}
	return t, err
}

// Place is one stage at one step.
type Place struct {
	Step  int    `json:"step"`
	Stage string `json:"stage"`
}

// InputPlace returns the place of what a stage at a step reads by the name:
// STAGE of the step before for "prev:STAGE", else the stage of that name at the
// same step.
func InputPlace(step int, name string) Place {
	if stage, ok := strings.CutPrefix(name, "prev:"); ok {
		return Place{step - 1, stage}
	}
	return Place{step, name}
}

// String returns the place as a path in a dump, without .npy.
func (p Place) String() string { return fmt.Sprintf("step_%02d/%s", p.Step, p.Stage) }

// File returns the place's path in a dump, with forward slashes.
func (p Place) File() string { return p.String() + ".npy" }

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

// Part returns n elements of the tensor's own, from flat index i on.
func (t Tensor) Part(i, n int, _ *Tensor) (Tensor, error) {
	if t.IDs() {
		return Tensor{I64: t.I64[i : i+n]}, nil
	}
	return Tensor{F32: t.F32[i : i+n]}, nil
}

// Close does nothing.
func (t Tensor) Close() error { return nil }

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
