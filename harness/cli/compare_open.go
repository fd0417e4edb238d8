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
	mapping, err := a.readMap(o.mapping)
	if err != nil {
		return nil, err
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
	if c.Goldens, err = a.openGoldens(o.golden, goldens, c.Schedule); err != nil {
		return nil, err
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

// readMap reads the map of --map, if there is one.
func (a *app) readMap(flag string) (*align.Map, error) {
	if flag == "" {
		return nil, nil
	}
	m, err := maps.Read(flag)
	if err != nil {
		return nil, fmt.Errorf("--map: %w", err)
	}
	for _, n := range m.Notes {
		a.note("map %s: %s", m.Name, n)
	}
	return m, nil
}

// openGoldens opens the golden of --golden or, of a case's folder, those of all
// engines.
func (a *app) openGoldens(flag string, folders []string, s *harness.Schedule) ([]diagnose.EngineResult, error) {
	switch len(folders) {
	case 0:
		return nil, nil
	case 1:
		golden, _, err := a.openDump("--golden", folders[0], s, nil)
		if err != nil {
			return nil, err
		}
		if golden.Manifest() == nil {
			a.note("%s: has no %s, so nothing binds it to what made it", folders[0], dump.ManifestFile)
		}
		return []diagnose.EngineResult{{Source: golden}}, nil
	}
	return diagnose.OpenEngines(flag, s)
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
	if mapping != nil {
		d, hints, notes, err = mapping.Open(dir, s)
	} else {
		d, notes, err = dump.Open(dir, s)
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
