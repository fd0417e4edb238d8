package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/align"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/gpt2/maps"
	"checkpoint12/model"
	"checkpoint12/model/zoo"
)

// comparison is what is compared, opened.
type comparison struct {
	schedule  *harness.Schedule
	golden    harness.Source // nil without --golden
	candidate *align.View
	model     *model.Model     // nil without --model
	voters    []diagnose.Voter // of a --golden with several engines
	quorum    *diagnose.Quorum // what they say
}

func (c *comparison) close(ctx context.Context) {
	if c.model != nil {
		closeUnless(ctx, c.model)
	}
}

// openComparison opens what the flags name.
func (a *app) openComparison(ctx context.Context, o compareOptions) (_ *comparison, err error) {
	c := &comparison{}
	defer func() {
		if err != nil {
			c.close(ctx)
		}
	}()
	var mapping *align.Mapping
	if o.mapping != "" {
		if mapping, err = maps.Read(o.mapping); err != nil {
			return nil, fmt.Errorf("--map: %w", err)
		}
		for _, n := range mapping.Notes {
			a.note("map %s: %s", mapping.Name, n)
		}
	}
	goldens, dumps, err := a.dumpsOf(o)
	if err != nil {
		return nil, err
	}
	var config *model.Config
	if o.model != "" {
		if c.model, err = wait(ctx, func() (*model.Model, error) { return zoo.Load(o.model) }); err != nil {
			return nil, err
		}
		cfg := c.model.Config()
		config = &cfg
		c.schedule, err = gpt2.ModelSchedule(c.model, dumps...)
	} else {
		c.schedule, err = gpt2.DumpSchedule(dumps...)
	}
	if err == nil && mapping != nil {
		c.schedule, err = gpt2.MappedSchedule(c.schedule, mapping, o.candidate)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case len(goldens) > 1:
		if c.voters, err = diagnose.OpenEngines(o.golden, c.schedule); err != nil {
			return nil, err
		}
		c.golden = c.voters[0].Source
	case len(goldens) == 1:
		if c.golden, err = a.openDump("--golden", o.golden, c.schedule, nil); err != nil {
			return nil, err
		}
		if c.golden.Manifest() == nil {
			a.note("%s: has no %s, so nothing binds it to what made it", o.golden, dump.ManifestFile)
		}
	}
	candidate, err := a.openDump("--candidate", o.candidate, c.schedule, mapping)
	if err != nil {
		return nil, err
	}
	if c.candidate, err = gpt2.View(c.schedule, c.golden, candidate, config); err != nil {
		return nil, fmt.Errorf("--candidate: %w", err)
	}
	return c, c.hearEngines(o)
}

// dumpsOf is the folders of goldens, and all folders whose names say how many
// layers there are.
func (a *app) dumpsOf(o compareOptions) (goldens, all []string, err error) {
	if o.golden != "" {
		if goldens = engineFolders(o.golden); len(goldens) < 2 {
			goldens = []string{o.golden}
			if err := a.checkDump("--golden", o.golden); err != nil {
				return nil, nil, err
			}
		}
	}
	all = slices.Clone(goldens)
	if o.mapping != "" {
		if info, err := os.Stat(o.candidate); err == nil && info.IsDir() {
			return goldens, all, nil
		}
	}
	return goldens, append(all, o.candidate), a.checkDump("--candidate", o.candidate)
}

// engineFolders is the goldens below the folder of a case.
func engineFolders(dir string) []string {
	if steps, _ := filepath.Glob(filepath.Join(dir, "step_*")); len(steps) > 0 {
		return nil
	}
	found, _ := filepath.Glob(filepath.Join(dir, "*", dump.ManifestFile))
	for i := range found {
		found[i] = filepath.Dir(found[i])
	}
	return found
}

