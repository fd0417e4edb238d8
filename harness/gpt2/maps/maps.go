// Package maps holds the ready maps: the names that other programs give to the
// tensors of GPT-2, joined to the contract's stages.
package maps

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"checkpoint12/harness/align"
)

//go:embed *.json
var files embed.FS

// Names returns the names of the ready maps, in alphabetical order.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic("maps: " + err.Error()) // an embedded folder can be read
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".json"))
	}
	slices.Sort(names)
	return names
}

// Read reads a ready map by its name, or the file of another. Errors name it.
func Read(nameOrFile string) (*align.Map, error) {
	if b, err := files.ReadFile(nameOrFile + ".json"); err == nil {
		m, err := align.ParseMap(b)
		if err != nil {
			return nil, fmt.Errorf("map %s: %w", nameOrFile, err)
		}
		return m, nil
	}
	m, err := align.ReadMap(filepath.Clean(nameOrFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no such file, and no ready map: those are %s", nameOrFile, strings.Join(Names(), ", "))
	}
	return m, err
}
