package harness

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"checkpoint12/harness/internal/shapes"
	"checkpoint12/harness/internal/words"
)

// RecorderOptions are the options of [NewRecorder].
type RecorderOptions struct {
	Schedule *Schedule // the stages there may be; required

	// Match, if set, is asked before a stage is copied; what it declines costs
	// nothing more. Unset, all is kept.
	Match func(step int, stage string) bool

	Name string // whose tensors these are, in messages; "recorder" if empty
}

// Recorder keeps copies of the stages a running model taps. It is a Source, in
// memory. Tap returns nothing, so errors (a name that is no stage, a stage twice in
// a step, data that is not its shape, a tap before the first Step) are kept and
// reported by Err; [Compare] and [Check] refuse a recorder that has any.
type Recorder struct {
	schedule *Schedule
	match    func(step int, stage string) bool
	name     string

	mu     sync.Mutex // of what records; a complete recording is only read
	step   int
	steps  map[int]map[string]Tensor
	begun  map[int]bool
	tapped map[string]bool // of the current step, kept or not
	tokens [][]int
	mask   [][]int
	errs   []error
}

// NewRecorder returns an empty recorder. It panics without a Schedule.
func NewRecorder(o RecorderOptions) *Recorder {
	if o.Schedule == nil {
		panic("harness: NewRecorder without a Schedule")
	}
	if o.Name == "" {
		o.Name = "recorder"
	}
	return &Recorder{
		schedule: o.Schedule, match: o.Match, name: o.Name, step: -1,
		steps: map[int]map[string]Tensor{}, begun: map[int]bool{}, tapped: map[string]bool{},
	}
}

// Step begins step k; the taps that follow belong to it.
func (r *Recorder) Step(k int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k < 0 {
		r.fail(fmt.Errorf("step %d is negative", k))
		return
	}
	if r.begun[k] {
		r.fail(fmt.Errorf("step %d: begun twice", k))
	}
	r.step, r.begun[k] = k, true
	clear(r.tapped)
}

// Tap copies the stage's data if the stage is wanted. Stages of ids come as
// float32 too and are kept as int64.
func (r *Recorder) Tap(stage string, shape []int, data []float32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	st, ok := r.schedule.Stage(stage)
	switch {
	case r.step < 0:
		r.fail(fmt.Errorf("stage %s: tapped before the first step", stage))
		return
	case !ok:
		r.fail(fmt.Errorf("step %d: stage %q is not in the schedule", r.step, stage))
		return
	case r.tapped[stage]:
		r.fail(fmt.Errorf("step %d: stage %s tapped twice", r.step, stage))
		return
	}
	r.tapped[stage] = true
	if r.match != nil && !r.match(r.step, stage) {
		return
	}
	if n, ok := shapes.Size(shape); !ok || n != len(data) {
		r.fail(fmt.Errorf("step %d: stage %s: shape %v does not match %d elements", r.step, stage, shape, len(data)))
		return
	}
	t := Tensor{Shape: append([]int{}, shape...)} // not nil, also for a scalar
	if st.IDs {
		t.I64 = make([]int64, len(data))
		for i, v := range data {
			t.I64[i] = int64(v)
			if float32(t.I64[i]) != v {
				r.fail(fmt.Errorf("step %d: stage %s: %v is not an id", r.step, stage, v))
				return
			}
		}
	} else {
		t.F32 = slices.Clone(data)
	}
	if r.steps[r.step] == nil {
		r.steps[r.step] = map[string]Tensor{}
	}
	r.steps[r.step][stage] = t
}

// maxErrs bounds the errors kept: a wrong name comes once a step.
const maxErrs = 20

func (r *Recorder) fail(err error) {
	if len(r.errs) < maxErrs {
		r.errs = append(r.errs, err)
	}
}

// SetTokens keeps the ids [B, prompt + new], all rows of equal length.
func (r *Recorder) SetTokens(rows [][]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := CheckTokens(rows); err != nil {
		r.fail(err)
		return
	}
	r.tokens = slices.Clone(rows)
}

// SetMask keeps which of the tokens are padding: a 0 for each that is, else 1.
func (r *Recorder) SetMask(mask [][]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mask = slices.Clone(mask)
}

// Mask returns which of the tokens are padding; nil if none is.
func (r *Recorder) Mask() [][]int { return r.mask }

// Err returns the errors of the taps so far, or nil.
func (r *Recorder) Err() error {
	if len(r.errs) == 0 {
		return nil
	}
	return fmt.Errorf("%s: %s", r.name, strings.ReplaceAll(errors.Join(r.errs...).Error(), "\n", "; "))
}

// Name returns the name from the options.
func (r *Recorder) Name() string { return r.name }

// Tokens returns the ids that SetTokens was given.
func (r *Recorder) Tokens() [][]int { return r.tokens }

// Manifest returns nil: nothing binds a recording but the run it is of.
func (r *Recorder) Manifest() *Manifest { return nil }

// Steps returns the steps of which something was kept, ascending.
func (r *Recorder) Steps() []int { return slices.Sorted(maps.Keys(r.steps)) }

// Stages returns the stages kept at a step, in execution order.
func (r *Recorder) Stages(step int) []string {
	return r.schedule.Sorted(slices.Collect(maps.Keys(r.steps[step])))
}

// Shape returns the shape of a stage kept at a step.
func (r *Recorder) Shape(step int, stage string) ([]int, bool) {
	t, ok := r.steps[step][stage]
	return t.Shape, ok
}

// Tensor returns the recorder's own copy of a stage at a step.
func (r *Recorder) Tensor(step int, stage string) (Tensor, error) {
	t, ok := r.steps[step][stage]
	if !ok {
		return Tensor{}, fmt.Errorf("%s: no stage %s at step %d", r.name, stage, step)
	}
	return t, nil
}

// TB is the part of a *testing.T that [Check] needs.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Check compares what a model under test computed with a golden, and fails t with
// the first stage that differs, in execution order over all steps. Every stage
// that the golden has and the recorder wanted must be there. Comparing nothing
// fails too.
func Check(t TB, golden Source, candidate *Recorder) {
	t.Helper()
	o := CompareOptions{RequireAll: true, Match: candidate.match}
	report, err := Compare(candidate.schedule, golden, candidate, o)
	if err != nil {
		t.Fatalf("%v", words.Arg{Value: err})
		return
	}
	for _, note := range report.Notes {
		t.Logf("%s", words.Visible(note))
	}
	bad := 0
	for i := range report.Stages {
		if row := &report.Stages[i]; row.Status.Diverges() || row.Status == Missing {
			if bad++; bad == 1 {
				t.Errorf("%v", words.Arg{Value: row})
			}
		}
	}
	if bad > 1 {
		t.Logf("%d of %d tensors differ in all; those after the first may only inherit its error",
			bad, len(report.Stages))
	}
}
