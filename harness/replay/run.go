package replay

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/shapes"
)

// Run recomputes single stages of a candidate's run from the tensors that the
// candidate has. A tensor that it lacks is derived from those before it, and kept
// for the stages that need it later.
//
// Its methods may be called from several goroutines; they take turns.
type Run struct {
	schedule  *harness.Schedule
	candidate harness.Source
	replayer  Replayer
	o         Options
	fed       tokenStream

	mu      *sync.Mutex // of this Run and all that With makes of it
	derived map[harness.Place]*derived
	ahead   map[harness.Place]Value // computed with others by together, for the next replay of each
	read    *tensors
}

// derived is a value computed in place of one that is missing or has the wrong
// shape.
type derived struct {
	value Value
	span  []harness.Place // what was computed for it, itself last
	err   error           // why it cannot be computed

	given bool // not computed, but given to With
}

// NewRun makes a Run of a candidate. An error is a source that cannot be
// read, or whose tokens are none.
func NewRun(s *harness.Schedule, candidate harness.Source, r Replayer, o Options) (*Run, error) {
	if err := candidate.Err(); err != nil {
		return nil, err
	}
	f, err := newTokenStream(s, candidate, o)
	if err != nil {
		return nil, err
	}
	return &Run{
		schedule: s, candidate: candidate, replayer: r, o: o, fed: f,
		mu: new(sync.Mutex), derived: map[harness.Place]*derived{}, ahead: map[harness.Place]Value{},
		read: newTensors(candidate, keptElements),
	}, nil
}

// Dims returns how many ids the step is fed; ok is false if the tokens are not
// known.
func (r *Run) Dims(step int) (d StepDims, ok bool) { return r.fed.dims(step) }

// Input returns what a stage of the step reads under a name of Replayer.Reads, or
// any stage of the step: the candidate's own tensor or, if it has none, the stage
// as it follows from what the candidate has. The error says why it cannot be had.
func (r *Run) Input(step int, name string) (Value, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, _, err := r.input(step, name, false)
	return v, err
}

// Follows returns Input of a stage and the places that had to be computed for it, itself last;
// none if the candidate has it.
func (r *Run) Follows(step int, stage string) (Value, []harness.Place, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.input(step, stage, false)
}

// Right returns the stage of the step as the Replayer computes it from the
// candidate's inputs, whatever the candidate itself has there. Judge judges the
// stage by it.
func (r *Run) Right(step int, stage string) (Value, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := harness.Place{Step: step, Stage: stage}
	shape, ok := r.candidate.Shape(step, stage)
	if !ok {
		v, _, err := r.make(at)
		return v, err
	}
	v, _, err := r.compute(at, shape)
	return v, err
}

// With returns a Run of the same candidate in which stages have the given values: those
// that it lacks as if a fault had made them, others in the place of the candidate's. A nil
// Bound keeps the one that the stage has when it is computed.
func (r *Run) With(values map[harness.Place]Value) *Run {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := *r
	next.derived, next.ahead = maps.Clone(r.derived), map[harness.Place]Value{}
	for given := range values { // one or a few; spans are long
		_, there := r.candidate.Shape(given.Step, given.Stage)
		maps.DeleteFunc(next.derived, func(_ harness.Place, d *derived) bool {
			return !d.given && (there || slices.Contains(d.span, given))
		})
	}
	for at, v := range values {
		if g, ok := next.replayer.(interface{ Given(harness.Place) Replayer }); ok {
			next.replayer = g.Given(at)
		}
		right, span, _ := r.make(at)
		if v.Bound == nil {
			v.Bound = right.Bound
		}
		next.derived[at] = &derived{value: v, span: span, given: true}
	}
	return &next
}

// IsGiven reports whether a place has a value of With.
func (r *Run) IsGiven(at harness.Place) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.derived[at]
	return d != nil && d.given
}

