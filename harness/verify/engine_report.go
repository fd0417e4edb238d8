package verify

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/report"
	"checkpoint12/harness/verify/engine"
	"checkpoint12/model/zoo"
)

// EngineReport is the part of a Report that only an engine's has.
type EngineReport struct {
	Engine   string      `json:"engine"`    // its command, as a shell takes it
	CannotDo []string    `json:"cannot_do"` // the cases that it says it cannot do
	Errors   []CaseError `json:"errors"`    // of the cases that could not be judged

	// Of all cases, a place once: the stages whose own computation is wrong, and why.
	Introduced   []harness.Introduced  `json:"introduced"`
	Explanations []harness.Explanation `json:"explanations"`
	Weights      []harness.Weight      `json:"weights,omitzero"` // as loaded, that are not the model's

	merged *harness.Report
	cases  int
	wrong  []map[harness.Place]bool // of each case with a stage that is wrong itself: these
	unseen map[harness.Status]int   // missing and skipped places, of all cases
	early  []string                 // the dumps that lack whole steps, in words
	names  int                      // that are no stages'
	notes  []string
}

// Errors returns the errors of the engine's cases that have run.
func (s *Suite) Errors() []CaseError {
	all := []CaseError{}
	for _, c := range s.Cases {
		if c.outcome != nil && c.outcome.failure != nil {
			all = append(all, *c.outcome.failure)
		}
	}
	return all
}

// engineReport returns what verifying an engine has found beside the checkpoints. It is an
// error if it has judged nothing.
func (s *Suite) engineReport(r *Report) (*EngineReport, error) {
	e := &EngineReport{
		Engine: s.o.Engine.Command.String(), CannotDo: []string{}, Errors: s.Errors(),
		merged: &harness.Report{Introduced: []harness.Introduced{}, Explanations: []harness.Explanation{}},
		cases:  len(s.Cases), unseen: map[harness.Status]int{},
	}
	e.early = s.early()
	seen := map[string][]string{} // the cases of a note
	for _, c := range s.Cases {
		if c.outcome.cannotDo {
			e.CannotDo = append(e.CannotDo, c.Name)
		}
		if c.outcome.report != nil {
			e.merge(c.outcome.report)
		}
		for _, n := range c.outcome.notes {
			if seen[n] == nil {
				e.notes = append(e.notes, n)
			}
			seen[n] = append(seen[n], c.Name)
		}
	}
	switch {
	case len(e.CannotDo) == len(s.Cases):
		return nil, fmt.Errorf("%s: the engine can do none of the cases %s: it ended each with exit status %d",
			s.Name, words.Some(e.CannotDo, 10), engine.CannotDo)
	case len(e.Errors) > 0 && r.First == nil:
		r.Verdict = NotChecked
	case r.unchecked() == CheckpointCount && r.First == nil:
		return nil, fmt.Errorf("%s: the engine's dumps have no stage of a checkpoint: CHECKPOINTS.md lists them", s.Name)
	}
	for i, n := range e.notes {
		if cases := seen[n]; len(cases) < len(s.Cases) {
			e.notes[i] = fmt.Sprintf("%s (%s)", n, words.Some(cases, 3))
		}
	}
	slices.SortStableFunc(e.merged.Introduced, func(a, b harness.Introduced) int {
		at := harness.Place{Step: a.Step, Stage: a.Stage}
		return s.schedule.Compare(at, harness.Place{Step: b.Step, Stage: b.Stage})
	})
	e.Introduced, e.Explanations, e.Weights = e.merged.Introduced, e.merged.Explanations, e.merged.Weights
	return e, nil
}

// merge adds what is wrong in a case to what is wrong in others. A place that is known
// gains its causes if it has none yet.
func (e *EngineReport) merge(r *harness.Report) {
	m := e.merged
	m.AddWeights(r)
	e.names += r.Unknown
	for i := range r.Stages {
		e.unseen[r.Stages[i].Status]++
	}
	if len(r.Introduced) > 0 {
		wrong := map[harness.Place]bool{}
		for _, in := range r.Introduced {
			wrong[harness.Place{Step: in.Step, Stage: in.Stage}] = true
		}
		e.wrong = append(e.wrong, wrong)
	}
	known, explained := map[harness.Place]bool{}, map[harness.Place]bool{}
	for _, in := range m.Introduced {
		known[harness.Place{Step: in.Step, Stage: in.Stage}] = true
	}
	for _, x := range m.Explanations {
		explained[harness.Place{Step: x.Step, Stage: x.Stage}] = true
	}
	for _, in := range r.Introduced {
		if !known[harness.Place{Step: in.Step, Stage: in.Stage}] {
			m.Introduced = append(m.Introduced, in)
		}
	}
	for _, row := range r.Replayed {
		if row.Verdict == harness.ReplayIntroduced && !known[row.Place] {
			m.Replayed = append(m.Replayed, row)
		}
	}
	for _, x := range r.Explanations {
		if !explained[harness.Place{Step: x.Step, Stage: x.Stage}] {
			m.Explanations = append(m.Explanations, x)
		}
	}
}

