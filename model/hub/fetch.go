package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"checkpoint12/model/atomicfile"
	"checkpoint12/model/regularfile"
)

// Request is a model to fetch.
type Request struct {
	Repo     Repo
	Revision string // a branch, a tag or a commit hash; "" is main
	// Check, if not nil, is given config.json first. Its error ends the fetch.
	Check func(config []byte) error
}

// File is one of a fetched model.
type File struct {
	Name   string
	Size   int64
	SHA256 string // of the content; "" for a small file, and one that nobody could check
}

// Snapshot is a model in the cache: its config and all of its weights.
type Snapshot struct {
	Dir     string // holds the files
	Commit  string
	Files   []File // config.json, the index if there is one, the weights
	Fetched int64  // bytes that came over the network for it; 0: all was here
}

func (s *Snapshot) add(name string, size int64, h contentHash) {
	f := File{Name: name, Size: size}
	if h.large() {
		f.SHA256 = string(h)
	}
	s.Files = append(s.Files, f)
}

// session is one fetch.
type session struct {
	*Client
	repo    Repo
	reached bool  // a server has answered
	fetched int64 // bytes of files that have come
}

// Fetch makes a model whole in the cache and returns it. A file that is there
// already is used if its hash is right, without asking the hub where the revision is
// a commit. When the context ends, what has come is kept for the next time.
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
	snapshot, err := s.fetch(ctx, r)
	if err != nil {
		err = &redactedError{err, c.redact(err.Error())}
	}
	return snapshot, err
}

func (s *session) fetch(ctx context.Context, r Request) (*Snapshot, error) {
	c := s.Client
	if commit, ok := c.Cache.Ref(r.Repo, r.Revision); ok && (c.Offline || commit == r.Revision) {
		snapshot, err := s.cached(commit, r.Check)
		if snapshot != nil || err != nil {
			return snapshot, err
		}
	}
	if c.Offline {
		return nil, fmt.Errorf("%s at %q is not whole in %s, and HF_HUB_OFFLINE forbids the network: unset it to fetch the model",
			r.Repo, r.Revision, c.Cache)
	}
	files, err := s.list(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := s.room(files[1:]); err != nil { // config.json is tiny
		return nil, err
	}
	commit := files[0].commit
	snapshot := &Snapshot{Dir: c.Cache.Snapshot(r.Repo, commit), Commit: commit}
	for _, f := range files {
		if err := s.obtain(ctx, f); err != nil {
			return nil, err
		}
		snapshot.add(f.name, f.size, f.hash)
	}
	snapshot.Fetched = s.fetched
	if err := s.refer(ctx, r.Revision, commit); err != nil {
		s.note("%v", err) // the files are there, by their commit
	}
	return snapshot, nil
}

// list asks for config.json, which is checked, the index if any, and the weights.
func (s *session) list(ctx context.Context, r Request) ([]entry, error) {
	ctx, cancel := s.within(ctx, 0)
	defer cancel()
	config, err := s.small(ctx, r.Revision, ConfigFile, MaxConfig)
	if err != nil {
		return nil, err
	}
	if err := r.Check(config.content); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", s.repo, ConfigFile, err)
	}
	commit := config.commit
	single, err := s.head(ctx, commit, WeightsFile)
	if !isMissing(err) {
		return []entry{config, single}, err
	}
	index, err := s.small(ctx, commit, IndexFile, maxIndex)
	if isMissing(err) {
		what := "no " + WeightsFile
		if _, err := s.head(ctx, commit, PickledFile); err == nil {
			what = "only pickled weights (" + PickledFile + "), which are programs and are neither downloaded nor read"
		}
		return nil, fmt.Errorf("%s at %.12s has %s: look for a revision or another model with safetensors",
			s.repo, commit, what)
	}
	if err != nil {
		return nil, err
	}
	names, err := Shards(index.content)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", s.repo, IndexFile, err)
	}
	files := []entry{config, index}
	for _, name := range names {
		if s.redact(name) != name {
			return nil, fmt.Errorf("%s: %s has the access token for the name of a file", s.repo, IndexFile)
		}
		e, err := s.head(ctx, commit, name)
		if err != nil {
			return nil, err
		}
		files = append(files, e)
	}
	return files, nil
}

// room returns an error if the disk has no room for what is still missing.
func (s *session) room(files []entry) error {
	var need float64 // a sum of sizes may be more than an integer can hold
	for _, f := range files {
		blob := s.Cache.blob(s.repo, f.hash)
		if exists(blob) || exists(filepath.Join(s.Cache.Snapshot(s.repo, f.commit), f.name)) {
			continue
		}
		need += float64(f.size)
		if info, err := os.Stat(blob + ".incomplete"); err == nil {
			need -= float64(min(info.Size(), f.size))
		}
	}
	dir := string(s.Cache)
	for { // what is there of the path
		info, err := os.Stat(dir)
		if err == nil && info.IsDir() || filepath.Dir(dir) == dir {
			break
		}
		dir = filepath.Dir(dir)
	}
	have, err := s.free(dir)
	if err != nil || need <= float64(have) {
		return nil // where nobody can say, writing will
	}
	return fmt.Errorf("%s needs %.2f GB in %s, where %.2f GB are free: make room, or set HF_HOME to a folder on another disk",
		s.repo, need/1e9, s.Cache, float64(have)/1e9)
}

// refer records the commit of the revision. A commit that was asked for as such is
// recorded as main if it is the hub's: there huggingface_hub looks by default.
func (s *session) refer(ctx context.Context, revision, commit string) error {
	if IsCommit(revision) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		e, err := s.head(ctx, "main", ConfigFile)
		if err != nil || e.commit != commit {
			return nil
		}
		revision = "main"
	}
	path := s.Cache.ref(s.repo, revision)
	if old, err := regularfile.Read(path, maxRef); err == nil && string(old) == commit {
		return nil // the cache may be another user's
	}
	err := os.MkdirAll(filepath.Dir(path), 0o777)
	if err == nil {
		err = atomicfile.WriteFile(path, []byte(commit))
	}
	if err != nil {
		return fmt.Errorf("note that %s is at %.12s: %w", revision, commit, err)
	}
	return nil
}

// cached returns the snapshot of a commit if it is whole and right in the cache,
// else nil. Wrong content is an error for an offline client: fetching mends it.
func (s *session) cached(commit string, check func([]byte) error) (*Snapshot, error) {
	snapshot := &Snapshot{Dir: s.Cache.Snapshot(s.repo, commit), Commit: commit}
	if !Complete(snapshot.Dir) {
		return nil, nil
	}
	names, err := WeightFiles(snapshot.Dir)
	if err != nil {
		return nil, err
	}
	if names[0] != WeightsFile {
		names = append([]string{IndexFile}, names...)
	}
	for _, name := range append([]string{ConfigFile}, names...) {
		path := filepath.Join(snapshot.Dir, name)
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		named, ok := NamedHash(path)
		right := false
		if ok {
			if right, err = contentHash(named).of(path); err != nil {
				return nil, err
			}
		}
		switch {
		case !right && !s.Offline:
			return nil, nil // the hub says what its hash is
		case !right && ok:
			return nil, fmt.Errorf("%s is not the file that the hub has (hash %.16s…): unset HF_HUB_OFFLINE to fetch it again",
				path, named)
		}
		snapshot.add(name, info.Size(), contentHash(named))
	}
	path := filepath.Join(snapshot.Dir, ConfigFile)
	config, err := regularfile.Read(path, MaxConfig)
	if err != nil {
		return nil, err
	}
	if err := check(config); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return snapshot, nil
}
