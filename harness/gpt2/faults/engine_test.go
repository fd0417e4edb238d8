package faults_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
	"checkpoint12/model/synthetic"
)

var tiny = sync.OnceValues(func() (*model.Model, error) { return synthetic.Open("synthetic-tiny") })

// engine is a run of the Go model in which a tap tampers.
type engine struct {
	tokens [][]int
	steps  int
	tap    func(r *recorded, step int, stage string, shape []int, data []float32)
	keep   func(stage string) bool                         // what is dumped; nil is all but what is as wide as the vocabulary
	reform func(step int, stage string, t *harness.Tensor) // what the dump has in place of it
}

// recorded is what a tap sees of the stages before.
type recorded struct {
	m      *model.Model
	stages []map[string][]float32 // by step
}

func (r *recorded) at(step int, stage string) []float32 { return r.stages[step][stage] }

// dump is a source whose tensors may have been reformed.
type dump struct {
	*harness.Recorder
	reform func(step int, stage string, t *harness.Tensor)
}

func (d dump) Tensor(step int, stage string) (harness.Tensor, error) {
	t, err := d.Recorder.Tensor(step, stage)
	if err == nil && d.reform != nil {
		d.reform(step, stage, &t)
	}
	return t, err
}

func (d dump) Shape(step int, stage string) ([]int, bool) {
	t, err := d.Tensor(step, stage)
	return t.Shape, err == nil
}

// explain runs the engine, replays its dump, and explains what is wrong with it.
func (e engine) explain(t *testing.T) (introduced []harness.Place, all []harness.Explanation) {
	t.Helper()
	m, err := tiny()
	if err != nil {
		t.Fatal(err)
	}
	if e.tokens == nil {
		e.tokens = [][]int{{464, 2068, 7586}, {15496, 11, 995}}
	}
	if e.steps == 0 {
		e.steps = 2
	}
	if e.keep == nil {
		e.keep = func(stage string) bool { return strings.HasPrefix(stage, "h.") || strings.HasSuffix(stage, "e") }
	}
	r := &recorded{m: m}
	feed := make([][]int, len(e.tokens))
	for b := range feed {
		for k := range e.steps - 1 {
			feed[b] = append(feed[b], 1000+17*b+k)
		}
	}
	rec, err := gpt2.Record(t.Context(), m, gpt2.Run{
		Tokens: e.tokens, New: e.steps, Feed: feed, Temperatures: []float64{},
		Match: func(_ int, stage string) bool { return e.keep(stage) },
		Tap: func(stage string, shape []int, data []float32) {
			if stage == "wte" {
				r.stages = append(r.stages, map[string][]float32{})
			}
			step := len(r.stages) - 1
			if e.tap != nil {
				e.tap(r, step, stage, shape, data)
			}
			r.stages[step][stage] = slices.Clone(data)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	candidate := dump{rec, e.reform}
	s, err := gpt2.ModelSchedule(m)
	if err != nil {
		t.Fatal(err)
	}
	run, err := replay.NewRun(s, candidate, gpt2.NewReplayer(m, ""), replay.Options{Prompt: len(e.tokens[0])})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := run.Judge(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if row.Verdict == harness.ReplayIntroduced {
			introduced = append(introduced, row.Place)
		}
	}
	if all, err = faults.Explain(t.Context(), m, candidate, run, rows); err != nil {
		t.Fatal(err)
	}
	again, err := faults.Explain(context.Background(), m, candidate, run, rows)
	if err != nil || !slices.EqualFunc(all, again, func(a, b harness.Explanation) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
		t.Errorf("explained again: %v, %v, want the same", again, err)
	}
	return introduced, all
}

// at is a tap that changes one stage of one step.
func at(step int, stage string, change func(r *recorded, data []float32)) func(*recorded, int, string, []int, []float32) {
	return func(r *recorded, k int, s string, _ []int, data []float32) {
		if k == step && s == stage {
			change(r, data)
		}
	}
}

// plant puts a fault of the catalogue in a stage of every step.
func plant(t *testing.T, id string, stages ...string) func(*recorded, int, string, []int, []float32) {
	f, err := faults.ByID(id)
	if err != nil {
		t.Fatal(err)
	}
	past, next := 0, 0
	return func(r *recorded, step int, stage string, shape []int, data []float32) {
		if stage == "wte" {
			past, next = next, next+shape[1]
		}
		if !slices.Contains(stages, stage) {
			return
		}
		c := &faults.Context{Model: r.m, Dims: model.Dims{B: 2, T: next - past, P: past}, Stage: stage, In: func(name string) []float32 {
			at := harness.InputPlace(step, name)
			if at.Step < 0 {
				return []float32{}
			}
			return r.at(at.Step, at.Stage)
		}}
		if outs := f.Outputs(c); len(outs) > 0 {
			copy(data, outs[0])
		}
	}
}
