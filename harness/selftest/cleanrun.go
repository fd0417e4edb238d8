package selftest

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
)

// cleanRun is a run that has no fault in it.
type cleanRun struct {
	variant string
	name    string // of the case
	source  func(ctx context.Context, r *runner) (harness.Source, error)
}

// wholeCase is the case that is run to its end and with every stage. Of the
// others the stages as wide as the vocabulary are left out, and most steps.
const wholeCase = "hello"

// cleanRuns returns the runs of correct engines: those that made goldens, the Go model
// on any number of threads, and a naive engine in several orders of summation.
func cleanRuns(engines map[string]map[string]*golden, quick bool) []cleanRun {
	var all []cleanRun
	cases := slices.Sorted(maps.Keys(engines[diagnose.Yardstick]))
	if quick {
		cases = blockCases[1:2]
	}
	for _, engine := range slices.Sorted(maps.Keys(engines)) {
		for _, name := range cases {
			if g := engines[engine][name]; g != nil {
				all = append(all, cleanRun{engine + "'s goldens", name, func(context.Context, *runner) (harness.Source, error) { return g, nil }})
			}
		}
	}
	for threads := 1; threads <= 3; threads++ {
		all = append(all, goRuns(fmt.Sprintf("Go, threads: %d", threads), cases, threads, nil)...)
	}
	for _, o := range []struct {
		variant string
		naive
	}{
		{"float32, summed forwards", naive{sum: forwards}},
		{"float32, summed backwards", naive{sum: backwards}},
		{"float32, summed in halves", naive{sum: pairwise}},
		{"float32, variance in one pass", naive{sum: forwards, onePass: true}},
	} {
		all = append(all, goRuns(o.variant, cases, 1, &o.naive)...)
	}
	return all
}

// goRuns returns runs of the Go model or, if there is a naive engine, of that.
func goRuns(variant string, cases []string, threads int, engine *naive) []cleanRun {
	var all []cleanRun
	for _, name := range cases {
		all = append(all, cleanRun{variant, name, func(ctx context.Context, r *runner) (harness.Source, error) {
			g := r.cases[name]
			run := g.run(g.Manifest().New)
			if name != wholeCase {
				run = g.run(min(g.Manifest().New, 3))
				leaveOutHead(&run)
			}
			run.Threads = threads
			if engine != nil {
				own := *engine // with scratch of its own
				planter := faults.Planter{Model: r.model, Plant: func(at harness.Place, c *faults.Context) []float32 {
					if run.Match != nil && !run.Match(at.Step, at.Stage) {
						return nil
					}
					return own.output(c)
				}}
				run.Tap = (&gpt2.Override{Value: planter.Value}).Tap
			}
			return gpt2.Record(ctx, r.model, run)
		}})
	}
	return all
}
