package selftest

import (
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/model"
)

// A cutting is a way to run the tokens of a case in other steps than its golden, or those of
// paddedCases as one batch.
type cutting struct {
	name   string
	cut    func(prompt, n int) harness.Cut // of n tokens
	step   int                             // at which faults are planted; from the end if negative
	padded bool
	right  bool   // padding stands after the prompts
	silent string // why some faults have no effect
}

var cuttings = []*cutting{
	{name: "one token at a time", cut: func(_, n int) harness.Cut { return harness.PromptCut(1, n) }, step: -1, silent: onePosition},
	{name: "without a cache", cut: func(prompt, n int) (c harness.Cut) {
		for end := prompt; end <= n; end++ {
			c = append(c, harness.Span{P: 0, T: end})
		}
		return c
	}, step: -1, silent: noPast},
	{name: "everything in one pass", cut: func(_, n int) harness.Cut { return harness.Cut{{P: 0, T: n}} }, silent: noPast},
	{name: "in chunks", cut: func(_, n int) harness.Cut {
		return harness.Cut{{P: 0, T: n / 2}, {P: n / 2, T: n - n/2}}
	}, step: 1},
	{name: "a batch padded on the left", padded: true, silent: noPast},
	{name: "a batch padded on the right", padded: true, right: true, step: 1, silent: onePosition},
}

// Why a fault has no effect at the step at which it is planted.
const (
	onePosition = "a step of one position"
	noPast      = "a step without a past"
)

// cutTokens is the number of tokens that are fed in other steps, with a fault.
const cutTokens = 5

// paddedCases are the cases of which a padded batch is made: prompts of one to three tokens.
var paddedCases = []string{"one-token", "hello", "quick-brown"}

// cutTrials returns the runs in other steps: of each fault in each kind of stage where it
// can sit, and without any. With quick each fault is in one stage and one cut, in turn. The
// faults of padding are in padded batches alone, at every step.
func cutTrials(cfg model.Config, quick bool) (all []*trial) {
	turn := 0
	for i, f := range faults.Catalogue() {
		for j, stages := range sites(cfg, f) {
			for k, c := range cuttings {
				ofPadding := f.Kind == faults.Padding
				switch {
				case ofPadding && !c.padded, quick && !ofPadding && (j > 0 || k != i%len(cuttings)):
					continue
				}
				n := steps
				if !c.padded {
					n = len(c.cut(2, cutTokens))
				}
				at := harness.Place{Step: (c.step + n) % n, Stage: stages[turn%len(stages)]}
				all = append(all, planting(headCases[0], injection{f, at}))
				all[len(all)-1].cutting = c
				if ofPadding {
					at.Step = steps - 1 - at.Step
					all = append(all, planting(headCases[0], injection{f, at}))
					all[len(all)-1].cutting = c
				}
				turn++
			}
		}
	}
	for _, c := range cuttings {
		for _, name := range blockCases {
			if name == blockCases[0] || !c.padded && !quick {
				all = append(all, &trial{name: name, variant: "Go, " + c.name, threads: 1, cutting: c})
			}
		}
	}
	return all
}

// inSteps sets the steps of a run of a golden's tokens: of a few with a fault, else of all
// that were fed.
func (r *runner) inSteps(t *trial, run *gpt2.Run) {
	switch {
	case t.cutting == nil:
		return
	case t.cutting.padded:
		var prompts [][]int
		for _, name := range paddedCases {
			prompts = append(prompts, r.cases[name].Manifest().Tokens[0])
		}
		run.Tokens, run.Mask = model.Pad(prompts, 0, t.cutting.right)
		n, prompt := steps, len(run.Tokens[0])
		if t.planted == nil {
			n = r.cases[paddedCases[0]].Manifest().New
		}
		for b, name := range paddedCases {
			run.Tokens[b] = append(run.Tokens[b], r.cases[name].Tokens()[0][len(prompts[b]):][:n-1]...)
			run.Mask[b] = append(run.Mask[b], slices.Repeat([]int{1}, n-1)...)
		}
		run.Feed, run.Cut = nil, harness.PromptCut(prompt, n)
		return
	}
	g := r.cases[t.name]
	n := cutTokens
	if t.planted == nil {
		n = len(g.Tokens()[0]) - 1
	}
	prompt := len(run.Tokens[0])
	run.Tokens, run.Feed, run.Cut = harness.FirstTokens(g.Tokens(), n), nil, t.cutting.cut(prompt, n)
}

// A folder is a recording that says nothing of its cut, as a folder of tensors may.
type folder struct{ *harness.Recorder }

// Cut returns nil: it is to be read from shapes.
func (folder) Cut() harness.Cut { return nil }

// A CutRow is a way to run otherwise than the goldens, and the faults planted in it; those of
// padding are not among them.
type CutRow struct {
	Cut    string   `json:"cut"`
	Faults Tally    `json:"faults"`
	Silent []string `json:"silent"` // faults that have no effect in it, so that nothing was planted
	Reason string   `json:"reason"` // why they have none

	shown map[string]bool // which faults had an effect somewhere
}

// cutRow returns the row of a way to run in other steps.
func (m *Matrix) cutRow(c *cutting) *CutRow {
	i := slices.IndexFunc(m.Cuts, func(r CutRow) bool { return r.Cut == c.name })
	if i < 0 {
		i, m.Cuts = len(m.Cuts), append(m.Cuts, CutRow{
			Cut: c.name, Silent: []string{}, Reason: c.silent, shown: map[string]bool{},
		})
	}
	return &m.Cuts[i]
}
