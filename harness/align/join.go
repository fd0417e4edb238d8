package align

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/internal/words"
)

// Hints tell in which layouts the tensors of a dump may be. The zero Hints say nothing.
type Hints struct{ of map[harness.Place]hint }

// hint is the rule that took one tensor; the zero rule if the name is the stage's own.
type hint struct {
	Rule
	part int    // the index in To
	path string // the tensor's file
}

// optional reports whether the tensor, if its shape is not this stage's, is another's.
func (h hint) optional() bool { return h.Split == "" && len(h.To) > 1 }

// Open is dump.Open by the map's names, of a folder without a manifest; it also
// returns the hints for a View.
func (m *Map) Open(dir string, s *harness.Schedule) (*dump.Dump, Hints, []string, error) {
	if err := m.Check(s); err != nil {
		return nil, Hints{}, nil, err
	}
	if _, err := dump.ReadManifest(dir); err == nil {
		return nil, Hints{}, nil, fmt.Errorf("%s: has a %s, so its stages already have their own names: leave out the map %s",
			dir, dump.ManifestFile, m.Name)
	}
	listed, hints, err := m.list(dir, func(name string) bool { _, ok := s.Index(name); return ok })
	if err != nil {
		return nil, Hints{}, nil, err
	}
	d, notes, err := dump.OpenListed(dir, s, listed, nil)
	return d, hints, notes, err
}

// List is dump.List by the map's names.
func (m *Map) List(dir string) (dump.Listing, error) {
	l, _, err := m.list(dir, names.Valid)
	return l, err
}

// Explains returns how many names of a dump are stages by the map's rules and none by
// themselves, each counted once.
func (m *Map) Explains(dir string, isStage func(name string) bool) (n int, err error) {
	_, hints, err := m.list(dir, isStage)
	explained := map[string]bool{}
	for _, h := range hints.of {
		if name, _, ok := m.split(h.path); ok && !isStage(name) && len(h.To) > 0 {
			explained[name] = true
		}
	}
	return len(explained), err
}

// Limits of a folder that a map reads.
const (
	maxFiles = 1 << 20
	maxDepth = 6
)

func (m *Map) list(dir string, isStage func(name string) bool) (dump.Listing, Hints, error) {
	j := &joined{m: m, best: map[harness.Place]target{}, ignored: make([][]string, len(m.Ignore))}
	var l dump.Listing
	files := 0
	add := func(path string) error {
		paths, err := l.Expand(dir, path)
		for _, path := range paths {
			if files++; files > maxFiles {
				return fmt.Errorf("more than %d files", maxFiles)
			}
			if err == nil && !l.TakeWeight(path) {
				err = j.add(path, isStage)
			}
		}
		return err
	}
	if dump.IsArchive(dir) {
		if err := add("."); err != nil {
			return l, Hints{}, err
		}
		return j.listing(l, dir)
	}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && strings.Count(path, "/") >= maxDepth:
			return fs.SkipDir
		case e.IsDir():
			return nil
		}
		return add(path)
	})
	if err != nil {
		return dump.Listing{}, Hints{}, fmt.Errorf("%s: %w", dir, err)
	}
	return j.listing(l, dir)
}

// listing completes a listing by what was joined.
func (j *joined) listing(l dump.Listing, dir string) (dump.Listing, Hints, error) {
	l.Tokens, l.Mask, l.Cut, l.Other, l.Notes = j.tokens, j.mask, j.cut, j.other, j.notes(dir)
	hints := Hints{map[harness.Place]hint{}}
	for at, t := range j.best {
		l.Tensors = append(l.Tensors, harness.File{Path: t.hint.path, Step: &at.Step, Stage: at.Stage})
		hints.of[at] = t.hint
	}
	unnamed := map[string]bool{}
	for _, path := range j.unnamed {
		name, _, _ := j.m.split(path)
		unnamed[name] = true
	}
	l.Unnamed = slices.Sorted(maps.Keys(unnamed))
	slices.SortFunc(l.Tensors, func(a, b harness.File) int {
		return cmp.Or(cmp.Compare(*a.Step, *b.Step), cmp.Compare(a.Stage, b.Stage))
	})
	return l, hints, nil
}

