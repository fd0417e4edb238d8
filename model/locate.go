package model

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// released are the models that OpenAI released: their name on the Hugging Face
// hub, the commit that published figures refer to, and the size of their
// weights.
var released = []struct{ name, commit, size string }{
	{"gpt2", "607a30d783dfa663caf39e06633721c8d4cfcd7e", "548 MB"},
	{"gpt2-medium", "6dcaa7a952f72f9298047fd5137cd6e4f05f41da", "1.52 GB"},
	{"gpt2-large", "32b71b12589c2f8d625668d2335a01cac3249519", "3.25 GB"},
	{"gpt2-xl", "15ea56dee5df4983c59b2538573817e1667135e2", "6.43 GB"},
}

// ModelsVariable is the environment variable that names a folder of models,
// each in a folder of its own name. It is looked at before the hub's cache.
const ModelsVariable = "CHECKPOINT12_MODELS"

// Names lists the models that Load knows by name.
func Names() []string {
	names := SyntheticNames()
	for _, r := range released {
		names = append(names, r.name)
	}
	return names
}

// Load opens a model: a folder, if nameOrDir has a path separator or is a
// folder with a config.json in it; else the model of that name, where Locate
// finds it, or a synthetic one made in memory. A model loaded by name has that
// name wherever it lies. The error for weights that are not here names the
// command that fetches them.
func Load(nameOrDir string) (*Model, error) {
	info, statErr := os.Stat(nameOrDir)
	switch named := slices.Contains(Names(), nameOrDir); {
	case statErr == nil && info.IsDir() && (!named || exists(nameOrDir, "config.json")):
		return Open(nameOrDir)
	case statErr == nil && !info.IsDir() && !named:
		return nil, fmt.Errorf("%s is a file: name the folder that holds it and config.json", nameOrDir)
	case isPath(nameOrDir) && !hubName.MatchString(nameOrDir):
		return nil, fmt.Errorf("model folder %s: %w", nameOrDir, reason(statErr))
	}
	name := canonical(nameOrDir)
	dir, ok, err := Locate(name)
	switch {
	case err != nil:
		return nil, err
	case ok:
		return open(name, dir)
	}
	if _, err := findSynthetic(name); err == nil {
		return Synthetic(name)
	}
	return nil, notHere(name)
}

// canonical is the name without the owner where it is one of released.
func canonical(name string) string {
	if short, ok := strings.CutPrefix(name, "openai-community/"); ok && slices.Contains(Names(), short) {
		return short
	}
	return name
}

// Locate looks for the folder of a model by name: a folder of that name in the
// one that $CHECKPOINT12_MODELS names, then the Hugging Face hub's cache, where
// "owner/name" is found too. ok is false where it is in neither, or not whole;
// a synthetic model need be in neither. A name that is no model's is an error,
// and so is a folder in $CHECKPOINT12_MODELS that holds no model.
func Locate(name string) (dir string, ok bool, err error) {
	name = canonical(name)
	if !slices.Contains(Names(), name) && !hubName.MatchString(name) {
		return "", false, fmt.Errorf("no model is called %.80q: want a folder with config.json and model.safetensors, or one of %s",
			name, strings.Join(Names(), ", "))
	}
	if models := os.Getenv(ModelsVariable); models != "" {
		dir := filepath.Join(models, name)
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			if !holdsModel(dir) {
				return "", false, fmt.Errorf("%s ($%s): want config.json and model.safetensors in it", dir, ModelsVariable)
			}
			return dir, true, nil
		}
	}
	cache := HubCache()
	if cache == "" {
		return "", false, nil
	}
	for _, repo := range hubRepos(name) {
		for _, dir := range snapshots(filepath.Join(cache, repo), name) {
			if holdsModel(dir) {
				return dir, true, nil
			}
		}
	}
	return "", false, nil
}

// notHere is the error for a known name whose weights are nowhere.
func notHere(name string) error {
	size := ""
	for _, r := range released {
		if r.name == name {
			size = " (" + r.size + ")"
		}
	}
	where := "the Hugging Face cache"
	if cache := HubCache(); cache != "" {
		where += " " + cache
	}
	if models := os.Getenv(ModelsVariable); models != "" {
		where = models + " or " + where
	}
	folder := ""
	if isPath(name) {
		folder = "no folder " + name + ", and "
	}
	return fmt.Errorf("%sno weights of %s in %s: `go run . fetch %s` downloads them%s", folder, name, where, name, size)
}

// HubCache is the folder in which huggingface_hub keeps models, by its own
// variables: HF_HUB_CACHE, else hub in HF_HOME, else huggingface/hub in
// XDG_CACHE_HOME, else in ~/.cache. It is "" where there is no home either.
func HubCache() string {
	for _, v := range []struct{ name, below string }{
		{"HF_HUB_CACHE", ""},
		{"HUGGINGFACE_HUB_CACHE", ""}, // the older name
		{"HF_HOME", "hub"},
		{"XDG_CACHE_HOME", "huggingface/hub"},
	} {
		if dir := os.Getenv(v.name); dir != "" {
			return filepath.Join(expand(dir), v.below)
		}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".cache/huggingface/hub")
}

// expand replaces a leading ~ and $VARIABLES as huggingface_hub does.
func expand(path string) string {
	if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || os.IsPathSeparator(rest[0])) {
		if home, err := os.UserHomeDir(); err == nil {
			path = home + rest
		}
	}
	return os.Expand(path, func(name string) string {
		if value, ok := os.LookupEnv(name); ok {
			return value
		}
		return "${" + name + "}"
	})
}

// hubName matches owner/name on the hub.
var hubName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$`)

// hubRepos names the cache's folders for a model; OpenAI's were moved to
// openai-community from names without an owner.
func hubRepos(name string) []string {
	if owner, repo, ok := strings.Cut(name, "/"); ok {
		return []string{"models--" + owner + "--" + repo}
	}
	return []string{"models--openai-community--" + name, "models--" + name}
}

// snapshots lists the folders of a cached repository in which to look: that of
// its main branch, that of the commit which published figures refer to, and any
// other if it is the only one.
func snapshots(repo, name string) []string {
	var commits []string
	if ref, err := os.ReadFile(filepath.Join(repo, "refs", "main")); err == nil {
		commits = append(commits, strings.TrimSpace(string(ref)))
	}
	for _, r := range released {
		if name == r.name {
			commits = append(commits, r.commit)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(repo, "snapshots")); err == nil && len(entries) == 1 {
		commits = append(commits, entries[0].Name())
	}
	var dirs []string
	for _, c := range commits {
		if c != "" && c != "." && c != ".." && !isPath(c) {
			dirs = append(dirs, filepath.Join(repo, "snapshots", c))
		}
	}
	return dirs
}

// holdsModel says whether dir has a config and weights, which in the hub's
// cache are links to files that may not be there.
func holdsModel(dir string) bool {
	if !exists(dir, "config.json") {
		return false
	}
	files, err := weightFiles(dir)
	return err == nil && !slices.ContainsFunc(files, func(f string) bool { return !exists(dir, f) })
}

func exists(dir, file string) bool {
	info, err := os.Stat(filepath.Join(dir, file))
	return err == nil && !info.IsDir()
}

func isPath(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r == '/' || r < 0x80 && os.IsPathSeparator(uint8(r)) })
}

// reason is what an error of package os says without the path, for those who
// name a better one.
func reason(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}
