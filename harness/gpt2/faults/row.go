package faults

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/fit"
	"checkpoint12/harness/internal/rounding"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// A wrongRow is one introduced row: the engine's output, and that of the correct function
// on the inputs that the engine gave it.
type wrongRow struct {
	harness.Replayed
	dims       model.Dims
	shape      []int
	got, right []float32
	bound      []float32 // what rounding may do at each place; nil is nothing
	coarse     float64   // how many times coarser than float32's the rounding is
	stored     rounding.Rounding
	base       harness.Distance // of got from right
	full       *fullRow         // nil if it has no keys at padding

	unrecovered []string // why what the candidate lacks does not follow from the row

	untried bool // it is held against what explains other rows alone

	readAnew bool // a fault is made at this step alone

	some    *wrongRow // a sample of it or, where that is not smaller, the row itself
	sampled []int     // which of the step's B*T rows it has, of a sample as if they were one sequence; nil is all
	nearest match     // what explains most of it without reproducing it
}

// wrongRow gathers what there is on a row; without right where the output has not
// the correct one's shape.
func (c *candidateRun) wrongRow(row harness.Replayed) (*wrongRow, error) {
	shape, _ := c.candidate.Shape(row.Step, row.Stage)
	e := &wrongRow{Replayed: row, shape: shape}
	var ok bool
	if e.dims, ok = c.dims(row.Step); !ok {
		return nil, fmt.Errorf("step %d: what it was fed is not known", row.Step)
	}
	want, err := model.Shape(c.model.Config(), row.Stage, e.dims)
	if row.Stage == "logits" && len(shape) == len(want) && shape[1] == 1 && want[1] > 1 { // of the last position alone
		for b := range e.dims.B {
			e.sampled = append(e.sampled, (b+1)*e.dims.T-1)
		}
		e.dims = model.Dims{B: e.dims.B, T: 1, P: e.dims.P + e.dims.T - 1}
		want[1] = 1
	}
	if err != nil || !slices.Equal(want, shape) {
		return e, err
	}
	got, err := c.candidate.Tensor(row.Step, row.Stage)
	if err != nil {
		return nil, err
	}
	e.got = values(got)
	right, err := c.run.Right(row.Step, row.Stage)
	if err != nil || !slices.Equal(want, right.Shape) {
		return e, err
	}
	e.right, e.bound, e.coarse, e.stored = values(right.Tensor), right.Bound, max(right.Coarse, 1), right.Stored
	e.base = harness.Between(e.right, e.got, e.bound)
	e.some = e.sample()
	e.full, err = c.fullRow(e)
	return e, err
}

// sumOfErrors returns the sum of the differences where both values are finite.
func (e *wrongRow) sumOfErrors() (sum float64) {
	for i, v := range e.got {
		if d := float64(v) - float64(e.right[i]); d-d == 0 {
			sum += d
		}
	}
	return sum
}

// near reports whether the output at i is the correct one's at j, to so many times what
// rounding may do.
func (e *wrongRow) near(i, j int, times float64) bool {
	slack := 0.0
	if e.bound != nil {
		slack = times * float64(e.bound[j])
	}
	return e.got[i] == e.right[j] || math.Abs(float64(e.got[i])-float64(e.right[j])) <= slack
}

// isWrong reports whether a place can be judged and rounding does not account for it.
func (e *wrongRow) isWrong(i int) bool {
	if e.near(i, i, 1) {
		return false
	}
	var bound []float32
	if e.bound != nil {
		bound = e.bound[i : i+1]
	}
	unjudged := (bound != nil && bound[0] != bound[0] || e.right[i] != e.right[i]) &&
		harness.Between(e.right[i:i+1], e.got[i:i+1], bound).Judged == 0
	return !unjudged
}

// wrongPlaces returns the flat indices that rounding does not account for and where
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

// maxSampled is the number of rows of a matrix product that are looked at: each is
// computed by itself, and a fault shows in all or in the worst.
const maxSampled = 8