// Unbounded returns the Run without the rounding bounds of what it computes from now on,
// which take as long again as the values, where its Replayer has an Unbounded of its own.
func (r *Run) Unbounded() *Run {
	next := *r
	next.ahead = map[harness.Place]Value{}
	if u, ok := r.replayer.(interface{ Unbounded() Replayer }); ok {
		next.replayer = u.Unbounded()
	}
	return &next
}

// maxTooLarge bounds how many times too large a tensor may be that is read as an input.
const maxTooLarge = 16

// input returns an input and the places that had to be computed for it. If strict,
// a tensor of the candidate in a wrong shape counts as missing.
func (r *Run) input(step int, name string, strict bool) (Value, []harness.Place, error) {
	if name == "tokens" || name == "pos" {
		v, err := r.fed.input(step, name)
		return v, nil, err
	}
	at := r.inputPlace(step, name)
	if at.Step < 0 && r.o.Cut != nil {
		if span, _ := r.o.Cut.At(step); span.P > 0 {
			return Value{}, nil, fmt.Errorf("no step before ends at position %d", span.P-1)
		}
	}
	if at.Step < 0 {
		return Value{}, nil, nil
	}
	shape, ok := r.candidate.Shape(at.Step, at.Stage)
	if d := r.derived[at]; ok && d != nil && d.given {
		return d.value, nil, nil
	}
	if right := r.shape(at); ok && right != nil && !slices.Equal(right, shape) {
		n, _ := shapes.Size(shape)
		most, _ := shapes.Size(right)
		ok = !strict && n <= maxTooLarge*most
	}
	if !ok {
		return r.make(at)
	}
	t, err := r.read.get(at)
	return Value{Tensor: t}, nil, err
}

// inputPlace returns the place of an input, of a step before 0 if it has none.
func (r *Run) inputPlace(step int, name string) harness.Place {
	at := harness.InputPlace(step, name)
	if at.Step < step && r.o.Cut != nil {
		at.Step = r.o.Cut.Before(step)
	}
	return at
}

// inputsOf returns the places that are read to compute a span, and are none of it.
func (r *Run) inputsOf(span []harness.Place) (all []harness.Place) {
	for _, p := range span {
		for _, name := range r.replayer.Reads(p.Stage) {
			at := r.inputPlace(p.Step, name)
			if _, ok := r.schedule.Index(at.Stage); ok && at.Step >= 0 && !slices.Contains(span, at) && !slices.Contains(all, at) {
				all = append(all, at)
			}
		}
	}
	return all
}

// Reads returns the places of which a stage of a step is computed.
func (r *Run) Reads(at harness.Place) (all []harness.Place) {
	for _, name := range r.replayer.Reads(at.Stage) {
		all = append(all, harness.InputPlace(at.Step, name))
	}
	return all
}

// shape returns the place's shape in a correct run; nil if that is not known.
func (r *Run) shape(at harness.Place) []int {
	if f, ok := r.fed.dims(at.Step); ok {
		return r.replayer.Shape(at.Stage, f)
	}
	return nil
}

// make derives a place, once.
func (r *Run) make(at harness.Place) (Value, []harness.Place, error) {
	d := r.derived[at]
	if d == nil {
		d = &derived{err: fmt.Errorf("%s is computed from itself", at)} // for a cycle
		r.derived[at] = d
		if d.value, d.span, d.err = r.compute(at, r.shape(at)); d.value.Allowed != (harness.Tolerance{}) {
			d.value.Bound = d.value.widened() // it is computed in the place of the candidate's
		}
	}
	return d.value, d.span, d.err
}

// compute replays a place and lists the places computed for it, itself last.
// Inputs are taken as the candidate has them. If they do not go together or do
// not give the shape asked for (nil: any), those of a wrong shape are computed
// too, so that a cache which is too long leaves what reads it to be judged.
func (r *Run) compute(at harness.Place, shape []int) (Value, []harness.Place, error) {
	v, span, err := r.replay(at, false)
	v = r.lastAlone(at, v, shape)
	if err == nil && (shape == nil || slices.Equal(v.Shape, shape)) {
		return v, span, nil
	}
	v2, span2, err2 := r.replay(at, true)
	if v2 = r.lastAlone(at, v2, shape); err2 == nil && (err != nil || slices.Equal(v2.Shape, shape)) {
		return v2, span2, nil
	}
	return v, span, err
}

