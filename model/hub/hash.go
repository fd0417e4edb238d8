package hub

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
)

// contentHash is the hub's hash of a file's content, in hexadecimal: the
// SHA-256 of a large file (one that git keeps in LFS or Xet), 64 digits, or git's
// blob hash of a small one, 40 digits.
type contentHash string

// parseETag reads a hash out of an ETag or X-Linked-Etag header, such as
// `"248d…"` or `W/"248d…"`.
func parseETag(etag string) (contentHash, error) {
	h := strings.Trim(strings.TrimPrefix(etag, "W/"), `"`)
	if !sha256Name.MatchString(h) && !gitName.MatchString(h) {
		return "", fmt.Errorf("the hub names no hash of it (ETag %.80q), so that nothing could be checked", etag)
	}
	return contentHash(h), nil
}

// large reports whether this is a SHA-256.
func (h contentHash) large() bool { return len(h) == 2*sha256.Size }

// start begins to hash a content of size bytes.
func (h contentHash) start(size int64) hash.Hash {
	if h.large() {
		return sha256.New()
	}
	// https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
	s := sha1.New()
	fmt.Fprintf(s, "blob %d\x00", size)
	return s
}

// of reports whether a file has this hash.
func (h contentHash) of(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	s := h.start(info.Size())
	if _, err := io.Copy(s, f); err != nil {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(s.Sum(nil)) == string(h), nil
}
