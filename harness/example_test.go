package harness_test

import (
	"fmt"

	"checkpoint12/harness"
)

// A model of two stages, from their list to the report of a fault. The golden is what
// another implementation computes; package dump reads one that an engine wrote.
func Example() {
	stages := harness.MustSchedule( // in execution order, each with a tolerance and its reason
		harness.Stage{Name: "sum", Tolerance: harness.Tolerance{Reason: "small integers add up exactly"}},
		harness.Stage{Name: "act", Tolerance: harness.Tolerance{Abs: 1e-6, Reason: "one product below 8"}},
	)
	run := func(name string, slope float32) *harness.Recorder {
		r := harness.NewRecorder(harness.RecorderOptions{Schedule: stages, Name: name})
		r.SetTokens([][]int{{3, 1, 0}})         // those fed, and the last choice
		for step, id := range []float32{3, 1} { // the token that each step is fed
			r.Step(step)
			x := []float32{id + 1, id - 4}
			r.Tap("sum", []int{1, 2}, x) // the model's live buffer, as it is
			x[1] = max(x[1], slope*x[1])
			r.Tap("act", []int{1, 2}, x)
		}
		return r
	}
	var t printer // in a test: the *testing.T
	harness.Check(t, run("golden", 0.5), run("mine", 0.25))
	// Output:
	// step 0, stage act: 1 of 2 values wrong, worst at [0 1]: got -0.25, want -0.5; allowed is 1e-06 (one product below 8)
	// 2 of 4 tensors differ in all; those after the first may only inherit its error
}

// A printer prints what a test would report.
type printer struct{ harness.TB }

func (printer) Helper()                           {}
func (printer) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (printer) Logf(format string, args ...any)   { fmt.Printf(format+"\n", args...) }
