package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// hops is the number of redirects that are followed.
const hops = 10

// request asks for a file at a revision, from the byte offset on, and follows
// redirects until last reports that an answer is the one wanted; next may be nil.
func (s *session) request(ctx context.Context, method, revision, file string, offset int64,
	last func(h http.Header, next *url.URL) bool) (*http.Response, error) {
	u, err := url.Parse(fmt.Sprintf("%s/%s/resolve/%s/%s",
		s.endpoint, s.repo, url.PathEscape(revision), url.PathEscape(file)))
	if err != nil {
		return nil, err
	}
	for range hops {
		req := (&http.Request{Method: method, URL: u, Header: http.Header{
			"User-Agent": {"checkpoint12"}, "Accept-Encoding": {"identity"},
		}}).WithContext(ctx)
		if offset > 0 {
			req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		}
		if s.token != "" && sameOrigin(u, s.endpoint) {
			req.Header.Set("Authorization", "Bearer "+s.token)
		}
		resp, err := s.transport.RoundTrip(req)
		if err != nil {
			return nil, newNetworkError(ctx, u.Hostname(), err)
		}
		s.reached = true
		next, err := target(u, resp)
		if err == nil && last(resp.Header, next) {
			return resp, nil
		}
		resp.Body.Close()
		if err != nil {
			return nil, err
		}
		u = next
	}
	return nil, fmt.Errorf("%s redirects more than %d times", u.Hostname(), hops)
}

// sameOrigin reports whether the token for one address may go to the other.
func sameOrigin(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		return cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// target returns the address that a redirect leads to, nil if the answer is none.
func target(u *url.URL, r *http.Response) (*url.URL, error) {
	switch r.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	next, err := u.Parse(r.Header.Get("Location"))
	if err != nil || r.Header.Get("Location") == "" || next.Host == "" {
		return nil, fmt.Errorf("%s redirects to nowhere", u.Hostname())
	}
	if next.Scheme != "https" && (next.Scheme != "http" || u.Scheme == "https") {
		return nil, fmt.Errorf("%s redirects to an address that is not https", u.Hostname())
	}
	return next, nil
}

// entry is a file as the hub describes it.
type entry struct {
	name    string
	commit  string // of the revision that was asked for
	hash    contentHash
	size    int64  // -1: the hub did not say, of a small file
	content []byte // nil if it was not fetched into memory
}

// head asks the hub, and no other host, for a file's commit, hash and size: another
// host's ETag may look like a SHA-256 and be a hash of another kind.
func (s *session) head(ctx context.Context, revision, file string) (e entry, err error) {
	err = s.try(ctx, revision, file, func(ctx watched) (int64, error) {
		var commit, etag, size string
		resp, err := s.request(ctx, http.MethodHead, revision, file, 0, func(h http.Header, next *url.URL) bool {
			commit = cmp.Or(commit, h.Get("X-Repo-Commit"))
			etag = cmp.Or(etag, h.Get("X-Linked-Etag"))
			size = cmp.Or(size, h.Get("X-Linked-Size"))
			if next == nil { // of a redirect these are its own
				etag, size = cmp.Or(etag, h.Get("ETag")), cmp.Or(size, h.Get("Content-Length"))
			}
			return next == nil || commit != "" && etag != "" && size != "" || !sameOrigin(next, s.endpoint)
		})
		if err != nil {
			return 0, err
		}
		resp.Body.Close()
		if next, _ := target(resp.Request.URL, resp); next == nil && resp.StatusCode != http.StatusOK {
			return 0, newStatusError(resp)
		}
		e, err = s.newEntry(revision, file, commit, etag, size)
		return 0, err
	})
	return e, err
}

// newEntry checks what the hub says of a file.
func (s *session) newEntry(revision, file, commit, etag, size string) (entry, error) {
	host := s.endpoint.Hostname()
	if !IsCommit(commit) {
		return entry{}, fmt.Errorf("%s does not answer as the hub does (no X-Repo-Commit): check HF_ENDPOINT and the proxy",
			host)
	}
	if IsCommit(revision) && commit != revision {
		return entry{}, fmt.Errorf("%s gives %s of commit %.12s where %.12s was asked for",
			host, file, commit, revision)
	}
	h, err := parseETag(etag)
	if err != nil {
		return entry{}, fmt.Errorf("%s: %s: %w", host, file, err)
	}
	n, err := strconv.ParseInt(cmp.Or(size, "-1"), 10, 64)
	needed := size != "" || h.large() || strings.HasSuffix(file, ".safetensors")
	if err != nil || n < 0 && needed {
		return entry{}, fmt.Errorf("%s does not say how large %s is", host, file)
	}
	return entry{name: file, commit: commit, hash: h, size: n}, nil
}

// open asks for a file's content from the byte offset on, at most to most if nobody
// knows its size, and returns it with the byte at which it really begins: 0 where
// the server ignores ranges.
func (s *session) open(ctx watched, e entry, offset, most int64) (*body, int64, error) {
	resp, err := s.request(ctx, http.MethodGet, e.commit, e.name, offset,
		func(_ http.Header, next *url.URL) bool { return next == nil })
	if err != nil {
		return nil, 0, err
	}
	host := resp.Request.URL.Hostname()
	refuse := func(err error) (*body, int64, error) {
		resp.Body.Close()
		return nil, 0, err
	}
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return refuse(corrupt("%s sends it encoded, which was not asked for", host))
	}
	switch resp.StatusCode {
	case http.StatusOK:
		offset = 0
	case http.StatusPartialContent:
		var from, to, total int64
		_, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &total)
		if err != nil || from != offset || total != e.size {
			return refuse(corrupt("%s sends another part than was asked for", host))
		}
	case http.StatusRequestedRangeNotSatisfiable:
		return refuse(corrupt("%s has no byte %d of it, though the hub says it has %d", host, offset, e.size))
	default:
		err := error(newStatusError(resp))
		gone := resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusNotFound
		if gone && !sameOrigin(resp.Request.URL, s.endpoint) {
			// The signed address of a large file has run out: ask for another.
			err = &networkError{host, err}
		}
		return refuse(err)
	}
	if n := resp.ContentLength; n >= 0 && e.size >= 0 && n != e.size-offset {
		return refuse(corrupt("%s sends %d bytes where the hub says %d", host, n, e.size-offset))
	}
	return &body{resp.Body, ctx, host, e.size >= 0, most, most - offset}, offset, nil
}