// joined are the files of a folder as a map joins them to stages.
type joined struct {
	m       *Map
	tokens  string                   // the file of ids
	mask    string                   // harness.MaskFile, if it is there
	cut     string                   // dump.CutFile, if it is there
	best    map[harness.Place]target // by the first rule
	ignored [][]string               // by rule of Ignore
	unnamed []string                 // with names that neither the map nor the stages have
	unused  []string                 // whose place another file has by an earlier rule
	other   []string                 // that belong to no dump
}

// target is a stage that a file may be.
type target struct {
	stage string
	rule  int // of Stages; their number where the name is the stage's own
	hint  hint
}

// add joins one file. It returns an error if another has its place by the same rule.
func (j *joined) add(path string, isStage func(name string) bool) error {
	if path == j.m.Tokens {
		j.tokens = path
		return nil
	}
	switch path {
	case harness.MaskFile:
		j.mask = path
		return nil
	case dump.CutFile:
		j.cut = path
		return nil
	}
	name, step, ok := j.m.split(path)
	if !ok {
		j.other = append(j.other, path)
		return nil
	}
	found, ignored := j.m.find(name, isStage)
	switch {
	case ignored >= 0:
		j.ignored[ignored] = append(j.ignored[ignored], path)
	case len(found) == 0:
		j.unnamed = append(j.unnamed, path)
	}
	for _, t := range found {
		t.hint.path = path
		at := harness.Place{Step: step, Stage: t.stage}
		have, twice := j.best[at]
		switch {
		case twice && have.rule == t.rule:
			return fmt.Errorf("%s: the same step and stage as %s", path, have.hint.path)
		case twice && have.rule < t.rule:
			j.unused = append(j.unused, path)
			continue
		case twice:
			j.unused = append(j.unused, have.hint.path)
		}
		j.best[at] = t
	}
	return nil
}

// split returns the engine's name and the step, from 0, of a path.
func (m *Map) split(path string) (name string, step int, ok bool) {
	match := m.path.FindStringSubmatch(path)
	if match == nil {
		return "", 0, false
	}
	if s := part(m.path, match, "step"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < m.FirstStep {
			return "", 0, false
		}
		step = n - m.FirstStep
	}
	return part(m.path, match, "name"), step, true
}

// find returns the stages that a tensor of the engine's name may be, and the rule of
// Ignore that takes it, or -1.
func (m *Map) find(name string, isStage func(string) bool) (found []target, ignored int) {
	short := []string{name}
	for _, p := range m.Prefixes {
		if rest, ok := strings.CutPrefix(name, p); ok {
			short = append(short, rest)
		}
	}
	for _, n := range short {
		for i, r := range m.Stages {
			match := r.name.FindStringSubmatch(n)
			if match == nil {
				continue
			}
			layer := cmp.Or(strings.TrimLeft(part(r.name, match, "N"), "0"), "0")
			for k, to := range r.To {
				found = append(found, target{stage: strings.ReplaceAll(to, layerMark, layer), rule: i,
					hint: hint{Rule: r, part: k}})
			}
			return found, -1
		}
	}
	flat := strings.NewReplacer("/", "\x1f") // Match lets * cross anything but a slash
	for _, n := range short {
		for i, r := range m.Ignore {
			if names.Match(flat.Replace(r.From), flat.Replace(n)) {
				return nil, i
			}
		}
	}
	for _, n := range short {
		if isStage(n) {
			return []target{{stage: n, rule: len(m.Stages)}}, -1
		}
	}
	return nil, -1
}

// notes returns which files are not used, and why.
func (j *joined) notes(dir string) (notes []string) {
	var ignored []string
	for i, r := range j.m.Ignore {
		if n := len(j.ignored[i]); n > 0 {
			ignored = append(ignored, fmt.Sprintf("%d such as %s (%s)", n, j.ignored[i][0], r.Why))
		}
	}
	if len(ignored) > 0 {
		notes = append(notes, fmt.Sprintf("%s: files that the map %s does not use: %s",
			dir, j.m.Name, strings.Join(ignored, "; ")))
	}
	for _, group := range dump.GroupPaths(j.unnamed) {
		notes = append(notes, fmt.Sprintf("%s: %s: neither a name in the map %s nor a stage", dir, group, j.m.Name))
	}
	if len(j.unused) > 0 {
		slices.Sort(j.unused)
		notes = append(notes, fmt.Sprintf("%s: %s not used, such as %s: the same stages are there under names that the map prefers",
			dir, words.Count(len(j.unused), "file"), j.unused[0]))
	}
	return notes
}
