package hub

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A fault answers requests of one kind, as long as there are faults left.
type answer func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc)

// The kinds of requests, in the order of a fetch.
const (
	headConfig  = "HEAD hub config.json"
	getConfig   = "GET hub config.json"
	headWeights = "HEAD hub model.safetensors"
	getWeights  = "GET hub model.safetensors"
	getContent  = "GET cdn"
)

func kind(r *http.Request, cdn bool) string {
	if cdn {
		return r.Method + " cdn"
	}
	return r.Method + " hub " + r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
}

func status(code int, header ...string) answer {
	return func(w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

// cutAt ends the connection after n bytes of the body.
func cutAt(n int64) answer {
	return func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) { serve(&cutter{w, n}, r) }
}

// hangUp ends the connection before an answer, or in its header.
func hangUp(text string) answer {
	return func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			io.WriteString(conn, text)
			conn.Close()
		}
	}
}

// instead sends other bytes, and says that they are the file.
func instead(body []byte, header ...string) answer {
	return func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		status(http.StatusOK, header...)(w, r, serve)
		w.Write(body)
	}
}

// without takes away a header of the hub's answer, or changes it.
func without(name, value string) answer {
	return func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		serve(&changed{ResponseWriter: w, name: name, value: value}, r)
	}
}

type changed struct {
	http.ResponseWriter
	name, value string
}

func (c *changed) WriteHeader(code int) {
	if c.Header().Del(c.name); c.value != "" {
		c.Header().Set(c.name, c.value)
	}
	c.ResponseWriter.WriteHeader(code)
}

// pause waits in the middle of each of the first n writes.
func pause(d time.Duration, n int) answer {
	return func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		serve(&slow{w, d, n, r}, r)
	}
}

type slow struct {
	http.ResponseWriter
	d time.Duration
	n int
	r *http.Request
}

func (s *slow) Write(b []byte) (int, error) {
	if s.n--; s.n < 0 {
		return s.ResponseWriter.Write(b)
	}
	s.ResponseWriter.Write(b[:len(b)/2])
	s.ResponseWriter.(http.Flusher).Flush()
	select {
	case <-time.After(s.d):
	case <-s.r.Context().Done():
		return 0, s.r.Context().Err()
	}
	n, err := s.ResponseWriter.Write(b[len(b)/2:])
	return len(b)/2 + n, err
}

// noLength makes a body of unknown length.
func noLength(body []byte) answer {
	return func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
		w.(http.Flusher).Flush() // so that the server cannot count
		w.Write(body)
	}
}

// silence accepts a request and never answers it.
func silence(_ http.ResponseWriter, r *http.Request, _ http.HandlerFunc) { <-r.Context().Done() }

// redirect answers as the hub does, on the way to where the fault is.
func redirect(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) { serve(w, r) }

func ignoreRange(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
	r.Header.Del("Range")
	serve(w, r)
}

const big = 2<<20 + 12345 // bytes of the weights, more than the pieces in which they are read

var (
	weights = random(big, 1)
	other   = random(big, 2)
)