// body is a file's content as it comes in. Too much of it is a corruptError.
type body struct {
	io.ReadCloser
	ctx   watched
	host  string
	sized bool  // the file has most bytes, and not fewer
	most  int64 // bytes of the file
	left  int64
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.ctx.came(n)
	b.left -= int64(n)
	switch {
	case b.left < 0:
		return 0, corrupt("%s sends more than %d bytes", b.host, b.most)
	case err == nil:
		return n, nil
	case b.sized && b.left == 0 || !b.sized && err == io.EOF:
		return n, io.EOF // all is there; the hash shows whether it is the file
	case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
		err = errCut
	}
	return n, newNetworkError(b.ctx, b.host, err)
}

// retryAfter returns how long the server asks to wait: Retry-After (RFC 9110, 10.2.3),
// else the reset time of the hub's RateLimit header, as in `"resolvers";r=0;t=172`.
func retryAfter(h http.Header, now time.Time) time.Duration {
	if v := h.Get("Retry-After"); v != "" {
		if s, err := strconv.Atoi(v); err == nil {
			return max(0, time.Duration(min(s, 1<<30))*time.Second)
		}
		if at, err := http.ParseTime(v); err == nil {
			return max(0, at.Sub(now))
		}
	}
	var s int
	if m := usedUp.FindStringSubmatch(h.Get("RateLimit")); m != nil {
		s, _ = strconv.Atoi(m[1])
	}
	return time.Duration(min(s, 1<<30)) * time.Second
}

// usedUp matches a RateLimit of which nothing is left until so many seconds are over.
var usedUp = regexp.MustCompile(`; *r=0 *; *t=([0-9]+)`)
