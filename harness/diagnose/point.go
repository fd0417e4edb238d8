package diagnose

import (
	"fmt"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/replay"
)

// setAside finds the introduced rows of which the dump does not have what the engine used:
// whatever reads them is wrong as well, and follows from the correct output in their place.
// Those readers become clean. A row that is read by a clean one was used as it is.
func (c *cover) setAside() error {
	for _, x := range c.rows {
		if x.Verdict != harness.ReplayIntroduced || x.Status == harness.WrongShape {
			continue
		}
		readers := c.readers(x.Place)
		if len(readers) == 0 || slices.ContainsFunc(readers, func(i int) bool { return c.rows[i].Verdict != harness.ReplayIntroduced }) {
			continue
		}
		right, err := c.run.Right(x.Step, x.Stage)
		if err != nil {
			continue
		}
		run := c.run.With(map[harness.Place]replay.Value{x.Place: right})
		again, explained := map[int]harness.Replayed{}, true
		for _, i := range readers {
			if again[i], err = run.JudgeAt(c.rows[i].Place); err != nil {
				return err
			}
			explained = explained && again[i].Verdict == harness.ReplayClean
		}
		if !explained {
			continue
		}
		c.run = run
		for _, i := range readers {
			row := again[i]
			row.Why = "correct, given the correct " + x.Stage
			c.rows[i], c.chosen[row.Place] = row, true
			c.aside[x.Place] = append(c.aside[x.Place], row.Stage)
		}
	}
	return nil
}

// readers returns the indices of the rows that were judged by a place, undecided ones left out.
func (c *cover) readers(x harness.Place) (all []int) {
	for i, row := range c.rows {
		if row.Place == x || row.Verdict == harness.ReplayUnknown || row.Step < x.Step {
			continue
		}
		if slices.ContainsFunc(row.Span, func(stage string) bool {
			return slices.Contains(c.run.Reads(harness.Place{Step: row.Step, Stage: stage}), x)
		}) {
			all = append(all, i)
		}
	}
	return all
}

// pointed returns the one cause of a row that was set aside: causes are what explains its
// output.
func pointed(causes []faults.Cause, readers []string) faults.Cause {
	x := causes[0]
	i := slices.IndexFunc(causes, func(c faults.Cause) bool { return faults.Point(c.Fault) != "" })
	point, rest := "at another point, or changed since", ": "+x.Text
	if i >= 0 {
		x = causes[i]
		point, rest = faults.Point(x.Fault), ""
	}
	follow := " follow"
	if len(readers) == 1 {
		follow += "s"
	}
	x.Fault, x.Or, x.Values = harness.OtherPoint, nil, nil
	x.Text = fmt.Sprintf("dumped %s: %s%s from the correct output, so the engine has it; dump it as %s reads it%s",
		point, words.Some(readers, 3), follow, readers[0], rest)
	return x
}
