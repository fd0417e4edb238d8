package selftest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"checkpoint12/harness/gpt2"
	"checkpoint12/model/synthetic"
)

// Model is the model in which faults are planted.
const Model = "synthetic-tiny"

// Yardstick is the engine whose goldens runs are compared with.
const Yardstick = "float64"

// right are the engines that a selftest wants to see.
var right = []string{"candle", Yardstick, "tinygrad"}

// Options says what a selftest runs on.
type Options struct {
	// Goldens is the folder with MODEL/CASE/ENGINE.
	Goldens string

	// Quick plants each fault at one layer and one step, and in fewer pairs, and
	// looks at one case of each right engine: seconds.
	Quick bool

	// Progress, if set, is called after each run with how many are done of all.
	Progress func(done, all int)
}

// NoGoldensError is the error of a selftest without the goldens that it needs.
type NoGoldensError struct{ Dir string }

func (e *NoGoldensError) Error() string {
	return fmt.Sprintf("%s: no goldens of %s for %s to judge by", e.Dir, Yardstick, Model)
}

// Command makes what is missing.
func (e *NoGoldensError) Command() string {
	return "python3 scripts/regenerate_goldens.py --model " + Model + " --engine " + Yardstick
}

// Run plants every fault, runs every clean variant, and says what was found. An
// error is a selftest that could not be run: no goldens (NoGoldensError),
// damaged ones, or a context that ended.
func Run(ctx context.Context, o Options) (*Matrix, error) {
	runners, engines, err := open(o)
	if err != nil {
		return nil, err
	}
	alone := plan(runners[0].model.Config(), o.Quick)
	every := 1
	if o.Quick {
		every = 5
	}
	faultRuns := append(alone, pairs(alone, every)...)
	shown, err := tie()
	if err != nil {
		return nil, err
	}
	faultRuns = append(faultRuns, shown)
	cleanRuns := cleanRuns(engines, o.Quick)

	results := make([]result, len(cleanRuns)+len(faultRuns)) // the clean runs are the longest: first
	var next, done atomic.Int64
	var mu sync.Mutex // of Progress
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range runners {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(results) {
					return nil
				}
				var err error
				if i < len(cleanRuns) {
					results[i], err = l.check(ctx, cleanRuns[i])
				} else {
					t := faultRuns[i-len(cleanRuns)]
					results[i], err = l.try(ctx, t)
					if err == nil && o.Quick && len(t) == 1 && results[i].effects[0] == silent {
						t[0].at.Step = steps - 1 - t[0].at.Step // then at the other step
						results[i], err = l.try(ctx, t)
					}
				}
				if err != nil {
					return err
				}
				if o.Progress != nil {
					mu.Lock()
					o.Progress(int(done.Add(1)), len(results))
					mu.Unlock()
				}
			}
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	m := newMatrix(runners[0].model.Name())
	for i, c := range cleanRuns {
		m.addClean(c, results[i])
	}
	for i, t := range faultRuns {
		m.add(t, results[len(cleanRuns)+i])
	}
	for _, engine := range right {
		if len(engines[engine]) == 0 {
			m.NotChecked = append(m.NotChecked, fmt.Sprintf("%s: no goldens; python3 scripts/regenerate_goldens.py --model %s --engine %s makes them", engine, Model, engine))
		}
	}
	m.judge()
	return m, nil
}

// open makes a runner for each processor and opens every engine's goldens.
func open(o Options) ([]*runner, map[string]map[string]*golden, error) {
	dir := filepath.Join(o.Goldens, Model)
	names, err := engineNames(dir)
	if err != nil {
		return nil, nil, err
	}
	var runners []*runner
	for range runtime.GOMAXPROCS(0) {
		// Each with a model of its own: a model computes one single stage at a time.
		m, err := synthetic.Open(Model)
		if err != nil {
			return nil, nil, err
		}
		runners = append(runners, &runner{model: m, schedule: gpt2.Schedule(m.Config().Layers, gpt2.Temperatures)})
	}
	engines := map[string]map[string]*golden{}
	for _, name := range names {
		if engines[name], err = openGoldens(runners[0].model, o.Goldens, name); err != nil {
			return nil, nil, err
		}
	}
	for _, name := range blockCases {
		if engines[Yardstick][name] == nil {
			return nil, nil, &NoGoldensError{filepath.Join(dir, name, Yardstick)}
		}
	}
	for _, l := range runners {
		l.cases = engines[Yardstick]
	}
	return runners, engines, nil
}

// engineNames are the engines that have a golden of any case.
func engineNames(dir string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil {
		return nil, err
	}
	var names []string
	seen := map[string]bool{}
	for _, p := range paths {
		name := filepath.Base(p)
		info, err := os.Stat(p)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if info.IsDir() && name[0] != '.' && !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names, nil
}

// check runs and judges a run that has no fault in it.
func (l *runner) check(ctx context.Context, c cleanRun) (result, error) {
	source, err := c.source(ctx, l)
	if err != nil {
		return result{}, fmt.Errorf("%s, %s: %w", c.variant, c.name, err)
	}
	r, err := l.judge(ctx, l.cases[c.name], source)
	if err != nil {
		return result{}, fmt.Errorf("%s, %s: %w", c.variant, c.name, err)
	}
	return r, nil
}
