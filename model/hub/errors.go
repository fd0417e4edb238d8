package hub

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// statusError is an answer with another status than success.
type statusError struct {
	host   string
	status int
	code   string        // the hub's X-Error-Code, such as EntryNotFound
	text   string        // the hub's X-Error-Message
	after  time.Duration // as Retry-After asks; 0 if it does not
}

func (c *Client) newStatusError(host string, r *http.Response, now time.Time) *statusError {
	said := func(key string) string { return printable(c.redact(r.Header.Get(key))) }
	return &statusError{
		host: host, status: r.StatusCode, after: retryAfter(r.Header, now),
		code: said("X-Error-Code"), text: said("X-Error-Message"),
	}
}

// redact hides the token in a text that is printed: a server, or something on
// the way to it, may echo what it was sent.
func (c *Client) redact(s string) string {
	if c.token == "" {
		return s
	}
	return strings.ReplaceAll(s, c.token, "***")
}

// printable makes one short line of a text that somebody else wrote.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, s)
	return s[:min(len(s), 160)]
}

func (e *statusError) Error() string {
	s := fmt.Sprintf("%s answers %d", e.host, e.status)
	if t := http.StatusText(e.status); t != "" {
		s += " " + t
	}
	if e.text != "" {
		s += " (" + e.text + ")"
	}
	return s
}

// missing reports whether the file is not in the repository, which itself is there.
func (e *statusError) missing() bool {
	return e.status == http.StatusNotFound && (e.code == "" || e.code == "EntryNotFound")
}

func isMissing(err error) bool {
	var s *statusError
	return errors.As(err, &s) && s.missing()
}

// networkError is a request that got no answer, or only the beginning of one.
type networkError struct {
	host string
	err  error
}

// newNetworkError drops the request from an error: the address
// of a large file is signed, and lets everybody read it for a while.
func newNetworkError(host string, err error) *networkError {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return &networkError{host, err}
}

func (e *networkError) Error() string { return fmt.Sprintf("%s: %v", e.host, e.err) }
func (e *networkError) Unwrap() error { return e.err }

// unreached reports whether there was no connection at all.
func (e *networkError) unreached() bool {
	var dial *net.OpError
	var dns *net.DNSError
	return errors.As(e.err, &dns) || errors.As(e.err, &dial) && dial.Op == "dial"
}

var (
	errStalled = errors.New("nothing came for too long")
	errCut     = errors.New("the connection was cut")
)

// corruptError is a body that is not the file: of another length or hash. Its bytes
// are of no use.
type corruptError struct{ what string }

func (e *corruptError) Error() string { return e.what }

// transient reports whether trying again may help.
func transient(err error) bool {
	var s *statusError
	var n *networkError
	switch {
	case errors.As(err, &n):
		return true
	case errors.As(err, &s):
		return s.status == http.StatusRequestTimeout || s.status == http.StatusTooManyRequests || s.status >= 500
	}
	return false
}

// retryAfter returns how long the server asks to wait: Retry-After in seconds or as a
// date (RFC 9110, 10.2.3), else the reset time of the hub's RateLimit header
// where nothing remains, as in `"resolvers";r=0;t=172`.
func retryAfter(h http.Header, now time.Time) time.Duration {
	if v := h.Get("Retry-After"); v != "" {
		if s, err := strconv.Atoi(v); err == nil {
			return max(0, time.Duration(min(s, 1<<30))*time.Second)
		}
		if at, err := http.ParseTime(v); err == nil {
			return max(0, at.Sub(now))
		}
	}
	var rest, reset = -1, 0
	for _, part := range strings.Split(h.Get("RateLimit"), ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		n, err := strconv.Atoi(value)
		switch {
		case err != nil:
		case name == "r":
			rest = n
		case name == "t":
			reset = n
		}
	}
	if rest == 0 && reset > 0 {
		return time.Duration(min(reset, 1<<30)) * time.Second
	}
	return 0
}

// explain adds to an error what a person can do about it.
func (c *Client) explain(err error, r Repo, revision, file string) error {
	var s *statusError
	var n *networkError
	host := c.endpoint.Hostname()
	switch {
	case errors.As(err, &n):
		return fmt.Errorf("%s from %s: %w: check the network and HF_ENDPOINT", r, host, err)
	case !errors.As(err, &s):
		return err
	case s.status == http.StatusUnauthorized && c.token == "":
		return fmt.Errorf("%w: there is no model %s, or only for some: check the name, or set HF_TOKEN to a token that may read it", err, r)
	case s.status == http.StatusUnauthorized:
		return fmt.Errorf("%w: there is no model %s, or the access token may not read it", err, r)
	case s.status == http.StatusForbidden && c.token == "":
		return fmt.Errorf("%w: %s is for those who accepted its terms: set HF_TOKEN to a token of theirs", err, r)
	case s.status == http.StatusForbidden:
		return fmt.Errorf("%w: the access token may not read %s", err, r)
	case s.status == http.StatusNotFound && s.code == "RevisionNotFound":
		return fmt.Errorf("%s has no revision %q: %w", r, revision, err)
	case s.missing() && s.code != "":
		return fmt.Errorf("%s has no %s at %q: %w", r, file, revision, err)
	case s.status == http.StatusNotFound:
		return fmt.Errorf("no model %s, or no %s at %q in it: %w", r, file, revision, err)
	}
	return fmt.Errorf("%s from %s: %w", r, host, err)
}
