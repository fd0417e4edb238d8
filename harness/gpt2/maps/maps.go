// Package maps holds the built-in maps, from other programs' names of GPT-2's tensors to
// the contract's stages.
package maps

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/align"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/internal/words"
	"checkpoint12/model"
	"checkpoint12/model/regularfile"
)

//go:embed *.json
var files embed.FS

// Names returns the names of the built-in maps, in alphabetical order.
func Names() []string {
	names, err := fs.Glob(files, "*.json")
	if err != nil {
		panic("maps: " + err.Error()) // the pattern is well formed
	}
	for i := range names {
		names[i] = strings.TrimSuffix(names[i], ".json")
	}
	return names
}

// Read reads a built-in map by its name, or the file of another. Errors name it.
func Read(nameOrFile string) (*align.Map, error) {
	b, err := files.ReadFile(nameOrFile + ".json")
	if err != nil {
		b, err = regularfile.Read(nameOrFile, align.MaxMap)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no such file, and no built-in map: those are %s",
			nameOrFile, strings.Join(Names(), ", "))
	}
	if err != nil {
		return nil, err
	}
	m, err := align.ParseMap(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", nameOrFile, err)
	}
	return m, nil
}

// Open opens a dump by a map's names, which may be nil, and returns its notes.
func Open(dir string, s *harness.Schedule, m *align.Map) (d *dump.Dump, hints align.Hints, notes []string, err error) {
	if m != nil {
		return m.Open(dir, s)
	}
	d, notes, err = dump.Open(dir, s)
	return d, hints, notes, err
}

// CheckKnown returns an error for a dump of which more names are unknown than known.
func CheckKnown(d *dump.Dump) error {
	known, unknown := d.Known(), d.Unknown()
	if len(unknown) <= known {
		return nil
	}
	are := "s are"
	if len(unknown) == 1 {
		are = " is"
	}
	return fmt.Errorf("%d name%s no stage's, such as %s, and %d a stage's", len(unknown), are, words.Some(unknown, 3), known)
}

// Fitting returns the built-in map that explains names which are no stages in a dump
// without a manifest: the one by whose rules most of them are stages. It is nil if none
// explains any, or if two explain as many.
func Fitting(dir string) (*align.Map, error) {
	if _, err := dump.ReadManifest(dir); err == nil {
		return nil, nil
	}
	listed, err := dump.List(dir)
	if err != nil {
		return nil, err
	}
	isStage := func(name string) bool { _, ok := model.ParseStage(name); return ok }
	if !slices.ContainsFunc(listed.Stages(), func(name string) bool { return !isStage(name) }) && len(listed.Unnamed) == 0 {
		return nil, nil
	}
	var best *align.Map
	most, twice := 0, false
	for _, name := range Names() {
		m, err := Read(name)
		if err != nil {
			return nil, err
		}
		n, err := m.Explains(dir, isStage)
		if err != nil {
			return nil, err
		}
		if twice = n == most || n < most && twice; n > most {
			best, most = m, n
		}
	}
	if twice || most == 0 {
		return nil, nil
	}
	return best, nil
}
