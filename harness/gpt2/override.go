package gpt2

import (
	"slices"

	"checkpoint12/harness"
	"checkpoint12/model"
)

// Override puts values into the live buffers of a run, from which the stages that
// follow read them. Its Tap is what a Run or a session takes.
type Override struct {
	// Before, if set, is called with each live buffer first.
	Before model.Tap

	// Value returns the tensor to put in the place of the model's own.
	// A tensor of another shape than the live one's, such as the zero Tensor,
	// changes nothing. live is valid until Value returns.
	Value func(at harness.Place, live harness.Tensor) (harness.Tensor, error)

	Written int   // places that were overwritten
	Err     error // the first error of Value, after which nothing is overwritten

	steps int // begun so far
}

// Tap is the override as a model.Tap.
func (o *Override) Tap(stage string, shape []int, data []float32) {
	if stage == "wte" { // the first of every step
		o.steps++
	}
	if o.Before != nil {
		o.Before(stage, shape, data)
	}
	if o.Err != nil {
		return
	}
	value, err := o.Value(harness.Place{Step: o.steps - 1, Stage: stage}, Live(stage, shape, data))
	if err != nil {
		o.Err = err
		return
	}
	if !slices.Equal(value.Shape, shape) {
		return
	}
	for i := range data {
		data[i] = float32(value.At(i))
	}
	o.Written++
}

// Live returns a live buffer as a tensor, which shares its memory unless it is of
// ids.
func Live(stage string, shape []int, data []float32) harness.Tensor {
	if stage != "next_token" {
		return harness.Tensor{Shape: shape, F32: data}
	}
	ids := make([]int64, len(data))
	for i, id := range data {
		ids[i] = int64(id)
	}
	return harness.Tensor{Shape: shape, I64: ids}
}
