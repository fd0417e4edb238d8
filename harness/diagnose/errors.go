package diagnose

import (
	"fmt"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/model"
)

// GoldenError is the error of a golden that cannot be used: it is damaged, bound
// to other weights, or not bound to any.
type GoldenError struct {
	Path string // the folder or file
	Err  error
}

// Error returns the golden and the reason.
func (e *GoldenError) Error() string { return fmt.Sprintf("golden %s: %v", e.Path, e.Err) }

// Unwrap returns the reason.
func (e *GoldenError) Unwrap() error { return e.Err }

// A ModelError reports that a source is not a run of the model that is to judge it.
type ModelError struct {
	Role  string // of the source: "golden", "candidate"
	Model string // that made it; "" if nothing tells
	Err   error
}

// Source returns the source by its role, and the model that made it if it is known:
// "the golden (gpt2-medium)".
func (e *ModelError) Source() string {
	if e.Model == "" {
		return "the " + e.Role
	}
	return fmt.Sprintf("the %s (%s)", e.Role, e.Model)
}

// Error names the source and the reason.
func (e *ModelError) Error() string { return fmt.Sprintf("not the model of %s: %v", e.Source(), e.Err) }

// Unwrap returns the reason.
func (e *ModelError) Unwrap() error { return e.Err }

// checkModel returns a ModelError if a golden or the candidate is of a model of
// another shape than the one that is to judge it.
func (c Comparison) checkModel() error {
	if c.Model == nil {
		return nil
	}
	sources := []harness.Source{}
	for _, g := range c.Goldens {
		sources = append(sources, g.Source)
	}
	for i, src := range append(sources, c.Candidate) {
		err := gpt2.CheckModel(c.Model, src)
		if err == nil {
			continue
		}
		e := &ModelError{Role: "golden", Err: err}
		if i == len(sources) {
			e.Role = "candidate"
		}
		if man := src.Manifest(); man != nil {
			e.Model = man.Model.Name
		}
		return e
	}
	return nil
}

// checkWeights returns a ModelError if the golden was made from other weights than
// the model has, and a GoldenError if its manifest does not tell which made it.
// One without a manifest is bound to none.
func checkWeights(m *model.Model, golden harness.Source) error {
	man := golden.Manifest()
	if man == nil {
		return nil
	}
	sum, err := m.WeightsSHA256()
	if err != nil {
		return fmt.Errorf("hash the weights: %w", err)
	}
	err = man.CheckWeights(m.Name(), sum)
	switch {
	case err == nil:
		return nil
	case man.Model.WeightsSHA256 == "":
		return &GoldenError{golden.Name(), err}
	}
	return &ModelError{"golden", man.Model.Name, fmt.Errorf("%s was %w", golden.Name(), err)}
}
