package align

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/internal/words"
)

// declaration is what a mapping says of a tensor.
type declaration struct {
	layouts  []layout // in which it may be; none: what the stage says
	pad      string   // an axis that may be longer than it should
	split    string   // an axis of which only one place is this stage's
	part     int      // that place
	optional bool     // it is another stage's if its shape is not this one's
}

// maxMapped bounds what is looked at below a folder that a mapping reads.
const (
	maxMapped  = 1 << 20
	mappedDeep = 6
)

// list lists a folder by the mapping's names.
func (m *Mapping) list(dir string, isStage func(name string) bool) (dump.Listing, map[harness.Place]declaration, error) {
	l, said := dump.Listing{Mapped: true}, map[harness.Place]declaration{}
	var unnamed []string
	type found struct {
		file dump.Listed
		rule int // len(rules): the name is the stage's own
		said declaration
	}
	best := map[harness.Place]found{}
	ignored, extra := map[int][]string{}, []string{}
	seen := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || rel == "." {
			return err
		}
		rel = filepath.ToSlash(rel)
		if seen++; seen > maxMapped {
			return fmt.Errorf("%s: more than %d files", dir, maxMapped)
		}
		if e.IsDir() {
			if strings.Count(rel, "/") >= mappedDeep {
				return fs.SkipDir
			}
			return nil
		}
		if rel == m.Tokens {
			l.Tokens = rel
			return nil
		}
		name, step, ok := m.split(rel)
		if !ok {
			l.Other = append(l.Other, rel)
			return nil
		}
		rule, layer, why := m.find(name, isStage)
		if why >= 0 {
			ignored[why] = append(ignored[why], rel)
			return nil
		}
		targets, stages := []declaration{{}}, []string{layer}
		switch {
		case rule < len(m.rules):
			targets, stages = m.rules[rule].targets(layer)
		case !isStage(layer):
			unnamed = append(unnamed, rel)
			return nil
		}
		for i, stage := range stages {
			at := harness.Place{Step: step, Stage: stage}
			b, twice := best[at]
			switch {
			case twice && b.rule == rule:
				return fmt.Errorf("%s: the same step and stage as %s", path, filepath.Join(dir, b.file.Path))
			case twice && b.rule < rule:
				extra = append(extra, rel)
				continue
			case twice:
				extra = append(extra, b.file.Path)
			}
			best[at] = found{dump.Listed{Path: rel, Place: at}, rule, targets[i]}
		}
		return nil
	})
	if err != nil {
		return l, nil, err
	}
	for at, b := range best {
		l.Files = append(l.Files, b.file)
		said[at] = b.said
	}
	slices.SortFunc(l.Files, func(a, b dump.Listed) int {
		return strings.Compare(a.Place.File()+"\x00"+a.Path, b.Place.File()+"\x00"+b.Path)
	})
	var not []string
	for i, r := range m.ignore {
		if n := len(ignored[i]); n > 0 {
			not = append(not, fmt.Sprintf("%d such as %s (%s)", n, ignored[i][0], r.Why))
		}
	}
	if len(not) > 0 {
		l.Notes = append(l.Notes, fmt.Sprintf("%s: files that the map %s does not use: %s", dir, m.Name, strings.Join(not, "; ")))
	}
	for _, group := range dump.Alike(unnamed) {
		l.Notes = append(l.Notes, fmt.Sprintf("%s: %s: neither the map %s nor the stages have that name", dir, group, m.Name))
	}
	if len(extra) > 0 {
		slices.Sort(extra)
		l.Notes = append(l.Notes, fmt.Sprintf("%s: %s not used, such as %s: the same stages are there under names that the map prefers", dir, words.Count(len(extra), "file"), extra[0]))
	}
	return l, said, nil
}

// split takes a path apart: the engine's name of the tensor, and the step from 0.
func (m *Mapping) split(rel string) (name string, step int, ok bool) {
	match := m.file.FindStringSubmatch(rel)
	if match == nil {
		return "", 0, false
	}
	if m.stepAt > 0 {
		n, err := strconv.Atoi(match[m.stepAt])
		if err != nil || n < m.FirstStep {
			return "", 0, false
		}
		step = n - m.FirstStep
	}
	return match[m.nameAt], step, true
}

// find is the rule that takes a name, and the number of the layer in it. Where
// none does, rule is len(rules), and layer the name without its prefix if that
// is a stage's. ignored is the rule of ignore that takes the name, or -1.
func (m *Mapping) find(name string, isStage func(string) bool) (rule int, layer string, ignored int) {
	spellings := []string{name}
	for _, p := range m.prefixes {
		if rest, ok := strings.CutPrefix(name, p); ok {
			spellings = append(spellings, rest)
		}
	}
	for _, n := range spellings {
		for i := range m.rules {
			if layer, ok := m.rules[i].layerOf(n); ok {
				return i, layer, -1
			}
		}
	}
	flat := strings.NewReplacer("/", "\x1f") // Match lets * cross anything but a slash
	for _, n := range spellings {
		for i, r := range m.ignore {
			if names.Match(flat.Replace(r.From), flat.Replace(n)) {
				return len(m.rules), "", i
			}
		}
	}
	for _, n := range spellings {
		if isStage(n) {
			return len(m.rules), n, -1
		}
	}
	return len(m.rules), name, -1
}

// targets is the stages of a rule at a layer, and what is said of each.
func (r *mapRule) targets(layer string) ([]declaration, []string) {
	var said []declaration
	var stages []string
	for i, to := range r.To {
		d := declaration{layouts: r.layouts, pad: r.Pad}
		if r.Split != "" {
			d.split, d.part = r.Split, i
		} else {
			d.optional = len(r.To) > 1
		}
		said, stages = append(said, d), append(stages, strings.ReplaceAll(to, layerMark, layer))
	}
	return said, stages
}

// Mapped is a dump whose files a mapping has joined to stages.
type Mapped struct {
	*dump.Dump
	said map[harness.Place]declaration
}

// OpenMapped opens the folder at dir by a mapping's names, as OpenDump does
// without one. Such a folder has no manifest. What the mapping says of layouts
// is done by a View.
func OpenMapped(dir string, s *harness.Schedule, m *Mapping, o dump.Options) (*Mapped, []string, error) {
	if err := m.Check(s); err != nil {
		return nil, nil, err
	}
	if _, err := dump.ReadManifest(dir); err == nil {
		return nil, nil, fmt.Errorf("%s: has a %s, so its stages have their own names already: leave the map %s away", dir, dump.ManifestFile, m.Name)
	}
	listed, said, err := m.list(dir, func(name string) bool { _, ok := s.Index(name); return ok })
	if err != nil {
		return nil, nil, err
	}
	d, notes, err := dump.OpenListed(dir, s, listed, o)
	if err != nil {
		return nil, nil, err
	}
	return &Mapped{d, said}, notes, nil
}

// declared is what the mapping said of the stage's file.
func (d *Mapped) declared(step int, stage string) declaration {
	return d.said[harness.Place{Step: step, Stage: stage}]
}

// MappedStages is DumpStages of a folder whose files a mapping names.
func MappedStages(dir string, m *Mapping) ([]string, error) {
	l, _, err := m.list(dir, names.Valid)
	if err != nil {
		return nil, err
	}
	return l.Stages(), nil
}
