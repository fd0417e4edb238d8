// Package hub downloads models from the Hugging Face hub into the cache that
// Python's huggingface_hub keeps, in its layout, so that each finds the models that
// the other has fetched. No other package knows that layout.
//
// A file becomes visible only when it is whole and has the hash that the hub
// gives for it; until then its bytes stay in blobs/HASH.incomplete, and the next
// fetch goes on from there. Only config.json and safetensors are fetched: weights
// as pickles are programs.
package hub

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// Client fetches models. Its settings must not be changed while it works; one
// client may fetch several models at the same time.
type Client struct {
	Cache   Cache // where to
	Offline bool  // HF_HUB_OFFLINE: use what is in the cache and ask nobody

	// Progress is called as a large file comes in: done of total bytes are there.
	// done goes back when the file has to be started again.
	Progress func(file string, done, total int64)
	// Note is called with messages for a person who waits: that something is tried
	// again, and why.
	Note func(message string)

	endpoint *url.URL // the hub
	token    string   // for the hub and nobody else; never in a message

	transport *http.Transport
	stall     time.Duration // without a byte, after which a connection counts as cut

	// The machine, as far as tests put something else in its place.
	sleep   func(context.Context, time.Duration) error
	free    func(dir string) (uint64, error) // bytes that a user can still write there
	symlink func(old, new string) error
	disk    func(io.Writer) io.Writer // what a file's bytes are written through
	sync    func(*os.File) error      // forces them to the disk
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
		Offline:   isTrue("HF_HUB_OFFLINE") || isTrue("TRANSFORMERS_OFFLINE"),
		Progress:  func(string, int64, int64) {},
		Note:      func(string) {},
		endpoint:  endpoint,
		token:     token,
		transport: http.DefaultTransport.(*http.Transport).Clone(),
		stall:     30 * time.Second,
		sleep:     sleep,
		free:      freeBytes,
		symlink:   os.Symlink,
		disk:      func(w io.Writer) io.Writer { return w },
		sync:      (*os.File).Sync,
	}
	c.transport.DialContext = (&net.Dialer{Timeout: 15 * time.Second}).DialContext
	c.transport.DisableCompression = true // lengths and ranges are those of the file
	if isTrue("HF_HUB_DISABLE_SYMLINKS") {
		c.symlink = func(string, string) error { return os.ErrPermission }
	}
	return c, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	return context.Cause(ctx)
}
