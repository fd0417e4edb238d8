package selftest

import (
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/model"
)

// A cutting is a way to run the tokens of a case in other steps than its golden.
type cutting struct {
	name string
	cut  func(prompt, n int) harness.Cut // of n tokens
	step int                             // at which faults are planted; from the end if negative
}

var cuttings = []*cutting{
	{"one token at a time", func(_, n int) harness.Cut { return harness.PromptCut(1, n) }, -1},
	{"without a cache", func(prompt, n int) (c harness.Cut) {
		for end := prompt; end <= n; end++ {
			c = append(c, harness.Span{P: 0, T: end})
		}
		return c
	}, -1},
	{"everything in one pass", func(_, n int) harness.Cut { return harness.Cut{{P: 0, T: n}} }, 0},
	{"in chunks", func(_, n int) harness.Cut {
		return harness.Cut{{P: 0, T: n / 2}, {P: n / 2, T: n - n/2}}
	}, 1},
}

// cutTokens is the number of tokens that are fed in other steps, with a fault.
const cutTokens = 5

// cutTrials returns the runs in other steps: of each fault in each kind of stage where it
// can sit, and without any. With quick each fault is in one stage and one cut, in turn.
func cutTrials(cfg model.Config, quick bool) (all []*trial) {
	turn := 0
	for i, f := range faults.Catalogue() {
		for j, stages := range sites(cfg, f) {
			for k, c := range cuttings {
				if quick && (j > 0 || k != i%len(cuttings)) {
					continue
				}
				cut := c.cut(2, cutTokens)
				at := harness.Place{Step: (c.step + len(cut)) % len(cut), Stage: stages[turn%len(stages)]}
				t := planting(headCases[0], injection{f, at})
				t.cutting = c
				all = append(all, t)
				turn++
			}
		}
	}
	for _, c := range cuttings {
		for _, name := range blockCases {
			all = append(all, &trial{name: name, variant: "Go, " + c.name, threads: 1, cutting: c})
		}
	}
	return all
}

// inSteps sets the steps of a run of a golden's tokens: of a few with a fault, else of all
// that were fed.
func (t *trial) inSteps(run *gpt2.Run, g harness.Source) {
	if t.cutting == nil {
		return
	}
	n := cutTokens
	if t.planted == nil {
		n = len(g.Tokens()[0]) - 1
	}
	prompt := len(run.Tokens[0])
	run.Tokens, run.Feed, run.Cut = harness.FirstTokens(g.Tokens(), n), nil, t.cutting.cut(prompt, n)
}

// A CutRow is a way to run in other steps, and the faults planted in it.
type CutRow struct {
	Cut    string `json:"cut"`
	Faults Tally  `json:"faults"`
	Silent int    `json:"silent"` // places where the fault has no effect, so that nothing was planted
}

// cutRow returns the row of a way to run in other steps.
func (m *Matrix) cutRow(c *cutting) *CutRow {
	i := slices.IndexFunc(m.Cuts, func(r CutRow) bool { return r.Cut == c.name })
	if i < 0 {
		i, m.Cuts = len(m.Cuts), append(m.Cuts, CutRow{Cut: c.name})
	}
	return &m.Cuts[i]
}
