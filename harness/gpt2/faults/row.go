package faults

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/model"
)

// wrongRow is one introduced row: what the engine put out, and what the right
// function makes of the inputs that the engine gave it.
type wrongRow struct {
	harness.Replayed
	dims       model.Dims
	shape      []int
	got, right []float32
	bound      []float32        // what rounding may do at each place; nil is nothing
	noise      float64          // sum of its squares
	base       harness.Distance // of got from right

	some    *wrongRow // a sample of it or, where that is not smaller, the row itself
	sampled []int     // of a sample: which of the B*T rows it has, as if they were one sequence
	nearest match     // what explains most of it without reproducing it
}

// wrongRow gathers what there is on a row; without right where the output has not
// the right one's shape.
func (c *candidateRun) wrongRow(row harness.Replayed) (*wrongRow, error) {
	got, err := c.candidate.Tensor(row.Step, row.Stage)
	if err != nil {
		return nil, err
	}
	e := &wrongRow{Replayed: row, got: values(got), shape: got.Shape}
	var ok bool
	if e.dims, ok = c.dims(row.Step); !ok {
		return nil, fmt.Errorf("step %d: what it was fed is not known", row.Step)
	}
	want, err := model.Shape(c.model.Config(), row.Stage, e.dims)
	if err != nil || !slices.Equal(want, got.Shape) {
		return e, err
	}
	right, err := c.run.Right(row.Step, row.Stage)
	if err != nil || !slices.Equal(want, right.Shape) {
		return e, err
	}
	e.right, e.bound = values(right.Tensor), right.Bound
	e.measure()
	e.some = e.sample()
	return e, nil
}

func (e *wrongRow) measure() {
	e.noise = 0
	for _, b := range e.bound {
		e.noise += float64(b) * float64(b)
	}
	e.base = harness.Between(e.right, e.got, e.bound)
}

// near reports whether the output at i is the right one's at j, to so many times what
// rounding may do.
func (e *wrongRow) near(i, j int, times float64) bool {
	slack := 0.0
	if e.bound != nil {
		slack = times * float64(e.bound[j])
	}
	return e.got[i] == e.right[j] || math.Abs(float64(e.got[i])-float64(e.right[j])) <= slack
}

// isWrong reports whether rounding does not account for a place.
func (e *wrongRow) isWrong(i int) bool { return !e.near(i, i, 1) }

// wrongPlaces are the flat indices that rounding does not account for and where
// both values are finite.
func (e *wrongRow) wrongPlaces() []int {
	var at []int
	for i := range e.got {
		if e.isWrong(i) && finite(e.got[i]) && finite(e.right[i]) {
			at = append(at, i)
		}
	}
	return at
}

// maxSampled is how many rows of a matrix product are looked at: each is computed by
// itself, and a fault shows in all or in the worst.
const maxSampled = 8

// sample is the row with some rows of a matrix product, the worst among them; of
// anything else, or of few rows, it is the row itself.
func (e *wrongRow) sample() *wrongRow {
	n := e.dims.B * e.dims.T
	if !isProduct(e.Stage) || len(e.Span) > 1 || n <= maxSampled {
		return e
	}
	width := len(e.got) / n
	worst, most := 0, harness.Distance{}
	for r := range n {
		lo, hi := r*width, (r+1)*width
		if d := harness.Between(e.right[lo:hi], e.got[lo:hi], nil); compareDistance(most, d) < 0 {
			worst, most = r, d
		}
	}
	rows := []int{worst}
	for i := range maxSampled - 1 {
		if r := i * (n - 1) / (maxSampled - 2); !slices.Contains(rows, r) {
			rows = append(rows, r)
		}
	}
	slices.Sort(rows)
	some := *e
	some.sampled, some.dims = rows, model.Dims{B: 1, T: len(rows)}
	some.got, some.right, some.bound = pick(e.got, rows, n), pick(e.right, rows, n), pick(e.bound, rows, n)
	some.measure()
	return &some
}

// isProduct reports whether a stage is a matrix product of rows and weights.
func isProduct(stage string) bool { return stage == "logits" || strings.HasPrefix(word(stage), "c_") }

// pick is some of the n rows of x; nil if x is.
func pick(x []float32, rows []int, n int) []float32 {
	if x == nil {
		return nil
	}
	width := len(x) / n
	out := make([]float32, 0, len(rows)*width)
	for _, r := range rows {
		out = append(out, x[r*width:(r+1)*width]...)
	}
	return out
}

// context is what a fault in the row's own stage is computed from; in gives the
// inputs of the whole step, whose dimensions are d.
func (e *wrongRow) context(m *model.Model, d model.Dims, in func(name string) []float32) *Context {
	c := &Context{Model: m, Dims: e.dims, Stage: e.Stage, got: e.got, In: in}
	if e.sampled != nil {
		c.In = func(name string) []float32 { return pick(in(name), e.sampled, d.B*d.T) }
	}
	return c
}
