package verify

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/report"
	"checkpoint12/harness/report/ci"
	"checkpoint12/harness/verify/engine"
)

// CI returns the report as CI systems read it.
func (r *Report) CI() *ci.Report {
	verdict, _, _ := strings.Cut(r.verdict(), ":")
	c := &ci.Report{Name: "checkpoint12 verify " + r.Model, Verdict: verdict, Tests: slices.Clone(r.tests)}
	whole := ci.Test{Check: "verdict", Name: "all cases"}
	c.Text = report.AsText(report.DefaultWidth, func(b *report.Writer) {
		b.Printf("%s\n", r.verdict())
		if r.EngineReport != nil && len(r.Introduced) > 0 {
			b.Printf("      what is wrong by itself is so %s\n", r.inCases())
		}
		report.WriteBounds(b, r.bounds, r.judged...)
		switch err := r.Err(); {
		case r.First != nil:
			b.Printf("\n")
			r.writeFirst(b)
		case err != nil:
			b.Printf("%s\nlook closer: %s\n", err, report.Unbroken(r.Errors[0].Command))
		}
	})
	switch {
	case r.First != nil:
		whole.Outcome, whole.Message, whole.Text = ci.Failed, r.verdict(), c.Text
	case r.Err() != nil:
		whole.Outcome, whole.Message, whole.Text = ci.Errored, r.verdict(), c.Text
	}
	c.Tests = append(c.Tests, whole)
	c.Problems = r.problems()
	if run := r.worstRun(); run != nil {
		c.Map = report.AsText(report.DefaultWidth, func(b *report.Writer) {
			b.Printf("case %s, against %s\n", run.Case, run.Engine)
			report.WriteMap(b, run.Report, report.Options{Label: gpt2.Label})
		})
	}
	return c
}

// problems returns what is to be mended: the stages that are wrong themselves or, if none is
// known to be, the first failure; then the cases that could not be judged.
func (r *Report) problems() (all []ci.Problem) {
	merged := new(harness.Report)
	if r.EngineReport != nil {
		merged = r.merged
	} else {
		e := EngineReport{merged: merged, unseen: map[harness.Status]int{}}
		for _, run := range r.judged {
			e.merge(run)
		}
	}
	if r.First != nil {
		for _, f := range report.Findings(merged) {
			if f.Accepted == "" {
				p := ci.ProblemOf(f)
				all = append(all, p)
				if r.EngineReport != nil {
					all[len(all)-1].Lines = append(p.Lines, r.inCases(f.Places...))
				}
			}
		}
		if first := r.First; len(all) == 0 || first.Checkpoint == CheckWeights || first.Outlier {
			text := report.AsText(math.MaxInt, r.writeFirst)
			lines := slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool { return line == "" })
			all = slices.Insert(all, 0, ci.Problem{Title: lines[0], Lines: lines[1:]})
		}
	}
	return append(all, r.Unjudged()...)
}

// Unjudged returns the cases that could not be judged, those alike in their error as one.
func (r *Report) Unjudged() (all []ci.Problem) {
	if r.EngineReport == nil {
		return nil
	}
	for _, alike := range r.alike() {
		e := alike[0]
		p := ci.Problem{Title: fmt.Sprintf("case %s could not be judged: %s", e.Case, e.Reason)}
		if others := othersAlike(alike); others != "" {
			p.Lines = append(p.Lines, others)
		}
		p.Lines = append(append(p.Lines, e.Command), e.Stderr...)
		all = append(all, p)
	}
	return all
}

// worstRun returns the run of the first failure or, without any, that with the largest error as
// a part of its bound; nil if there is none.
func (r *Report) worstRun() *RunReport {
	var at *Worst
	for _, c := range r.Checkpoints {
		if w := c.Worst; w != nil && w.Engine != Figures && (at == nil || w.Share > at.Share) {
			at = w
		}
	}
	if r.First != nil {
		at = &Worst{Case: r.First.Case, Engine: r.First.Engine}
	}
	if at == nil {
		return nil
	}
	for _, engine := range []string{at.Engine, ""} { // any where it is the model's own
		for i := range r.Runs {
			if run := &r.Runs[i]; run.Case == at.Case && (run.Engine == engine || engine == "") && run.Passed() == (r.First == nil) {
				return run
			}
		}
	}
	return nil
}

