package cli

import (
	"cmp"
	"fmt"
	"math"
	"slices"
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
	r.Map = report.AsText(report.DefaultWidth, func(w *report.Writer) { report.WriteMap(w, c.Report, c.options) })
	whole := ci.Test{Check: "verdict", Name: c.candidate}
	if !c.Passed() {
		whole.Outcome, whole.Message, whole.Text = ci.Failed, headline, r.Text
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
		lead, own := c.lead(n, failed)
		begin, causes := c.beginOf(failed[lead])
		t.Message = failed[lead].String()
		switch {
		case len(own) > 0:
			t.Message = strings.Join(append([]string{own[0].Title()}, textsOf(own[0].Causes)...), ": ")
		case c.inherited(failed[lead]) && begin != "":
			t.Message = strings.Join(append([]string{fmt.Sprintf("%s: inherited: %s", failed[lead].Place, begin)}, causes...), ": ")
		}
		t.Text = report.AsText(report.DefaultWidth, func(w *report.Writer) {
			w.Printf("%s\n", failed[lead])
			c.writeRemedy(w, failed[lead], own)
			if others := slices.Delete(failed, lead, lead+1); len(others) > 0 {
				w.Printf("%s\n", alsoAt(others))
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

// lead returns which of the failed rows of a checkpoint tells the most, and the findings among
// its stages: a row at which one of them is or, without any, the first.
func (c *compared) lead(n int, failed []*harness.Row) (lead int, own []report.Finding) {
	for _, f := range report.Findings(c.Report) {
		if f.Accepted == "" && c.of(f.First.Stage, n) {
			own = append(own, f)
		}
	}
	lead = slices.IndexFunc(failed, func(row *harness.Row) bool {
		return slices.ContainsFunc(own, func(f report.Finding) bool { return slices.Contains(f.Places, row.Place) })
	})
	return max(lead, 0), own
}

// of reports whether a stage is of checkpoint n.
func (c *compared) of(stage string, n int) bool {
	s, known := c.schedule.Stage(stage)
	return known && s.Checkpoint == n
}

// inherited reports whether a row that fails is correct for its own inputs, as the replay has
// it, whichever golden the row is of.
func (c *compared) inherited(row *harness.Row) bool {
	return row.Status.Diverges() && !row.FailsOwnCheck() && slices.ContainsFunc(c.Replayed, func(r harness.Replayed) bool {
		return r.Place == row.Place && r.Verdict == harness.ReplayClean
	})
}

// beginOf says where the run diverges before a row, and why if that is known: at the first
// stage that is wrong itself or, if none is known to be before the row, at the first that diverges.
func (c *compared) beginOf(row *harness.Row) (begin string, causes []string) {
	at := row.Place
	if c.FirstDivergence != nil && c.schedule.Compare(*c.FirstDivergence, at) < 0 {
		at = *c.FirstDivergence
	}
	for _, f := range report.Findings(c.Report) {
		if f.Accepted == "" {
			if c.schedule.Compare(f.First, row.Place) < 0 {
				at, causes = f.First, textsOf(f.Causes)
			}
			break
		}
	}
	if s, known := c.schedule.Stage(at.Stage); at != row.Place && known {
		begin = fmt.Sprintf("the run diverges earlier, at %s, %s", at, verify.Info(s.Checkpoint))
	}
	return begin, causes
}

// textsOf returns causes in words.
func textsOf(causes []report.Cause) (all []string) {
	for _, c := range causes {
		all = append(all, c.Text)
	}
	return all
}

// writeRemedy writes the causes of what is wrong at a row, those of the findings among the
// stages of its checkpoint, and what looks closer.
func (c *compared) writeRemedy(w *report.Writer, row *harness.Row, own []report.Finding) {
	begin, causes := c.beginOf(row)
	inherited, known := c.inherited(row), len(causes) > 0
	if inherited {
		w.Printf("replayed on its own inputs it is correct: the error came in with them\n")
	}
	for _, f := range own {
		known = known || f.Causes != nil && f.Causes[0].Fault != ""
		w.Printf("%s\n", f.Title())
		for _, text := range textsOf(f.Causes) {
			w.Printf("cause: %s\n", text)
		}
	}
	if len(own) == 0 && begin != "" {
		w.Printf("%s\n", begin)
		for _, text := range causes {
			w.Printf("cause: %s\n", text)
		}
	}
	if !known && !inherited {
		w.Printf("usual causes: %s\n", strings.Join(c.options.Causes([]string{row.Stage}), "; "))
	}
	if c.options.Closer != "" {
		w.Printf("look closer: %s\n", c.options.Closer)
	}
}

// byReplay returns the test of a checkpoint on the candidate's own inputs, if there is one.
func (c *compared) byReplay(n int) (t ci.Test, ok bool) {
	t = ci.Test{Check: verify.CheckName(n), Name: c.candidate + " on its own inputs"}
	of := func(stage string) bool { return c.of(stage, n) }
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
