package hub

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"checkpoint12/model/hub/hubtest"
)

// answering makes the hub answer the requests of one kind in this way, every time.
func (p *probe) answering(on string, do answer) {
	p.hub.Intercept = func(w http.ResponseWriter, r *http.Request, cdn bool, serve http.HandlerFunc) {
		if on == "" || kind(r, cdn) == on {
			do(w, r, serve)
			return
		}
		serve(w, r)
	}
}

// Wherever a server puts the token, whole or cut, and however the fetch then ends,
// neither its error nor a note has a piece of it.
func TestTokenEchoed(t *testing.T) {
	const secret = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"
	written := []string{secret, strings.ToUpper(secret), base64.StdEncoding.EncodeToString([]byte(secret)),
		base64.StdEncoding.EncodeToString([]byte("Bearer " + secret))[10:], strings.ReplaceAll(fmt.Sprintf("% x", secret), " ", "%")}
	said := func(p *probe, err error) {
		t.Helper()
		text := strings.ToLower(fmt.Sprint(err) + strings.Join(p.notes, "\n"))
		for _, form := range written {
			form = strings.ToLower(form)
			for i := range len(form) - 9 {
				if strings.Contains(text, form[i:i+10]) {
					t.Fatalf("said %q", text)
				}
			}
		}
	}
	// fetch lets the hub answer the requests of one kind in each of these ways.
	fetch := func(files map[string]hubtest.File, on string, ways ...answer) (err error) {
		t.Helper()
		p := start(t, files)
		p.token = secret
		for _, do := range ways {
			p.answering(on, do)
			_, err = p.Fetch(t.Context(), Request{Repo: mine, Check: func(c []byte) error {
				if string(c) != config {
					return fmt.Errorf("not for %.40q", c)
				}
				return nil
			}})
			said(p, err)
		}
		return err
	}
	files := whole(random(100, 1))
	headers := []string{"ETag", "X-Linked-Etag", "X-Linked-Size", "X-Repo-Commit", "X-Error-Code", "X-Error-Message",
		"Location", "Content-Range", "Content-Encoding", "Content-Type", "Retry-After", "RateLimit"}
	var ways []answer
	for _, before := range []string{"", `"`, "https://", "https://x.invalid/", "/", "bytes "} {
		for _, form := range written {
			value := before + form
			all := []string{}
			for _, h := range headers {
				all = append(all, h, value)
				ways = append(ways, without(h, value))
			}
			for _, code := range []int{200, 206, 302, 401, 404, 429} {
				ways = append(ways, status(code, all...))
			}
		}
	}
	for _, head := range []string{secret, "HTTP/1.1 " + secret, "HTTP/1.1 200 " + secret, "HTTP/1.1 200 OK\r\n" + secret,
		"HTTP/1.1 200 OK\r\nContent-Length: " + secret, "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + secret} {
		ways = append(ways, hangUp(head+"\r\n\r\n"))
	}
	for _, on := range []string{headConfig, getConfig, headWeights, getWeights, getContent} {
		fetch(files, on, ways...)
	}
	echo := maps.Clone(files)
	echo[ConfigFile] = hubtest.Bytes([]byte(`{"model_type": "`+secret+`"}`), false)
	contains(t, "a config", fetch(echo, "", redirect), "not for")
	echo[ConfigFile] = files[ConfigFile]
	echo[IndexFile] = hubtest.Bytes([]byte(`{"weight_map": {"a": "`+secret+`.safetensors"}}`), false)
	delete(echo, WeightsFile)
	contains(t, "a file's name", fetch(echo, "", redirect), "has the access token for the name of a file")
}

// drip sends a byte at a time.
func drip(w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) {
	for r.Context().Err() == nil {
		w.Write([]byte{'{'})
		w.(http.Flusher).Flush()
		time.Sleep(5 * time.Millisecond)
	}
}