// lastAlone returns of a value the last position, if the shape asked for has no other.
func (r *Run) lastAlone(at harness.Place, v Value, shape []int) Value {
	st, _ := r.schedule.Stage(at.Stage)
	rows, ok := st.Rows(r.fed.span(at.Step), shape)
	if !ok || !st.LastAlone || rows == r.fed.span(at.Step) || len(shape) != len(v.Shape) {
		return v
	}
	for i, n := range v.Shape {
		if n > 1 && shape[i] == 1 {
			outer, _ := shapes.Size(v.Shape[:i])
			v.F32, v.Bound, v.Shape = last(v.F32, outer, n), last(v.Bound, outer, n), slices.Clone(shape)
		}
	}
	return v
}

// last returns the last of the n rows in each of the outer parts of x; nil if x is.
func last(x []float32, outer, n int) (rows []float32) {
	width := len(x) / outer / n
	for end := n * width; width > 0 && end <= len(x); end += n * width {
		rows = append(rows, x[end-width:end]...)
	}
	return rows
}

// replay computes a place from its inputs.
func (r *Run) replay(at harness.Place, strict bool) (Value, []harness.Place, error) {
	if _, ok := r.schedule.Index(at.Stage); !ok || at.Step < 0 {
		return Value{}, nil, fmt.Errorf("%s: no such stage or step", at)
	}
	reads := r.replayer.Reads(at.Stage)
	if reads == nil {
		return Value{}, nil, fmt.Errorf("it is not known how %s is computed", at)
	}
	in := make(map[string]Value, len(reads))
	var span []harness.Place
	for _, name := range reads {
		v, computed, err := r.input(at.Step, name, strict)
		if err != nil {
			return Value{}, nil, fmt.Errorf("%s needs %s: %w", at.Stage, name, err)
		}
		in[name] = v
		for _, p := range computed {
			if !slices.Contains(span, p) {
				span = append(span, p)
			}
		}
	}
	v, ok := r.ahead[at]
	if delete(r.ahead, at); !ok || strict {
		var err error
		v, err = r.replayer.Replay(at.Step, at.Stage, func(name string) (Value, bool) {
			v, ok := in[name]
			return v, ok
		})
		if err != nil {
			return Value{}, nil, err
		}
	}
	v.Allowed, _ = r.o.Bounds.Tolerance(at, v.IDs())
	return v, append(span, at), nil
}

// tensors reads a source's tensors and keeps the latest, since each is read as
// the input of some stage and as the output of its own.
type tensors struct {
	source harness.Source
	kept   map[harness.Place]harness.Tensor
	order  []harness.Place // oldest first
	size   int             // elements kept
	most   int             // and how many at most, but for one tensor

	// err is of the first tensor that is there and cannot be read. It ends a
	// replay: a verdict without the tensor would be about another dump.
	err error
}

// keptElements bounds the elements that are kept: 256 MB of float32.
const keptElements = 64 << 20

func newTensors(source harness.Source, most int) *tensors {
	return &tensors{source: source, kept: map[harness.Place]harness.Tensor{}, most: most}
}

// get returns the tensor of a place that the source has.
func (c *tensors) get(at harness.Place) (harness.Tensor, error) {
	if t, ok := c.kept[at]; ok || c.err != nil {
		return t, c.err
	}
	t, err := c.source.Tensor(at.Step, at.Stage)
	if err != nil {
		c.err = fmt.Errorf("step %d, stage %s: %w", at.Step, at.Stage, err)
		return harness.Tensor{}, c.err
	}
	c.kept[at], c.order, c.size = t, append(c.order, at), c.size+t.Elements()
	for len(c.order) > 1 && c.size > c.most {
		c.size -= c.kept[c.order[0]].Elements()
		delete(c.kept, c.order[0])
		c.order = c.order[1:]
	}
	return t, nil
}
