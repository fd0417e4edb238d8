package harness

import "fmt"

// Source is what a model computed: for each step, tensors by stage. Recorder and
// Dump are sources. All methods may be called from several goroutines once the
// source is complete; callers do not change what they are given.
type Source interface {
	// Name says what this is in messages: a folder, an engine.
	Name() string

	// Tokens is the ids [B, prompt + new]: the prompt, what was fed, and the
	// last choice. The zero Tensor means that nobody knows.
	Tokens() Tensor

	// Steps is the steps of which there is anything, ascending.
	Steps() []int

	// Stages is the stages there are at a step, in no particular order.
	Stages(step int) []string

	// Shape is the shape of a stage at a step, if it is there.
	Shape(step int, stage string) ([]int, bool)

	// Tensor is the stage at a step. A stage that is not there is an error.
	Tensor(step int, stage string) (Tensor, error)

	// Manifest is what binds the source to what made it, or nil.
	Manifest() *Manifest
}

// Place is one stage at one step.
type Place struct {
	Step  int    `json:"step"`
	Stage string `json:"stage"`
}

// String is the place as a path in a dump, without .npy.
func (p Place) String() string { return fmt.Sprintf("step_%02d/%s", p.Step, p.Stage) }

// file is the place's path in a dump, with forward slashes.
func (p Place) File() string { return p.String() + ".npy" }