// Whatever goes wrong once is got over, and the files are whole in the end.
func TestFaultsOnce(t *testing.T) {
	for _, tt := range []struct {
		on     string
		faults []answer      // to the first requests of that kind
		stall  time.Duration // 0: long
		pauses []time.Duration
		ranges string // of the requests for the content
		note   string
	}{
		{on: headConfig, faults: []answer{status(429, "Retry-After", "7")}, pauses: []time.Duration{7 * time.Second}, note: "Too Many Requests"},
		{on: headConfig, faults: []answer{status(429, "RateLimit", `"resolvers";r=0;t=9`)}, pauses: []time.Duration{9 * time.Second}},
		{on: headConfig, faults: []answer{status(429, "RateLimit", `"resolvers";r=5;t=9`)}, pauses: []time.Duration{time.Second}},
		{on: headWeights, faults: []answer{status(503, "Retry-After", "0")}, pauses: []time.Duration{time.Second}},
		{on: headWeights, faults: []answer{status(408), status(500), status(502), status(504)},
			pauses: []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}, note: "Gateway Timeout"},
		{on: getConfig, faults: []answer{status(500), hangUp("")}},
		{on: getConfig, faults: []answer{instead([]byte(`{"model_type": "gpt3"}`))}, note: "starting it again"},
		{on: getWeights, faults: []answer{status(500), status(503)}},
		{on: getContent, faults: []answer{status(500), status(429, "Retry-After", "3")}, pauses: []time.Duration{time.Second, 3 * time.Second}},
		{on: getContent, faults: []answer{status(403), status(404)}}, // the signed address has run out

		{on: headConfig, faults: []answer{hangUp(""), hangUp("HTTP/1.1 2")}},
		{on: headWeights, faults: []answer{hangUp(""), hangUp("HTTP/1.1 200 OK\r\nX-Repo")}},
		{on: getConfig, faults: []answer{cutAt(0), cutAt(5)}},
		{on: getWeights, faults: []answer{hangUp("HTTP/1.1 302 Found\r\nLocation: http")}},
		{on: getContent, faults: []answer{hangUp("")}, ranges: "[][]"},
		{on: getContent, faults: []answer{hangUp("HTTP/1.1 200 OK\r\nContent-Length: 5")}, ranges: "[][]"},
		{on: getContent, faults: []answer{cutAt(0)}, ranges: "[][]"},
		{on: getContent, faults: []answer{cutAt(1)}, ranges: "[][bytes=1-]", note: "the connection was cut"},
		{on: getContent, faults: []answer{cutAt(1 << 20), cutAt(1 << 20)}, ranges: "[][bytes=1048576-][bytes=2097152-]",
			pauses: []time.Duration{time.Second, time.Second}},
		{on: getContent, faults: []answer{cutAt(big - 1)}, ranges: fmt.Sprintf("[][bytes=%d-]", big-1)},
		{on: getContent, faults: []answer{cutAt(1000), ignoreRange}, ranges: "[][bytes=1000-]"},
		{on: getContent, faults: []answer{cutAt(1000), status(416)}, ranges: "[][bytes=1000-][]", note: "has no byte 1000"},
		{on: getContent, faults: []answer{cutAt(1000), without("Content-Range", "bytes 0-5/9")}, ranges: "[][bytes=1000-][]", note: "another part"},
		{on: getContent, faults: []answer{cutAt(1000), without("Content-Range", "")}, ranges: "[][bytes=1000-][]", note: "another part"},
		{on: getContent, faults: []answer{noLength(weights[:1000])}, ranges: "[][bytes=1000-]"},
		{on: getContent, faults: []answer{noLength(weights)}, ranges: "[]"},

		{on: getContent, faults: []answer{instead(other)}, ranges: "[][]", note: "not the file"},
		{on: getContent, faults: []answer{instead(other[:1000])}, ranges: "[][]", note: "sends 1000 bytes where the hub says"},
		{on: getContent, faults: []answer{noLength(append(other, 1))}, ranges: "[][]", note: "sends more than"},
		{on: getContent, faults: []answer{noLength(other[:1000])}, ranges: "[][bytes=1000-][]", note: "not the file"},
		{on: getContent, faults: []answer{instead(weights, "Content-Encoding", "gzip")}, ranges: "[][]", note: "encoded"},

		{on: headConfig, faults: []answer{silence}, stall: 100 * time.Millisecond, note: "less than 1 kB a second came"},
		{on: getConfig, faults: []answer{silence}, stall: 100 * time.Millisecond, note: "less than 1 kB a second came"},
		{on: getConfig, faults: []answer{redirect, pause(time.Minute, 1)}, stall: 100 * time.Millisecond, note: "less than 1 kB a second came"},
		{on: getContent, faults: []answer{silence}, stall: 100 * time.Millisecond, note: "less than 1 kB a second came"},
		{on: getContent, faults: []answer{pause(time.Minute, 1)}, stall: 100 * time.Millisecond, note: "less than 1 kB a second came"},
		// Slow, and steady: longer in all than it may be silent.
		{on: getContent, faults: []answer{pause(150*time.Millisecond, 5)}, stall: 700 * time.Millisecond, pauses: []time.Duration{}, ranges: "[]"},
	} {
		t.Run(tt.on, func(t *testing.T) {
			files := whole(weights)
			p := start(t, files)
			if tt.stall > 0 {
				p.stall = tt.stall
			}
			var n atomic.Int64
			p.hub.Intercept = func(w http.ResponseWriter, r *http.Request, cdn bool, serve http.HandlerFunc) {
				if kind(r, cdn) == tt.on {
					if i := n.Add(1) - 1; i < int64(len(tt.faults)) {
						tt.faults[i](w, r, serve)
						return
					}
				}
				serve(w, r)
			}
			if _, err := p.fetch(t, first, files); err != nil {
				t.Fatal(err)
			}
			if n.Load() < int64(len(tt.faults)) {
				t.Errorf("only %d of the faults happened", n.Load())
			}
			if tt.pauses != nil && !slices.Equal(p.pauses, tt.pauses) {
				t.Errorf("pauses %v, want %v", p.pauses, tt.pauses)
			}
			if _, ranges := gets(p.hub.Requests(), true); tt.ranges != "" && ranges != tt.ranges {
				t.Errorf("asked for %s, want %s", ranges, tt.ranges)
			}
			if notes := strings.Join(p.notes, "\n"); !strings.Contains(notes, tt.note) {
				t.Errorf("notes %q, want one that says %q", notes, tt.note)
			}
			if got := p.incomplete(t); got >= 0 {
				t.Errorf("%d bytes of something are still there", got)
			}
		})
	}
}

