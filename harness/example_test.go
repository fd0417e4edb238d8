package harness_test

import (
	"fmt"
	"os"
	"path/filepath"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/report"
)

// toy is the model under test: two layers over a table of embeddings. Like any
// model that wants to be looked into, it calls tap with each stage's name, shape
// and live buffer.
type toy struct {
	relu func(x float32) float32 // the activation; the bug goes here
	tap  func(stage string, shape []int, data []float32)
}

var (
	table   = [][2]float32{{1, -1}, {0.5, 2}, {-2, 1}, {1.5, 0.5}}
	weights = [2][2][2]float32{{{1, -0.5}, {0.5, 1}}, {{-1, 0.25}, {2, -1}}}
	bias    = [2][2]float32{{0.25, -0.75}, {-0.5, 0.5}}
)

// step feeds tokens and returns the next one.
func (m toy) step(tokens []int) int {
	x := make([]float32, 0, 2*len(tokens)) // [T, 2]
	for _, id := range tokens {
		x = append(x, table[id][:]...)
	}
	m.tap("embed", []int{len(tokens), 2}, x)
	for l := range weights {
		y := make([]float32, len(x)) // [T, 2]
		for i := range y {
			t, j := i/2*2, i%2
			y[i] = x[t]*weights[l][0][j] + x[t+1]*weights[l][1][j] + bias[l][j]
		}
		m.tap(fmt.Sprintf("layer.%d.linear", l), []int{len(tokens), 2}, y)
		for i := range y {
			y[i] = m.relu(y[i])
		}
		m.tap(fmt.Sprintf("layer.%d.act", l), []int{len(tokens), 2}, y)
		x = y
	}
	last := x[len(x)-2:]
	next := []float32{0}
	if last[1] > last[0] {
		next[0] = 1
	}
	m.tap("next_token", []int{1}, next)
	return int(next[0])
}

// run records n steps of the model after a prompt.
func run(m toy, s *harness.Schedule, name string, prompt []int, n int) *harness.Recorder {
	r := harness.NewRecorder(harness.RecorderOptions{Schedule: s, Name: name})
	m.tap = r.Tap
	tokens, feed := prompt, prompt
	for k := range n {
		r.Step(k)
		next := m.step(feed)
		tokens, feed = append(tokens, next), []int{next}
	}
	r.SetTokens([][]int{tokens})
	return r
}

// A model that is not GPT-2, from its list of stages to the report of a bug.
//
// The stages are a list in execution order, each with a bound and the reason for
// it. The golden is what an independent implementation gave: here the toy with
// the right activation, recorded in memory. The candidate has a bug planted in
// it, a leak where the activation should be 0, and comes as a folder of .npy
// files, as it would from an engine in another language.
func Example() {
	bound := harness.Tolerance{Abs: 1e-6, Reason: "sums of three products of numbers near 1, each within 2^-24"}
	schedule, err := harness.NewSchedule([]harness.Stage{
		{Name: "embed", Tolerance: harness.Tolerance{Reason: "rows copied from a table"}},
		{Name: "layer.0.linear", Tolerance: bound},
		{Name: "layer.0.act", Tolerance: bound},
		{Name: "layer.1.linear", Tolerance: bound},
		{Name: "layer.1.act", Tolerance: bound},
		{Name: "next_token", IDs: true},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	right := toy{relu: func(x float32) float32 { return max(x, 0) }}
	wrong := toy{relu: func(x float32) float32 { return max(x, 0.25*x) }}
	golden := run(right, schedule, "golden", []int{0, 3}, 2)
	candidate := run(wrong, schedule, "candidate", []int{0, 3}, 2)

	// The candidate goes through a folder.
	tmp, err := os.MkdirTemp("", "toy")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(tmp)
	dir := filepath.Join(tmp, "candidate")
	if err := dump.Write(candidate, dir, harness.Manifest{
		Model:  harness.ManifestModel{Name: "toy"},
		Engine: harness.Engine{Name: "leaky", Version: "1", DType: "float32"},
		Tokens: [][]int{{0, 3}}, New: 2,
	}); err != nil {
		fmt.Println(err)
		return
	}
	read, notes, err := dump.Open(dir, schedule, dump.Options{Foreign: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("notes:", len(notes))

	result, err := harness.Compare(schedule, golden, read, harness.CompareOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	result.Candidate = "candidate" // not the temporary folder's name
	report.Write(os.Stdout, result, report.Options{
		Causes: func(stage string) []string { return []string{"a leak below 0", "the activation of another layer"} },
		Closer: func(step int, stage string) string {
			return fmt.Sprintf("go test -run 'Act/%s'", stage)
		},
	})
	// Output:
	// notes: 0
	// FAIL  candidate first leaves golden at step 0, stage layer.0.act: 5 of 12 tensors outside the bound
	//
	// step 0, stage layer.0.act, shape [2 2]
	//   mismatched elements:           2 / 4 (50.0%)
	//   greatest absolute difference:  0.562 at index [0 1]: got -0.5625, want 0
	//   greatest relative difference:  0.281 of max|want| 2
	//   allowed:                       1e-06
	//   rms, cosine:                   0.308, 0.960895498
	//   reason of the bound:           sums of three products of numbers near 1, each within 2^-24
	//   usual causes:                  a leak below 0
	//                                  the activation of another layer
	//   look closer:                   go test -run 'Act/layer.0.act'
	//
	// error at the prompt, step 0, as a part of each stage's bound
	//   embed =
	//      linear act
	//   0  =      6
	//   1  7      6
	//   next_token =
	//
	// and at step 1, the worst after the prompt
	//   embed =
	//      linear act
	//   0  =      =
	//   1  =      5
	//   next_token x
	//
	// = exact  . below a tenth of the bound  o within it  1 up to 10 times it  2 up to 100 times  and so on
	// x not the same  N not finite  S another shape  - missing  ~ fed other tokens than the golden
}
