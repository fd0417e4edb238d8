// Package unlisted has faults that are in no catalogue, and tells how many of them the harness
// explains.
//
// Each [Fault] has the words that a useful answer contains. They were written down before any
// tool was run, by somebody who had not read how causes are searched for, so that the list is
// a fair sample of what an engineer may meet. [Run] plants every fault in small models of odd
// shapes, judges each run as compare --model does, and compares what the report says first
// with those words. Since then only words that mean the same were added, and words taken out
// that said too little. The result is a [Matrix].
package unlisted

import (
	"checkpoint12/harness/internal/names"
	"checkpoint12/model"
)

// A Kind is a group of faults, by how an answer is found.
type Kind string

// The kinds of faults.
const (
	Sums        Kind = "sums"        // coefficients of a sum of tensors
	Norms       Kind = "norms"       // scale and shift of rows and of channels
	Softmax     Kind = "softmax"     // scores and probabilities
	Elementwise Kind = "elementwise" // another function of the one input
	Dropout     Kind = "dropout"     // zeros, and one factor
	Slices      Kind = "slices"      // the right values in the wrong place
	Inputs      Kind = "inputs"      // other inputs, or fewer
	Values      Kind = "values"      // single weights, columns, accumulators
)

// Kinds lists the kinds in the order of a Matrix.
var Kinds = []Kind{Sums, Norms, Softmax, Elementwise, Dropout, Slices, Inputs, Values}

// A Fault is a fault of an engine, and what there is to say of it.
type Fault struct {
	ID     string
	Kind   Kind
	Stages string // the pattern of the stages in which it sits
	From   int    // the first step that has it
	Batch  int    // rows of the runs in which it is planted; 0 is 1

	// Output is what the stage puts out; nil where the fault changes nothing.
	Output func(s *site) []float32

	// Words are groups, of each of which a useful answer has one alternative: see has.
	Words  []string
	Number func(c model.Config) float64 // what # stands for in Words
	Not    []string                     // what a false answer has, beside what claims knows
	Alike  []string                     // faults of the catalogue that cannot be told from it somewhere

	NotFromModules string // why modules' outputs alone do not tell; "" where they do
	Identity       string // why some model does not show it; "" where all do
}

// At reports whether the fault sits in a stage at a step.
func (f *Fault) At(step int, stage string) bool {
	return step >= f.From && names.Match(f.Stages, stage)
}

// All returns every fault, by kind.
func All() (all []Fault) {
	for i, table := range [][]Fault{sums, norms, softmaxes, functions, drops, slicings, inputs, values} {
		for _, f := range table {
			f.Kind, f.Batch = Kinds[i], max(f.Batch, 1)
			all = append(all, f)
		}
	}
	return all
}
