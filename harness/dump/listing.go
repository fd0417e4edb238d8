package dump

import (
	"fmt"
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
	Tokens  string       // the file of ids; "" if there is none
	Tensors []TensorFile // by path
	Other   []string     // files that belong to no dump
	Notes   []string     // remarks on the files

	inSteps []string // every file in a step's folder
}

// TensorFile is the file of a stage's tensor at a step. Its name may be no stage's.
type TensorFile struct {
	Path  string
	Place harness.Place
}

var stepFolder = regexp.MustCompile(`^step_([0-9]{1,9})$`)

// list lists a folder, two levels deep.
func list(dir string) (Listing, error) {
	var l Listing
	top, err := os.ReadDir(dir)
	if err != nil {
		return l, err
	}
	for _, e := range top {
		name := e.Name()
		m := stepFolder.FindStringSubmatch(name)
		switch {
		case name == harness.TokensFile:
			l.Tokens = harness.TokensFile
		case name == ManifestFile:
		case m == nil || !isDir(filepath.Join(dir, name)):
			l.Other = append(l.Other, name)
		default:
			step, err := strconv.Atoi(m[1])
			if err != nil {
				return l, err
			}
			if err := l.listStep(dir, name, step); err != nil {
				return l, err
			}
		}
	}
	return l, nil
}

func (l *Listing) listStep(dir, folder string, step int) error {
	files, err := os.ReadDir(filepath.Join(dir, folder))
	if err != nil {
		return err
	}
	for _, f := range files {
		path := folder + "/" + f.Name()
		l.inSteps = append(l.inSteps, path)
		if stage, ok := strings.CutSuffix(f.Name(), ".npy"); ok {
			l.Tensors = append(l.Tensors, TensorFile{path, harness.Place{Step: step, Stage: stage}})
		} else {
			l.Other = append(l.Other, path)
		}
	}
	return nil
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// notes names each file that is no stage's: a name that several steps have once,
// with how many. It also returns these names.
func (l Listing) notes(dir string, s *harness.Schedule) (notes, names []string) {
	files := map[string][]string{}
	for _, f := range l.Tensors {
		name := f.Place.Stage
		if _, ok := s.Index(name); ok {
			continue
		}
		if files[name] == nil {
			names = append(names, name)
		}
		files[name] = append(files[name], filepath.Join(dir, f.Path))
	}
	for _, name := range names {
		note := files[name][0]
		if n := len(files[name]) - 1; n > 0 {
			note += fmt.Sprintf(" and the same of %s", words.Count(n, "more step"))
		}
		note += fmt.Sprintf(": no stage is called %q", name)
		if near := Nearest(s, name); near != "" {
			note += fmt.Sprintf("; did you mean %q?", near)
		}
		notes = append(notes, note)
	}
	for _, path := range l.Other {
		notes = append(notes, fmt.Sprintf("%s: not part of a dump, ignored", filepath.Join(dir, path)))
	}
	return append(notes, l.Notes...), names
}

// Stages returns the names of the .npy files in the steps of the dump at dir, each
// once, be they stages or not. Without a manifest a schedule is made from them.
func Stages(dir string) ([]string, error) {
	l, err := list(dir)
	if err != nil {
		return nil, err
	}
	return l.Stages(), nil
}

// Stages returns the names of the tensors' files, each once.
func (l Listing) Stages() []string {
	var names []string
	for _, f := range l.Tensors {
		names = append(names, f.Place.Stage)
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

// Alike groups paths that differ in numbers only, and names of each group the first
// and how many there are.
func Alike(paths []string) []string {
	var keys, groups []string
	n := map[string]int{}
	first := map[string]string{}
	for _, p := range paths {
		key := digits.ReplaceAllString(p, "0")
		if n[key]++; n[key] == 1 {
			keys, first[key] = append(keys, key), p
		}
	}
	for _, k := range keys {
		g := first[k]
		if n[k] > 1 {
			g = fmt.Sprintf("%s and %d like it", g, n[k]-1)
		}
		groups = append(groups, g)
	}
	return groups
}

var digits = regexp.MustCompile(`[0-9]+`)
