package cli

import (
	"fmt"

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

// openComparison opens what the flags name, prints notes on it, and returns the
// candidate.
func (a *app) openComparison(c *diagnose.Comparison, o compareOptions) (*align.View, error) {
	var mapping *align.Map
	var err error
	if o.mapping != "" {
		if mapping, err = maps.Read(o.mapping); err != nil {
			return nil, fmt.Errorf("--map: %w", err)
		}
		for _, n := range mapping.Notes {
			a.note("map %s: %s", mapping.Name, n)
		}
	}
	folders := []gpt2.Folder{{Dir: o.candidate, Map: mapping}}
	goldens, err := goldenFolders(o.golden)
	if err != nil {
		return nil, err
	}
	for _, dir := range goldens {
		folders = append(folders, gpt2.Folder{Dir: dir})
	}
	if mapping == nil || !isFolder(o.candidate) {
		if err := checkDump("--candidate", o.candidate); err != nil {
			return nil, err
		}
	}
	layers, config := 1, (*model.Config)(nil)
	if o.model != "" {
		if c.Model, err = zoo.Load(o.model); err != nil {
			return nil, err
		}
		cfg := c.Model.Config()
		layers, config = cfg.Layers, &cfg
	}
	if c.Schedule, err = gpt2.DumpSchedule(layers, folders...); err != nil {
		return nil, err
	}
	var golden harness.Source // the first
	if len(goldens) > 1 {
		if c.Goldens, err = diagnose.OpenEngines(o.golden, c.Schedule); err != nil {
			return nil, err
		}
		golden = c.Goldens[0].Source
	} else if len(goldens) == 1 {
		d, _, err := a.openDump("--golden", goldens[0], c.Schedule, nil)
		if err != nil {
			return nil, err
		}
		if d.Manifest() == nil {
			a.note("%s: has no %s, so nothing binds it to what made it", goldens[0], dump.ManifestFile)
		}
		c.Goldens, golden = []diagnose.EngineResult{{Source: d}}, d
	}
	candidate, hints, err := a.openDump("--candidate", o.candidate, c.Schedule, mapping)
	if err != nil {
		return nil, err
	}
	if n := len(candidate.Unknown()); n > 2 && mapping == nil {
		a.note("%s: %d names are not those of stages; --map reads those of another program (ready: %s)", o.candidate, n, words.And(maps.Names()))
	}
	view, err := gpt2.View(c.Schedule, golden, candidate, hints, config)
	if err != nil {
		return nil, fmt.Errorf("--candidate: %w", err)
	}
	c.Candidate = view
	return view, nil
}

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
	return d, hints, nil
}
