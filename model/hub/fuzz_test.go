package hub

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"checkpoint12/model/hub/hubtest"
)

func FuzzShards(f *testing.F) {
	f.Add([]byte(`{"weight_map": {"x": "b.safetensors", "y": "../a.safetensors"}}`))
	f.Fuzz(func(t *testing.T, index []byte) {
		names, err := Shards(index)
		for _, n := range names {
			if filepath.Base(n) != n || filepath.Ext(n) != ".safetensors" {
				t.Errorf("%q", n)
			}
		}
		if (err == nil) != (len(names) > 0) {
			t.Error(names, err)
		}
	})
}

func FuzzParseRepo(f *testing.F) {
	f.Add("openai-community/gpt2")
	f.Add("../x")
	f.Fuzz(func(t *testing.T, name string) {
		r, err := ParseRepo(name)
		if err != nil {
			return
		}
		c := Cache("cache")
		for _, path := range []string{c.blob(r, "h"), c.Snapshot(r, first), c.lock(r, "h"), c.ref(r, "main")} {
			if rel, err := filepath.Rel("cache", path); err != nil || strings.HasPrefix(rel, "..") || strings.Count(filepath.ToSlash(rel), "/") != 2 {
				t.Errorf("%q leads to %s", name, path)
			}
		}
	})
}

func FuzzRef(f *testing.F) {
	f.Add("main", []byte(first+"\n"))
	f.Add("refs/pr/4", []byte("../../x"))
	f.Add("a/../../b", []byte("c:x"))
	c := Cache(f.TempDir())
	f.Fuzz(func(t *testing.T, revision string, content []byte) {
		path := c.ref(mine, revision)
		if rel, err := filepath.Rel(c.ref(mine, ""), path); checkRevision(revision) == nil && (err != nil || !filepath.IsLocal(rel)) {
			t.Fatalf("%q leads to %s", revision, path)
		}
		os.RemoveAll(string(c))
		if checkRevision(revision) == nil {
			write(t, path, content)
		}
		commit, ok := c.Ref(mine, revision)
		if ok && (!filepath.IsLocal(commit) || filepath.Base(commit) != commit) {
			t.Errorf("%q is at %q", revision, commit)
		}
	})
}

// FuzzAnswer lets a hub answer the requests of one kind with any headers. The fetch ends
// with the model or with one line, and nothing wrong is visible in the cache.
func FuzzAnswer(f *testing.F) {
	const token = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz"
	names := []string{"X-Repo-Commit", "ETag", "X-Linked-Etag", "X-Linked-Size", "Location", "Content-Range",
		"Retry-After", "RateLimit", "X-Error-Message", "X-Error-Code", "Content-Encoding", "Content-Length"}
	add := func(on uint8, code uint16, name uint8, value string) { f.Add(on, code, name, value, uint8(0), "") }
	for i, value := range []string{second, `W/"` + first + `"`, `"../../x"`, "9223372036854775808", "//x.invalid/\x00", "bytes 1-2/3",
		"99999999999999999999", `"api";r=0;t=99999999999`, token, "GatedRepo", "gzip", "-1"} {
		add(uint8(i), 200+uint16(i)*13, uint8(i), value)
		add(4, 206, uint8(i), value)
	}
	alone(f)
	h := hubtest.New(f)
	h.Add(string(mine), first, whole(random(100, 1)))
	p := another(f, h)
	p.token = token
	p.free = func(string) (uint64, error) { return 1 << 40, nil }
	f.Fuzz(func(t *testing.T, on uint8, code uint16, name uint8, value string, again uint8, more string) {
		p.Cache = Cache(t.TempDir())
		p.notes, p.pauses = nil, nil
		set := map[string]string{names[int(name)%len(names)]: value, names[int(again)%len(names)]: more}
		p.answering([]string{headConfig, getConfig, headWeights, getWeights, getContent}[on%5],
			func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
				for k, v := range set {
					w = &changed{w, k, v}
				}
				if code%2 == 0 {
					w.WriteHeader(200 + int(code)%400)
					return
				}
				serve(w, r)
			})
		_, err := p.Fetch(t.Context(), Request{Repo: mine, Revision: first})
		p.clean(t)
		var said []string
		if err != nil {
			said = append(p.notes, err.Error())
		}
		for _, line := range said {
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) || strings.Contains(line, token[:8]) {
				t.Errorf("said %q", line)
			}
		}
		for _, d := range p.pauses {
			if d <= 0 || d > longest {
				t.Errorf("a pause of %v", d)
			}
		}
		if d := retryAfter(http.Header{"Retry-After": {value}, "Ratelimit": {more}}, time.Now()); d < 0 {
			t.Errorf("wait %v", d)
		}
	})
}
