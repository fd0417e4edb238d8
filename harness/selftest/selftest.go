package selftest

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/model/synthetic"
)

// Model is the model in which faults are planted.
const Model = "synthetic-tiny"

// expected are the engines that a selftest wants to see.
var expected = []string{"candle", diagnose.Yardstick, "tinygrad"}

// Options are the extent of a selftest.
type Options struct {
	// Goldens is the folder with MODEL/CASE/ENGINE.
	Goldens string

	// Quick plants each fault at one layer and one step, and in fewer pairs, and
	// looks at one case of each correct engine: seconds.
	Quick bool

	// Progress, if set, is called after each run with how many are done of all.
	Progress func(done, all int)
}

// NoGoldensError is the error of a selftest without the goldens that it needs.
type NoGoldensError struct{ Dir string }

func (e *NoGoldensError) Error() string {
	return fmt.Sprintf("%s: no goldens of %s for %s to judge by", e.Dir, diagnose.Yardstick, Model)
}

// Command makes what is missing.
func (e *NoGoldensError) Command() string {
	return "python3 scripts/regenerate_goldens.py --model " + Model + " --engine " + diagnose.Yardstick
}

// Run plants every fault, and makes runs of correct engines. An error is a selftest
// that could not be run: no goldens (NoGoldensError), damaged ones, or a context
// that ended.
func Run(ctx context.Context, o Options) (*Matrix, error) {
	runners, engines, err := open(o)
	if err != nil {
		return nil, err
	}
	var jobs []job
	for _, c := range cleanRuns(engines, o.Quick) { // the longest: first
		jobs = append(jobs, c.judge)
	}
	runs, err := allFaultRuns(runners[0].model.Config(), o.Quick)
	if err != nil {
		return nil, err
	}
	for _, f := range runs {
		jobs = append(jobs, func(ctx context.Context, r *runner) (entry, error) { return f.judge(ctx, r, o.Quick) })
	}
	entries, err := runAll(ctx, runners, jobs, o.Progress)
	if err != nil {
		return nil, err
	}
	m := newMatrix(Model)
	for _, enter := range entries {
		enter(m)
	}
	for _, engine := range expected {
		if len(engines[engine]) == 0 {
			m.NotChecked = append(m.NotChecked, fmt.Sprintf("%s: no goldens; python3 scripts/regenerate_goldens.py --model %s --engine %s makes them", engine, Model, engine))
		}
	}
	m.judge()
	return m, nil
}

// job makes a run and judges it.
type job func(ctx context.Context, r *runner) (entry, error)

// entry enters the result of a run in the matrix.
type entry func(m *Matrix)

// runAll does the jobs, each on a runner that is free, and returns their entries in
// the jobs' order.
func runAll(ctx context.Context, runners []*runner, jobs []job, progress func(done, all int)) ([]entry, error) {
	entries := make([]entry, len(jobs))
	free := make(chan *runner, len(runners))
	for _, r := range runners {
		free <- r
	}
	var mu sync.Mutex
	done := 0
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(len(runners))
	for i, do := range jobs {
		g.Go(func() (err error) {
			if err := ctx.Err(); err != nil {
				return err
			}
			r := <-free
			defer func() { free <- r }()
			if entries[i], err = do(ctx, r); err != nil || progress == nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			done++
			progress(done, len(jobs))
			return nil
		})
	}
	return entries, g.Wait()
}

// judge makes the run. One of a fault that changes nothing there is made once more
// at the other step if quick, since it is made at one of the two only.
func (f faultRun) judge(ctx context.Context, r *runner, quick bool) (entry, error) {
	found, err := r.inject(ctx, f)
	if err == nil && quick && len(f) == 1 && found.effects[0] == silent {
		f = f.atOtherStep()
		found, err = r.inject(ctx, f)
	}
	return func(m *Matrix) { m.add(f, found) }, err
}

// judge makes the run.
func (c cleanRun) judge(ctx context.Context, r *runner) (entry, error) {
	source, err := c.source(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("%s, %s: %w", c.variant, c.name, err)
	}
	found, err := r.judge(ctx, r.cases[c.name], source)
	if err != nil {
		return nil, fmt.Errorf("%s, %s: %w", c.variant, c.name, err)
	}
	return func(m *Matrix) { m.addClean(c, found) }, nil
}

// open makes a runner for each processor and opens every engine's goldens.
func open(o Options) (runners []*runner, engines map[string]map[string]*golden, err error) {
	for range runtime.GOMAXPROCS(0) {
		// Each with a model of its own: a model computes one single stage at a time.
		m, err := synthetic.Open(Model)
		if err != nil {
			return nil, nil, err
		}
		runners = append(runners, &runner{model: m, schedule: gpt2.Schedule(m.Config().Layers, gpt2.Temperatures)})
	}
	if engines, err = openGoldens(runners[0].model, runners[0].schedule, o.Goldens); err != nil {
		return nil, nil, err
	}
	for _, name := range blockCases {
		if engines[diagnose.Yardstick][name] == nil {
			return nil, nil, &NoGoldensError{filepath.Join(o.Goldens, Model, name, diagnose.Yardstick)}
		}
	}
	for _, r := range runners {
		r.cases = engines[diagnose.Yardstick]
	}
	return runners, engines, nil
}
