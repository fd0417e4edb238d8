package cli

import (
	"cmp"
	"fmt"
	"math"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/report"
	"checkpoint12/harness/report/ci"
	"checkpoint12/harness/verify"
)

// compared is a comparison as CI systems read it.
type compared struct {
	*diagnose.Result
	candidate string
	schedule  *harness.Schedule
	options   report.Options
}

// ci returns the report as CI systems read it: a test for each checkpoint by each golden, one
// for the replay, and the verdict.
func (c *compared) ci() *ci.Report {
	r := &ci.Report{Name: "checkpoint12 compare " + c.candidate, Verdict: strings.ToUpper(c.Verdict)}
	r.Text = report.AsText(report.DefaultWidth, func(w *report.Writer) { report.WriteVerdict(w, c.Report, c.options) })
	engines := c.Engines
	if len(engines) == 0 {
		engines = []diagnose.EngineResult{{Report: c.Report}}
	}
	for n := verify.CheckEmbeddings; n <= verify.CheckpointCount; n++ {
		for _, e := range engines {
			if t, ok := c.byGolden(n, e); ok {
				r.Tests = append(r.Tests, t)
			}
		}
		if t, ok := c.byReplay(n); ok {
			r.Tests = append(r.Tests, t)
		}
	}
	headline, _, _ := strings.Cut(report.AsText(math.MaxInt, func(w *report.Writer) {
		report.WriteVerdict(w, c.Report, c.options)
	}), "\n")
	if c.options.Closer != "" && !c.Passed() {
		r.Text += report.AsText(report.DefaultWidth, func(w *report.Writer) { w.Printf("\nlook closer: %s\n", c.options.Closer) })
	}
	whole := ci.Test{Check: "verdict", Name: c.candidate}
	if !c.Passed() {
		whole.Outcome, whole.Message, whole.Text = ci.Failed, headline, r.Text
		r.Map = report.AsText(report.DefaultWidth, func(w *report.Writer) { report.WriteMap(w, c.Report, c.options) })
		if r.Problems = ci.Problems(report.Findings(c.Report)); len(r.Problems) == 0 || c.WrongWeight() != nil || c.Narrow != nil {
			r.Problems = append([]ci.Problem{{Title: headline}}, r.Problems...)
		}
	}
	r.Tests = append(r.Tests, whole)
	return r
}

// byGolden returns the test of a checkpoint by one golden, if that has any of its stages.
func (c *compared) byGolden(n int, e diagnose.EngineResult) (t ci.Test, ok bool) {
	t = ci.Test{Check: verify.CheckName(n), Name: c.candidate + " against " + cmp.Or(e.Report.Golden, e.Engine)}
	compared, why := 0, ""
	var failed []*harness.Row
	for i := range e.Report.Stages {
		row := &e.Report.Stages[i]
		if row.Checkpoint != n {
			continue
		}
		ok = true
		if row.Accepted != "" {
			t.Accepted = append(t.Accepted, report.Accepted(c.Report, row.Place))
		}
		switch {
		case row.Status.Diverges() && row.Accepted == "" || c.RequireAll && !row.Status.Compared():
			failed = append(failed, row)
		case row.Status.Compared():
			compared++
		default:
			why = cmp.Or(why, fmt.Sprintf("%s is %s", row.Place, cmp.Or(row.Detail, string(row.Status))))
		}
	}
	if len(failed) > 0 {
		t.Message = failed[0].String()
		t.Text = report.AsText(report.DefaultWidth, func(w *report.Writer) {
			w.Printf("%s\n", failed[0])
			c.writeRemedy(w, failed[0])
			if len(failed) > 1 {
				w.Printf("%s\n", alsoAt(failed[1:]))
			}
		})
	}
	switch {
	case t.Message != "" && c.Passed():
		t.Outcome, t.Message = ci.NotChecked, "this golden does not decide: "+t.Message
	case t.Message != "":
		t.Outcome = ci.Failed
	case compared == 0:
		t.Outcome, t.Message = ci.NotChecked, verify.NotChecked+": "+why
	}
	return t, ok
}

// alsoAt names places of rows, of many the first.
func alsoAt(rows []*harness.Row) string {
	var places []string
	for _, row := range rows {
		places = append(places, row.Place.String())
	}
	return "also at " + words.Some(places, 10)
}

// writeRemedy writes the causes of what is wrong at a row, and what looks closer.
func (c *compared) writeRemedy(w *report.Writer, row *harness.Row) {
	known := false
	for _, e := range c.Explanations {
		if e.Step == row.Step && e.Stage == row.Stage {
			w.Printf("cause: %s\n", report.Explained(e))
			known = known || e.Fault != ""
		}
	}
	switch {
	case row.Origin == harness.OriginInherited:
		w.Printf("replayed on its own inputs it is correct: the error came in with them\n")
	case !known:
		w.Printf("usual causes: %s\n", strings.Join(c.options.Causes([]string{row.Stage}), "; "))
	}
	if c.options.Closer != "" {
		w.Printf("look closer: %s\n", c.options.Closer)
	}
}

// byReplay returns the test of a checkpoint on the candidate's own inputs, if there is one.
func (c *compared) byReplay(n int) (t ci.Test, ok bool) {
	t = ci.Test{Check: verify.CheckName(n), Name: c.candidate + " on its own inputs"}
	of := func(stage string) bool {
		s, known := c.schedule.Stage(stage)
		return known && s.Checkpoint == n
	}
	var own []harness.Place // at which something is wrong or accepted
	for _, in := range c.Introduced {
		own = append(own, harness.Place{Step: in.Step, Stage: in.Stage})
	}
	for _, v := range c.Violations {
		own = append(own, v.Place)
	}
	accepted := map[harness.Place]bool{}
	for _, at := range append(own, c.Unusable...) {
		if line := report.Accepted(c.Report, at); of(at.Stage) && line != "" && !accepted[at] {
			accepted[at] = true
			t.Accepted = append(t.Accepted, line)
		}
	}
	judged, why := 0, ""
	for i := range c.Replayed {
		switch row := &c.Replayed[i]; {
		case row.Checkpoint != n && !of(row.Stage):
		case row.Verdict == harness.ReplayUnknown:
			why = cmp.Or(why, fmt.Sprintf("%s: %s", row.Place, row.Why))
		default:
			judged++
		}
	}
	var lines []string
	for _, f := range report.Findings(c.Report) {
		if of(f.First.Stage) && f.Accepted == "" {
			p := ci.ProblemOf(f)
			lines = append(append(lines, p.Title), p.Lines...)
		}
	}
	for _, v := range c.Violations {
		if of(v.Stage) && v.Accepted == "" {
			lines = append(lines, fmt.Sprintf("step %d, stage %s: %s: %s", v.Step, v.Stage, v.Rule, v.Detail))
		}
	}
	for _, at := range c.Unusable {
		if of(at.Stage) && c.Accepted(at) == "" {
			lines = append(lines, fmt.Sprintf("%s: its shape is none of the stage's", at))
		}
	}
	switch {
	case len(lines) > 0:
		t.Outcome, t.Message, t.Text = ci.Failed, lines[0], strings.Join(lines, "\n")
	case judged == 0 && len(t.Accepted) == 0:
		t.Outcome, t.Message = ci.NotChecked, verify.NotChecked+": "+why
	}
	return t, len(lines) > 0 || judged > 0 || why != "" || len(t.Accepted) > 0
}
