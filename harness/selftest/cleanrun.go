package selftest

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/model"
)

// clean is a run that has no fault in it.
type cleanRun struct {
	variant string
	name    string // of the case
	source  func(ctx context.Context, l *runner) (harness.Source, error)
}

// wholeCase is the case that is run to its end and with every stage. Of the
// others the stages as wide as the vocabulary are left out, and most steps.
const wholeCase = "hello"

// cleanRuns are the runs of right engines: those that made goldens, the Go model on
// any number of threads, and a naive engine in several orders of summation.
func cleanRuns(engines map[string]map[string]*golden, quick bool) []cleanRun {
	var all []cleanRun
	cases := slices.Sorted(maps.Keys(engines[Yardstick]))
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
		all = append(all, goRuns(fmt.Sprintf("Go, threads: %d", threads), cases, threads, func(*planter) model.Tap { return nil })...)
	}
	for _, o := range []struct {
		variant string
		sum     func([]float32) float32
		onePass bool
	}{
		{"float32, summed forwards", forwards, false},
		{"float32, summed backwards", backwards, false},
		{"float32, summed in halves", pairwise, false},
		{"float32, variance in one pass", forwards, true},
	} {
		all = append(all, goRuns(o.variant, cases, 1, func(p *planter) model.Tap {
			return (&naive{planter: p, sum: o.sum, onePass: o.onePass}).tap
		})...)
	}
	return all
}

// goRuns are runs of the Go model, each with a tap of its own.
func goRuns(variant string, cases []string, threads int, tap func(*planter) model.Tap) []cleanRun {
	var all []cleanRun
	for _, name := range cases {
		all = append(all, cleanRun{variant, name, func(ctx context.Context, l *runner) (harness.Source, error) {
			g := l.cases[name]
			n := g.Manifest().New
			run := gpt2.Run{Tokens: g.prompt(), New: n, Feed: g.feed(n), Threads: threads}
			if name != wholeCase {
				run.New = min(n, 3)
				run.Feed = g.feed(run.New)
				run.Temperatures = []float64{}
				run.Match = func(_ int, stage string) bool { return !isHead(stage) }
			}
			run.Tap = tap(&planter{runner: l, tokens: fedTo(g, run.New), match: run.Match})
			return gpt2.Record(ctx, l.model, run)
		}})
	}
	return all
}
