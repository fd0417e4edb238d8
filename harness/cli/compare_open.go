package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"checkpoint12/harness"
	"checkpoint12/harness/align"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/maps"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/report"
	"checkpoint12/model"
	"checkpoint12/model/zoo"
)

// comparison is what is compared, opened.
type comparison struct {
	diagnose.Comparison
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
	var mapping *align.Map
	if o.mapping != "" {
		if mapping, err = maps.Read(o.mapping); err != nil {
			return nil, fmt.Errorf("--map: %w", err)
		}
		for _, n := range mapping.Notes {
			a.note("map %s: %s", mapping.Name, n)
		}
	}
	goldens, err := goldensOf(o)
	if err != nil {
		return nil, err
	}
	layers, config := 1, (*model.Config)(nil)
	if o.model != "" {
		if c.Model, err = wait(ctx, func() (*model.Model, error) { return zoo.Load(o.model) }); err != nil {
			return nil, err
		}
		cfg := c.Model.Config()
		layers, config = cfg.Layers, &cfg
	}
	folders := []gpt2.Folder{{Dir: o.candidate, Map: mapping}}
	for _, dir := range goldens {
		folders = append(folders, gpt2.Folder{Dir: dir})
	}
	if c.Schedule, err = gpt2.DumpSchedule(layers, folders...); err != nil {
		return nil, err
	}
	switch {
	case len(goldens) > 1:
		if c.Goldens, err = diagnose.OpenEngines(o.golden, c.Schedule); err != nil {
			return nil, err
		}
	case len(goldens) == 1:
		golden, _, err := a.openDump("--golden", o.golden, c.Schedule, nil)
		if err != nil {
			return nil, err
		}
		c.Goldens = []diagnose.EngineResult{{Source: golden}}
		if golden.Manifest() == nil {
			a.note("%s: has no %s, so nothing binds it to what made it", o.golden, dump.ManifestFile)
		}
	}
	candidate, hints, err := a.openDump("--candidate", o.candidate, c.Schedule, mapping)
	if err != nil {
		return nil, err
	}
	if c.view, err = gpt2.View(c.Schedule, c.golden(), candidate, hints, config); err != nil {
		return nil, fmt.Errorf("--candidate: %w", err)
	}
	c.Candidate = c.view
	return c, nil
}

// goldensOf returns the folders of goldens. An error is one that is not there, or
// no candidate.
func goldensOf(o compareOptions) (goldens []string, err error) {
	if o.golden != "" {
		if goldens = engineFolders(o.golden); len(goldens) < 2 {
			goldens = []string{o.golden}
			if err := checkDump("--golden", o.golden); err != nil {
				return nil, err
			}
		}
	}
	if info, err := os.Stat(o.candidate); o.mapping != "" && err == nil && info.IsDir() {
		return goldens, nil
	}
	return goldens, checkDump("--candidate", o.candidate)
}

// engineFolders returns the goldens below the folder of a case.
func engineFolders(dir string) []string {
	if steps, _ := filepath.Glob(filepath.Join(dir, "step_*")); len(steps) > 0 {
		return nil
	}
	folders := withManifest(dir, "*")
	for i := range folders {
		folders[i] = filepath.Join(dir, folders[i])
	}
	return folders
}

// unknownNamesHint is from how many unknown names on they look like another
// program's.
const unknownNamesHint = 3

// openDump opens the folder of a flag and prints its notes.
func (a *app) openDump(flag, dir string, s *harness.Schedule, mapping *align.Map) (d *dump.Dump, hints align.Hints, err error) {
	var notes []string
	if o := (dump.Options{Foreign: true}); mapping != nil {
		d, hints, notes, err = mapping.Open(dir, s, o)
	} else {
		d, notes, err = dump.Open(dir, s, o)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", flag, err)
	}
	a.notes(notes)
	if n := len(d.Unknown()); n >= unknownNamesHint && flag == "--candidate" && mapping == nil {
		a.note("%s: %d names are not those of stages; --map reads those of another program (ready: %s)", dir, n, words.And(maps.Names()))
	}
	return d, hints, nil
}

// maxViolations is how many violations are printed one by one.
const maxViolations = 10

// writeMore writes what the report itself does not say.
func writeMore(w *report.Writer, a *diagnose.Result) error {
	if a.Tokens == nil {
		fmt.Fprintln(w, "\nno golden was compared: each stage was judged on its own inputs alone")
	}
	if a.Tokens != nil && a.Tokens.String() != "" {
		fmt.Fprintf(w, "\n%s\n", a.Tokens)
	}
	if len(a.Violations) > 0 && a.Replayed == nil {
		fmt.Fprintf(w, "\nthe dump contradicts itself at %d of %s checked, whatever the golden:\n", len(a.Violations), words.Count(a.Checked, "place"))
		for i, v := range a.Violations {
			if i == maxViolations {
				fmt.Fprintf(w, "  and %d more\n", len(a.Violations)-i)
				break
			}
			fmt.Fprintf(w, "  step %d, stage %s: %s: %s\n", v.Step, v.Stage, v.Rule, v.Detail)
		}
	}
	if a.Quorum != nil {
		writeQuorum(w, a)
	}
	return w.Flush()
}

// writeQuorum writes how far the candidate is from each engine of the golden, and
// what the engines say of each other.
func writeQuorum(w *report.Writer, a *diagnose.Result) {
	fmt.Fprintln(w)
	t := report.NewTable("", "")
	for _, v := range a.Engines {
		bad := 0
		for i := range v.Report.Stages {
			if v.Report.Stages[i].Status.Diverges() {
				bad++
			}
		}
		t.Row("against "+v.Engine+":", fmt.Sprintf("%d of %s outside tolerance", bad, words.Count(v.Report.Compared, "tensor")))
	}
	w.Table(t)
	for _, line := range a.Quorum.Lines() {
		fmt.Fprintln(w, line)
	}
}
