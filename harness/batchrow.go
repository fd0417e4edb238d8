package harness

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model/memory"
)

// A BatchRow is one row of a batch as a run of its own, of a batch of one: without its
// padding, at which there is no position, no key and no value. A step in which the row has
// no token is none of its steps; the others keep their numbers. What comes after it, be it
// comparing or replay, needs no case for batches and padding.
//
// Of a stage with both axes T and S the columns at padding are left out too; whether they
// hold the stage's Absent is judged by [MergeRows].
type BatchRow struct {
	Source     // the whole batch
	Cut    Cut // of the row

	schedule *Schedule
	padding  Padding
	steps    []int
	tokens   [][]int
	manifest *Manifest
	unmasked sync.Map // Distance by seenAt
}

// Padding tells which part of a batch a [Padded] source shows, and where in it.
type Padding struct {
	Whole   Source
	Row     int
	Cut     Cut   // of Whole, whose steps feed columns, be they tokens or padding
	Columns []int // of Whole, of each position
	Padded  bool  // some column is none of the row's tokens
}

// A Padded source is one row of a batch. What is to know of padding, such as the faults
// that only padding has, asks whether its source is one: where Padding's Columns[i] is not
// i, there was padding before position i; the columns below Cut[step].End() that are not
// in Columns are keys at padding, whose values Whole still has.
type Padded interface {
	Source
	Padding() Padding
}

// NewBatchRow returns a row of a batch that is cut as given: its spans count columns, be
// they tokens or padding. The batch must have tokens.
func NewBatchRow(s *Schedule, whole Source, cut Cut, row int) *BatchRow {
	ids, mask := whole.Tokens()[row], []int(nil)
	if m := MaskOf(whole); m != nil {
		mask = m[row]
	}
	isToken := func(column int) bool { return column >= len(mask) || mask[column] != 0 }
	r := &BatchRow{Source: whole, schedule: s, padding: Padding{Whole: whole, Row: row, Cut: cut}}
	end := len(ids)
	for _, span := range cut {
		end = max(end, span.End())
	}
	var own []int
	ones := make([]int, end+1) // before each column
	for j := range end {
		if ones[j+1] = ones[j]; isToken(j) {
			ones[j+1]++
			r.padding.Columns = append(r.padding.Columns, j)
			if j < len(ids) {
				own = append(own, ids[j])
			}
		}
	}
	r.padding.Padded = ones[end] < end
	r.tokens = [][]int{own}
	for _, span := range cut {
		r.Cut = append(r.Cut, Span{ones[span.P], ones[span.End()] - ones[span.P]})
	}
	for _, k := range whole.Steps() {
		if span, ok := r.Cut.At(k); ok && span.T > 0 {
			r.steps = append(r.steps, k)
		}
	}
	if man := whole.Manifest(); man != nil {
		m := *man
		if row < len(man.Tokens) {
			m.Tokens = [][]int{man.Tokens[row]}
			if n := len(man.Tokens[row]); n < len(ones) && ones[n] < n && len(man.Tokens) == len(whole.Tokens()) {
				m.Tokens = FirstTokens(r.tokens, ones[n])
			}
		}
		r.manifest = &m
	}
	return r
}

// Padding tells where in the batch the row is.
func (r *BatchRow) Padding() Padding { return r.padding }

// Tokens returns the ids of the row alone, without padding.
func (r *BatchRow) Tokens() [][]int { return r.tokens }

// Manifest returns the batch's manifest with the row's prompt alone.
func (r *BatchRow) Manifest() *Manifest { return r.manifest }

// Steps returns the steps in which the row has a token.
func (r *BatchRow) Steps() []int { return r.steps }

// Stages returns the stages there are at a step.
func (r *BatchRow) Stages(step int) []string {
	if !slices.Contains(r.steps, step) {
		return nil
	}
	return r.Source.Stages(step)
}

// A part is where a row's tensor lies in the batch's.
type part struct {
	at, size int     // the elements of the row in the batch's tensor
	from     []int   // their shape
	keep     [][]int // of each of its dimensions what is the row's; nil is all
	shape    []int   // of what is kept
	batch    int     // the dimension of the batch; -1 if there is none
	dropped  bool    // that dimension is not in shape
	queries  int     // the dimension of the positions fed; -1 if there is none
	keys     int     // the dimension of all positions; -1 if there is none
}

