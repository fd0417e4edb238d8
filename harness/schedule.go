package harness

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"checkpoint12/harness/internal/names"
)

// A Tolerance bounds how far apart golden and candidate may be at a stage: a value
// passes when
//
//	|got − want| ≤ Abs + Rel · max|want|
//
// where the maximum runs over the finite values of the golden tensor. The zero
// Tolerance asks for equality. Reason is why it is as wide as it is, in words that
// end up in the failure report.
type Tolerance struct {
	Abs    float64 `json:"abs"`
	Rel    float64 `json:"rel"`
	Reason string  `json:"-"`
}

// At returns how far apart the two may be where max|want| is scale.
func (t Tolerance) At(scale float64) float64 { return t.Abs + t.Rel*scale }

// Stage is one named result of a model's step.
type Stage struct {
	// Name is the stage's name and, with .npy after it, its file's: letters,
	// digits, dots, dashes and underscores.
	Name string

	Checkpoint int // the number of the checkpoint it belongs to; 0 if none
	Tolerance  Tolerance
	IDs        bool // it is of int64 ids, which compare exactly

	// Axes, if set, names the axes of the stage's tensor: "B H T D", those that
	// are merged into one dimension in parentheses: "B T (H D)". Layouts are
	// others in which an engine may have it, of the same axes; one axis more is
	// one along which all is the same. An align.View reads them as Axes says.
	Axes    string
	Layouts []string

	// T in Axes is the positions that a step feeds, S those and all before them.
	// Same, if set, is a stage that has the same values at a position: its rows stand in
	// for rows that a golden cut otherwise lacks. Absent is the value of a column, of a
	// stage with both axes, that is not there. LastAlone reports whether an engine
	// may compute the stage at a step's last position alone.
	Same      string
	Absent    float32
	LastAlone bool

	// Slack, if set, is the axis that may be longer in a run without a manifest, as that of a
	// buffer which was dumped as long as it was allocated. An align.View cuts off the rest.
	Slack string

	// Convert, if set, gives rows of the candidate's tensor, which has the shape, in the
	// schedule's convention where engines have another for the same thing, and says so
	// in what; else it returns values and "". It does not write to values, which begin
	// at a row of the last axis. An align.View calls it.
	Convert func(
		candidate Source, step int, shape []int, row int, values []float32,
	) (mended []float32, what string, err error)

	// Extra, if set, widens the absolute part of the tolerance at a step by what the
	// two sources account for elsewhere. It is asked only when both have the
	// stage; an answer that is not a finite positive number widens nothing.
	Extra func(golden, candidate Source, step int) float64

	// Check, if set, judges the candidate's tensor by the candidate's own other
	// stages, on top of the comparison. When it is not ok the stage fails, with
	// detail in the report. A Check that lacks what it needs says ok.
	Check func(candidate Source, step int) (detail string, ok bool)

	// Accept, if set, is asked about ids that differ from the golden's. When it is ok
	// they pass, with detail in the report.
	Accept func(golden, candidate Source, step int) (detail string, ok bool)
}

// DType returns numpy's name of the stage's element type, as [Tensor.DType] does.
func (st Stage) DType() string {
	if st.IDs {
		return "int64"
	}
	return "float32"
}

// Schedule is the stages of one step in execution order.
type Schedule struct {
	stages []Stage
	index  map[string]int
}

// Edited returns a schedule with every stage as edit leaves it. It panics if that is none.
func (s *Schedule) Edited(edit func(st *Stage)) *Schedule {
	stages := s.Stages()
	for i := range stages {
		edit(&stages[i])
	}
	edited, err := NewSchedule(stages)
	if err != nil {
		panic("harness: " + err.Error())
	}
	return edited
}

