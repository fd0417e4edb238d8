package selftest

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/model"
)

// runner is where runs are made: the model, the goldens, and how they are judged.
// It serves one goroutine; several runners share the goldens.
type runner struct {
	model    *model.Model
	schedule *harness.Schedule
	cases    map[string]*golden
}

// golden is the dump of an engine in memory: runs read it again and again.
type golden struct {
	harness.Source
	dir string

	mu   sync.Mutex
	kept map[harness.Place]harness.Tensor
}

// Tensor is the dump's, read once.
func (g *golden) Tensor(step int, stage string) (harness.Tensor, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := harness.Place{Step: step, Stage: stage}
	if t, ok := g.kept[at]; ok {
		return t, nil
	}
	t, err := g.Source.Tensor(step, stage)
	if err == nil {
		g.kept[at] = t
	}
	return t, err
}

// prompt is what step 0 was fed.
func (g *golden) prompt() [][]int { return g.Manifest().Tokens }

// feed is what the steps after the first were fed.
func (g *golden) feed(n int) [][]int {
	t, prompt := g.Tokens(), len(g.prompt()[0])
	rows := make([][]int, t.Shape[0])
	for b := range rows {
		for _, id := range t.I64[b*t.Shape[1]+prompt:][:n-1] {
			rows[b] = append(rows[b], int(id))
		}
	}
	return rows
}

// openGoldens opens one engine's goldens of the model, by case.
func openGoldens(m *model.Model, root, engine string) (map[string]*golden, error) {
	s := gpt2.Schedule(m.Config().Layers, gpt2.Temperatures)
	sum, err := m.WeightsSHA256()
	if err != nil {
		return nil, err
	}
	dirs, err := filepath.Glob(filepath.Join(root, m.Name(), "*", engine))
	if err != nil {
		return nil, err
	}
	cases := map[string]*golden{}
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			continue
		}
		d, _, err := dump.Open(dir, s, dump.Options{})
		if err != nil {
			return nil, err
		}
		if d.Manifest() == nil {
			return nil, fmt.Errorf("%s: has no %s, so nothing binds it to the model", dir, dump.ManifestFile)
		}
		if err := d.Manifest().CheckWeights(m.Name(), sum); err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		cases[filepath.Base(filepath.Dir(dir))] = &golden{Source: d, dir: dir, kept: map[harness.Place]harness.Tensor{}}
	}
	return cases, nil
}

// planter is a tap that puts the faults of a run in their places. It keeps
// what every stage has put out, which the faults are computed from.
type planter struct {
	*runner
	faultRun faultRun
	tokens   [][]float32                       // what each step is fed, B*T ids
	match    func(step int, stage string) bool // what is kept and judged; nil is all

	step    int
	dims    model.Dims
	stages  []map[string][]float32 // by step
	effects []effect               // as faultRun
}

// effect is what became of an injection.
type effect int

const (
	silent    effect = iota // the fault says nothing at the place
	identical               // it gives the right output, bit for bit
	within                  // it stays within the tolerance that goldens are judged by
	moved                   // it does not
)

func (p *planter) tap(stage string, shape []int, data []float32) {
	if stage == "wte" {
		p.step = len(p.stages)
		p.stages = append(p.stages, map[string][]float32{})
		p.dims = model.Dims{B: shape[0], T: shape[1], P: p.dims.P + p.dims.T}
		if p.step > 1 {
			p.stages[p.step-2] = nil // nothing looks further back
		}
	}
	for i, f := range p.faultRun {
		if f.at != (harness.Place{Step: p.step, Stage: stage}) {
			continue
		}
		outs := f.Outputs(&faults.Context{Model: p.model, Dims: p.dims, Stage: stage, In: p.in})
		if len(outs) == 0 {
			continue
		}
		p.effects[i] = p.effect(stage, shape, data, outs[0])
		copy(data, outs[0])
	}
	if p.match == nil || p.match(p.step, stage) {
		p.stages[p.step][stage] = slices.Clone(data)
	}
}

// effect is how far a fault moves a stage from its right output.
func (p *planter) effect(stage string, shape []int, right, wrong []float32) effect {
	if slices.EqualFunc(right, wrong, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
		return identical
	}
	st, _ := p.schedule.Stage(stage)
	st.IDs = false
	row, err := harness.CompareTensor(st, harness.Tensor{Shape: shape, F32: slices.Clone(right)}, harness.Tensor{Shape: shape, F32: wrong}, 0)
	if err == nil && row.Status == harness.Pass {
		return within
	}
	return moved
}

func (p *planter) in(name string) []float32 {
	switch name {
	case "tokens":
		return p.tokens[p.step]
	case "pos":
		return []float32{float32(p.dims.P)}
	}
	at := harness.InputPlace(p.step, name)
	if at.Step < 0 {
		return []float32{}
	}
	return p.stages[at.Step][at.Stage]
}

// result is what the harness said of a run.
type result struct {
	effects      []effect
	introduced   []harness.Place
	explanations []harness.Explanation
	tensors      int // that were replayed
	unknown      int // of these, undecided
}

// try makes a run with faults and judges it.
func (l *runner) try(ctx context.Context, t faultRun) (result, error) {
	g := l.cases[t[0].name]
	whole := slices.ContainsFunc(t, func(p injection) bool { return isHead(p.at.Stage) })
	p := &planter{
		runner: l, faultRun: t, effects: make([]effect, len(t)), tokens: fedTo(g, steps),
		match: func(_ int, stage string) bool { return whole || !isHead(stage) },
	}
	run := gpt2.Run{
		Tokens: g.prompt(), New: steps, Feed: g.feed(steps), Temperatures: []float64{}, Threads: 1, Tap: p.tap, Match: p.match,
	}
	if whole {
		run.Temperatures = gpt2.Temperatures
	}
	rec, err := gpt2.Record(ctx, l.model, run)
	if err != nil {
		return result{}, fmt.Errorf("%s: %w", t, err)
	}
	r, err := l.judge(ctx, g, rec)
	if err != nil {
		return result{}, fmt.Errorf("%s: %w", t, err)
	}
	r.effects = p.effects
	return r, nil
}

// fedTo is what the first n steps of a case are fed.
func fedTo(g *golden, n int) [][]float32 {
	fed := make([][]float32, n)
	for _, row := range g.prompt() {
		for _, id := range row {
			fed[0] = append(fed[0], float32(id))
		}
	}
	for _, row := range g.feed(n) {
		for k, id := range row {
			fed[k+1] = append(fed[k+1], float32(id))
		}
	}
	return fed
}

// judge compares a run with the golden, replays and explains it, as the compare
// command does.
func (l *runner) judge(ctx context.Context, g *golden, candidate harness.Source) (result, error) {
	o := diagnose.DiagnoseOptions{}
	o.Match = func(step int, stage string) bool { // what was not recorded is not missing
		_, ok := candidate.Shape(step, stage)
		return ok
	}
	report, err := diagnose.Diagnose(ctx, l.schedule, l.model, g, candidate, o)
	if err != nil {
		return result{}, err
	}
	r := result{explanations: report.Explanations, tensors: len(report.Replayed)}
	for _, in := range report.Introduced {
		r.introduced = append(r.introduced, harness.Place{Step: in.Step, Stage: in.Stage})
	}
	for _, row := range report.Replayed {
		if row.Verdict == harness.ReplayUnknown {
			r.unknown++
		}
	}
	return r, nil
}
