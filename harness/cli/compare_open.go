package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

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

// openComparison opens the folders of the flags and returns the goldens and the candidate.
func (a *app) openComparison(ctx context.Context, c *diagnose.Comparison, o compareOptions) ([]*align.View, error) {
	mapping, err := a.readMap("--map", o.mapping, "--candidate", o.candidate)
	if err != nil {
		return nil, err
	}
	goldens, goldenMap, err := a.goldenFolders(o)
	if err != nil {
		return nil, err
	}
	folders := []gpt2.Folder{{Dir: o.candidate, Map: mapping}}
	for _, dir := range goldens {
		folders = append(folders, gpt2.Folder{Dir: dir, Map: goldenMap})
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
	if err := a.openGoldens(c, o, goldens, goldenMap); err != nil {
		return nil, err
	}
	candidate, hints, err := a.openDump("--candidate", o.candidate, c.Schedule, mapping, o.allowUnknown)
	if err != nil {
		return nil, err
	}
	others, shared, err := diagnose.WithoutCandidate(c.Goldens, candidate)
	if err != nil {
		return nil, fmt.Errorf("--candidate %w", err)
	}
	if len(others) < len(c.Goldens) {
		a.note("%s: is one of the goldens itself, which is left out", o.candidate)
	}
	c.Goldens, c.Shared, c.Unknown = others, shared, len(candidate.Unknown())
	if err := c.LoadWeights(candidate); err != nil {
		return nil, fmt.Errorf("--candidate %w", err)
	}
	return c.View(ctx, candidate, hints, config)
}

// readMap reads the map of a flag for the dump of another, and prints its notes. Without a
// name it is the built-in map that fits the dump, if one does.
func (a *app) readMap(flag, name, dumpFlag, dir string) (mapping *align.Map, err error) {
	if name == "" || !isFolder(dir) {
		if err := a.checkDump(dumpFlag, dir); err != nil && (name == "" || !dump.IsArchive(dir)) {
			return nil, err
		}
	}
	if name == "" {
		if mapping, err = maps.Fitting(dir); err != nil || mapping == nil {
			return nil, err
		}
		a.note("%s: names are read as by %s %s", dir, flag, mapping.Name)
	} else if mapping, err = maps.Read(name); err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	for _, n := range mapping.Notes {
		a.note("map %s: %s", mapping.Name, n)
	}
	return mapping, nil
}

// openGoldens opens the goldens in the folders, of several those of their cases.
func (a *app) openGoldens(c *diagnose.Comparison, o compareOptions, folders []string, m *align.Map) error {
	if len(folders) != 1 || filepath.Clean(folders[0]) != filepath.Clean(o.golden) {
		var cases []string
		for _, dir := range folders {
			cases = append(cases, filepath.Dir(dir))
		}
		return c.OpenCases(slices.Compact(cases)...)
	}
	d, hints, err := a.openDump("--golden", folders[0], c.Schedule, m, o.allowUnknown)
	if err != nil {
		return err
	}
	if d.Manifest() == nil {
		a.note("%s: has no %s, so nothing binds it to what made it", folders[0], dump.ManifestFile)
	}
	c.Goldens = []diagnose.EngineResult{{Source: d, Hints: hints}}
	return nil
}

// openDump opens the folder of a flag and prints its notes.
func (a *app) openDump(
	flag, dir string, s *harness.Schedule, m *align.Map, allowUnknown bool,
) (d *dump.Dump, hints align.Hints, err error) {
	d, hints, notes, err := maps.Open(dir, s, m)
	if err != nil {
		return nil, hints, fmt.Errorf("%s: %w", flag, err)
	}
	if err := maps.CheckKnown(d); err != nil && !allowUnknown {
		mapping := map[string]string{"--candidate": "--map", "--golden": "--golden-map"}[flag]
		return nil, hints, fmt.Errorf("%s %s: %w: give the names with %s FILE (built in: %s), or judge the stages alone with "+
			"--allow-unknown", flag, dir, err, mapping, words.And(maps.Names()))
	}
	a.notes(notes)
	return d, hints, nil
}
