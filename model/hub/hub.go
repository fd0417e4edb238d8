// Package hub downloads models from the Hugging Face hub into the cache of Python's
// huggingface_hub, whose layout no other package knows. A file becomes visible only
// when it is whole and has the hub's hash.
package hub

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"checkpoint12/model/regularfile"
)

// Client fetches models, several at a time. Its settings must not change meanwhile.
type Client struct {
	Cache   Cache // where to
	Offline bool  // HF_HUB_OFFLINE: use what is in the cache and ask nobody

	// Progress is called with how much of a large file is there; done may go back.
	Progress func(file string, done, total int64)
	// Note is called with messages for a person who waits.
	Note func(message string)

	endpoint *url.URL // the hub
	token    string   // for the hub and nobody else; never in a message
	copies   bool     // no links in the cache

	transport *http.Transport
	stall     time.Duration // with too few bytes, after which a connection counts as cut

	// The machine, as far as tests put something else in its place.
	sleep func(context.Context, time.Duration) error
	free  func(dir string) (uint64, error) // bytes that a user can still write there
	disk  func(io.Writer) io.Writer        // what a file's bytes are written through
	sync  func(*os.File) error             // forces them to the disk
}

// New returns a client with the settings of the environment, which are
// huggingface_hub's: HF_HUB_CACHE, HF_HOME, HF_ENDPOINT, HF_TOKEN or the token
// file, HF_HUB_OFFLINE, HF_HUB_DISABLE_SYMLINKS, and the usual ones for proxies.
func New() (*Client, error) {
	endpoint, err := endpoint()
	if err != nil {
		return nil, err
	}
	token, err := token()
	if err != nil {
		return nil, err
	}
	c := &Client{
		Cache:     CacheDir(),
		copies:    isTrue("HF_HUB_DISABLE_SYMLINKS"),
		Offline:   isTrue("HF_HUB_OFFLINE") || isTrue("TRANSFORMERS_OFFLINE"),
		Progress:  func(string, int64, int64) {},
		Note:      func(string) {},
		endpoint:  endpoint,
		token:     token,
		transport: http.DefaultTransport.(*http.Transport).Clone(),
		stall:     30 * time.Second,
		sleep:     sleep,
		free:      freeBytes,
		disk:      func(w io.Writer) io.Writer { return w },
		sync:      (*os.File).Sync,
	}
	c.transport.DialContext = (&net.Dialer{Timeout: 15 * time.Second}).DialContext
	c.transport.DisableCompression = true // lengths and ranges are those of the file
	return c, nil
}

// note calls Note.
func (c *Client) note(format string, args ...any) { c.Note(c.redact(fmt.Sprintf(format, args...))) }

// redact replaces every piece of the access token in a message, whatever a server has
// put it into: also in the other case, in base64, percent-encoded or in hexadecimal.
// Fewer than 8 characters may be anything.
func (c *Client) redact(message string) string {
	lower := lowerASCII(message)
	secret := make([]bool, len(message))
	for _, form := range forms(c.token) {
		form = lowerASCII(form)
		n := min(8, len(form))
		for i := range len(form) - n + 1 {
			for at := 0; ; at++ {
				next := strings.Index(lower[at:], form[i:i+n])
				if next < 0 {
					break
				}
				at += next
				for j := range n {
					secret[at+j] = true
				}
			}
		}
	}
	var b strings.Builder
	for i := range len(message) {
		switch {
		case !secret[i]:
			b.WriteByte(message[i])
		case i == 0 || !secret[i-1]:
			b.WriteString("***")
		}
	}
	return b.String()
}

// forms returns how a token may be written, none for "".
func forms(token string) []string {
	if token == "" {
		return nil
	}
	forms := []string{token, fmt.Sprintf("%x", token), strings.ReplaceAll(fmt.Sprintf("% x", token), " ", "%")}
	for before := range 3 { // bytes before it, which base64 takes three at a time
		text := strings.Repeat("x", before) + token
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			if form := e.EncodeToString([]byte(text[:len(text)/3*3])); len(form) > before+8 {
				forms = append(forms, form[before+1:]) // at most that many are of what is before
			}
		}
	}
	return forms
}

// lowerASCII returns s, of the same length, without capitals.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}

// redactedError is an error with another text.
type redactedError struct {
	error
	text string
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.error }

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	return context.Cause(ctx)
}

// The variables that are read here are huggingface_hub's own:
// https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables

// CacheDir returns the cache of this machine's huggingface_hub: HF_HUB_CACHE, else hub
// in HF_HOME, else huggingface/hub in XDG_CACHE_HOME or ~/.cache, else "".
func CacheDir() Cache {
	if _, dir := firstOf("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"); dir != "" {
		return Cache(filepath.Clean(expand(dir)))
	}
	return Cache(inHome("hub"))
}

// firstOf returns the first of the variables that is set.
func firstOf(names ...string) (name, value string) {
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			return name, value
		}
	}
	return "", ""
}

// inHome returns the path of a name in huggingface_hub's folder, or "".
func inHome(name string) string {
	if dir := os.Getenv("HF_HOME"); dir != "" {
		return filepath.Join(expand(dir), name)
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(expand(dir), "huggingface", name)
	}
	dir, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, ".cache", "huggingface", name)
}

// expand replaces a leading ~ and $VARIABLES as huggingface_hub does.
func expand(path string) string {
	if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || os.IsPathSeparator(rest[0])) {
		if home, err := os.UserHomeDir(); err == nil {
			path = home + rest
		}
	}
	return os.Expand(path, func(name string) string {
		if value, ok := os.LookupEnv(name); ok {
			return value
		}
		return "${" + name + "}"
	})
}

// isTrue reports whether a switch is on, as huggingface_hub does.
func isTrue(name string) bool {
	return slices.Contains([]string{"1", "ON", "YES", "TRUE"}, strings.ToUpper(os.Getenv(name)))
}

// endpoint returns the hub's address: HF_ENDPOINT, else huggingface.co.
func endpoint() (*url.URL, error) {
	s := cmp.Or(os.Getenv("HF_ENDPOINT"), "https://huggingface.co")
	u, err := url.Parse(strings.TrimRight(s, "/"))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("HF_ENDPOINT is not an address such as https://huggingface.co")
	}
	return u, nil
}

// token returns the user's access token, or "". Errors never hold it.
func token() (string, error) {
	if isTrue("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
		return "", nil
	}
	from, value := firstOf("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
	if value == "" {
		from = expand(cmp.Or(os.Getenv("HF_TOKEN_PATH"), inHome("token")))
		data, err := regularfile.Read(from, maxToken) // "" is no file
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("read the hub's access token: %w", err)
		}
		value = string(data)
	}
	value = strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(value))
	// It goes into a header, and an error about a header might show it.
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%s holds no access token: there is a blank or a special character in it", from)
	}
	return value, nil
}
