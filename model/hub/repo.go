package hub

import (
	"fmt"
	"regexp"
	"strings"
)

// Repo names a model repository on the hub.
type Repo struct {
	Owner string // "" for the few old models that had none, such as "gpt2" once
	Name  string
}

// repoPart matches an owner or a name as huggingface_hub does, but for a leading
// underscore.
var repoPart = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?$`)

// ParseRepo reads "owner/name". A name that no repository can have is an error, and
// so is one that would lead out of the cache, such as "../x".
func ParseRepo(s string) (Repo, error) {
	owner, name, ok := strings.Cut(s, "/")
	if !ok || !repoPart.MatchString(owner) || !repoPart.MatchString(name) ||
		strings.Contains(s, "--") || strings.Contains(s, "..") || strings.HasSuffix(s, ".git") {
		return Repo{}, fmt.Errorf("%.80q is no model on the hub: want owner/name", s)
	}
	return Repo{owner, name}, nil
}

// String returns "owner/name".
func (r Repo) String() string {
	if r.Owner == "" {
		return r.Name
	}
	return r.Owner + "/" + r.Name
}

// folder returns the name of the repository's folder in the cache.
func (r Repo) folder() string {
	return "models--" + strings.ReplaceAll(r.String(), "/", "--")
}

var (
	commitHash = regexp.MustCompile(`^[0-9a-f]{40}$`)
	// A revision becomes a path below refs/ and a part of a URL. Git allows more
	// in a name than this; nobody has needed it.
	revisionName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$`)
)

// IsCommit reports whether a revision is a full commit hash, which names the same
// files for ever, rather than a branch or a tag.
func IsCommit(revision string) bool { return commitHash.MatchString(revision) }

func checkRevision(revision string) error {
	if len(revision) > 200 || !revisionName.MatchString(revision) || strings.Contains(revision, "..") ||
		strings.HasSuffix(revision, ".lock") || strings.HasSuffix(revision, ".tmp") {
		return fmt.Errorf("%.80q is no revision: want a branch, a tag or a commit hash", revision)
	}
	return nil
}
