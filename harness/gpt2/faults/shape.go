package faults

import (
	"fmt"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/model"
)

// explainShape describes an output of another shape than the right one's.
func (e *wrongRow) explainShape(s *candidateRun) harness.Explanation {
	x := harness.Explanation{Step: e.Step, Stage: e.Stage, Fault: PatternShape}
	want, _ := model.Shape(s.model.Config(), e.Stage, e.dims)
	x.Text = fmt.Sprintf("the shape is %v, it must be %v", e.shape, want)
	same := product(e.shape) == product(want)
	sorted := func(v []int) []int { return slices.Sorted(slices.Values(v)) }
	switch axis := differing(e.shape, want); {
	case same && slices.Equal(sorted(e.shape), sorted(want)):
		x.Text += ": the same axes in another order"
	case same:
		x.Text += ": as many values, laid out another way"
	case axis >= 0 && want[axis] == e.dims.P+e.dims.T && e.shape[axis] == e.dims.P:
		x.Text += ": the cache ends before this step; append this step's rows, then read it"
	case axis >= 0 && want[axis] == e.dims.P+e.dims.T && e.shape[axis] == e.dims.T:
		x.Text += ": only this step's rows are there; the cached ones, P of them, come first"
	case axis >= 0 && want[axis] == e.dims.P+e.dims.T && e.shape[axis] == want[axis]+e.dims.T:
		x.Text += ": this step's rows are there twice"
	case axis >= 0 && e.shape[axis] == s.model.Config().Positions:
		x.Text += ": the whole room for n_positions was written out, not the part in use"
	case axis >= 0:
		x.Text += fmt.Sprintf(": axis %d is off", axis)
	}
	return x
}

// differing is the one axis in which two shapes differ; -1 if there is no such.
func differing(a, b []int) int {
	axis := -1
	if len(a) != len(b) {
		return -1
	}
	for i := range a {
		if a[i] != b[i] {
			if axis >= 0 {
				return -1
			}
			axis = i
		}
	}
	return axis
}
