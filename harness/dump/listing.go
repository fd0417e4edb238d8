package dump

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/words"
)

// Listing is the files in a dump's folder, by their names alone. Paths are below
// the folder, with forward slashes.
type Listing struct {
	Tokens  string         // the file of ids; "" if there is none
	Mask    string         // the file of the attention mask; "" if there is none
	Cut     string         // CutFile; "" if there is none
	Tensors []harness.File // by path, which with step and stage is all that is known; a stage may have any name
	Other   []string       // files that belong to no dump
	Unnamed []string       // names, besides those of Tensors, that are no stage's
	Notes   []string       // remarks on the files

	weights  []string // files of weights as loaded
	parts    []string // the files of ids and mask and every file in a step's folder
	archives archives
}

// WeightsFolder is the folder of the weights as an engine uses them, or of an archive in its
// place: weights.safetensors.
const WeightsFolder = "weights"

var stepFolder = regexp.MustCompile(`^step_([0-9]{1,9})$`)

// List lists a dump's folder, two levels deep, or the archive in its place.
func List(dir string) (Listing, error) {
	var l Listing
	if IsArchive(dir) {
		paths, err := l.Expand(dir, ".")
		for _, path := range paths {
			l.add(path)
		}
		return l, err
	}
	top, err := os.ReadDir(dir)
	if err != nil {
		return l, err
	}
	bound := slices.ContainsFunc(top, func(e os.DirEntry) bool { return e.Name() == ManifestFile })
	for _, e := range top {
		name := e.Name()
		info, _ := os.Stat(filepath.Join(dir, name))
		paths := []string{name}
		switch {
		case name == ManifestFile:
			continue
		case name == CutFile:
			l.Cut = name
			continue
		case (stepFolder.MatchString(name) || name == WeightsFolder) && info != nil && info.IsDir():
			files, err := os.ReadDir(filepath.Join(dir, name))
			if err != nil {
				return l, err
			}
			paths = nil
			for _, f := range files {
				paths = append(paths, name+"/"+f.Name())
			}
		case !bound || strings.TrimSuffix(name, filepath.Ext(name)) == WeightsFolder:
			if paths, err = l.Expand(dir, name); err != nil {
				return l, err
			}
		}
		for _, path := range paths {
			l.add(path)
		}
	}
	return l, nil
}

// add adds a file by its path.
func (l *Listing) add(path string) {
	if l.TakeWeight(path) {
		return
	}
	folder, name, _ := strings.Cut(path, "/")
	m := stepFolder.FindStringSubmatch(folder)
	switch {
	case path == harness.TokensFile:
		l.Tokens, l.parts = path, append(l.parts, path)
	case path == harness.MaskFile:
		l.Mask, l.parts = path, append(l.parts, path)
	case m == nil || name == "":
		l.Other = append(l.Other, path)
	default:
		l.parts = append(l.parts, path)
		step, _ := strconv.Atoi(m[1])
		if stage, ok := strings.CutSuffix(name, ".npy"); ok {
			l.Tensors = append(l.Tensors, harness.File{Path: path, Step: &step, Stage: stage})
		} else {
			l.Other = append(l.Other, path)
		}
	}
}

// TakeWeight adds a file if it is a weight as loaded, and reports whether it is.
func (l *Listing) TakeWeight(path string) bool {
	ok := weightName(path) != ""
	if ok {
		l.weights = append(l.weights, path)
	}
	return ok
}

// weightName returns the name of the weight in a file, "" if there is none.
func weightName(path string) string {
	name, ok := strings.CutPrefix(path, WeightsFolder+"/")
	if name, npy := strings.CutSuffix(name, ".npy"); ok && npy && !strings.Contains(name, "/") {
		return name
	}
	return ""
}

// stages returns the files of stages, the other names, and a note for each of these, with
// the first of its files, and for what is no tensor.
func (l Listing) stages(dir string, s *harness.Schedule) (files []harness.File, names, notes []string) {
	others := map[string][]string{}
	for _, f := range l.Tensors {
		if _, ok := s.Index(f.Stage); ok {
			files = append(files, f)
			continue
		}
		if others[f.Stage] == nil {
			names = append(names, f.Stage)
		}
		others[f.Stage] = append(others[f.Stage], l.archives.label(dir, f.Path))
	}
	for _, name := range names {
		note := others[name][0]
		if n := len(others[name]) - 1; n > 0 {
			note += fmt.Sprintf(" and the same of %s", words.Count(n, "more step"))
		}
		note += fmt.Sprintf(": no stage is called %q", name)
		if near := Nearest(s, name); near != "" {
			note += fmt.Sprintf("; did you mean %q?", near)
		}
		notes = append(notes, note)
	}
	if len(l.Other) > 0 {
		notes = append(notes, fmt.Sprintf("%s: not part of a dump, ignored: %s", dir, words.Some(l.Other, 3)))
	}
	for _, path := range l.Other {
		if line := FromPickle(filepath.Join(dir, path)); line != "" {
			notes = append(notes, filepath.Join(dir, path)+": "+line)
		}
	}
	return files, names, append(notes, l.Notes...)
}

// Stages returns the names of the tensors' files, each once, be they stages or not.
func (l Listing) Stages() []string {
	var names []string
	for _, f := range l.Tensors {
		names = append(names, f.Stage)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Nearest returns the stage of the schedule that name was meant to be, or "".
func Nearest(s *harness.Schedule, name string) string {
	var stages []string
	for _, st := range s.Stages() {
		stages = append(stages, st.Name)
	}
	return words.Nearest(name, len(name)/3, stages)
}

var digits = regexp.MustCompile(`[0-9]+`)

// GroupPaths groups paths that differ in numbers only, and names of each group the first
// and how many there are.
func GroupPaths(paths []string) []string {
	alike := map[string][]string{}
	for _, p := range paths {
		key := digits.ReplaceAllString(p, "0")
		alike[key] = append(alike[key], p)
	}
	var groups []string
	for _, key := range slices.Sorted(maps.Keys(alike)) {
		group := alike[key][0]
		if n := len(alike[key]) - 1; n > 0 {
			group += fmt.Sprintf(" and %d like it", n)
		}
		groups = append(groups, group)
	}
	return groups
}
