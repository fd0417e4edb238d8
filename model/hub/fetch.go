package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	configLimit = 1 << 20  // bytes of a config.json
	indexLimit  = 64 << 20 // bytes of an index
)

// Request is a model to fetch.
type Request struct {
	Repo     Repo
	Revision string // a branch, a tag or a commit hash; "" is main
	// Check, if not nil, is given the content of config.json before anything else
	// is fetched or written. Its error ends the fetch.
	Check func(config []byte) error
}

// File is one of a fetched model.
type File struct {
	Name string
	Size int64
	// SHA256 is that of the content, in hexadecimal; "" for a small file, which
	// was checked by git's hash of it, and for one that an offline client could
	// not check at all.
	SHA256 string
}

// Snapshot is a model in the cache: its config and all of its weights.
type Snapshot struct {
	Dir     string // holds the files
	Commit  string
	Files   []File // config.json, the index if there is one, the weights
	Fetched int64  // bytes that came over the network for it; 0: all was here
}

// Fetch makes a model whole in the cache and returns it. A file that is there
// already, whoever fetched it, is used if its hash is right, without asking the hub where
// the revision is a commit. When the context ends Fetch returns soon, with its
// cause, and the bytes that have come are kept for the next time.
func (c *Client) Fetch(ctx context.Context, r Request) (*Snapshot, error) {
	if r.Revision == "" {
		r.Revision = "main"
	}
	if err := checkRevision(r.Revision); err != nil {
		return nil, err
	}
	if c.Cache == "" {
		return nil, errors.New("no folder for the hub's cache: set HF_HOME")
	}
	if r.Check == nil {
		r.Check = func([]byte) error { return nil }
	}
	s := &session{Client: c, repo: r.Repo}
	if commit, ok := c.Cache.Ref(r.Repo, r.Revision); ok && (c.Offline || commit == r.Revision) {
		snapshot, err := s.cached(commit, r.Check)
		if snapshot != nil || err != nil {
			return snapshot, err
		}
	}
	if c.Offline {
		return nil, fmt.Errorf("%s at %q is not whole in %s, and HF_HUB_OFFLINE says to ask nobody: unset it to fetch the model",
			r.Repo, r.Revision, c.Cache)
	}
	config, content, err := s.config(ctx, r)
	if err != nil {
		return nil, err
	}
	files, err := s.weights(ctx, config.commit)
	if err != nil {
		return nil, err
	}
	if err := s.room(files); err != nil {
		return nil, err
	}
	if err := s.obtain(ctx, config, content); err != nil {
		return nil, err
	}
	snapshot := &Snapshot{Dir: c.Cache.Snapshot(r.Repo, config.commit), Commit: config.commit, Files: []File{config.file()}}
	for _, f := range files {
		if err := s.obtain(ctx, f.entry, f.content); err != nil {
			return nil, err
		}
		snapshot.Files = append(snapshot.Files, f.file())
	}
	snapshot.Fetched = s.fetched
	if err := s.refer(ctx, r.Revision, config.commit); err != nil {
		c.note(err.Error()) // the files are there, by their commit
	}
	return snapshot, nil
}

func (e entry) file() File {
	f := File{Name: e.name, Size: e.size}
	if e.hash.large() {
		f.SHA256 = string(e.hash)
	}
	return f
}

// config fetches config.json and has it checked.
func (s *session) config(ctx context.Context, r Request) (entry, []byte, error) {
	e, err := s.head(ctx, s.repo, r.Revision, ConfigFile, &s.reached)
	if err != nil {
		return e, nil, err
	}
	if IsCommit(r.Revision) && e.commit != r.Revision {
		return e, nil, fmt.Errorf("%s gives the files of commit %.12s where %.12s was asked for", s.endpoint.Hostname(), e.commit, r.Revision)
	}
	content, err := s.small(ctx, &e, configLimit)
	if err != nil {
		return e, nil, err
	}
	if err := r.Check(content); err != nil {
		return e, nil, fmt.Errorf("%s: %s: %w", s.repo, ConfigFile, err)
	}
	return e, content, nil
}

// wanted is a file to fetch, with its content if that is known already.
type wanted struct {
	entry
	content []byte
}

