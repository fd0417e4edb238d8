package faults

import (
	"slices"

	"checkpoint12/harness/internal/names"
	"checkpoint12/model"
)

// mostRows is how many rows of a matrix product are looked at: each is computed
// apart from the others, and a fault shows in all or in the worst.
const mostRows = 8

// matrices are the stages that multiply with a matrix of weights.
var matrices = []string{"h.*.c_*", "logits"}

// sample is the wrongRow of some rows of a matrix product, with the worst among
// them; of anything else, or of few rows, it is all of it.
func (g *rowGroup) sample(e *wrongRow) *wrongRow {
	n := e.dims.B * e.dims.T
	if len(e.Span) > 1 || n <= mostRows || !slices.ContainsFunc(matrices, func(p string) bool { return names.Match(p, e.Stage) }) {
		return e
	}
	width := len(e.got) / n
	worst, most := 0, distance{}
	for r := range n {
		lo, hi := r*width, (r+1)*width
		if d := between(e.got[lo:hi], e.right[lo:hi], nil); most.less(d) {
			worst, most = r, d
		}
	}
	rows := []int{worst}
	for i := range mostRows - 1 {
		if r := i * (n - 1) / (mostRows - 2); !slices.Contains(rows, r) {
			rows = append(rows, r)
		}
	}
	slices.Sort(rows)
	some := *e
	some.rows = rows
	some.got, some.right, some.bound = pick(e.got, rows, n), pick(e.right, rows, n), pick(e.bound, rows, n)
	some.dims = model.Dims{B: 1, T: len(rows)}
	some.noise = squared(some.bound)
	some.base = between(some.got, some.right, some.bound)
	return &some
}

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

// context is what variants of the row's own stage are computed from; in gives
// the inputs of all rows.
func (s *candidateRun) context(e *wrongRow, in func(name string) []float32) *Context {
	c := &Context{Model: s.model, Dims: e.dims, Stage: e.Stage, Got: e.got, In: in}
	if e.rows != nil {
		d, _ := s.dims(e.Step)
		c.In = func(name string) []float32 { return pick(in(name), e.rows, d.B*d.T) }
	}
	return c
}
