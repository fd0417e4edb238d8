package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/align"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/internal/words"
)

// goldensFolder is the name of the folder in which verify and selftest look for goldens.
const goldensFolder = "goldens"

// findGoldens returns the folder of --goldens or, if that is "", the nearest one, here or above.
func (a *app) findGoldens(flag string) (string, error) {
	switch path := nearest(goldensFolder); {
	case flag != "" && !isFolder(flag):
		return "", a.noFolder("--goldens", flag)
	case flag != "":
		return flag, nil
	case path == "":
		return "", fmt.Errorf("no folder %q here or in any parent folder: run in a clone of checkpoint12, "+
			"or give its goldens with --goldens DIR", goldensFolder)
	default:
		if path != goldensFolder {
			a.note("the goldens are those in %s", path)
		}
		return path, nil
	}
}

// nearest returns the path of a folder here or, from the nearest folder that has it,
// above; "" if there is none.
func nearest(path string) string {
	dir, _ := os.Getwd() // "" if that is not known
	for ; ; path, dir = filepath.Join("..", path), filepath.Dir(dir) {
		switch {
		case isFolder(path):
			return path
		case dir == "" || dir == filepath.Dir(dir):
			return ""
		}
	}
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// noFolder returns the error for a flag's folder that does not exist, with those that
// do; of the goldens the hint is where they are.
func (a *app) noFolder(flag, dir string) error {
	err := &hintError{error: fmt.Errorf("%s %s: no such folder", flag, dir)}
	for above := filepath.Dir(dir); above != filepath.Dir(above); above = filepath.Dir(above) {
		if folders, _ := diagnose.Folders(above); len(folders) > 0 {
			err.error = fmt.Errorf("%w: %s has %s", err.error, above, brief(folders))
			break
		}
	}
	if first, _, _ := strings.Cut(filepath.ToSlash(dir), "/"); first == goldensFolder && nearest(dir) != "" {
		err.hint = a.with(flag, nearest(dir))
	}
	return err
}

// brief lists the names of folders, of many the first.
func brief(folders []string) string {
	var names []string
	for _, dir := range folders {
		names = append(names, filepath.Base(dir))
	}
	return words.Some(names, 10)
}

// goldenFolders returns the golden of --golden with the map of its names, if it needs one,
// or, of a case or a folder of cases, those of all engines.
func (a *app) goldenFolders(o compareOptions) (all []string, m *align.Map, err error) {
	dir := o.golden
	if dir == "" {
		return nil, nil, nil
	}
	if isFolder(dir) && !diagnose.HasSteps(dir) && o.goldenMapping == "" {
		engines, err := diagnose.Engines(dir)
		if err != nil || len(engines) > 1 {
			return engines, nil, err
		}
		cases, err := diagnose.Folders(dir)
		for i := 0; err == nil && len(engines) == 0 && i < len(cases); i++ {
			var more []string
			more, err = diagnose.Engines(cases[i])
			all = append(all, more...)
		}
		if err != nil || len(all) > 0 {
			return all, nil, err
		}
	}
	m, err = a.readMap("--golden-map", o.goldenMapping, "--golden", dir)
	return []string{dir}, m, err
}

// checkDump returns an error if the folder of a flag plainly holds no dump.
func (a *app) checkDump(flag, dir string) error {
	entries, err := os.ReadDir(dir)
	info, e := os.Stat(dir)
	switch {
	case dump.IsArchive(dir):
		return nil
	case e == nil && !info.IsDir() && dump.FromPickle(dir) != "":
		return fmt.Errorf("%s %s: %s", flag, dir, dump.FromPickle(dir))
	case e == nil && !info.IsDir():
		return fmt.Errorf("%s %s: is a file; want the folder of a dump, a .npz or a .safetensors", flag, dir)
	case errors.Is(err, fs.ErrNotExist):
		return a.noFolder(flag, dir)
	case err != nil:
		return fmt.Errorf("%s %s: %w", flag, dir, cause(err))
	case diagnose.HasSteps(dir):
		return nil
	}
	for i, what := range []string{"dumps", "cases", "models"} {
		found, _ := filepath.Glob(filepath.Join(dir, strings.Repeat("*/", i+1), dump.ManifestFile))
		for j, path := range found {
			for range i {
				path = filepath.Dir(path)
			}
			found[j] = filepath.Dir(path)
		}
		if len(found) > 0 {
			return fmt.Errorf("%s %s: holds %s (%s): name one", flag, dir, what, brief(slices.Compact(found)))
		}
	}
	var whole []string // may be a dump each
	for _, e := range entries {
		if path := filepath.Join(dir, e.Name()); dump.IsArchive(path) && !strings.HasPrefix(e.Name(), dump.WeightsFolder+".") {
			whole = append(whole, path)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "config.json")); len(whole) > 0 && err != nil { // else it is a model's folder
		err := fmt.Errorf("%s %s: holds no step, but %s: give the file itself", flag, dir, brief(whole))
		return &hintError{err, a.with(flag, whole[0])}
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".npy" && e.Name() != harness.TokensFile && e.Name() != harness.MaskFile {
			return fmt.Errorf("%s %s: %s and the other tensors of the prompt belong in %s",
				flag, dir, e.Name(), filepath.Join(dir, "step_00"))
		}
	}
	return nil
}
