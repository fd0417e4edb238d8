package diagnose

import (
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/gpt2/fit"
	"checkpoint12/harness/replay"
)

// A cover leaves one introduced row for each fault in a stage that the candidate
// lacks. Every stage that reads the missing one looks wrong: a fault in a missing
// h.0.resid_mid shows in h.0.ln_2 and in h.0.resid_post.
//
// This is a greedy set cover: the first introduced row comes first. Of its causes,
// the one that makes most other rows correct is chosen: they follow from their inputs
// if the missing stages have the values that the cause gives them. These rows
// become clean. The others that read the stages are explained anew, with these
// values. A cause by which a clean row would be wrong is not chosen.
type cover struct {
	run     *replay.Run // with the values of the causes that were chosen
	rows    []harness.Replayed
	explain explainer
	causes  map[harness.Place][]faults.Cause
	visited map[harness.Place]bool     // rows whose causes were looked at since they were last judged
	chosen  map[harness.Place]bool     // rows of which a cause was chosen, and those it made correct
	aside   map[harness.Place][]string // rows that were set aside, with what reads them
}

// An explainer finds the causes of the introduced rows, of which the run is the replay.
type explainer = func(run *replay.Run, rows []harness.Replayed) ([]faults.Cause, error)

// coverRows covers the rows, which run has judged and which it changes, and
// explains those that remain introduced.
func coverRows(run *replay.Run, rows []harness.Replayed, explain explainer) ([]harness.Explanation, error) {
	c := &cover{
		run, rows, explain,
		map[harness.Place][]faults.Cause{}, map[harness.Place]bool{}, map[harness.Place]bool{},
		map[harness.Place][]string{},
	}
	if err := c.setAside(); err != nil {
		return nil, err
	}
	if err := c.find(rows); err != nil {
		return nil, err
	}
	for {
		i := slices.IndexFunc(rows, func(p harness.Replayed) bool {
			return p.Verdict == harness.ReplayIntroduced && !c.visited[p.Place]
		})
		if i < 0 {
			break
		}
		c.visited[rows[i].Place] = true
		if c.causes[rows[i].Place] == nil {
			if err := c.find(rows[i : i+1]); err != nil {
				return nil, err
			}
		}
		if err := c.choose(rows[i].Place); err != nil {
			return nil, err
		}
	}
	for at, readers := range c.aside {
		if causes := c.causes[at]; len(causes) > 0 {
			c.causes[at] = []faults.Cause{pointed(causes, readers)}
		}
	}
	var firsts []*faults.Cause
	for _, row := range rows {
		if causes := c.causes[row.Place]; row.Verdict == harness.ReplayIntroduced && len(causes) > 0 {
			firsts = append(firsts, &causes[0])
		}
	}
	faults.AcrossSteps(firsts)
	all := []harness.Explanation{}
	for _, row := range rows {
		for _, x := range c.causes[row.Place] {
			if row.Verdict == harness.ReplayIntroduced {
				all = append(all, x.Explanation)
			}
		}
	}
	return all, nil
}

// find explains the introduced ones among rows.
func (c *cover) find(rows []harness.Replayed) error {
	found, err := c.explain(c.run, rows)
	for _, x := range found {
		at := harness.Place{Step: x.Step, Stage: x.Stage}
		c.causes[at] = append(c.causes[at], x)
	}
	return err
}

// choose chooses the best of a row's causes in stages that the candidate lacks.
func (c *cover) choose(row harness.Place) error {
	var best *hypothesis
	var rest []faults.Cause  // the row's other causes
	var among []faults.Cause // it and its twins
	causes, covered := c.causes[row], map[string]int{}
	for i, cause := range causes {
		for k, x := range slices.Concat([]faults.Cause{cause}, cause.Or, cause.Twins) {
			if x.Values == nil {
				continue
			}
			twin := k > len(cause.Or) // which leads only if it makes other rows correct
			s, err := c.test(row, x)
			if err != nil {
				return err
			}
			if covered[x.Text] = len(s.covered); !s.right {
				covered[x.Text] = -1
			}
			if s.right && (!twin || len(s.covered) > 0) && (best == nil || len(s.covered) > len(best.covered)) {
				best, rest, among = s, slices.Concat(causes[:i], causes[i+1:]), append([]faults.Cause{cause}, cause.Twins...)
			}
		}
	}
	if best == nil {
		return nil
	}
	less := func(x faults.Cause) bool { return covered[x.Text] < len(best.covered) } // 0 of one in the row itself
	own := best.cause.Text
	if slices.ContainsFunc(best.cause.Or, less) {
		best.cause = best.cause.WithOr(slices.DeleteFunc(slices.Clone(best.cause.Or), less))
	}
	best.cause = best.cause.WithTwins(slices.DeleteFunc(among, func(x faults.Cause) bool {
		return x.Text == own || less(x) && !c.repeated(x, best.covered)
	}))
	c.run, c.chosen[row] = best.run, true
	var stages []string
	var steps []int // others, of the row's own stage
	for i, again := range best.again {
		c.rows[i] = again
		delete(c.visited, again.Place)
		delete(c.causes, again.Place)
	}
	for _, i := range best.covered {
		c.chosen[c.rows[i].Place] = true
		switch {
		case c.rows[i].Step == row.Step:
			stages = append(stages, c.rows[i].Stage)
		case c.rows[i].Stage == row.Stage:
			steps = append(steps, c.rows[i].Step)
		}
	}
	if n := len(stages); n == 1 {
		best.cause.Text += "; " + stages[0] + " is off by the same fault"
	} else if n > 1 {
		best.cause.Text += "; " + strings.Join(stages, ", ") + " are off by the same fault"
	}
	if n := len(steps); n > 0 {
		best.cause.Text += "; at step" + strings.Repeat("s", min(n-1, 1)) + " " + fit.Ranges(steps, 0) + " the stage is off by the same fault"
	}
	c.causes[row] = append([]faults.Cause{best.cause}, rest...)
	return nil
}

