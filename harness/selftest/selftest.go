package selftest

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"checkpoint12/harness"
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
func (e *NoGoldensError) Command() string { return regenerate(diagnose.Yardstick) }

// regenerate is the command that makes an engine's goldens.
func regenerate(engine string) string {
	return "python3 scripts/regenerate_goldens.py --model " + Model + " --engine " + engine
}

// Run plants every fault, and makes runs of correct engines. An error is a selftest
// that could not be run: no goldens (NoGoldensError), damaged ones, or a context
// that ended.
func Run(ctx context.Context, o Options) (*Matrix, error) {
	runners, engines, err := open(o)
	if err != nil {
		return nil, err
	}
	trials, err := allFaultTrials(runners[0].model.Config(), o.Quick)
	if err != nil {
		return nil, err
	}
	trials = append(cleanTrials(engines, o.Quick), trials...) // the longest first
	results, err := runAll(ctx, runners, trials, o)
	if err != nil {
		return nil, err
	}
	m := newMatrix(Model)
	for i, t := range trials {
		if t.planted == nil {
			m.addClean(*t, results[i])
		} else {
			m.add(*t, results[i])
		}
	}
	for _, engine := range expected {
		if len(engines[engine]) == 0 {
			m.NotChecked = append(m.NotChecked, fmt.Sprintf("%s: no goldens; %s makes them", engine, regenerate(engine)))
		}
	}
	m.judge()
	return m, nil
}

// runAll makes each trial on a runner that is free. If quick, a trial of a fault that
// changes nothing at its step becomes one at the other step.
func runAll(ctx context.Context, runners []*runner, trials []*trial, o Options) ([]result, error) {
	results := make([]result, len(trials))
	free := make(chan *runner, len(runners))
	for _, r := range runners {
		free <- r
	}
	var mu sync.Mutex
	done := 0
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(len(runners))
	for i, t := range trials {
		g.Go(func() (err error) {
			if err := ctx.Err(); err != nil {
				return err
			}
			r := <-free
			defer func() { free <- r }()
			results[i], err = r.make(ctx, t)
			if err == nil && o.Quick && slices.Equal(results[i].effects, []effect{silent}) {
				t.planted[0].at.Step = steps - 1 - t.planted[0].at.Step
				results[i], err = r.make(ctx, t)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", t, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if done++; o.Progress != nil {
				o.Progress(done, len(trials))
			}
			return nil
		})
	}
	return results, g.Wait()
}

// golden is the dump of an engine in memory: many runs are compared with it.
type golden struct {
	harness.Source
	kept sync.Map // by harness.Place, functions that read the tensor once
}

// Tensor returns the dump's.
func (g *golden) Tensor(step int, stage string) (harness.Tensor, error) {
	read, _ := g.kept.LoadOrStore(harness.Place{Step: step, Stage: stage}, sync.OnceValues(func() (harness.Tensor, error) {
		return g.Source.Tensor(step, stage)
	}))
	return read.(func() (harness.Tensor, error))()
}

// open makes a runner for each processor and opens every engine's goldens, by engine
// and case.
func open(o Options) (runners []*runner, engines map[string]map[string]*golden, err error) {
	for range runtime.GOMAXPROCS(0) {
		// Each with a model of its own: a model computes one single stage at a time.
		m, err := synthetic.Open(Model)
		if err != nil {
			return nil, nil, err
		}
		runners = append(runners, &runner{model: m, schedule: gpt2.Schedule(m.Config().Layers, gpt2.Temperatures)})
	}
	sum, err := runners[0].model.WeightsSHA256()
	if err != nil {
		return nil, nil, err
	}
	cases, err := diagnose.Folders(filepath.Join(o.Goldens, Model))
	if err != nil {
		return nil, nil, err
	}
	engines = map[string]map[string]*golden{}
	for _, dir := range cases {
		found, err := diagnose.OpenEngines(dir, runners[0].schedule)
		if err != nil {
			return nil, nil, err
		}
		for _, x := range found {
			if err := x.Source.Manifest().CheckWeights(Model, sum); err != nil {
				return nil, nil, &diagnose.GoldenError{Path: filepath.Join(dir, x.Engine), Err: err}
			}
			if engines[x.Engine] == nil {
				engines[x.Engine] = map[string]*golden{}
			}
			engines[x.Engine][filepath.Base(dir)] = &golden{Source: x.Source}
		}
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
