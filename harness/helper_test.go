package harness

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

var (
	nan  = float32(math.NaN())
	pinf = float32(math.Inf(1))
	ninf = float32(math.Inf(-1))
)

// tester is what testing.T and rapid.T have in common here.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// mustSchedule makes a schedule of values within 1e-5, and of ids for the names
// that end in "_id".
func mustSchedule(t tester, names ...string) *Schedule {
	t.Helper()
	var stages []Stage
	for _, name := range names {
		st := Stage{Name: name, Tolerance: Tolerance{Abs: 1e-5, Reason: "test"}}
		if len(name) > 3 && name[len(name)-3:] == "_id" {
			st = Stage{Name: name, IDs: true}
		}
		stages = append(stages, st)
	}
	s, err := NewSchedule(stages)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// steps is tensors by step and stage.
type steps map[int]map[string]Tensor

// vec is values [1, n]; ids is ids [n].
func vec(v ...float32) Tensor { return Tensor{Shape: []int{1, len(v)}, F32: v} }
func ids(v ...int64) Tensor   { return Tensor{Shape: []int{len(v)}, I64: v} }

// source is a source that has just these tensors and tokens.
func source(s *Schedule, name string, tokens [][]int, have steps) *memory {
	m := &memory{Of: s, Title: name, Kept: have}
	for _, row := range tokens {
		m.Fed.Shape = []int{len(tokens), len(row)}
		for _, id := range row {
			m.Fed.I64 = append(m.Fed.I64, int64(id))
		}
	}
	return m
}

// statuses is the status of each row by its place's String.
func statuses(r *Report) map[string]Status {
	m := map[string]Status{}
	for i := range r.Stages {
		m[r.Stages[i].Place().String()] = r.Stages[i].Status
	}
	return m
}

// testManifest is a manifest for a dump of one prompt token and n new ones.
func testManifest(n int) Manifest {
	return Manifest{
		Model:  ManifestModel{Name: "m", Config: []byte(`{"n_layer": 2}`)},
		Engine: Engine{Name: "test", Version: "1", DType: "float32"},
		Tokens: [][]int{{7}}, New: n,
	}
}

// sameTensor is bit equality, of shapes and kinds too.
func sameTensor(a, b Tensor) bool {
	return slices.Equal(a.Shape, b.Shape) && a.IDs() == b.IDs() && slices.Equal(a.I64, b.I64) &&
		slices.EqualFunc(a.F32, b.F32, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

// memory is a source that a test may edit.
type memory struct {
	Of    *Schedule
	Title string
	Fed   Tensor
	Man   *Manifest
	Kept  steps
}

func (m *memory) Err() error               { return nil }
func (m *memory) Name() string             { return m.Title }
func (m *memory) Tokens() Tensor           { return m.Fed }
func (m *memory) Manifest() *Manifest      { return m.Man }
func (m *memory) Steps() []int             { return slices.Sorted(maps.Keys(m.Kept)) }
func (m *memory) Stages(step int) []string { return slices.Sorted(maps.Keys(m.Kept[step])) }
func (m *memory) Shape(step int, stage string) ([]int, bool) {
	t, ok := m.Kept[step][stage]
	return t.Shape, ok
}
func (m *memory) Tensor(step int, stage string) (Tensor, error) {
	t, ok := m.Kept[step][stage]
	if !ok {
		return t, fmt.Errorf("no stage %s at step %d", stage, step)
	}
	return t, nil
}

// edited is a schedule with every stage as edit leaves it.
func edited(t tester, s *Schedule, edit func(st *Stage)) *Schedule {
	t.Helper()
	stages := s.Stages()
	for i := range stages {
		edit(&stages[i])
	}
	s, err := NewSchedule(stages)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
