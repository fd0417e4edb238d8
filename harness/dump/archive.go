package dump

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"checkpoint12/harness/npy"
)

// archives are the archives of a dump, each by the folder in whose place it is: ".", a
// step's or that of the weights. What is in one has the path that it would have in the folder.
type archives map[string]*npy.Archive

// IsArchive reports whether path is that of an archive in the place of a dump's folder.
func IsArchive(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir() && npy.IsArchive(path)
}

// Expand returns the paths of what is in the file at path below a dump's folder, if that
// is an archive in the place of a step's folder that is not there, of that of the weights,
// or of the whole one;
// else the path itself.
func (l *Listing) Expand(dir, path string) ([]string, error) {
	folder := strings.TrimSuffix(path, filepath.Ext(path))
	if path == "." {
		folder = path
	} else if _, err := os.Stat(filepath.Join(dir, folder)); err == nil || l.archives[folder] != nil ||
		!stepFolder.MatchString(folder) && folder != WeightsFolder || !IsArchive(filepath.Join(dir, path)) {
		return []string{path}, nil
	}
	a, err := npy.OpenArchive(filepath.Join(dir, path))
	if err != nil {
		return nil, err
	}
	if l.archives == nil {
		l.archives = archives{}
	}
	l.archives[folder] = a
	paths := a.Names()
	for i, name := range paths {
		if folder != "." {
			paths[i] = folder + "/" + name
		}
	}
	return paths, nil
}

// find returns the archive that holds the array of a path, and its name there; nil where
// it is a file of its own.
func (a archives) find(path string) (*npy.Archive, string) {
	if whole := a["."]; whole != nil {
		return whole, path
	}
	folder, name, _ := strings.Cut(path, "/")
	return a[folder], name
}

// disk returns the file that holds the array of a path.
func (a archives) disk(dir, path string) string {
	if in, _ := a.find(path); in != nil {
		return in.Path()
	}
	return filepath.Join(dir, filepath.FromSlash(path))
}

// label returns what messages call the array of a path.
func (a archives) label(dir, path string) string {
	if in, name := a.find(path); in != nil {
		return in.Label(name)
	}
	return a.disk(dir, path)
}

var pickle = regexp.MustCompile(`^\.(pt|pth|bin|pkl|ckpt)$`)

// FromPickle returns, of a file that Python pickles in, why it is not opened and the
// line that converts it; "" of any other.
func FromPickle(file string) string {
	ext := filepath.Ext(file)
	if !pickle.MatchString(ext) {
		return ""
	}
	const load = "torch.load(%q, map_location='cpu', weights_only=True)"
	stem := strings.TrimSuffix(file, ext)
	line := fmt.Sprintf("import torch, safetensors.torch as s; s.save_file({k: v.contiguous() for k, v in "+
		load+".items()}, %q)", file, stem+".safetensors")
	if stepFolder.MatchString(path.Base(filepath.ToSlash(filepath.Dir(file)))) {
		line = fmt.Sprintf("import torch, numpy; t = "+load+"; numpy.save(%q, (t.float() if t.is_floating_point() else t).numpy())",
			file, stem+".npy")
	}
	return "a pickle is never opened, since it can run code; convert it in Python: " + line
}
