// Package harnesstest has small schedules, tensors and sources for the harness's tests.
package harnesstest

import (
	"fmt"
	"maps"
	"math"
	"runtime/debug"
	"slices"

	"checkpoint12/harness"
)

// GCPercent is the program's, which tests of its memory have.
var GCPercent = debug.SetGCPercent(400) // what tests allocate is soon gone: it takes a tenth less time

// The float32 values that are not finite.
var (
	Nan  = float32(math.NaN())
	Pinf = float32(math.Inf(1))
	Ninf = float32(math.Inf(-1))
)

// A Tester is a testing.T or a rapid.T.
type Tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// MustSchedule returns a schedule of values within 1e-5, and of ids for names in "_id".
func MustSchedule(t Tester, names ...string) *harness.Schedule {
	t.Helper()
	var stages []harness.Stage
	for _, name := range names {
		st := harness.Stage{Name: name, Tolerance: harness.Tolerance{Abs: 1e-5, Reason: "test"}}
		if len(name) > 3 && name[len(name)-3:] == "_id" {
			st = harness.Stage{Name: name, IDs: true}
		}
		stages = append(stages, st)
	}
	s, err := harness.NewSchedule(stages)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Steps is tensors by step and stage.
type Steps map[int]map[string]harness.Tensor

// Vec returns values of shape [1, n].
func Vec(v ...float32) harness.Tensor { return harness.Tensor{Shape: []int{1, len(v)}, F32: v} }

// Ids returns ids of shape [n].
func Ids(v ...int64) harness.Tensor { return harness.Tensor{Shape: []int{len(v)}, I64: v} }

// Source returns a source that has just these tensors and tokens.
func Source(s *harness.Schedule, name string, tokens [][]int, have Steps) *Memory {
	return &Memory{Of: s, Title: name, Fed: tokens, Kept: have}
}

// Statuses returns the status of each row by its place's String.
func Statuses(r *harness.Report) map[string]harness.Status {
	m := map[string]harness.Status{}
	for i := range r.Stages {
		m[r.Stages[i].Place.String()] = r.Stages[i].Status
	}
	return m
}

// TestManifest returns a manifest for a dump of one prompt token and n new ones.
func TestManifest(n int) harness.Manifest {
	return harness.Manifest{
		Model:  harness.ManifestModel{Name: "m", Config: []byte(`{"n_layer": 2}`)},
		Engine: harness.Engine{Name: "test", Version: "1", DType: "float32"},
		Tokens: [][]int{{7}}, New: n,
	}
}

// SameTensor reports whether shapes, kinds and bits are equal.
func SameTensor(a, b harness.Tensor) bool {
	return slices.Equal(a.Shape, b.Shape) && a.IDs() == b.IDs() && slices.Equal(a.I64, b.I64) &&
		slices.EqualFunc(a.F32, b.F32, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

// Memory is a harness.Source that a test may edit.
type Memory struct {
	Of    *harness.Schedule
	Title string
	Fed   [][]int
	Man   *harness.Manifest
	Kept  Steps
}

// Err returns nil.
func (m *Memory) Err() error { return nil }

// Name returns the title.
func (m *Memory) Name() string { return m.Title }

// Tokens returns what was fed.
func (m *Memory) Tokens() [][]int { return m.Fed }

// Manifest returns the manifest, or nil.
func (m *Memory) Manifest() *harness.Manifest { return m.Man }

// Steps returns the steps of which anything is kept.
func (m *Memory) Steps() []int { return slices.Sorted(maps.Keys(m.Kept)) }

// Stages returns the stages kept of a step, by name.
func (m *Memory) Stages(step int) []string { return slices.Sorted(maps.Keys(m.Kept[step])) }

// Shape returns the shape of a tensor that is kept.
func (m *Memory) Shape(step int, stage string) ([]int, bool) {
	t, ok := m.Kept[step][stage]
	return t.Shape, ok
}

// Tensor returns a tensor that is kept, not a copy.
func (m *Memory) Tensor(step int, stage string) (harness.Tensor, error) {
	t, ok := m.Kept[step][stage]
	if !ok {
		return t, fmt.Errorf("no stage %s at step %d", stage, step)
	}
	return t, nil
}

// WithManifest is a source with a manifest of somebody's own.
type WithManifest struct {
	harness.Source
	Man *harness.Manifest
}

// Manifest returns Man.
func (b WithManifest) Manifest() *harness.Manifest { return b.Man }