// weights asks for the weight files at a commit, with the index before those that
// it lists.
func (s *session) weights(ctx context.Context, commit string) ([]wanted, error) {
	single, err := s.at(ctx, commit, WeightsFile)
	if err == nil {
		return []wanted{{entry: single}}, nil
	}
	if !isMissing(err) {
		return nil, err
	}
	index, err := s.at(ctx, commit, IndexFile)
	if isMissing(err) {
		what := "no " + WeightsFile
		if _, err := s.at(ctx, commit, PickledFile); err == nil {
			what = "only pickled weights (" + PickledFile + "), which are programs and are neither downloaded nor read"
		}
		return nil, fmt.Errorf("%s at %.12s has %s: look for a revision or another model with safetensors", s.repo, commit, what)
	}
	if err != nil {
		return nil, err
	}
	content, err := s.small(ctx, &index, indexLimit)
	if err != nil {
		return nil, err
	}
	names, err := Shards(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", s.repo, IndexFile, err)
	}
	files := []wanted{{index, content}}
	for _, name := range names {
		e, err := s.at(ctx, commit, name)
		if err != nil {
			return nil, err
		}
		files = append(files, wanted{entry: e})
	}
	return files, nil
}

// at asks for a file at a commit.
func (s *session) at(ctx context.Context, commit, file string) (entry, error) {
	e, err := s.head(ctx, s.repo, commit, file, &s.reached)
	switch {
	case err != nil:
	case e.size < 0 && strings.HasSuffix(file, ".safetensors"):
		err = fmt.Errorf("%s does not say how large %s is", s.endpoint.Hostname(), file)
	case e.commit != commit:
		err = fmt.Errorf("%s gives %s of commit %.12s where %.12s was asked for", s.endpoint.Hostname(), file, e.commit, commit)
	}
	return e, err
}

// room returns an error if the disk has no room for what is still missing.
func (s *session) room(files []wanted) error {
	var need int64
	for _, f := range files {
		blob := s.Cache.blob(s.repo, string(f.hash))
		if exists(blob) || exists(filepath.Join(s.Cache.Snapshot(s.repo, f.commit), f.name)) {
			continue
		}
		need += f.size
		if info, err := os.Stat(blob + ".incomplete"); err == nil {
			need -= min(info.Size(), f.size)
		}
	}
	dir := string(s.Cache)
	for !isDir(dir) && filepath.Dir(dir) != dir {
		dir = filepath.Dir(dir)
	}
	have, err := s.free(dir)
	if err != nil || uint64(need) <= have {
		return nil // where nobody can say, writing will
	}
	return fmt.Errorf("%s needs %.2f GB in %s, where %.2f GB are free: make room, or set HF_HOME to a folder on another disk",
		s.repo, float64(need)/1e9, s.Cache, float64(have)/1e9)
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// refer records the commit of the revision, now that its files are there. A commit
// that was asked for as such is recorded as main if it is the hub's: that is where
// huggingface_hub looks when it is told no revision.
func (s *session) refer(ctx context.Context, revision, commit string) error {
	if IsCommit(revision) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		e, err := s.headOnce(ctx, s.repo, "main", ConfigFile, &s.reached)
		if err != nil || e.commit != commit {
			return nil
		}
		revision = "main"
	}
	return s.Cache.setRef(s.repo, revision, commit)
}

// cached returns the snapshot of a commit if it is whole and right as it lies in
// the cache, else nil. Content that does not have the hash it is filed under is an
// error for an offline client only, since fetching mends it.
func (s *session) cached(commit string, check func([]byte) error) (*Snapshot, error) {
	dir := s.Cache.Snapshot(s.repo, commit)
	if !Whole(dir) {
		return nil, nil
	}
	config, err := os.ReadFile(filepath.Join(dir, ConfigFile))
	if err != nil {
		return nil, err
	}
	names, err := WeightFiles(dir)
	if err != nil {
		return nil, err
	}
	if names[0] != WeightsFile {
		names = append([]string{IndexFile}, names...)
	}
	snapshot := &Snapshot{Dir: dir, Commit: commit}
	for _, name := range append([]string{ConfigFile}, names...) {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		e := entry{name: name, commit: commit, size: info.Size()}
		if named, ok := NamedHash(path); ok {
			e.hash = contentHash(named)
			right, err := e.hash.of(path)
			switch {
			case err != nil:
				return nil, err
			case !right && s.Offline:
				return nil, fmt.Errorf("%s is not the file that the hub has (hash %.16s…): unset HF_HUB_OFFLINE to fetch it again", path, named)
			}
			if !right {
				return nil, nil
			}
		} else if !s.Offline {
			return nil, nil // the hub says what its hash is
		}
		snapshot.Files = append(snapshot.Files, e.file())
	}
	if err := check(config); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, ConfigFile), err)
	}
	return snapshot, nil
}

// Weights lists the weight files.
func (s *Snapshot) Weights() []File {
	var weights []File
	for _, f := range s.Files {
		if strings.HasSuffix(f.Name, ".safetensors") {
			weights = append(weights, f)
		}
	}
	return weights
}
