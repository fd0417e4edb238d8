package diagnose

import (
	"context"
	"fmt"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/align"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/gpt2"
	"checkpoint12/model"
)

// A Folder is a run with what its folder says of it; a dump is one.
type Folder interface {
	harness.Source
	Cut() harness.Cut // nil if it says nothing
}

// View makes the run c's candidate: it puts views of the goldens and of the candidate
// into c, and returns them. config may be nil. Where weights as loaded are not the
// model's, runs on them stand in for the goldens.
func (c *Comparison) View(
	ctx context.Context, candidate Folder, hints align.Hints, config *model.Config,
) (views []*align.View, err error) {
	run := gpt2.CutReader{Schedule: c.Schedule, Model: c.Model, Config: config}
	var cuts []harness.Cut
	for i := range c.Goldens {
		view, own, err := viewGolden(run, c.Goldens[i].Source.(Folder), candidate, c.Goldens[i].Hints)
		if err != nil {
			return nil, fmt.Errorf("golden: %w", err)
		}
		c.Goldens[i].Source, views, cuts = view, append(views, view), append(cuts, own)
	}
	rows, err := c.byRows(candidate)
	if err == nil && c.loaded != nil && c.Model != c.base {
		cuts, err = c.standIns(ctx, candidate, rows, cuts)
	}
	switch {
	case err != nil:
		return nil, err
	case rows:
		view, err := c.viewRows(run, candidate, cuts, hints, config)
		if err != nil {
			return nil, fmt.Errorf("candidate: %w", err)
		}
		c.Candidate, c.Unusable = view, view.Unusable()
		return append(views, view), nil
	}
	run.Run, run.Said = candidate, candidate.Cut()
	var first harness.Source
	if len(views) > 0 {
		first = c.Goldens[0].Source
		run.Golden, run.GoldenCut = first, cuts[0]
	}
	cut, err := run.Read()
	if err != nil {
		return nil, fmt.Errorf("candidate: %w", err)
	}
	c.noteCut(candidate, cut)
	if c.Cut = run.Needed(cut, cuts); c.Cut != nil {
		for i := range c.Goldens {
			g := &c.Goldens[i]
			g.Source = harness.NewRecut(c.Schedule, g.Source, cuts[i], cut)
		}
		if len(views) > 0 {
			first = c.Goldens[0].Source
		}
	} else if len(cut) > 0 && c.Prompt == 0 {
		c.Prompt = cut[0].T
	}
	view, err := gpt2.View(c.Schedule, first, candidate, cut, hints, config)
	if err != nil {
		return nil, fmt.Errorf("candidate: %w", err)
	}
	c.Candidate, c.Unusable = view, view.Unusable()
	return append(views, view), nil
}

// noteCut notes that what the candidate's folder says of its cut is not how it was read.
func (c *Comparison) noteCut(candidate Folder, cut harness.Cut) {
	said := candidate.Cut()
	if said == nil {
		return
	}
	if n := min(len(said), len(cut)); n == 0 || !slices.Equal(said[:n], cut[:n]) {
		c.notes = append(c.notes, fmt.Sprintf("%s: %s does not fit the shapes and the number of tokens, and is not used: %v",
			candidate.Name(), dump.CutFile, said))
	}
}

// viewGolden returns a view of a golden and how it is cut.
func viewGolden(of gpt2.CutReader, golden, candidate Folder, hints align.Hints) (*align.View, harness.Cut, error) {
	of.Run, of.Said = golden, golden.Cut()
	own, err := of.ReadGolden()
	if err != nil {
		return nil, nil, err
	}
	layout := own
	if own.IsPrompt() {
		layout = nil
	}
	view, err := gpt2.ViewGolden(of.Schedule, golden, candidate, layout, hints, of.Config)
	return view, own, err
}
