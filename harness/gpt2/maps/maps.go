// Package maps holds the built-in maps, from other programs' names of GPT-2's tensors to
// the contract's stages.
package maps

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"checkpoint12/harness/align"
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