// part finds a stage in the batch's tensor. Along an axis that is not as long as the step
// is, all is the row's, so that the shape is still wrong.
func (r *BatchRow) part(step int, stage string) (p part, ok bool) {
	whole, ok := r.Source.Shape(step, stage)
	if !ok || !slices.Contains(r.steps, step) {
		return p, false
	}
	st, _ := r.schedule.Stage(stage)
	span, rows := r.padding.Cut[step], len(r.Source.Tokens())
	p.from, p.batch, p.queries, p.keys = slices.Clone(whole), axisOf(st.Axes, "B"), axisOf(st.Axes, "T"), axisOf(st.Axes, "S")
	if axes := len(strings.Fields(st.Axes)); p.batch < 0 && axes > 0 && len(whole) == axes+1 && whole[0] == rows {
		p.batch, p.dropped = 0, true // a batch of what is the same in every row without padding
		p.queries, p.keys = shift(p.queries), shift(p.keys)
	}
	if p.batch != 0 || len(whole) == 0 || whole[0] != rows {
		p.batch = -1
	} else {
		p.from[0] = 1
	}
	p.size, _ = shapes.Size(p.from)
	if p.batch == 0 {
		p.at = r.padding.Row * p.size
	}
	p.shape, p.keep = slices.Clone(p.from), make([][]int, len(p.from))
	along := func(axis, length, first, n int) int {
		if axis < 0 || axis >= len(p.from) || p.from[axis] != length {
			return -1
		}
		for _, c := range r.padding.Columns[first:][:n] {
			p.keep[axis] = append(p.keep[axis], c-(span.End()-length))
		}
		if p.shape[axis] = n; n == length {
			p.keep[axis] = nil
		}
		return axis
	}
	own := r.Cut[step]
	p.queries = along(p.queries, span.T, own.P, own.T)
	p.keys = along(p.keys, span.End(), 0, own.End())
	if p.dropped {
		p.shape = p.shape[1:]
	}
	return p, true
}

// shift returns the dimension after one that is there.
func shift(axis int) int {
	if axis < 0 {
		return axis
	}
	return axis + 1
}

// isWhole reports whether the row has all elements of its part.
func (p part) isWhole() bool {
	return !slices.ContainsFunc(p.keep, func(keep []int) bool { return keep != nil })
}

// Shape returns the shape of a stage in the row alone.
func (r *BatchRow) Shape(step int, stage string) ([]int, bool) {
	p, ok := r.part(step, stage)
	return p.shape, ok
}

// Tensor returns a stage of the row alone; of the batch's tensor no more is read.
func (r *BatchRow) Tensor(step int, stage string) (Tensor, error) {
	p, t, err := r.read(step, stage)
	if err != nil || p.isWhole() {
		t.Shape = p.shape
		return t, err
	}
	n, _ := shapes.Size(p.shape)
	if err := memory.Room(4 * n); err != nil {
		return t, fmt.Errorf("%s: %s: %w", r.Name(), Place{step, stage}, err)
	}
	out := Tensor{Shape: p.shape}
	if t.IDs() {
		out.I64 = choose(make([]int64, 0, n), t.I64, p.from, p.keep)
	} else {
		out.F32 = choose(make([]float32, 0, n), t.F32, p.from, p.keep)
	}
	return out, nil
}

// Places returns where in the batch's tensor the elements of the row's are, in their order;
// with pads those of the row's queries at keys that are padding, too.
func (r *BatchRow) Places(step int, stage string, pads bool) []int {
	p, _ := r.part(step, stage)
	if pads && p.queries >= 0 && p.keys >= 0 {
		p.keep[p.keys] = nil
	}
	all := make([]int, p.size)
	for i := range all {
		all[i] = p.at + i
	}
	return choose(nil, all, p.from, p.keep)
}

// WithPadding returns the row of the batch's tensor, with what stands at padding.
func (r *BatchRow) WithPadding(step int, stage string) (Tensor, error) {
	p, t, err := r.read(step, stage)
	t.Shape = p.from
	return t, err
}

// read returns the elements of a row in the batch's tensor, padding among them.
func (r *BatchRow) read(step int, stage string) (p part, t Tensor, err error) {
	p, ok := r.part(step, stage)
	if !ok {
		return p, t, fmt.Errorf("%s: row %d has no %s", r.Name(), r.padding.Row, Place{step, stage})
	}
	parts, err := Open(r.Source, step, stage)
	if err != nil {
		return p, t, err
	}
	defer parts.Close()
	t, err = parts.Part(p.at, p.size, new(Tensor))
	return p, t, err
}

// Open returns a stage of the row, in parts where these lie together in the batch's.
func (r *BatchRow) Open(step int, stage string) (Parts, error) {
	p, ok := r.part(step, stage)
	if !ok || !p.isWhole() {
		return r.Tensor(step, stage)
	}
	parts, err := Open(r.Source, step, stage)
	return offset{parts, p.at}, err
}

// offset is parts that begin at an element.
type offset struct {
	Parts
	at int
}

// Part returns n elements from the i-th after the first on.
func (o offset) Part(i, n int, mem *Tensor) (Tensor, error) { return o.Parts.Part(o.at+i, n, mem) }

// choose appends to out what is kept along the dimensions of an array.
func choose[E any](out, in []E, shape []int, keep [][]int) []E {
	if len(shape) == 0 || !slices.ContainsFunc(keep, func(k []int) bool { return k != nil }) {
		return append(out, in...)
	}
	width := len(in) / shape[0]
	if keep[0] == nil {
		for i := range shape[0] {
			out = choose(out, in[i*width:][:width], shape[1:], keep[1:])
		}
	}
	for _, i := range keep[0] {
		out = choose(out, in[i*width:][:width], shape[1:], keep[1:])
	}
	return out
}

// index returns where in the batch's tensor an element of the row's is.
func (p part) index(row int, own []int) []int {
	own = slices.Clone(own)
	if p.dropped {
		own = slices.Insert(own, 0, 0)
	}
	for i := range own {
		switch {
		case i >= len(p.keep):
		case i == 0 && p.batch == 0:
			own[i] = row
		case p.keep[i] != nil && own[i] < len(p.keep[i]):
			own[i] = p.keep[i][own[i]]
		}
	}
	return own
}