// What goes wrong every time ends in an error that says what to do, with nothing
// visible that is not whole.
func TestFaultsForEver(t *testing.T) {
	const gone = -1
	for _, tt := range []struct {
		on   string
		do   answer
		want string
		kept int64 // bytes of the weights
		most int   // requests of that kind
	}{
		{headConfig, status(503), "tried 6 times: 127.0.0.1 answers 503 Service Unavailable", gone, 6},
		{headConfig, status(429, "Retry-After", "3600"), "429 Too Many Requests: it asks to wait 1h0m0s", gone, 1},
		{headConfig, status(400, "X-Error-Message", "no such thing"), "answers 400 Bad Request", gone, 1},
		{headConfig, hangUp(""), "check the network and HF_ENDPOINT", gone, 6},
		{headConfig, status(401), "there is no model someone/model, or it is private: check the name, or set HF_TOKEN", gone, 1},
		{headConfig, status(403, "X-Error-Code", "GatedRepo"), "is gated: set HF_TOKEN", gone, 1},
		{headConfig, status(404), "no model someone/model, or no config.json", gone, 1},
		{headConfig, status(404, "X-Error-Code", "RepoNotFound"), "no model someone/model, or", gone, 1},
		{headConfig, status(404, "X-Error-Code", "RevisionNotFound"), `someone/model has no revision "` + first, gone, 1},
		{headConfig, status(404, "X-Error-Code", "EntryNotFound"), "someone/model has no config.json", gone, 1},
		{headConfig, status(204), "answers 204", gone, 1},
		{headConfig, status(302), "redirects to nowhere", gone, 1},
		{headConfig, status(302, "Location", "ftp://example.com/x"), "not https", gone, 1},
		{headConfig, status(302, "Location", "://"), "redirects to nowhere", gone, 1},
		{headConfig, status(302, "Location", "/someone/model/resolve/main/config.json"), "redirects more than 10 times", gone, 10},
		{headConfig, status(302, "Location", "http://example.com/x", "X-Repo-Commit", first, "X-Linked-Size", "5"), "gives no hash", gone, 1},
		{headConfig, without("X-Repo-Commit", ""), "does not answer as the hub does (no X-Repo-Commit)", gone, 4},
		{headConfig, status(200, "X-Repo-Commit", second, "ETag", `"`+first+`"`, "Content-Length", "5"), "gives config.json of commit 0123456789ab where", gone, 1},
		{headConfig, status(200, "X-Repo-Commit", first, "ETag", `"d41d8cd98f00b204e9800998ecf8427e"`), "gives no hash of it", gone, 1}, // an MD5
		{headConfig, status(200, "X-Repo-Commit", first, "ETag", `"`+first+`"`, "Content-Length", "9999999"), "9999999 bytes, more than any model's", gone, 1},
		{getConfig, instead([]byte(`{"model_type": "gpt3"}`)), "config.json: 22 bytes came, but they are not the file", gone, 2},
		{headWeights, without("X-Linked-Etag", ""), "gives no hash of it", gone, 1},
		{headWeights, without("X-Linked-Size", ""), "does not say how large model.safetensors is", gone, 1},
		{headWeights, without("X-Linked-Size", "-5"), "does not say how large model.safetensors is", gone, 1},
		{headWeights, without("X-Repo-Commit", second), "gives model.safetensors of commit 0123456789ab where", gone, 1},
		{headWeights, status(401), "there is no model someone/model", gone, 1},

		{getWeights, status(500), "tried 6 times", gone, 6},
		{getContent, hangUp(""), "tried 6 times: localhost", gone, 6},
		{getContent, status(403), "tried 6 times: localhost: localhost answers 403", gone, 6},
		{getContent, cutAt(1), "check the network and HF_ENDPOINT (6 of 2109497 bytes are there, and the next fetch goes on from them)", 6, 6},
		{getContent, instead(other), "model.safetensors: 2109497 bytes came, but they are not the file: their hash is", gone, 2},
		{getContent, instead(other[:5]), "sends 5 bytes where the hub says 2109497", gone, 2},
		{getContent, noLength(append(other, 1)), "sends more than 2109497 bytes", gone, 2},
		{getContent, noLength(nil), "the connection was cut", gone, 6},
		{getContent, status(302, "Location", "/loop"), "redirects more than 10 times", gone, 9},
	} {
		t.Run(tt.on, func(t *testing.T) {
			files := whole(weights)
			p := start(t, files)
			n := map[string]int{}
			p.hub.Intercept = func(w http.ResponseWriter, r *http.Request, cdn bool, serve http.HandlerFunc) {
				n[kind(r, cdn)]++ // one connection at a time
				if kind(r, cdn) == tt.on {
					tt.do(w, r, serve)
					return
				}
				serve(w, r)
			}
			_, err := p.fetch(t, first, files)
			contains(t, tt.want, err, tt.want)
			if n[tt.on] == 0 || n[tt.on] > tt.most {
				t.Errorf("%d requests, want 1 to %d", n[tt.on], tt.most)
			}
			if got := p.incomplete(t); got != tt.kept {
				t.Errorf("%d bytes kept, want %d", got, tt.kept)
			}
			if Complete(p.Cache.Snapshot(mine, first)) {
				t.Error("a snapshot is whole")
			}
			if strings.HasPrefix(tt.on, "HEAD") || tt.on == getConfig {
				p.nothing(t) // neither folders nor locks before it is known that there is a model
			}
		})
	}
}

