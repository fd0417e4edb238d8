package hub

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// hops is how many redirects are followed.
const hops = 10

// address returns the hub's address of a file of a repository at a revision.
func (c *Client) address(r Repo, revision, file string) (*url.URL, error) {
	return url.Parse(fmt.Sprintf("%s/%s/resolve/%s/%s", c.endpoint, r, url.PathEscape(revision), url.PathEscape(file)))
}

// sameOrigin reports whether two addresses are of the same scheme, host and port:
// the token goes nowhere else. (net/http would send it to other ports and to
// subdomains too.)
func sameOrigin(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		if p := u.Port(); p != "" {
			return p
		}
		return map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// send makes one request and follows no redirect. offset is the first byte that
// is wanted.
func (c *Client) send(ctx context.Context, method string, u *url.URL, offset int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, newNetworkError(u.Hostname(), err)
	}
	req.Header.Set("User-Agent", "checkpoint12")
	req.Header.Set("Accept-Encoding", "identity")
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	if c.token != "" && sameOrigin(u, c.endpoint) {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, newNetworkError(u.Hostname(), err)
	}
	return resp, nil
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
	name   string
	commit string      // of the revision that was asked for
	hash   contentHash // of the file's content
	size   int64       // -1: the hub did not say, of a small file
}

// head asks the hub for a file's commit, hash and size. The hub says them itself,
// of a large file on its redirect to where the content is. No other host is asked:
// their ETag may look like a SHA-256 and be a hash of another kind.
func (c *Client) head(ctx context.Context, r Repo, revision, file string, reached *bool) (entry, error) {
	t := retry{c: c, what: file, reached: reached}
	for {
		e, err := c.headOnce(ctx, r, revision, file, reached)
		if err == nil {
			return e, nil
		}
		if err := t.wait(ctx, err, 0); err != nil {
			return entry{}, c.explain(err, r, revision, file)
		}
	}
}

func (c *Client) headOnce(ctx context.Context, r Repo, revision, file string, reached *bool) (entry, error) {
	u, err := c.address(r, revision, file)
	if err != nil {
		return entry{}, err
	}
	ctx, alive := watch(ctx, c.stall)
	defer alive.stop()
	var commit, etag, size string
	for range hops {
		resp, err := c.send(ctx, http.MethodHead, u, 0)
		if err != nil {
			return entry{}, err
		}
		resp.Body.Close()
		*reached = true
		next, err := target(u, resp)
		if err != nil {
			return entry{}, err
		}
		if next == nil && resp.StatusCode != http.StatusOK {
			return entry{}, c.newStatusError(u.Hostname(), resp, time.Now())
		}
		h := resp.Header
		commit = cmp.Or(commit, h.Get("X-Repo-Commit"))
		etag = cmp.Or(etag, h.Get("X-Linked-Etag"))
		size = cmp.Or(size, h.Get("X-Linked-Size"))
		if next == nil { // of a redirect these are its own
			etag, size = cmp.Or(etag, h.Get("ETag")), cmp.Or(size, h.Get("Content-Length"))
		}
		if next == nil || commit != "" && etag != "" && size != "" || !sameOrigin(next, c.endpoint) {
			return newEntry(c.endpoint.Hostname(), file, commit, etag, size)
		}
		u = next
	}
	return entry{}, fmt.Errorf("%s redirects more than %d times", u.Hostname(), hops)
}

func newEntry(host, file, commit, etag, size string) (entry, error) {
	if !IsCommit(commit) {
		return entry{}, fmt.Errorf("%s does not answer as the hub does (no X-Repo-Commit): check HF_ENDPOINT and the proxy", host)
	}
	h, err := parseETag(etag)
	if err != nil {
		return entry{}, fmt.Errorf("%s: %s: %w", host, file, err)
	}
	n, err := strconv.ParseInt(cmp.Or(size, "-1"), 10, 64)
	if err != nil || size != "" && n < 0 || size == "" && h.large() {
		return entry{}, fmt.Errorf("%s does not say how large %s is (%.20q)", host, file, size)
	}
	return entry{name: file, commit: commit, hash: h, size: n}, nil
}

// body asks for a file's content from offset on, following redirects, and returns
// it with the offset at which it really begins: 0 where the server ignores
// ranges.
func (c *Client) body(ctx context.Context, r Repo, e entry, offset int64, reached *bool) (*http.Response, int64, error) {
	u, err := c.address(r, e.commit, e.name)
	if err != nil {
		return nil, 0, err
	}
	for range hops {
		resp, err := c.send(ctx, http.MethodGet, u, offset)
		if err != nil {
			return nil, 0, err
		}
		*reached = true
		next, err := target(u, resp)
		if next == nil && err == nil {
			from, err := c.checkBody(u, resp, e, offset)
			if err != nil {
				resp.Body.Close()
				return nil, 0, err
			}
			return resp, from, nil
		}
		resp.Body.Close()
		if err != nil {
			return nil, 0, err
		}
		u = next
	}
	return nil, 0, fmt.Errorf("%s redirects more than %d times", u.Hostname(), hops)
}

// checkBody returns the byte of the file at which the body begins. An answer that
// cannot be the rest of this file is an error.
func (c *Client) checkBody(u *url.URL, resp *http.Response, e entry, offset int64) (int64, error) {
	host := u.Hostname()
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return 0, &corruptError{fmt.Sprintf("%s sends it encoded as %.20q, which was not asked for", host, enc)}
	}
	switch resp.StatusCode {
	case http.StatusOK:
		offset = 0
	case http.StatusPartialContent:
		var from, to, total int64
		_, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &total)
		if err != nil || from != offset || total != e.size {
			return 0, &corruptError{fmt.Sprintf("%s sends another part than was asked for (Content-Range %.60q)", host, resp.Header.Get("Content-Range"))}
		}
	case http.StatusRequestedRangeNotSatisfiable:
		return 0, &corruptError{fmt.Sprintf("%s has no byte %d of it, though the hub says it has %d", host, offset, e.size)}
	case http.StatusForbidden, http.StatusNotFound:
		err := c.newStatusError(host, resp, time.Now())
		if sameOrigin(u, c.endpoint) {
			return 0, err
		}
		// The signed address of a large file holds for a while only. The hub makes
		// another when it is asked again.
		return 0, newNetworkError(host, err)
	default:
		return 0, c.newStatusError(host, resp, time.Now())
	}
	if n := resp.ContentLength; n >= 0 && e.size >= 0 && n != e.size-offset {
		return 0, &corruptError{fmt.Sprintf("%s sends %d bytes where the hub says %d", host, n, e.size-offset)}
	}
	return offset, nil
}