// A server that keeps a fetch waiting, in whatever way, is given up with one line.
func TestGivesUp(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]hubtest.File
		on    string // of requests; "" is all
		do    answer
		want  string
	}{
		{"a byte at a time", whole(weights), getConfig, drip, "tried 6 times: 127.0.0.1: less than 1 kB a second came"},
		{"of the weights", whole(weights), getContent, drip, "tried 6 times: localhost: less than 1 kB a second came"},
		{"asked to wait again and again", whole(weights), headConfig, status(429, "Retry-After", "299"), // twice, and what a slow machine adds
			"it asks to wait 9m5"},
		{"each file in time, all of them not", sharded(400), "", func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
			if strings.HasSuffix(r.URL.Path, ".safetensors") {
				time.Sleep(5 * time.Millisecond)
			}
			serve(w, r)
		}, "someone/model from 127.0.0.1: not there after 1.2s: check the network and HF_ENDPOINT"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, tt.files)
			p.stall = 20 * time.Millisecond
			p.answering(tt.on, tt.do)
			_, err := p.Fetch(t.Context(), Request{Repo: mine})
			contains(t, tt.name, err, tt.want)
		})
	}
}

// A certificate that is not trusted is not by asking again.
func TestBadCertificate(t *testing.T) {
	p := start(t, whole(weights))
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	p.endpoint, _ = url.Parse(s.URL)
	_, err := p.Fetch(t.Context(), Request{Repo: mine})
	contains(t, "certificate", err, "failed to verify certificate")
	contains(t, "certificate", err, "check the network and HF_ENDPOINT")
	if len(p.pauses) > 0 {
		t.Errorf("asked again after %v", p.pauses)
	}
}

// Sizes whose sum no integer holds do not fit on the disk.
func TestSizesOverflow(t *testing.T) {
	p := start(t, sharded(8))
	p.hub.Intercept = func(w http.ResponseWriter, r *http.Request, cdn bool, serve http.HandlerFunc) {
		if strings.HasSuffix(r.URL.Path, ".safetensors") {
			w = &changed{w, "X-Linked-Size", fmt.Sprint(1 << 61)}
		}
		serve(w, r)
	}
	_, err := p.Fetch(t.Context(), Request{Repo: mine})
	contains(t, "sizes", err, "someone/model needs 18446744073.71 GB")
}

// sharded is a model whose weights are in n files.
func sharded(n int) map[string]hubtest.File {
	files := map[string]hubtest.File{
		ConfigFile: hubtest.Bytes([]byte(config), false), IndexFile: hubtest.Bytes([]byte(indexOf(n)), false),
	}
	for i := range n {
		files[fmt.Sprintf("%d.safetensors", i)] = hubtest.Bytes(random(10, uint64(i)), true)
	}
	return files
}

// indexOf lists n weight files.
func indexOf(n int) string {
	var entries []string
	for i := range n {
		entries = append(entries, fmt.Sprintf(`"%[1]d": "%[1]d.safetensors"`, i))
	}
	return `{"weight_map": {` + strings.Join(entries, ",") + "}}"
}

// A snapshot's folder that is a link elsewhere gets no links that lead nowhere.
func TestSnapshotElsewhere(t *testing.T) {
	files := whole(weights)
	for _, up := range []string{"", ".."} {
		p := start(t, files)
		place, elsewhere := filepath.Join(p.Cache.Snapshot(mine, first), up), t.TempDir()
		if err := errors.Join(os.MkdirAll(filepath.Dir(place), 0o700), os.Symlink(elsewhere, place)); err != nil {
			t.Skipf("no symbolic links here: %v", err)
		}
		_, err := p.Fetch(t.Context(), Request{Repo: mine, Revision: first})
		contains(t, place, err, "leads out of the cache")
		filepath.WalkDir(elsewhere, func(path string, d fs.DirEntry, err error) error {
			if !d.IsDir() {
				t.Errorf("left behind: %s", path)
			}
			return err
		})
	}
}