// Progress that is slow but real is never given up.
func TestCutEveryMegabyte(t *testing.T) {
	content := random(10<<20, 5)
	files := whole(content)
	p := start(t, files)
	p.hub.Intercept = func(w http.ResponseWriter, r *http.Request, cdn bool, serve http.HandlerFunc) {
		if cdn {
			cutAt(1<<20)(w, r, serve)
			return
		}
		serve(w, r)
	}
	if _, err := p.fetch(t, first, files); err != nil {
		t.Fatal(err)
	}
	if n, _ := gets(p.hub.Requests(), true); n < 10 {
		t.Errorf("%d requests for 10 MB in pieces of 1", n)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		retry, limit string
		want         time.Duration
	}{
		{"", "", 0},
		{"7", "", 7 * time.Second},
		{"-7", "", 0},
		{"soon", "", 0},
		{"99999999999", "", time.Duration(1<<30) * time.Second},
		{now.Add(time.Minute).Format(http.TimeFormat), "", time.Minute},
		{now.Add(-time.Minute).Format(http.TimeFormat), "", 0},
		{"", `"api";r=0;t=55`, 55 * time.Second},
		{"", `"api"; r=0 ; t=55`, 55 * time.Second},
		{"", `"api";r=1;t=55`, 0},
		{"", `"api";t=55`, 0},
		{"", `"api";r=0;t=-1`, 0},
		{"", `;;=;r=;t`, 0},
		{"3", `"api";r=0;t=55`, 3 * time.Second},
	} {
		h := http.Header{"Retry-After": {tt.retry}, "Ratelimit": {tt.limit}}
		if got := retryAfter(h, now); got != tt.want {
			t.Errorf("Retry-After %q, RateLimit %q: %v, want %v", tt.retry, tt.limit, got, tt.want)
		}
	}
}

// A hub that cannot be reached is said to be so soon; a hub that has answered
// before is waited for.
func TestUnreached(t *testing.T) {
	p := start(t, whole(weights))
	here := p.endpoint.Host
	p.endpoint.Host = "127.0.0.1:1" // nobody listens there
	_, err := p.Fetch(t.Context(), Request{Repo: mine})
	contains(t, "never reached", err, "tried 2 times: 127.0.0.1: dial tcp 127.0.0.1:1")
	contains(t, "never reached", err, "check the network and HF_ENDPOINT")
	p.nothing(t)

	// The hub is there, but the host of the large files is not.
	p.endpoint.Host = here
	p.hub.Intercept = func(w http.ResponseWriter, r *http.Request, cdn bool, serve http.HandlerFunc) {
		if kind(r, cdn) == getWeights {
			status(http.StatusFound, "Location", "http://127.0.0.1:1/x")(w, r, serve)
			return
		}
		serve(w, r)
	}
	_, err = p.fetch(t, first, nil)
	contains(t, "reached in part", err, "tried 6 times: 127.0.0.1: dial tcp 127.0.0.1:1")
}
