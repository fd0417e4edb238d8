// Package selftest proves on a synthetic model that the harness sees every known
// fault, names its stage and its cause, and is silent on correct engines.
//
// [Run] plants each fault of the catalogue in runs of the Go model, at several layers,
// at the prompt and at a decode step, alone and with another; judges each run as the
// compare command does; and judges so other engines' goldens, other numbers of threads
// and other orders of summation. The result is a [Matrix].
//
// A fault that moves nothing somewhere, or less than rounding does, cannot be seen
// there. [Identities] lists every such case and why; any other is a failure.
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
var expected = []string{"candle", diagnose.Reference, "tinygrad"}

// Options configures Run.
type Options struct {
	Goldens  string              // the folder with MODEL/CASE/ENGINE
	Quick    bool                // each fault at one layer and step, few pairs, one case of each correct engine
	Progress func(done, all int) // if set, called after each run

	// Precision is what every run computes in. A fault that moves its stage by less than two
	// rounding bounds there need not be seen; the matrix has how far it moves it.
	Precision gpt2.Precision

	draw func([]*trial) []*trial // if set, makes a sample of the runs with faults
}

// A NoGoldensError is the error of a selftest without the goldens that it needs.
type NoGoldensError struct{ Dir string }

// Error names the folder that has none.
func (e *NoGoldensError) Error() string {
	return fmt.Sprintf("%s: no goldens of %s for %s to judge by", e.Dir, diagnose.Reference, Model)
}

// Command returns the command that makes them.
func (e *NoGoldensError) Command() string { return regenerate(diagnose.Reference) }

// regenerate returns the command that makes the goldens of an engine.
func regenerate(engine string) string {
	return "python3 scripts/regenerate_goldens.py --model " + Model + " --engine " + engine
}

// Run plants every fault, and makes runs of correct engines. It returns an error if that
// cannot be done: no goldens (NoGoldensError), damaged ones, or an ended context.
func Run(ctx context.Context, o Options) (*Matrix, error) {
	runners, engines, err := open(o)
	if err != nil {
		return nil, err
	}
	trials, err := allFaultTrials(runners[0].model.Config(), o.Quick)
	if err != nil {
		return nil, err
	}
	trials = append(trials, cutTrials(runners[0].model.Config(), o.Quick)...)
	if o.draw != nil {
		trials = o.draw(trials)
	}
	trials = append(cleanTrials(engines, o.Quick), trials...) // the longest first
	results, err := runAll(ctx, runners, trials, o)
	if err != nil {
		return nil, err
	}
	m := newMatrix(Model)
	if !o.Precision.IsFloat32() {
		m.DType = o.Precision.Name
	}
	for i, t := range trials {
		if t.planted == nil {
			m.addClean(*t, results[i])
		} else {
			m.add(*t, results[i])
		}
	}
	for _, engine := range expected {
		if len(engines[engine]) == 0 {
			m.NotChecked = append(m.NotChecked, fmt.Sprintf("%s: no goldens; %s makes them",
				engine, regenerate(engine)))
		}
	}
	m.judge()
	return m, nil
}

// runAll makes the trials, one at a time on each runner. With quick, one whose fault has
// no effect at its step is made at the other.
func runAll(ctx context.Context, runners []*runner, trials []*trial, o Options) ([]result, error) {
	results := make([]result, len(trials))
	queue := make(chan int, len(trials))
	for i := range trials {
		queue <- i
	}
	close(queue)
	var mu sync.Mutex // of done, and for Progress
	done := 0
	g, ctx := errgroup.WithContext(ctx)
	for _, r := range runners {
		g.Go(func() (err error) {
			for i := range queue {
				t := trials[i]
				results[i], err = r.make(ctx, t)
				if err == nil && o.Quick && t.cutting == nil && slices.Equal(results[i].effects, []effect{silent}) {
					t.planted[0].at.Step = steps - 1 - t.planted[0].at.Step
					results[i], err = r.make(ctx, t)
				}
				if err != nil {
					return fmt.Errorf("%s: %w", t, err)
				}
				mu.Lock()
				if done++; o.Progress != nil {
					o.Progress(done, len(trials))
				}
				mu.Unlock()
			}
			return nil
		})
	}
	return results, g.Wait()
}

// open makes a runner for each processor and opens the goldens, by engine and case.
func open(o Options) (runners []*runner, engines map[string]map[string]harness.Source, err error) {
	engines = map[string]map[string]harness.Source{}
	for range runtime.GOMAXPROCS(0) {
		// Each with a model of its own: a model computes one single stage at a time.
		m, err := synthetic.Open(Model)
		if err != nil {
			return nil, nil, err
		}
		runners = append(runners, &runner{
			model: m, schedule: gpt2.Schedule(m.Config().Layers, nil), precision: o.Precision, bases: map[string]diagnose.Comparison{},
		})
	}
	cases, err := diagnose.Folders(filepath.Join(o.Goldens, Model))
	if err != nil {
		return nil, nil, err
	}
	for _, dir := range cases {
		found, err := diagnose.OpenEngines(dir, runners[0].schedule)
		if err != nil {
			return nil, nil, err
		}
		for _, x := range found {
			if err := x.Source.Manifest().CheckWeights(Model, synthetic.SHA256(Model)); err != nil {
				return nil, nil, &diagnose.GoldenError{Path: filepath.Join(dir, x.Engine), Err: err}
			}
			if engines[x.Engine] == nil {
				engines[x.Engine] = map[string]harness.Source{}
			}
			engines[x.Engine][filepath.Base(dir)] = x.Source
		}
	}
	for _, name := range blockCases {
		if engines[diagnose.Reference][name] == nil {
			return nil, nil, &NoGoldensError{filepath.Join(o.Goldens, Model, name, diagnose.Reference)}
		}
	}
	for _, r := range runners {
		r.cases = engines[diagnose.Reference]
	}
	return runners, engines, nil
}
