package replay

import (
	"math"
	"slices"

	"checkpoint12/harness"
)

// subtract is a missing stage as what comes later has it: the sum that it is part
// of, less the other part. The row that is judged by it is no witness.
func (r *Run) subtract(at, judged harness.Place) (Value, bool) {
	sub, ok := r.replayer.(Subtractor)
	if !ok {
		return Value{}, false
	}
	sum, other, ok := sub.Subtract(at.Stage)
	if !ok || judged == (harness.Place{Step: at.Step, Stage: sum}) || judged == (harness.Place{Step: at.Step, Stage: other}) {
		return Value{}, false
	}
	s, ok := r.known(harness.Place{Step: at.Step, Stage: sum})
	if !ok {
		s, ok = r.subtract(harness.Place{Step: at.Step, Stage: sum}, judged)
	}
	o, there := r.known(harness.Place{Step: at.Step, Stage: other})
	if !ok || !there || !slices.Equal(s.Shape, o.Shape) || s.IDs() || o.IDs() {
		return Value{}, false
	}
	v := Value{Tensor: harness.Tensor{Shape: s.Shape, F32: make([]float32, len(s.F32))}, Bound: make([]float32, len(s.F32))}
	for i, x := range s.F32 {
		// The sum was rounded once, and this difference is once more.
		v.F32[i] = x - o.F32[i]
		v.Bound[i] = float32(math.Abs(float64(x))+math.Abs(float64(v.F32[i]))) / (1 << 24)
		if s.Bound != nil {
			v.Bound[i] += s.Bound[i]
		}
	}
	return v, true
}

// known is a tensor that the candidate has in its right shape.
func (r *Run) known(at harness.Place) (Value, bool) {
	shape, ok := r.candidate.Shape(at.Step, at.Stage)
	if !ok || r.misshapen(at, shape) {
		return Value{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	t, err := r.read.get(at)
	return Value{Tensor: t}, err == nil
}

// assume puts a value in the place of a stage that the candidate lacks. A nil bound
// leaves the place the one it had.
func (r *Run) assume(at harness.Place, t harness.Tensor, bound []float32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := &derived{value: Value{Tensor: t, Bound: bound}, span: []harness.Place{at}, assumed: true}
	if old := r.derived[at]; old != nil {
		now.span = old.span
		if bound == nil {
			now.value.Bound = old.value.Bound
		}
	}
	r.put(at, now)
}

// put puts what was made of a place in place of what was, and forgets what was
// computed from that. Nil lets it be computed again when it is asked for.
func (r *Run) put(at harness.Place, m *derived) {
	for p, other := range r.derived {
		if p != at && slices.Contains(other.span, at) && !other.assumed {
			delete(r.derived, p)
		}
	}
	if delete(r.derived, at); m != nil {
		r.derived[at] = m
	}
}

// withdraw takes out what the row's own mistakes put in, so that the row can be
// judged by the others'; back puts it in again.
func (s *settling) withdraw(row harness.Place) (back func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine := map[harness.Place]*derived{}
	for _, at := range s.assumed {
		if s.owner[at] == row {
			mine[at] = s.derived[at]
			s.put(at, nil)
		}
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, at := range s.assumed {
			if m := mine[at]; m != nil {
				s.put(at, m)
			}
		}
	}
}

// rejudge judges a place after something was assumed.
func (r *Run) rejudge(at harness.Place) (harness.Replayed, error) {
	r.mu.Lock()
	if v, ok := r.judged[at]; ok {
		delete(r.judged, at)
		r.judgedSize -= v.Elements() + len(v.Bound)
	}
	r.mu.Unlock()
	return r.judge(at)
}