// sample returns the row with some rows of a matrix product, the worst among them; of
// anything else, or of few rows, the row itself.
func (e *wrongRow) sample() *wrongRow {
	n := e.dims.B * e.dims.T
	if e.sampled != nil || !isProduct(e.Stage) || len(e.Span) > 1 || n <= maxSampled {
		return e
	}
	rows := []int{max(e.base.At, 0) * n / len(e.got)}
	for i := range maxSampled - 1 {
		if r := i * (n - 1) / (maxSampled - 2); !slices.Contains(rows, r) {
			rows = append(rows, r)
		}
	}
	slices.Sort(rows)
	some := *e
	some.sampled, some.dims = rows, model.Dims{B: 1, T: len(rows)}
	some.got, some.right, some.bound = pick(e.got, rows, n), pick(e.right, rows, n), pick(e.bound, rows, n)
	some.base = harness.Between(some.right, some.got, some.bound)
	return &some
}

// isProduct reports whether a stage is a matrix product of rows and weights.
func isProduct(stage string) bool { return stage == "logits" || strings.Contains(stage, ".c_") }

// pick returns some of the n rows of x; nil if x is.
func pick[V any](x []V, rows []int, n int) []V {
	if x == nil {
		return nil
	}
	width := len(x) / n
	out := make([]V, 0, len(rows)*width)
	for _, r := range rows {
		out = append(out, x[r*width:(r+1)*width]...)
	}
	return out
}

// context returns the Context of a fault in the row's own stage; in gives the inputs of
// the whole step, whose dimensions are d.
func (e *wrongRow) context(m *model.Model, d model.Dims, in func(name string) []float32) *Context {
	c := &Context{Model: m, Dims: e.dims, Stage: e.Stage, got: e.got, In: in}
	if e.sampled != nil {
		c.In = func(name string) []float32 { return pick(in(name), e.sampled, d.B*d.T) }
	}
	return c
}

// A candidateRun is a candidate's run: its tensors, and what follows where it has none.
type candidateRun struct {
	model     *model.Model
	candidate harness.Source
	run       *replay.Run
	judged    []harness.Replayed // the rows of the run
	except    []Kind             // of faults, not tried
	recoverer *fit.Recoverer
}

// values returns a tensor's elements as faults take them; ids are exact.
func values(t harness.Tensor) []float32 {
	if !t.IDs() {
		return t.F32
	}
	out := make([]float32, len(t.I64))
	for i, id := range t.I64 {
		out[i] = float32(id)
	}
	return out
}

// dims returns a step's dimensions: from what it was fed or, where that is not known,
// from the shapes of the candidate's stages [B,T,C].
func (c *candidateRun) dims(step int) (model.Dims, bool) {
	if f, ok := c.run.Dims(step); ok {
		return model.Dims{B: f.B, T: f.T, P: f.P}, true
	}
	d := model.Dims{}
	for k := 0; k <= step; k++ {
		stages := c.candidate.Stages(k)
		i := slices.IndexFunc(stages, func(stage string) bool {
			shape, _ := c.candidate.Shape(k, stage)
			return len(shape) == 3 && model.Axes(stage) == "B T C"
		})
		if i < 0 {
			return d, false
		}
		shape, _ := c.candidate.Shape(k, stages[i])
		d = model.Dims{B: shape[0], T: shape[1], P: d.P + d.T}
	}
	return d, d.B > 0 && d.T > 0
}

// has reports whether the candidate has a place, in its correct shape.
func (c *candidateRun) has(at harness.Place) bool {
	d, _ := c.dims(at.Step)
	want, err := model.Shape(c.model.Config(), at.Stage, d)
	shape, ok := c.candidate.Shape(at.Step, at.Stage)
	return ok && err == nil && slices.Equal(shape, want)
}

// input returns an input of a stage of the step as the candidate has it or as it follows,
// in the run, from what the candidate has; nil where it does not, and for one of a shape
// of its own, which no fault can read.
func (c *candidateRun) input(run *replay.Run, step int, name string) []float32 {
	d, _ := c.dims(step)
	if name == "pos" {
		return []float32{float32(d.P)}
	}
	shape, _ := model.Shape(c.model.Config(), name, d)
	if v, err := run.Input(step, name); err == nil && slices.Equal(v.Shape, shape) {
		return values(v.Tensor)
	}
	return nil
}
