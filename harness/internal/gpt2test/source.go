// Package gpt2test has faults, a small model, and the goldens for tests of GPT-2's harness.
package gpt2test

import (
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/model"
	"checkpoint12/model/zoo"
)

// Dir is the folder of the committed goldens.
var Dir = func() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..", "goldens")
}()

// Foreign returns a run with a manifest in other layouts: edit gets each tensor and its
// step's sizes.
func Foreign(
	t harnesstest.Tester, s *harness.Schedule, g harness.Source,
	edit func(step int, stage string, x harness.Tensor, size map[string]int) harness.Tensor,
) *harness.Recorder {
	t.Helper()
	r := harness.NewRecorder(harness.RecorderOptions{Schedule: s, Name: "foreign"})
	man := g.Manifest()
	cfg, err := model.ParseConfig(man.Model.Config)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range g.Steps() {
		r.Step(step)
		dims := model.Dims{B: len(man.Tokens), T: 1, P: len(man.Tokens[0]) + step - 1}
		if step == 0 {
			dims.T, dims.P = len(man.Tokens[0]), 0
		}
		size := map[string]int{}
		for _, axis := range strings.Fields("B T S H D C F V") {
			size[axis] = dims.Length(cfg, axis)
		}
		for _, stage := range g.Stages(step) {
			x, err := g.Tensor(step, stage)
			if err != nil {
				t.Fatal(err)
			}
			if stage == "next_token" {
				for _, id := range x.I64 {
					x.F32 = append(x.F32, float32(id))
				}
			}
			x = edit(step, stage, x, size)
			if x.Shape != nil {
				r.Tap(stage, x.Shape, x.F32)
			}
		}
	}
	r.SetTokens(g.Tokens())
	return r
}

// Golden opens a committed golden, MODEL/CASE/ENGINE.
func Golden(t *testing.T, s *harness.Schedule, name string) *dump.Dump {
	t.Helper()
	d, _, err := dump.Open(Dir+"/"+name, s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// IsModule reports whether a stage is a module's output, as an engine's hooks give them.
func IsModule(stage string) bool {
	_, word, _ := strings.Cut(strings.TrimPrefix(stage, "h."), ".")
	switch word {
	case "attn.q", "attn.k", "attn.v", "attn.cache_k", "attn.cache_v", "attn.scores", "attn.probs", "attn.context", "resid_mid":
		return false
	}
	return true
}

// Only is a source that has less.
type Only struct {
	harness.Source
	Keep func(step int, stage string) bool
}

// Steps returns the steps of which there is something left.
func (o Only) Steps() (steps []int) {
	for _, step := range o.Source.Steps() {
		if len(o.Stages(step)) > 0 {
			steps = append(steps, step)
		}
	}
	return steps
}

// Stages returns the stages of a step that Keep keeps.
func (o Only) Stages(step int) []string {
	return slices.DeleteFunc(o.Source.Stages(step), func(stage string) bool { return !o.Keep(step, stage) })
}

// Shape returns the shape of a stage that Keep keeps.
func (o Only) Shape(step int, stage string) ([]int, bool) {
	if !o.Keep(step, stage) {
		return nil, false
	}
	return o.Source.Shape(step, stage)
}

// Tiny returns synthetic-tiny, made once.
func Tiny(t testing.TB) *model.Model {
	t.Helper()
	m, err := tiny()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var tiny = sync.OnceValues(func() (*model.Model, error) { return zoo.Load("synthetic-tiny") })
