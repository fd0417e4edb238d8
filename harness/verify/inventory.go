package verify

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	slashpath "path"
	"path/filepath"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/dump"
	"checkpoint12/model/regularfile"
	"checkpoint12/model/strictjson"
)

// inventoryName is the name of the inventory in a folder of goldens.
const inventoryName = "inventory.json"

// maxListed bounds an inventory, and the files that it lists, in bytes.
const maxListed = 32 << 20

// An inventory has the manifests and files of figures of a repository, by their paths with
// slashes from its folder, so that none is lost or replaced unseen.
type inventory map[string]listed

type listed struct {
	SHA256 string            `json:"sha256"`
	Covers map[string]string `json:"covers"` // of a manifest: at which steps the stages are there that match
}

var errLink = errors.New("is a link; compare follows links, verify does not")

// readInventory reads the inventory of a folder of goldens, as scripts/inventory.py writes
// it. Only this repository's must be there.
func readInventory(dir string) (inventory, error) {
	var file struct {
		Schema int       `json:"schema"` // 1
		About  string    `json:"about"`
		Files  inventory `json:"files"`
	}
	path := filepath.Join(dir, inventoryName)
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return nil, &diagnose.GoldenError{Path: path, Err: errLink}
	}
	data, err := regularfile.Read(path, maxListed)
	if errors.Is(err, fs.ErrNotExist) {
		mod, _ := regularfile.Read(filepath.Join(dir, "..", "go.mod"), maxListed)
		if !strings.HasPrefix(string(mod), "module checkpoint12\n") {
			return nil, nil
		}
	}
	if err == nil {
		err = strictjson.Unmarshal(data, &file)
	}
	if err == nil && file.Schema != 1 {
		err = fmt.Errorf("schema %d, want 1", file.Schema)
	}
	if err != nil {
		return nil, &diagnose.GoldenError{Path: path, Err: err}
	}
	return file.Files, nil
}

// of returns what is listed of a model, or of all without a name.
func (inv inventory) of(model string) inventory {
	some := maps.Clone(inv)
	maps.DeleteFunc(some, func(path string, _ listed) bool { return model != "" && !strings.HasPrefix(path, model+"/") })
	return some
}

// check returns the error for the first link in models' folders of goldens: what is judged
// by must be here, and stay. A model that is listed must have all of its files that are
// listed, and no others; name is the model's, or "" for all.
func (inv inventory) check(goldens string, models []string, name string) error {
	absent := inv.of(name)
	for _, dir := range models {
		isListed := len(inv.of(filepath.Base(dir))) > 0
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			rel, _ := filepath.Rel(goldens, path)
			rel = filepath.ToSlash(rel)
			isManifest, _ := slashpath.Match("*/*/*/"+dump.ManifestFile, rel)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil
			case err != nil:
			case e.Type()&fs.ModeSymlink != 0:
				err = errLink
			case isListed && !e.IsDir() && (isManifest || strings.Count(rel, "/") < 3):
				delete(absent, rel)
				err = inv.compare(path, rel)
			}
			if err != nil {
				return &diagnose.GoldenError{Path: path, Err: err}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if paths := slices.Sorted(maps.Keys(absent)); len(paths) > 0 {
		err := errors.New("is not there, but in " + inventoryName + remedy)
		return &diagnose.GoldenError{Path: filepath.Join(goldens, paths[0]), Err: err}
	}
	return nil
}

// remedy ends an error of which the inventory may be to blame.
const remedy = "; if that is meant: python3 scripts/inventory.py"

// compare returns an error unless the file at path is the one that is listed as rel.
func (inv inventory) compare(path, rel string) error {
	f, ok := inv[rel]
	if !ok {
		return errors.New("is not in " + inventoryName + remedy)
	}
	data, err := regularfile.Read(path, maxListed)
	if err == nil && f.SHA256 != fmt.Sprintf("%x", sha256.Sum256(data)) {
		err = errors.New("has changed since it was listed in " + inventoryName + remedy)
	}
	return err
}

// checkCovers returns an error if the golden lacks a stage that the inventory says it has.
func (g *Golden) checkCovers(s *harness.Schedule) error {
	for _, st := range s.Stages() {
		for pattern, steps := range g.covers {
			rule := harness.LeftOut{Stages: pattern, Steps: steps}
			for step := range g.manifest.New + 1 { // one more: none may be listed
				if rule.Covers(step, st.Name) && !g.has(step, st.Name) {
					return fmt.Errorf("lacks %s, which %s says it has",
						harness.Place{Step: step, Stage: st.Name}, inventoryName)
				}
			}
		}
	}
	return nil
}
