package hub

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"checkpoint12/model/regularfile"
	"checkpoint12/model/strictjson"
)

// Repo is the name of a model repository on the hub, "owner/name".
type Repo string

// repoPart matches an owner or a name.
var repoPart = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?$`)

// ParseRepo reads "owner/name". A name that no repository can have is an error.
func ParseRepo(s string) (Repo, error) {
	owner, name, ok := strings.Cut(s, "/")
	if !ok || !repoPart.MatchString(owner) || !repoPart.MatchString(name) ||
		strings.Contains(s, "--") || strings.Contains(s, "..") || strings.HasSuffix(s, ".git") {
		return "", fmt.Errorf("%.80q is not a model on the hub: want owner/name", s)
	}
	return Repo(s), nil
}

// folder returns the name of the repository's folder in the cache.
func (r Repo) folder() string { return "models--" + strings.ReplaceAll(string(r), "/", "--") }

// A revision becomes a path below refs/ and a part of a URL; git allows more.
var revisionName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$`)

func checkRevision(revision string) error {
	if len(revision) > 200 || !revisionName.MatchString(revision) || strings.Contains(revision, "..") ||
		strings.HasSuffix(revision, ".lock") || strings.HasSuffix(revision, ".tmp") {
		return fmt.Errorf("%.80q is not a revision: want a branch, a tag or a commit hash", revision)
	}
	return nil
}

// IsCommit reports whether a revision is a full commit hash.
func IsCommit(revision string) bool { return hashName.MatchString(revision) && len(revision) == 40 }

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

func (c Cache) blob(r Repo, h contentHash) string {
	return filepath.Join(string(c), r.folder(), "blobs", string(h))
}

func (c Cache) ref(r Repo, revision string) string {
	return filepath.Join(string(c), r.folder(), "refs", filepath.FromSlash(revision))
}

func (c Cache) lock(r Repo, h contentHash) string {
	return filepath.Join(string(c), ".locks", r.folder(), string(h)+".lock")
}

// Ref returns the commit that a branch or a tag was last known to be at; a commit
// hash is its own. One that would lead out of the cache is not returned.
func (c Cache) Ref(r Repo, revision string) (commit string, ok bool) {
	if IsCommit(revision) {
		return revision, true
	}
	if checkRevision(revision) != nil {
		return "", false
	}
	data, err := regularfile.Read(c.ref(r, revision), maxRef)
	commit = strings.TrimSpace(string(data))
	if err != nil || !isFolderName(commit) {
		return "", false
	}
	return commit, true
}

// Commits lists the commits of which the cache has files.
func (c Cache) Commits(r Repo) (commits []string) {
	entries, _ := os.ReadDir(c.Snapshot(r, "")) // none where there is no such folder
	for _, e := range entries {
		commits = append(commits, e.Name())
	}
	return commits
}

func isFolderName(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsAny(s, `/\:`) && filepath.Base(s) == s
}

// NamedHash returns the hash by which the cache names a file of a snapshot; ok is
// false for a file that is no link into blobs/. The content may have another.
func NamedHash(file string) (hash string, ok bool) {
	// One step only: a shared blob is a link too, to a hash of another kind.
	target, err := os.Readlink(file)
	hash = filepath.Base(target)
	if err != nil || filepath.Base(filepath.Dir(target)) != "blobs" || !hashName.MatchString(hash) {
		return "", false
	}
	return hash, true
}

// contentHash is the hub's hash of a file's content, in hexadecimal: the SHA-256 of
// a large file (in LFS or Xet), or git's blob hash of a small one, 40 digits.
type contentHash string

var hashName = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// parseETag reads a hash out of a header such as `"248d…"` or `W/"248d…"`.
func parseETag(etag string) (contentHash, error) {
	h := strings.Trim(strings.TrimPrefix(etag, "W/"), `"`)
	if !hashName.MatchString(h) {
		return "", fmt.Errorf("the hub gives no hash of it (an ETag of %d characters), so it cannot be checked", len(etag))
	}
	return contentHash(h), nil
}

// large reports whether this is a SHA-256.
func (h contentHash) large() bool { return len(h) == 2*sha256.Size }

// sum returns the hash of this kind of a content of size bytes.
func (h contentHash) sum(content io.Reader, size int64) (contentHash, error) {
	sum := sha256.New()
	if !h.large() { // https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
		sum = sha1.New()
		fmt.Fprintf(sum, "blob %d\x00", size)
	}
	_, err := io.Copy(sum, content)
	return contentHash(hex.EncodeToString(sum.Sum(nil))), err
}

// of reports whether a file has this hash.
func (h contentHash) of(path string) (bool, error) {
	f, size, err := regularfile.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	got, err := h.sum(f, size)
	return got == h, err
}

// The files of a model. Weights are in one file, or in those which the index lists.
const (
	ConfigFile  = "config.json"
	WeightsFile = "model.safetensors"
	IndexFile   = "model.safetensors.index.json"

	// PickledFile is a Python program. It is neither downloaded nor read.
	PickledFile = "pytorch_model.bin"
)

// Limits of the files that are read whole, in bytes.
const (
	MaxConfig = 1 << 20
	maxIndex  = 64 << 20
	maxRef    = 1 << 10
	maxToken  = 64 << 10
)

const maxShards = 1000 // files that a model may be cut into

// Shards lists the weight files that an index names: once, sorted, all in its folder.
func Shards(index []byte) ([]string, error) {
	keys, err := strictjson.Object(index)
	var weights map[string]string
	if of, ok := keys["weight_map"]; ok {
		err = json.Unmarshal(of, &weights)
	}
	if err != nil {
		return nil, err
	}
	names := slices.Compact(slices.Sorted(maps.Values(weights)))
	if len(names) == 0 || len(names) > maxShards {
		return nil, fmt.Errorf("weight_map lists %d files: want 1 to %d", len(names), maxShards)
	}
	for _, n := range names {
		if !isFolderName(n) {
			return nil, fmt.Errorf("%.80q is not a file of this folder", n)
		}
		if filepath.Ext(n) != ".safetensors" {
			return nil, fmt.Errorf("%.80q is not a safetensors file: other kinds of weights are not read", n)
		}
	}
	return names, nil
}

// WeightFiles lists the weight files of a folder; those of an index may be missing.
func WeightFiles(dir string) ([]string, error) {
	index := filepath.Join(dir, IndexFile)
	if exists(filepath.Join(dir, WeightsFile)) {
		return []string{WeightsFile}, nil
	}
	data, err := regularfile.Read(index, maxIndex)
	if errors.Is(err, fs.ErrNotExist) {
		if exists(filepath.Join(dir, PickledFile)) {
			return nil, fmt.Errorf("%s: there are only pickled weights (%s), which are not read: use %s",
				dir, PickledFile, WeightsFile)
		}
		return nil, fmt.Errorf("%s: no %s in this folder", dir, WeightsFile)
	}
	if err != nil {
		return nil, fmt.Errorf("read weight index: %w", err)
	}
	names, err := Shards(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", index, err)
	}
	return names, nil
}

// Complete reports whether a folder has a config and all of its weights.
func Complete(dir string) bool {
	if !exists(filepath.Join(dir, ConfigFile)) {
		return false
	}
	names, err := WeightFiles(dir)
	return err == nil && !slices.ContainsFunc(names, func(n string) bool { return !exists(filepath.Join(dir, n)) })
}

func exists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}
