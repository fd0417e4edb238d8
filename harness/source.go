package harness

import (
	"fmt"
	"strings"
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
	// the last choice. Nil means that nobody knows.
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

// A Reader is a Source that can read a tensor into memory that the caller lends.
// Where a Source is no Reader, each tensor is allocated anew.
type Reader interface {
	// TensorInto is Tensor with the slices of mem, if they are large enough,
	// holding the values; it leaves them in mem for the next call.
	TensorInto(step int, stage string, mem *Tensor) (Tensor, error)
}

// TensorInto reads a stage of a source, into mem where the source is a [Reader].
func TensorInto(src Source, step int, stage string, mem *Tensor) (Tensor, error) {
	if r, ok := src.(Reader); ok {
		return r.TensorInto(step, stage, mem)
	}
	return src.Tensor(step, stage)
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
