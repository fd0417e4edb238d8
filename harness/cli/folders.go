package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"checkpoint12/harness/dump"
	"checkpoint12/harness/internal/words"
)

// goldensFolder is where verify and selftest look for goldens.
const goldensFolder = "goldens"

// findGoldens returns the folder with the goldens: that of --goldens or, without
// the flag, the one here or in the nearest folder above, which a note then names.
func (a *app) findGoldens(c *cobra.Command) (string, error) {
	if flag := c.Flags().Lookup("goldens"); flag.Changed {
		if !isFolder(flag.Value.String()) {
			return "", noFolder("--goldens", flag.Value.String())
		}
		return flag.Value.String(), nil
	}
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for path, dir := goldensFolder, here; ; path, dir = filepath.Join("..", path), filepath.Dir(dir) {
		switch {
		case isFolder(path):
			if dir != here {
				a.note("the goldens are those in %s", path)
			}
			return path, nil
		case dir == filepath.Dir(dir):
			return "", &hintError{
				fmt.Errorf("no folder %s here or above: run this in a clone of checkpoint12, or name the folder", goldensFolder),
				c.CommandPath() + " --goldens path/to/checkpoint12/goldens",
			}
		}
	}
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// noFolder returns the error for a folder of a flag that does not exist. It names
// the folders that do, in the nearest one above.
func noFolder(flag, dir string) error {
	err := fmt.Errorf("%s %s: no such folder", flag, dir)
	for above := filepath.Dir(dir); above != filepath.Dir(above); above = filepath.Dir(above) {
		if folders := foldersIn(above); len(folders) > 0 {
			return fmt.Errorf("%w: %s has %s", err, above, brief(folders))
		}
	}
	return err
}

// brief lists names, of many the first.
func brief(names []string) string {
	const most = 10
	if n := len(names) - most; n > 0 {
		names = append(names[:most:most], fmt.Sprintf("%d more", n))
	}
	return words.And(names)
}

func foldersIn(dir string) []string {
	var folders []string
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && isFolder(filepath.Join(dir, e.Name())) {
			folders = append(folders, e.Name())
		}
	}
	return folders
}

// checkDump returns an error if the folder of a flag holds no dump for a reason
// that the flag's user can have made.
func checkDump(flag, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if info, e := os.Stat(dir); e == nil && !info.IsDir() {
			return fmt.Errorf("%s %s: is a file; want the folder of a dump", flag, dir)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return noFolder(flag, dir)
		}
		return fmt.Errorf("%s %s: %w", flag, dir, cause(err))
	}
	if steps, _ := filepath.Glob(filepath.Join(dir, "step_*")); len(steps) > 0 {
		return nil
	}
	if dumps := withManifest(dir, "*"); len(dumps) > 0 {
		return fmt.Errorf("%s %s: is a folder of dumps, %s: choose one", flag, dir, strings.Join(dumps, ", "))
	}
	if cases := withManifest(dir, "*", "*"); len(cases) > 0 {
		return fmt.Errorf("%s %s: is a folder of cases, %s: choose one", flag, dir, brief(cases))
	}
	if models := withManifest(dir, "*", "*", "*"); len(models) > 0 {
		return fmt.Errorf("%s %s: is a folder of models, %s: choose one, and a case of it", flag, dir, brief(models))
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".npy" && e.Name() != "tokens.npy" {
			return fmt.Errorf("%s %s: %s and the other tensors of the prompt belong in %s",
				flag, dir, e.Name(), filepath.Join(dir, "step_00"))
		}
	}
	return nil
}

// withManifest returns the folders in dir below which there are manifests, as far
// down as the pattern's parts say.
func withManifest(dir string, pattern ...string) []string {
	found, _ := filepath.Glob(filepath.Join(dir, filepath.Join(pattern...), dump.ManifestFile))
	var names []string
	for _, path := range found {
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			continue
		}
		name, _, _ := strings.Cut(filepath.ToSlash(rel), "/")
		if len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
	}
	return names
}

// quote makes s one word of a shell's command line.
func quote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,@%+") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
