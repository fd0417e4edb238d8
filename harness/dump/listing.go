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

// Listing is what a dump's folder holds, by name alone. Paths are below the
// folder, with forward slashes.
type Listing struct {
	Tokens string   // the file of ids; "" if there is none
	Files  []Listed // the tensors' files, by path
	Other  []string // what belongs to no dump
	Mapped bool     // whether the names are those of another program, joined to stages
	Notes  []string // what else there is to say of it

	inSteps []string // every file in a step's folder
}

// Listed is one tensor's file.
type Listed struct {
	Path  string
	Place harness.Place
}

var stepFolder = regexp.MustCompile(`^step_([0-9]{1,9})$`)

// listDump lists a folder, two levels deep.
func listDump(dir string) (Listing, error) {
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
			l.Files = append(l.Files, Listed{path, harness.Place{Step: step, Stage: stage}})
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
	for _, f := range l.Files {
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

// Stages lists the names of the .npy files in the steps of the dump at dir,
// stages or not, without repetition: what there is to make a schedule for when
// no manifest says which model it was.
func Stages(dir string) ([]string, error) {
	l, err := listDump(dir)
	if err != nil {
		return nil, err
	}
	return l.Stages(), nil
}

// Stages is the names of the files in steps, each once.
func (l Listing) Stages() []string {
	var names []string
	for _, f := range l.Files {
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

// Alike names paths in groups whose names differ only in numbers: the first, and
// how many there are.
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
