package diagnose

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/replay"
	"checkpoint12/model"
)

// A step of more than longStep positions is explained by windows of it, of so many positions
// each: what a causal model computes of some positions does not depend on later ones, and the
// time that a search takes grows with the square of their number.
const (
	longStep     = 128
	windowLength = 48
)

// windows are a long step shown as several: its first positions, those around the one where
// a wrong stage is furthest off, and between and after them the others, which are not looked at.
type windows struct {
	step  int // the long one
	cut   harness.Cut
	shown []int // the steps of the cut that are looked at
}

// windowsOf returns the windows of the first long step that has an introduced row; ok is false
// if none has.
func windowsOf(run *replay.Run, rows []harness.Replayed) (w windows, ok bool) {
	i := slices.IndexFunc(rows, func(row harness.Replayed) bool {
		d, known := run.Dims(row.Step)
		return known && d.T > longStep && row.Verdict == harness.ReplayIntroduced && positionAxis(row) >= 0
	})
	if i < 0 {
		return w, false
	}
	row := rows[i]
	d, _ := run.Dims(row.Step)
	w = windowsIn(harness.Span{P: d.P, T: d.T}, row.Worst.Index[positionAxis(row)])
	w.step = row.Step
	return w, true
}

// windowsIn returns the windows of a step that is worst at one of its positions.
func windowsIn(step harness.Span, worst int) (w windows) {
	second := min(max(worst-windowLength/2, windowLength), step.T-windowLength)
	for at, n := 0, 0; at < step.T; at += n {
		switch n = windowLength; {
		case at == 0 || at == second:
			w.shown = append(w.shown, len(w.cut))
		case at < second:
			n = second - at
		default:
			n = step.T - at
		}
		w.cut = append(w.cut, harness.Span{P: step.P + at, T: n})
	}
	return w
}

// positionAxis returns the axis of a row's worst index that counts the step's positions, or -1.
func positionAxis(row harness.Replayed) int {
	axis := slices.Index(strings.Fields(model.Axes(row.Stage)), "T")
	if axis >= len(row.Worst.Index) {
		return -1
	}
	return axis
}

// String returns the positions that are looked at: "positions 0 to 47 and 352 to 399".
func (w windows) String() string {
	var all []string
	for _, k := range w.shown {
		all = append(all, fmt.Sprintf("%d to %d", w.cut[k].P, w.cut[k].End()-1))
	}
	return "positions " + strings.Join(all, " and ")
}

// learn lets an explainer know what explains a long step's windows, and has it search none of
// the steps as long.
func (c Comparison) learn(ctx context.Context, x *faults.Explainer, golden harness.Source, run *replay.Run, rows []harness.Replayed) error {
	w, ok := windowsOf(run, rows)
	if _, isRow := c.Candidate.(*harness.BatchRow); !ok || isRow {
		return nil
	}
	own := c.Cut
	if own == nil {
		d, _ := run.Dims(0)
		own = harness.PromptCut(d.T, harness.LastStep(c.Candidate)+1)
	}
	before := own[:w.step]
	if w.cut[0].P == 0 { // the whole run so far is fed anew
		before = nil
	}
	cut := slices.Concat(before, w.cut)
	shown := harness.NewRecut(c.Schedule, c.Candidate, own, cut)
	o := c.replayOptions(golden)
	o.Cut, o.Progress, o.Prompt = cut, nil, own[0].T
	o.Match = func(step int, stage string) bool {
		return slices.Contains(w.shown, step-len(before)) && (c.Match == nil || c.Match(w.step, stage))
	}
	short, err := replay.NewRun(c.Schedule, shown, c.replayer(c.Candidate), o)
	if err != nil {
		return fmt.Errorf("%v of step %d: %w", w, w.step, err)
	}
	judged, err := short.Judge(ctx)
	if err != nil {
		return err
	}
	y := faults.NewExplainer(c.Model, shown)
	if _, err := y.Explain(ctx, short, judged, judged); err != nil {
		return err
	}
	x.Learn(y, longStep, w.String())
	return nil
}
