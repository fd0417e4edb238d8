package cli

import (
	"context"
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
	"checkpoint12/harness/gpt2/maps"
	"checkpoint12/model"
	"checkpoint12/model/zoo"
)

// comparison is what is compared, opened.
type comparison struct {
	diagnose.Question
	view *align.View // the candidate
}

func (c *comparison) close(ctx context.Context) {
	if c.Model != nil {
		closeUnless(ctx, c.Model)
	}
}

// golden returns the first golden, or nil.
func (c *comparison) golden() harness.Source {
	if len(c.Goldens) == 0 {
		return nil
	}
	return c.Goldens[0].Source
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
		if c.Model, err = wait(ctx, func() (*model.Model, error) { return zoo.Load(o.model) }); err != nil {
			return nil, err
		}
		cfg := c.Model.Config()
		config = &cfg
		c.Schedule, err = gpt2.ModelSchedule(c.Model, dumps...)
	} else {
		c.Schedule, err = gpt2.DumpSchedule(dumps...)
	}
	if err == nil && mapping != nil {
		c.Schedule, err = gpt2.MappedSchedule(c.Schedule, mapping, o.candidate)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case len(goldens) > 1:
		if c.Goldens, err = diagnose.OpenEngines(o.golden, c.Schedule); err != nil {
			return nil, err
		}
	case len(goldens) == 1:
		golden, err := a.openDump("--golden", o.golden, c.Schedule, nil)
		if err != nil {
			return nil, err
		}
		c.Goldens = []diagnose.EngineResult{{Source: golden}}
		if golden.Manifest() == nil {
			a.note("%s: has no %s, so nothing binds it to what made it", o.golden, dump.ManifestFile)
		}
	}
	candidate, err := a.openDump("--candidate", o.candidate, c.Schedule, mapping)
	if err != nil {
		return nil, err
	}
	if c.view, err = gpt2.View(c.Schedule, c.golden(), candidate, config); err != nil {
		return nil, fmt.Errorf("--candidate: %w", err)
	}
	c.Candidate = c.view
	return c, nil
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

// maxViolations is how many violations are printed one by one.
const maxViolations = 10

// writeMore writes what the report itself does not say.
func writeMore(w io.Writer, a *diagnose.Answer) {
	if a.Tokens == nil {
		fmt.Fprint(w, "\nno golden was compared: each stage was judged by its own inputs alone\n")
	}
	if a.Tokens != nil && a.Tokens.String() != "" {
		fmt.Fprintf(w, "\n%s\n", a.Tokens)
	}
	if len(a.Violations) > 0 && a.Replayed == nil {
		fmt.Fprintf(w, "\nthe dump contradicts itself at %d of %d places looked at, without any golden:\n", len(a.Violations), a.Checked)
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
	for _, v := range a.Engines {
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
