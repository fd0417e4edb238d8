package harness_test

import (
	"fmt"

	"checkpoint12/harness"
)

// A model of two stages, from the list of its stages to the report of a fault in it.
// The golden is what an independent implementation computes; package dump reads one
// from a folder that an engine in any language wrote.
func Example() {
	stages := harness.MustSchedule( // in execution order, each with a tolerance and its reason
		harness.Stage{Name: "sum", Tolerance: harness.Tolerance{Reason: "small integers add up exactly"}},
		harness.Stage{Name: "act", Tolerance: harness.Tolerance{Abs: 1e-6, Reason: "one multiplication of numbers below 8"}},
		harness.Stage{Name: "next_id", IDs: true},
	)
	run := func(name string, slope float32) *harness.Recorder {
		r := harness.NewRecorder(harness.RecorderOptions{Schedule: stages, Name: name})
		ids := []int{3, 1} // the prompt
		for step := range 2 {
			r.Step(step)
			x := []float32{float32(ids[len(ids)-1]) + 1, float32(ids[len(ids)-2]) - 4}
			r.Tap("sum", []int{1, 2}, x) // the model's live buffer, as it is
			for i := range x {
				x[i] = max(x[i], slope*x[i])
			}
			r.Tap("act", []int{1, 2}, x)
			next := int(x[0]) % 5
			r.Tap("next_id", []int{1}, []float32{float32(next)})
			ids = append(ids, next)
		}
		r.SetTokens([][]int{ids})
		return r
	}

	var t printer // in a test: the *testing.T
	harness.Check(t, run("golden", 0.5), run("mine", 0.25))
	// Output:
	// step 0, stage act: 1 of 2 values differ, worst at [0 1]: got -0.25, want -0.5; allowed is 1e-06 (one multiplication of numbers below 8)
	// 2 of 6 tensors differ in all; those after the first may only inherit its error
}

// printer prints what a test would report.
type printer struct{}

func (printer) Helper()                           {}
func (printer) Logf(format string, args ...any)   { fmt.Printf(format+"\n", args...) }
func (printer) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (printer) Fatalf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