// repeated reports whether a cause that makes other rows correct in no row but its own is a cause of
// each of some rows too.
func (c *cover) repeated(x faults.Cause, rows []int) bool {
	return x.Values != nil && !slices.ContainsFunc(rows, func(i int) bool {
		return !slices.ContainsFunc(c.causes[c.rows[i].Place], func(o faults.Cause) bool {
			return x.Repeats(o) || slices.ContainsFunc(o.Twins, x.Repeats)
		})
	})
}

// A hypothesis holds the rows as they are if a cause of one of them is true.
type hypothesis struct {
	cause   faults.Cause
	run     *replay.Run
	right   bool                     // no clean row would be wrong
	again   map[int]harness.Replayed // introduced rows that depend on it, judged again
	covered []int                    // those that become clean
}

// test returns the hypothesis that a cause of a row is true, tested on the other rows.
func (c *cover) test(row harness.Place, x faults.Cause) (*hypothesis, error) {
	values := x.Values()
	s := &hypothesis{cause: x, run: c.run.With(values), again: map[int]harness.Replayed{}}
	for i, old := range c.rows {
		if old.Place == row || c.chosen[old.Place] || old.Verdict == harness.ReplayUnknown || !dependsOn(old, values) {
			continue
		}
		again, err := s.run.JudgeAt(old.Place)
		if err != nil {
			return nil, err
		}
		again.Span, again.Earlier = old.Span, old.Earlier
		switch {
		case old.Verdict == harness.ReplayClean && again.Verdict == harness.ReplayIntroduced:
			return s, nil
		case old.Verdict == harness.ReplayClean || again.Verdict == harness.ReplayUnknown:
			continue
		case again.Verdict == harness.ReplayClean || s.flipped(again, row):
			again.Verdict, again.Status = harness.ReplayClean, harness.Pass
			again.Why = "correct, given the fault at " + row.String()
			again.Inputs = append(slices.Clone(again.Inputs), row)
			s.covered = append(s.covered, i)
		}
		s.again[i] = again
	}
	s.right = true
	return s, nil
}

// dependsOn reports whether one of the values was computed to judge the row.
func dependsOn(row harness.Replayed, values map[harness.Place]replay.Value) bool {
	for at := range values {
		own := at.Step == row.Step && at.Stage != row.Stage && slices.Contains(row.Span, at.Stage)
		if own || slices.Contains(row.Earlier, at) {
			return true
		}
	}
	return false
}

// maxFlips is the largest part of a row's values, 1 of so many, that may be off
// because a cause that rounds to fewer bits rounds them the other way.
const maxFlips = 50

// flipped reports whether few values of a row are off, and only where the row that
// shows the fault is off too: in the missing stage they were rounded the other way.
func (s *hypothesis) flipped(row harness.Replayed, shows harness.Place) bool {
	if row.Mismatched > row.Elements/maxFlips {
		return false
	}
	mine, other := s.off(row.Place), s.off(shows)
	if mine == nil || len(mine) != len(other) {
		return false
	}
	for i := range mine {
		if mine[i] && !other[i] {
			return false
		}
	}
	return true
}

// off reports for each value of a place whether it is off by more than rounding;
// nil if that cannot be said.
func (s *hypothesis) off(at harness.Place) []bool {
	got, err := s.run.Input(at.Step, at.Stage)
	if err != nil {
		return nil
	}
	right, err := s.run.Right(at.Step, at.Stage)
	if err != nil || got.IDs() || right.Bound == nil || !slices.Equal(got.Shape, right.Shape) {
		return nil
	}
	off := make([]bool, len(got.F32))
	for i, g := range got.F32 {
		off[i] = !(math.Abs(float64(g)-float64(right.F32[i])) <= float64(right.Bound[i]))
	}
	return off
}