// inCases returns in how many cases one of the places is wrong by itself, or any.
func (e *EngineReport) inCases(places ...harness.Place) string {
	n := 0
	for _, wrong := range e.wrong {
		if len(places) == 0 || slices.ContainsFunc(places, func(at harness.Place) bool { return wrong[at] }) {
			n++
		}
	}
	return fmt.Sprintf("in %d of %s", n, words.Count(e.cases, "case"))
}

// Err returns the error of the cases that could not be judged, or nil.
func (e *EngineReport) Err() error {
	switch {
	case e == nil || len(e.Errors) == 0:
		return nil
	case len(e.Errors) == 1:
		return &e.Errors[0]
	}
	return fmt.Errorf("%w; and %s more could not be judged", &e.Errors[0], words.Count(len(e.Errors)-1, "case"))
}

// Notes returns remarks on the dumps.
func (e *EngineReport) Notes() []string {
	if e == nil {
		return nil
	}
	return e.notes
}

// write writes what only an engine's report has.
func (e *EngineReport) write(b *report.Writer) {
	if e == nil {
		return
	}
	report.WriteWeights(b, e.merged)
	if len(e.Introduced) > 0 {
		report.WriteIntroduced(b, e.merged)
		b.Printf("  %s\n", e.inCases())
	}
	if len(e.CannotDo) > 0 {
		b.Printf("\nthe engine cannot do %s: %s\n", words.Count(len(e.CannotDo), "case"), words.And(e.CannotDo))
	}
	for _, a := range e.alike() {
		b.Printf("\n%s could not be judged: %s\n", b.Red("case "+a[0].Case), a[0].Reason)
		if others := othersAlike(a); others != "" {
			b.Printf("  %s\n", others)
		}
		b.Printf("  %s\n", report.Unbroken(a[0].Command))
		for _, line := range a[0].Stderr {
			b.Printf("  %s\n", line)
		}
	}
}

// alike returns the errors, those together that have the same reason and last words.
func (e *EngineReport) alike() (alike [][]CaseError) {
	for _, err := range e.Errors {
		i := slices.IndexFunc(alike, func(a []CaseError) bool {
			return a[0].Reason == err.Reason && slices.Equal(a[0].Stderr, err.Stderr)
		})
		if i < 0 {
			i, alike = len(alike), append(alike, nil)
		}
		alike[i] = append(alike[i], err)
	}
	return alike
}

// othersAlike counts the others of errors that are alike; "" of one.
func othersAlike(a []CaseError) string {
	if len(a) == 1 {
		return ""
	}
	return fmt.Sprintf("and %s more, for the same reason", words.Count(len(a)-1, "case"))
}

// summary returns how much the verdict is not about.
func (e *EngineReport) summary() (text string) {
	if e == nil {
		return ""
	}
	for _, early := range e.early {
		text += "; " + early
	}
	for _, n := range []struct {
		count int
		what  string
	}{
		{len(e.CannotDo), "case it cannot do"}, {len(e.Errors), "case that could not be judged"},
		{e.unseen[harness.Missing], "tensor missing"}, {e.unseen[harness.Skipped], "tensor skipped"},
		{e.names, "name not understood"},
	} {
		noun, rest, _ := strings.Cut(n.what, " ")
		if n.count > 0 {
			text += fmt.Sprintf("; %s %s", words.Count(n.count, noun), rest)
		}
	}
	return text
}

// engineCommand returns the command that runs the engine by hand on the case of a golden
// and compares its dump. For what no golden's folder holds, it is the command line that
// keeps it; "" if that is not known.
func (s *Suite) engineCommand(c *Case, g *Golden) string {
	in, before, after := c.given, "", ""
	command, golden := s.o.Engine.Command, filepath.Dir(g.Dir)
	if s.o.Engine.Keep == "" {
		if (c.parts != nil || command.Needs("mask")) && s.o.Line != "" {
			return "rm -rf " + casesFolder + " && " + s.o.Line + " --keep " + casesFolder
		} else if c.parts != nil || command.Needs("mask") {
			return ""
		}
		in.Model, in.Tokens = words.Path(s.o.Model), words.Path(filepath.Join(g.Dir, "tokens.npy"))
		if dir, ok, _ := zoo.Locate(s.o.Model); ok {
			in.Model = words.Path(dir)
		} else if !isFolder(s.o.Model) {
			in.Model = "checkpoint12-model"
			before = fmt.Sprintf("%s synth %s --out %s && ", s.o.Command, s.o.Model, in.Model)
		}
	}
	if c.parts != nil { // it is judged by the goldens of several cases, as fed
		golden = filepath.Dir(golden)
		after = " && " + engine.Command{"cp", in.Tokens, filepath.Join(dumpFolder, harness.TokensFile)}.String() +
			" && " + engine.Command{"cp", in.Mask, filepath.Join(dumpFolder, harness.MaskFile)}.String()
	}
	in.Out = dumpFolder
	return before + "rm -rf " + dumpFolder + " && mkdir " + dumpFolder + " && " + command.Line(in) + after +
		s.thenCompare(golden)
}

// casesFolder is where the commands in reports keep what the engine is given.
const casesFolder = "checkpoint12-cases"
