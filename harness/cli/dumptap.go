package cli

import (
	"context"
	"fmt"
	"sync"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/names"
	"checkpoint12/model"
)

// dumpTap writes the stages of a running model. Its tap and match are called in
// turn for each stage: the tap with the live buffer, then match with the step.
type dumpTap struct {
	ctx      context.Context
	schedule *harness.Schedule
	patterns []string       // of the stages wanted; none: all
	each     func(step int) // called when a step begins

	mu    sync.Mutex // at an interrupt abort comes from another goroutine
	w     *dump.Writer
	err   error
	step  int
	shape []int
	data  []float32
	files int
	bytes int64
}

func newDumpTap(ctx context.Context, m *model.Model, o dumpOptions) (*dumpTap, error) {
	d := &dumpTap{ctx: ctx, schedule: gpt2.Schedule(m.Config().Layers, o.temps), patterns: o.stages, step: -1}
	for _, p := range o.stages {
		matched := false
		for _, s := range d.schedule.Stages() {
			matched = matched || names.Match(p, s.Name)
		}
		if !matched {
			return nil, fmt.Errorf("--stages %s: matches no stage of %s", p, m.Name())
		}
	}
	var err error
	d.w, err = dump.Create(o.out)
	if err != nil {
		return nil, fmt.Errorf("--out: %w", err)
	}
	return d, nil
}

// tap remembers the stage's buffer for the call of match that follows.
func (d *dumpTap) tap(_ string, shape []int, data []float32) { d.shape, d.data = shape, data }

// match writes the stage, if wanted, and declines it: the recorder keeps nothing.
func (d *dumpTap) match(step int, stage string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if step != d.step {
		d.step = step
		d.each(step)
	}
	if d.err != nil || d.ctx.Err() != nil || !d.wanted(stage) {
		return false
	}
	t := harness.Tensor{Shape: d.shape, F32: d.data}
	if s, _ := d.schedule.Stage(stage); s.IDs {
		t.F32, t.I64 = nil, make([]int64, len(d.data))
		for i, v := range d.data {
			t.I64[i] = int64(v)
		}
	}
	d.err = d.w.Put(step, stage, t)
	d.files++
	d.bytes += int64(t.Elements()) * 4
	return false
}

func (d *dumpTap) wanted(stage string) bool {
	for _, p := range d.patterns {
		if names.Match(p, stage) {
			return true
		}
	}
	return len(d.patterns) == 0
}

// commit completes the dump. The manifest lists the stages that --stages left out.
func (d *dumpTap) commit(tokens harness.Tensor, m harness.Manifest) (files int, bytes int64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return 0, 0, fmt.Errorf("--out: %w", d.err)
	}
	for _, s := range d.schedule.Stages() {
		if !d.wanted(s.Name) {
			m.LeftOut = append(m.LeftOut, harness.LeftOut{Stages: s.Name, Steps: "all", Reason: "not among --stages"})
		}
	}
	return d.files, d.bytes, d.w.Commit(tokens, m)
}

// abort removes what was written, unless it was committed.
func (d *dumpTap) abort() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.w.Abort()
}
