// Package zoo finds models by name: released, synthetic, and others on the hub.
package zoo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"checkpoint12/model"
	"checkpoint12/model/hub"
	"checkpoint12/model/synthetic"
)

// publisher is the owner of the released models' repositories.
const publisher = "openai-community"

// released are OpenAI's models, with the commit that published figures refer to.
var released = []release{
	{"gpt2", "607a30d783dfa663caf39e06633721c8d4cfcd7e", "548 MB"},
	{"gpt2-medium", "6dcaa7a952f72f9298047fd5137cd6e4f05f41da", "1.52 GB"},
	{"gpt2-large", "32b71b12589c2f8d625668d2335a01cac3249519", "3.25 GB"},
	{"gpt2-xl", "15ea56dee5df4983c59b2538573817e1667135e2", "6.43 GB"},
}

type release struct{ name, commit, size string }

func indexReleased(name string) int {
	return slices.IndexFunc(released, func(r release) bool { return r.name == name })
}

// ModelsVariable names a folder of models, looked at before the hub's cache.
const ModelsVariable = "CHECKPOINT12_MODELS"

// Names lists the models that Load knows by name.
func Names() []string {
	names := synthetic.Names()
	for _, r := range released {
		names = append(names, r.name)
	}
	return names
}

// Load opens a model: a folder, if nameOrDir has a path separator or is a folder
// with a config.json; else the model of that name, in the folder that Locate finds,
// or a synthetic one. The error for weights that are not here is a [*NotFoundError].
func Load(nameOrDir string) (*model.Model, error) {
	info, statErr := os.Stat(nameOrDir)
	_, repoErr := hub.ParseRepo(nameOrDir)
	_, configErr := os.Stat(filepath.Join(nameOrDir, hub.ConfigFile))
	switch named := slices.Contains(Names(), nameOrDir); {
	case statErr == nil && info.IsDir() && (!named || configErr == nil):
		name := filepath.Base(nameOrDir)
		if abs, err := filepath.Abs(nameOrDir); err == nil {
			name = filepath.Base(abs)
		}
		return model.Open(name, nameOrDir)
	case statErr == nil && !info.IsDir() && !named:
		return nil, fmt.Errorf("%s is a file: name the folder that holds it and config.json", nameOrDir)
	case isPath(nameOrDir) && repoErr != nil:
		return nil, fmt.Errorf("model folder %s: %w", nameOrDir, errors.Unwrap(statErr))
	}
	name := canonical(nameOrDir)
	dir, ok, err := Locate(name)
	switch {
	case err != nil:
		return nil, err
	case ok:
		return model.Open(name, dir)
	}
	if slices.Contains(synthetic.Names(), name) {
		return synthetic.Open(name)
	}
	missing := &NotFoundError{Name: name}
	if i := indexReleased(name); i >= 0 {
		missing.Size = released[i].size
	}
	if models := os.Getenv(ModelsVariable); models != "" {
		missing.Looked = append(missing.Looked, models)
	}
	missing.Looked = append(missing.Looked, strings.TrimSpace("the Hugging Face cache "+string(hub.CacheDir())))
	return nil, missing
}

// canonical returns the name of a released model without the owner.
func canonical(name string) string {
	if short, ok := strings.CutPrefix(name, publisher+"/"); ok && indexReleased(short) >= 0 {
		return short
	}
	return name
}

// Locate finds the folder of a model by name in $CHECKPOINT12_MODELS, or else in
// the hub's cache, which has "owner/name" too. ok is false if it is in neither, or
// not whole. A folder in $CHECKPOINT12_MODELS that holds no model is an error.
func Locate(name string) (dir string, ok bool, err error) {
	name = canonical(name)
	repo, commit, err := Source(name)
	if err != nil && !slices.Contains(synthetic.Names(), name) {
		return "", false, fmt.Errorf("%w, or a folder with config.json and model.safetensors", err)
	}
	if models := os.Getenv(ModelsVariable); models != "" {
		dir := filepath.Join(models, name)
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			if !hub.Complete(dir) {
				return "", false, fmt.Errorf("%s ($%s): want config.json and model.safetensors in it",
					dir, ModelsVariable)
			}
			return dir, true, nil
		}
	}
	for _, dir := range snapshots(repo, commit) {
		if hub.Complete(dir) {
			return dir, true, nil
		}
	}
	return "", false, nil
}

// NotFoundError is the error for a model whose weights are not on this machine.
type NotFoundError struct {
	Name   string   // by which the hub has them
	Size   string   // of the download; "" where it is not known
	Looked []string // the places where they would have been found
}

// Error names the model and the places where it is not.
func (e *NotFoundError) Error() string {
	s := "no weights of " + e.Name
	if isPath(e.Name) {
		s = "no folder " + e.Name + ", and " + s
	}
	if e.Size != "" {
		s += " (" + e.Size + ")"
	}
	return s + " in " + strings.Join(e.Looked, " or ")
}

// Source returns the place of a model on the hub; commit is set for a released one.
func Source(name string) (repo hub.Repo, commit string, err error) {
	name = canonical(name)
	if i := indexReleased(name); i >= 0 {
		return hub.Repo(publisher + "/" + name), released[i].commit, nil
	}
	if slices.Contains(synthetic.Names(), name) {
		return "", "", fmt.Errorf("%s is a formula, and there is nothing to fetch", name)
	}
	if repo, err = hub.ParseRepo(name); err != nil {
		return "", "", fmt.Errorf("no model is called %.80q: want owner/name on the hub, or one of %s",
			name, strings.Join(Names(), ", "))
	}
	return repo, "", nil
}

// snapshots lists the folders of the hub's cache that may hold a model: of the
// commit, of the main branch, and of any other commit if it is the only one.
func snapshots(repo hub.Repo, commit string) []string {
	cache := hub.CacheDir()
	if repo == "" || cache == "" {
		return nil
	}
	repos := []hub.Repo{repo}
	if short, ok := strings.CutPrefix(string(repo), publisher+"/"); ok {
		repos = append(repos, hub.Repo(short)) // OpenAI's were moved there from names without an owner
	}
	var dirs []string
	for _, repo := range repos {
		commits := []string{commit}
		if main, ok := cache.Ref(repo, "main"); ok {
			commits = append(commits, main)
		}
		if all := cache.Commits(repo); len(all) == 1 {
			commits = append(commits, all[0])
		}
		for _, c := range commits {
			if c != "" {
				dirs = append(dirs, cache.Snapshot(repo, c))
			}
		}
	}
	return dirs
}

func isPath(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r == '/' || r < 0x80 && os.IsPathSeparator(uint8(r)) })
}