// openDump opens the folder of a flag and prints its notes.
func (a *app) openDump(flag, dir string, s *harness.Schedule, mapping *align.Mapping) (harness.Source, error) {
	var d harness.Source
	var notes []string
	var err error
	if o := (dump.Options{Foreign: true}); mapping != nil {
		d, notes, err = align.OpenMapped(dir, s, mapping, o)
	} else {
		d, notes, err = dump.Open(dir, s, o)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	a.notes(notes)
	return d, nil
}

// hearEngines compares the candidate with each engine's golden, and makes one
// golden of all in which no outlier is left. An engine that has nothing in common
// with the candidate is not heard, unless that goes for all.
func (c *comparison) hearEngines(o compareOptions) error {
	if len(c.voters) == 0 {
		return nil
	}
	var heard []diagnose.Voter
	var nothing error
	for _, v := range c.voters {
		var err error
		v.Report, err = harness.Compare(c.schedule, v.Source, c.candidate, harness.CompareOptions{})
		switch {
		case err == nil:
			heard = append(heard, v)
		case !errors.Is(err, harness.ErrNothingCompared):
			return err
		case nothing == nil:
			nothing = err
		}
	}
	if len(heard) == 0 {
		return nothing
	}
	var err error
	if c.quorum, err = diagnose.NewQuorum(c.schedule, heard); err != nil {
		return err
	}
	c.voters = heard
	c.golden, err = c.quorum.Merge(o.golden, c.schedule, heard)
	return err
}

// answer is the report, and what is said besides.
type answer struct {
	*harness.Report
	Violations []diagnose.Violation `json:"violations"`       // of what must hold between the stages
	Tokens     *diagnose.Tokens     `json:"tokens,omitempty"` // how certain they are
	Quorum     *diagnose.Quorum     `json:"quorum,omitempty"` // of several engines
	checked    int                  // of what must hold
	voters     []diagnose.Voter     // of the quorum
	alone      bool                 // no golden was compared
}

// judge compares and, where there is a model, replays and explains.
func (a *app) judge(ctx context.Context, c *comparison, o compareOptions) (*answer, error) {
	progress := a.progress()
	defer progress.clear()
	options := diagnose.DiagnoseOptions{
		CompareOptions: harness.CompareOptions{RequireAll: o.requireAll}, Explain: faults.Explain,
		Progress: func(done, all int) { progress.step("replaying stage", done, all) },
	}
	return wait(ctx, func() (*answer, error) {
		a := &answer{Quorum: c.quorum, voters: c.voters, alone: c.golden == nil}
		var own *diagnose.Contradictions
		var err error
		switch {
		case c.golden == nil:
			a.Report, err = diagnose.WithoutGolden(ctx, c.schedule, c.model, c.candidate, options)
		case c.model == nil:
			a.Report, err = harness.Compare(c.schedule, c.golden, c.candidate, options.CompareOptions)
		default:
			a.Report, err = diagnose.Diagnose(ctx, c.schedule, c.model, c.golden, c.candidate, options)
		}
		if err != nil {
			return nil, err
		}
		if c.model == nil {
			own, err = diagnose.FindContradictions(ctx, c.schedule, c.golden, c.candidate, options.Progress)
		} else {
			own, err = diagnose.ContradictionsOf(c.model, a.Replayed, c.candidate)
		}
		if err != nil {
			return nil, err
		}
		a.Violations, a.checked = own.Violations, own.Checked
		if c.golden != nil {
			if a.Tokens, err = diagnose.CertifyTokens(a.Report, c.golden, c.candidate); err != nil {
				return nil, err
			}
		}
		a.Notes = append(a.Notes, c.candidate.Notes()...)
		return a, nil
	})
}

// maxViolations is how many violations are printed one by one.
const maxViolations = 10

// writeMore writes what the report itself does not say.
func (a *answer) writeMore(w io.Writer) {
	if a.alone {
		fmt.Fprint(w, "\nno golden was compared: each stage was judged by its own inputs alone\n")
	}
	if a.Tokens != nil && a.Tokens.String() != "" {
		fmt.Fprintf(w, "\n%s\n", a.Tokens)
	}
	if len(a.Violations) > 0 && a.Replayed == nil {
		fmt.Fprintf(w, "\nthe dump contradicts itself at %d of %d places looked at, without any golden:\n", len(a.Violations), a.checked)
		for i, v := range a.Violations {
			if i == maxViolations {
				fmt.Fprintf(w, "  and %d more\n", len(a.Violations)-i)
				break
			}
			fmt.Fprintf(w, "  step %d, stage %s: %s: %s\n", v.Step, v.Stage, v.Rule, v.Detail)
		}
	}
	if a.Quorum == nil {
		return
	}
	fmt.Fprintln(w)
	for _, v := range a.voters {
		bad := 0
		for i := range v.Report.Stages {
			if v.Report.Stages[i].Status.Diverges() {
				bad++
			}
		}
		fmt.Fprintf(w, "against %-10s %d of %s outside tolerance\n", v.Engine+":", bad, count(v.Report.Compared, "tensor"))
	}
	for _, line := range a.Quorum.Lines() {
		fmt.Fprintln(w, line)
	}
}