// NewSchedule returns a schedule of stages that are in execution order. It refuses
// an empty list, a name twice, a name that could not be a file's, a tolerance that
// is not finite and positive or zero, and one without a reason. A stage of IDs
// needs neither.
func NewSchedule(stages []Stage) (*Schedule, error) {
	if len(stages) == 0 {
		return nil, fmt.Errorf("schedule without stages")
	}
	s := &Schedule{stages: slices.Clone(stages), index: make(map[string]int, len(stages))}
	for i := range s.stages {
		st := &s.stages[i]
		if !names.Valid(st.Name) {
			return nil, fmt.Errorf("stage %d: %q cannot be a file's name", i, st.Name)
		}
		if _, twice := s.index[st.Name]; twice {
			return nil, fmt.Errorf("stage %s: twice in the schedule", st.Name)
		}
		s.index[st.Name] = i
		t := st.Tolerance
		if !(t.Abs >= 0 && t.Rel >= 0) || math.IsInf(t.Abs+t.Rel, 0) {
			return nil, fmt.Errorf("stage %s: tolerance abs %v, rel %v is not finite and positive or zero",
				st.Name, t.Abs, t.Rel)
		}
		if st.IDs {
			if t.Abs != 0 || t.Rel != 0 {
				return nil, fmt.Errorf("stage %s: ids compare exactly, they take no tolerance", st.Name)
			}
			if t.Reason == "" {
				st.Tolerance.Reason = "ids compare exactly"
			}
		}
		if st.Tolerance.Reason == "" {
			return nil, fmt.Errorf("stage %s: a tolerance without a reason", st.Name)
		}
	}
	return s, nil
}

// MustSchedule is [NewSchedule] of stages that are written in the program; it
// panics where NewSchedule refuses them.
func MustSchedule(stages ...Stage) *Schedule {
	s, err := NewSchedule(stages)
	if err != nil {
		panic("harness: " + err.Error())
	}
	return s
}

// Index returns the stage's place in execution order.
func (s *Schedule) Index(name string) (int, bool) {
	i, ok := s.index[name]
	return i, ok
}

// Stage returns the stage of that name.
func (s *Schedule) Stage(name string) (Stage, bool) {
	i, ok := s.index[name]
	if !ok {
		return Stage{}, false
	}
	return s.stages[i], true
}

// Stages returns all stages in execution order. The slice is the caller's.
func (s *Schedule) Stages() []Stage { return slices.Clone(s.stages) }

// Choice returns the ids that a source chose at a step, one for each of so many rows:
// its one stage of ids, which the next step was fed when nothing else is known. It is
// nil if there is none, or not of that shape.
func (s *Schedule) Choice(src Source, step, rows int) ([]int64, error) {
	name, n := "", 0
	for _, st := range s.stages {
		if st.IDs {
			name, n = st.Name, n+1
		}
	}
	if shape, ok := src.Shape(step, name); n != 1 || !ok || !slices.Equal(shape, []int{rows}) {
		return nil, nil
	}
	t, err := src.Tensor(step, name)
	return t.I64, err
}

// Sorted puts names in execution order, those that are no stages last, and returns
// them.
func (s *Schedule) Sorted(names []string) []string {
	slices.SortFunc(names, func(a, b string) int { return s.Compare(Place{0, a}, Place{0, b}) })
	return names
}

// Compare orders places by step and in execution order, names that are no stages last.
func (s *Schedule) Compare(a, b Place) int {
	order := func(name string) int {
		if i, ok := s.index[name]; ok {
			return i
		}
		return len(s.stages)
	}
	return cmp.Or(cmp.Compare(a.Step, b.Step), cmp.Compare(order(a.Stage), order(b.Stage)), cmp.Compare(a.Stage, b.Stage))
}

// Places returns the stages that a source has at each step, by step and in
// execution order, without those that match, if it is set, declines.
func (s *Schedule) Places(src Source, match func(step int, stage string) bool) []Place {
	var places []Place
	for _, step := range src.Steps() {
		for _, stage := range s.Sorted(src.Stages(step)) {
			if _, ok := s.Index(stage); ok && (match == nil || match(step, stage)) {
				places = append(places, Place{step, stage})
			}
		}
	}
	return places
}
