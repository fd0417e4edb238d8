package hub

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"checkpoint12/model/atomicfile"
)

// Cache is the folder of a cache in the layout of Python's huggingface_hub, which
// its methods know:
//
//	models--OWNER--NAME/blobs/HASH                     a file's content
//	models--OWNER--NAME/blobs/HASH.incomplete          as much of it as has come
//	models--OWNER--NAME/snapshots/COMMIT/FILE          a link to ../../blobs/HASH
//	models--OWNER--NAME/refs/REVISION                  the commit of a branch or tag
//	.locks/models--OWNER--NAME/HASH.lock               held while HASH is fetched
//
// HASH is the SHA-256 of a large file and git's blob hash of a small one.
type Cache string

// Snapshot returns the folder of a repository's files at a commit, there or not.
func (c Cache) Snapshot(r Repo, commit string) string {
	return filepath.Join(string(c), r.folder(), "snapshots", commit)
}

func (c Cache) blob(r Repo, hash string) string {
	return filepath.Join(string(c), r.folder(), "blobs", hash)
}

func (c Cache) ref(r Repo, revision string) string {
	return filepath.Join(string(c), r.folder(), "refs", filepath.FromSlash(revision))
}

func (c Cache) lock(r Repo, hash string) string {
	return filepath.Join(string(c), ".locks", r.folder(), hash+".lock")
}

// Ref returns the commit that a branch or a tag was last known to be at; a
// commit hash is its own. What stands in the cache and is no commit hash is not
// returned, since it would be a path.
func (c Cache) Ref(r Repo, revision string) (commit string, ok bool) {
	if IsCommit(revision) {
		return revision, true
	}
	if checkRevision(revision) != nil {
		return "", false
	}
	data, err := os.ReadFile(c.ref(r, revision))
	commit = strings.TrimSpace(string(data))
	if err != nil || !isFolderName(commit) {
		return "", false
	}
	return commit, true
}

// Commits lists the commits of which the cache has files.
func (c Cache) Commits(r Repo) []string {
	entries, err := os.ReadDir(filepath.Dir(c.Snapshot(r, "x")))
	if err != nil {
		return nil
	}
	var commits []string
	for _, e := range entries {
		commits = append(commits, e.Name())
	}
	return commits
}

func isFolderName(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsAny(s, `/\:`) && filepath.Base(s) == s
}

// setRef notes that a branch or a tag is at a commit. Readers see the old one or
// the new one, never half of it.
func (c Cache) setRef(r Repo, revision, commit string) error {
	path := c.ref(r, revision)
	if old, err := os.ReadFile(path); err == nil && string(old) == commit {
		return nil // the cache may be another user's
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return fmt.Errorf("note that %s is at %.12s: %w", revision, commit, err)
	}
	err := atomicfile.Write(path, func(w io.Writer) error {
		_, err := io.WriteString(w, commit)
		return err
	})
	if err != nil {
		return fmt.Errorf("note that %s is at %.12s: %w", revision, commit, err)
	}
	return nil
}

var (
	sha256Name = regexp.MustCompile(`^[0-9a-f]{64}$`)
	gitName    = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// NamedHash returns the hash by which the cache names the content of a file in a
// snapshot, which is the hub's: 64 digits of SHA-256 or 40 of git's blob hash. ok is false for a file that is no link into
// blobs/, as on systems without symbolic links and in folders that are no cache.
//
// The content is not read, and may be another: huggingface_hub does not check its
// downloads.
func NamedHash(file string) (hash string, ok bool) {
	// One step only: where huggingface_hub shares blobs between repositories the
	// blob is a link too, to a name that is a hash of another kind.
	target, err := os.Readlink(file)
	if err != nil {
		return "", false
	}
	hash = filepath.Base(target)
	if filepath.Base(filepath.Dir(target)) != "blobs" || !sha256Name.MatchString(hash) && !gitName.MatchString(hash) {
		return "", false
	}
	return hash, true
}
