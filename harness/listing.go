package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// listing is what a dump's folder holds, by name alone.
type listing struct {
	tokens  bool
	files   []listedFile // step_NN/<name>.npy, by path
	inSteps []string     // every file in a step's folder, with forward slashes
	other   []string     // what belongs to no dump, with forward slashes

	// Of a folder that a Mapping has listed:
	said    map[string]declaration // of each stage's file, by the place's file
	unnamed []string               // files whose names nobody knows
	mapped  []string               // notes
}

type listedFile struct {
	path  string // below the dump
	place Place
}

var stepFolder = regexp.MustCompile(`^step_([0-9]{1,9})$`)

// listDump lists a folder, two levels deep.
func listDump(dir string) (listing, error) {
	var l listing
	top, err := os.ReadDir(dir)
	if err != nil {
		return l, err
	}
	for _, e := range top {
		name := e.Name()
		m := stepFolder.FindStringSubmatch(name)
		switch {
		case name == tokensFile:
			l.tokens = true
		case name == ManifestFile:
		case m == nil || !isDir(filepath.Join(dir, name)):
			l.other = append(l.other, name)
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

func (l *listing) listStep(dir, folder string, step int) error {
	files, err := os.ReadDir(filepath.Join(dir, folder))
	if err != nil {
		return err
	}
	for _, f := range files {
		path := folder + "/" + f.Name()
		l.inSteps = append(l.inSteps, path)
		if stage, ok := strings.CutSuffix(f.Name(), ".npy"); ok {
			l.files = append(l.files, listedFile{path, Place{step, stage}})
		} else {
			l.other = append(l.other, path)
		}
	}
	return nil
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// strangers is how many unknown names look like another program's.
const strangers = 3

// notes names what is no stage's file: a name that several steps have once, with
// how many.
func (l listing) notes(dir string, s *Schedule) []string {
	var notes, names []string
	files := map[string][]string{}
	for _, f := range l.files {
		name := f.place.Stage
		if _, ok := s.Index(name); ok {
			continue
		}
		if files[name] == nil {
			names = append(names, name)
		}
		files[name] = append(files[name], filepath.Join(dir, f.path))
	}
	for _, name := range names {
		note := files[name][0]
		if n := len(files[name]) - 1; n > 0 {
			note += fmt.Sprintf(" and the same of %s", count(n, "more step"))
		}
		note += fmt.Sprintf(": no stage is called %q", name)
		if near := s.nearest(name); near != "" {
			note += fmt.Sprintf("; did you mean %q?", near)
		}
		notes = append(notes, note)
	}
	if len(names) >= strangers && l.mapped == nil {
		notes = append(notes, fmt.Sprintf("%s: %d names are no stage's; compare --map joins those of another program", dir, len(names)))
	}
	for _, path := range l.other {
		notes = append(notes, fmt.Sprintf("%s: not part of a dump, ignored", filepath.Join(dir, path)))
	}
	return append(notes, l.mapped...)
}

// DumpStages lists the names of the .npy files in the steps of the dump at dir,
// stages or not, without repetition: what there is to make a schedule for when
// no manifest says which model it was.
func DumpStages(dir string) ([]string, error) {
	l, err := listDump(dir)
	if err != nil {
		return nil, err
	}
	return l.stages(), nil
}

// MappedStages is DumpStages of a folder whose files a mapping names.
func MappedStages(dir string, m *Mapping) ([]string, error) {
	l, err := m.list(dir, stageName.MatchString)
	if err != nil {
		return nil, err
	}
	return l.stages(), nil
}

// stages is the names of the files in steps, each once.
func (l listing) stages() []string {
	var names []string
	for _, f := range l.files {
		names = append(names, f.place.Stage)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// nearest is the stage whose name differs least, by at most a third of it.
func (s *Schedule) nearest(name string) string {
	best, least := "", len(name)/3+1
	for _, st := range s.stages {
		if d := editDistance(name, st.Name, least); d < least {
			best, least = st.Name, d
		}
	}
	return best
}

// editDistance is Levenshtein's, or limit where it would be that or more.
func editDistance(a, b string, limit int) int {
	if abs := max(len(a)-len(b), len(b)-len(a)); abs >= limit || len(a) > 256 {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diag, row[j+1] = row[j+1], min(diag+cost, row[j+1]+1, row[j]+1)
		}
	}
	return min(row[len(b)], limit)
}
