package hub

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	tries          = 6                // attempts in a row that get nowhere
	unreachedTries = 2                // the same while nobody has answered: soon, for a machine without a network
	headway        = 1 << 20          // bytes that count as getting somewhere
	longest        = 5 * time.Minute  // of pauses while it gets nowhere; more is for a person to decide
	slowest        = 30 * time.Second // pause where the server asks for none
	pace           = 32 << 10         // bytes that must come in each time of Client.stall, 1 kB/s
)

// watched is a context that ends when less comes than the pace.
type watched struct {
	context.Context
	came func(n int)
}

// within limits what a server may take in all to send so many bytes.
func (s *session) within(ctx context.Context, size int64) (context.Context, context.CancelFunc) {
	limit := (60 + time.Duration(min(size, 1<<43)/(16*pace))) * s.stall
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("%s from %s: not there after %v: check the network and HF_ENDPOINT",
		s.repo, s.endpoint.Hostname(), limit))
}

// try makes attempts to get a file, or its head, until one succeeds or another
// would not help, with pauses of 1, 2, 4… seconds, or as the server asks; a body that
// is not the file is asked for again at once, and once.
func (s *session) try(ctx context.Context, revision, file string, attempt func(watched) (int64, error)) error {
	failed, waited, again := 0, time.Duration(0), false
	for {
		inner, cancel := context.WithCancelCause(ctx)
		timer := time.AfterFunc(s.stall, func() { cancel(errStalled) })
		since := 0
		gained, err := attempt(watched{inner, func(n int) {
			if since += n; since >= pace {
				since = 0
				timer.Reset(s.stall)
			}
		}})
		timer.Stop()
		cancel(nil)
		var wrong *corruptError
		var network *networkError
		var status *statusError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &wrong) && !again:
			again = true // perhaps it was what had come before
			s.note("%s: %v; starting it again", file, err)
			continue
		case errors.As(err, &network) && !errors.As(err, new(*tls.CertificateVerificationError)):
		case errors.As(err, &status) && status.transient():
		default:
			return s.explain(err, revision, file)
		}
		if gained >= headway {
			failed, waited = 0, 0
		}
		failed++
		limit := tries
		var dial *net.OpError // no connection at all
		if errors.As(err, &dial) && (dial.Op == "dial" || dial.Op == "proxyconnect") && !s.reached {
			limit = unreachedTries
		}
		if failed >= limit {
			return s.explain(fmt.Errorf("tried %d times: %w", failed, err), revision, file)
		}
		pause := min(time.Second<<(failed-1), slowest)
		if status != nil && status.after > 0 {
			pause = status.after
		}
		if waited += pause; waited > longest {
			return s.explain(fmt.Errorf("%w: it asks to wait %v in all", err, waited), revision, file)
		}
		s.note("%s: %v; trying again in %v", file, err, pause)
		if err := s.sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// explain adds to an error what a person can do about it.
func (s *session) explain(err error, revision, file string) error {
	var status *statusError
	var network *networkError
	r, host := s.repo, s.endpoint.Hostname()
	switch {
	case errors.As(err, &network):
		return fmt.Errorf("%s from %s: %w: check the network and HF_ENDPOINT", r, host, err)
	case !errors.As(err, &status):
		return err
	case status.code == http.StatusUnauthorized && s.token == "":
		return fmt.Errorf("%w: there is no model %s, or it is private: check the name, or set HF_TOKEN to a token that may read it",
			err, r)
	case status.code == http.StatusUnauthorized:
		return fmt.Errorf("%w: there is no model %s, or the access token may not read it", err, r)
	case status.code == http.StatusForbidden && s.token == "":
		return fmt.Errorf("%w: %s is gated: set HF_TOKEN to a token of an account that has accepted its terms", err, r)
	case status.code == http.StatusForbidden:
		return fmt.Errorf("%w: the access token may not read %s", err, r)
	case status.code == http.StatusNotFound && status.reason == "RevisionNotFound":
		return fmt.Errorf("%s has no revision %q: %w", r, revision, err)
	case status.code == http.StatusNotFound && status.reason == "EntryNotFound":
		return fmt.Errorf("%s has no %s at %q: %w", r, file, revision, err)
	case status.code == http.StatusNotFound:
		return fmt.Errorf("no model %s, or no %s at %q in it: %w", r, file, revision, err)
	}
	return fmt.Errorf("%s from %s: %w", r, host, err)
}

// statusError is an answer with another status than success.
type statusError struct {
	host   string
	code   int
	reason string        // the hub's X-Error-Code, such as EntryNotFound; never in a message
	after  time.Duration // as Retry-After asks; 0 if it does not
}

func newStatusError(r *http.Response) *statusError {
	return &statusError{
		host: r.Request.URL.Hostname(), code: r.StatusCode, after: retryAfter(r.Header, time.Now()),
		reason: r.Header.Get("X-Error-Code"),
	}
}

func (e *statusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("%s answers %d %s", e.host, e.code, http.StatusText(e.code)))
}

// transient reports whether trying again may help.
func (e *statusError) transient() bool {
	return e.code == http.StatusRequestTimeout || e.code == http.StatusTooManyRequests || e.code >= 500
}

// isMissing reports whether a file is not in the repository, which itself is there.
func isMissing(err error) bool {
	var s *statusError
	return errors.As(err, &s) && s.code == http.StatusNotFound && (s.reason == "" || s.reason == "EntryNotFound")
}

// networkError is a request that got no answer, or only the beginning of one.
type networkError struct {
	host string
	err  error
}

// newNetworkError returns the error of a request, or why its context ended. Of an answer
// that is not HTTP it does not say what came.
func newNetworkError(ctx context.Context, host string, err error) *networkError {
	_, local := errors.AsType[*tls.CertificateVerificationError](err)
	if text := err.Error(); !local && (strings.Contains(text, "malformed") || strings.Contains(text, `"`)) {
		err = errNotHTTP
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return &networkError{host, err}
}

func (e *networkError) Error() string { return fmt.Sprintf("%s: %v", e.host, e.err) }
func (e *networkError) Unwrap() error { return e.err }

var (
	errStalled = errors.New("less than 1 kB a second came")
	errNotHTTP = errors.New("what it answers is not HTTP")
	errCut     = errors.New("the connection was cut")
)

// corruptError is a body that is not the file: of another length or hash.
type corruptError struct{ error }

func corrupt(format string, args ...any) error {
	return &corruptError{fmt.Errorf(format, args...)}
}
