package replay

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"checkpoint12/harness"
)

// Run computes single stages of a candidate's run again, from what the
// candidate has: its own tensors where they are there, else what they are
// computed from. What is computed in the place of something missing is kept for
// the stages that need it later.
//
// Its methods may be called from several goroutines; they take turns.
type Run struct {
	schedule  *harness.Schedule
	candidate harness.Source
	replayer  Replayer
	o         Options
	fed       tokenStream

	mu      *sync.Mutex // of this Run and all that Suppose makes of it
	derived map[harness.Place]*derived
	read    *tensors
}

// derived is a value computed in place of one that is missing or has the wrong
// shape.
type derived struct {
	value Value
	span  []harness.Place // what was computed for it, itself last
	err   error           // why it cannot be computed

	supposed bool // not computed, but given to Suppose
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
		mu: new(sync.Mutex), derived: map[harness.Place]*derived{}, read: newTensors(candidate),
	}, nil
}

// Dims returns how many ids the step is fed; ok is false if the tokens are not
// known.
func (r *Run) Dims(step int) (d StepDims, ok bool) { return r.fed.dims(step) }

// Input is what a stage of the step reads under a name of Replayer.Reads, or
// any stage of the step: the candidate's own tensor or, where it has none, the
// stage computed from what the candidate has. The error says why it cannot be
// had.
func (r *Run) Input(step int, name string) (Value, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, _, err := r.input(step, name, false)
	return v, err
}

// Right is the stage of the step as the Replayer computes it from the
// candidate's inputs, whatever the candidate itself has there. It is what the
// stage's row of Judge was judged by.
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

// Suppose returns a Run of the same candidate in which stages that it lacks have
// the given values, as if a fault had made them. A nil Bound keeps the one that
// the stage has when it is computed.
func (r *Run) Suppose(values map[harness.Place]Value) *Run {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := *r
	next.derived = map[harness.Place]*derived{}
	for at, d := range r.derived {
		if d.supposed || !slices.ContainsFunc(d.span, func(p harness.Place) bool { _, given := values[p]; return given }) {
			next.derived[at] = d
		}
	}
	for at, v := range values {
		right, span, _ := r.make(at)
		if v.Bound == nil {
			v.Bound = right.Bound
		}
		next.derived[at] = &derived{value: v, span: span, supposed: true}
	}
	return &next
}

// Supposes reports whether a stage that the candidate lacks has a value given to
// Suppose.
func (r *Run) Supposes(at harness.Place) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.derived[at]
	return d != nil && d.supposed
}

// errNoStage is the error of an input that is in no schedule.
var errNoStage = errors.New("no such stage or step")

// input finds an input and the places that had to be computed for it. strict
// takes a tensor of the candidate whose shape is not the right one for missing.
func (r *Run) input(step int, name string, strict bool) (Value, []harness.Place, error) {
	if name == "tokens" || name == "pos" {
		v, err := r.fed.input(step, name)
		return v, nil, err
	}
	at := harness.InputPlace(step, name)
	if at.Step < 0 {
		return Value{}, nil, nil
	}
	if shape, ok := r.candidate.Shape(at.Step, at.Stage); ok && !(strict && r.misshapen(at, shape)) {
		t, err := r.read.get(at)
		return Value{Tensor: t}, nil, err
	}
	return r.make(at)
}

// misshapen says whether the shape is not the one that the place has in a right
// run, where that is known.
func (r *Run) misshapen(at harness.Place, shape []int) bool {
	right := r.shape(at)
	return right != nil && !slices.Equal(right, shape)
}

// shape is the place's shape in a right run; nil where that is not known.
func (r *Run) shape(at harness.Place) []int {
	if f, ok := r.fed.dims(at.Step); ok {
		return r.replayer.Shape(at.Stage, f)
	}
	return nil
}

// make computes a place, once.
func (r *Run) make(at harness.Place) (Value, []harness.Place, error) {
	m := r.derived[at]
	if m == nil {
		m = &derived{err: fmt.Errorf("%s is computed from itself", at)} // until it is known better
		r.derived[at] = m
		m.value, m.span, m.err = r.compute(at, r.shape(at))
	}
	return m.value, m.span, m.err
}

// compute replays a place and lists the places computed for it, itself last.
// Inputs are taken as the candidate has them. If they do not go together or do
// not give the shape asked for (nil: any), those of a wrong shape are computed
// as well: a cache that was laid out too long is no reason to judge nothing
// that reads it.
func (r *Run) compute(at harness.Place, shape []int) (Value, []harness.Place, error) {
	v, span, err := r.replay(at, false)
	if err == nil && (shape == nil || slices.Equal(v.Shape, shape)) {
		return v, span, nil
	}
	if v2, span2, err2 := r.replay(at, true); err2 == nil && (err != nil || slices.Equal(v2.Shape, shape)) {
		return v2, span2, nil
	}
	return v, span, err
}

// replay computes a place from its inputs.
func (r *Run) replay(at harness.Place, strict bool) (Value, []harness.Place, error) {
	if _, ok := r.schedule.Index(at.Stage); !ok || at.Step < 0 {
		return Value{}, nil, fmt.Errorf("%s: %w", at, errNoStage)
	}
	reads := r.replayer.Reads(at.Stage)
	if reads == nil {
		return Value{}, nil, fmt.Errorf("nothing says how %s is computed", at)
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
	v, err := r.replayer.Replay(at.Step, at.Stage, func(name string) (Value, bool) {
		v, ok := in[name]
		return v, ok
	})
	if err != nil {
		return Value{}, nil, err
	}
	return v, append(span, at), nil
}

// tensors reads a source's tensors and keeps the latest, since each is read as
// the input of some stage and as the output of its own.
type tensors struct {
	source harness.Source
	kept   map[harness.Place]harness.Tensor
	order  []harness.Place // oldest first
	size   int             // elements kept
}

// keptElements is how many elements are kept: 256 MB of float32.
const keptElements = 64 << 20

func newTensors(s harness.Source) *tensors {
	return &tensors{source: s, kept: map[harness.Place]harness.Tensor{}}
}

func (c *tensors) get(at harness.Place) (harness.Tensor, error) {
	if t, ok := c.kept[at]; ok {
		return t, nil
	}
	t, err := c.source.Tensor(at.Step, at.Stage)
	if err != nil {
		return harness.Tensor{}, &readError{at, err}
	}
	c.kept[at], c.order, c.size = t, append(c.order, at), c.size+t.Elements()
	for len(c.order) > 1 && c.size > keptElements {
		c.size -= c.kept[c.order[0]].Elements()
		delete(c.kept, c.order[0])
		c.order = c.order[1:]
	}
	return t, nil
}

// readError is a tensor that is there and cannot be read: nothing is said of a
// run on such ground.
type readError struct {
	at  harness.Place
	err error
}

func (e *readError) Error() string {
	return fmt.Sprintf("step %d, stage %s: %v", e.at.Step, e.at.Stage, e.err)
}
func (e *readError) Unwrap() error { return e.err }