// tests returns a test of a checkpoint for each case and engine.
func (s *Suite) tests(c CheckpointReport, found []Finding) (all []ci.Test) {
	type pair struct{ name, engine string }
	of := map[pair][]Finding{}
	var pairs []pair
	add := func(p pair) {
		if _, ok := of[p]; !ok {
			of[p], pairs = nil, append(pairs, p)
		}
	}
	unjudged := map[string]string{} // why a case was not
	for _, k := range s.Cases {
		for _, g := range k.Goldens {
			if c.Checkpoint > CheckEmbeddings {
				add(pair{k.Name, g.Engine})
			}
		}
		switch {
		case k.outcome != nil && k.outcome.cannotDo:
			unjudged[k.Name] = "the engine cannot do this case"
		case k.outcome != nil && k.outcome.failure != nil:
			unjudged[k.Name] = "the case could not be judged"
		}
	}
	for _, f := range found {
		p := pair{f.Case, f.Engine}
		add(p)
		of[p] = append(of[p], f)
	}
	if len(pairs) == 0 && c.Checkpoint > CheckEmbeddings {
		add(pair{"all cases", "no golden"})
	}
	for _, p := range pairs {
		t := ci.Test{Check: CheckName(c.Checkpoint), Name: p.name + "/" + p.engine}
		first := s.first(of[p])
		for _, f := range of[p] {
			if f.Accepted != "" {
				t.Accepted = append(t.Accepted, cmp.Or(f.passed,
					fmt.Sprintf("step %d, %s: accepted by %s: %s", f.Step, f.Stage, s.o.Bounds.File, f.Accepted)))
			}
		}
		switch {
		case first != nil:
			t.Outcome, t.Message = ci.Failed, first.Name()+": "+first.detail()
			t.Text = report.AsText(report.DefaultWidth, func(b *report.Writer) { writeFailed(b, first, of[p]) })
		case unjudged[p.name] != "":
			t.Outcome, t.Message = ci.NotChecked, unjudged[p.name]
		case c.Verdict == NotChecked || len(of[p]) == 0:
			t.Outcome, t.Message = ci.NotChecked, c.notChecked(s.notComparedIn(p.name, p.engine, c.Checkpoint))
		}
		all = append(all, t)
	}
	return all
}

// CheckName returns the name of a checkpoint, of which that of 10 comes after that of 2.
func CheckName(n int) string {
	if n <= CheckEmbeddings {
		return Info(n).Title
	}
	return fmt.Sprintf("checkpoint %02d (%s)", n, Info(n).Title)
}

// writeFailed writes the first of the failures of a checkpoint in full, where to look, and the
// names of the others.
func writeFailed(b *report.Writer, first *Finding, found []Finding) {
	first.write(b)
	if first.Begin == "" && !first.Outlier && first.Checkpoint != CheckWeights {
		b.Printf("look at: %s\n", Info(first.Checkpoint).Fix)
	}
	var others []string
	for _, f := range found {
		if f.Failed && f.Name() != first.Name() {
			others = append(others, f.Name())
		}
	}
	if len(others) > 0 {
		b.Printf("also at %s\n", words.Some(others, 10))
	}
}

// notComparedIn returns why nothing of a case was compared with an engine, or "".
func (s *Suite) notComparedIn(name, engine string, n int) string {
	i := slices.IndexFunc(s.Cases, func(c *Case) bool { return c.Name == name })
	if i < 0 || !slices.ContainsFunc(s.Cases[i].Goldens, func(g *Golden) bool { return g.Engine == engine }) {
		return ""
	}
	return s.notCompared(engine, n, s.Cases[i:i+1])
}

// notChecked returns why the checkpoint was not, for what is known of the case or for all, and
// what would make it so.
func (c *CheckpointReport) notChecked(why string) string {
	why = cmp.Or(c.why, why)
	for _, l := range c.lines {
		why = cmp.Or(why, l.why)
	}
	if c.Command != "" {
		why = strings.TrimPrefix(why+"; to make goldens: "+c.Command, "; ")
	}
	if why == "" {
		return NotChecked
	}
	return NotChecked + ": " + why
}

// runTests returns a test of the engine's run for each case.
func (s *Suite) runTests() (all []ci.Test) {
	for _, k := range s.Cases {
		t := ci.Test{Check: "the engine's run", Name: k.Name}
		switch e := k.outcome.failure; {
		case e != nil:
			t.Outcome, t.Message = ci.Errored, e.Reason
			t.Text = strings.Join(append([]string{e.Command}, e.Stderr...), "\n")
		case k.outcome.cannotDo:
			t.Outcome = ci.NotChecked
			t.Message = fmt.Sprintf("the engine cannot do this case: exit status %d", engine.CannotDo)
		}
		all = append(all, t)
	}
	return all
}
