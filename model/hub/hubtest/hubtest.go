// Package hubtest is a Hugging Face hub for tests: a local server that answers
// requests for files as the hub does, as far as a download can see.
//
// A small file is answered after a redirect on the hub itself, with git's blob
// hash as its ETag. A large one is a redirect to another host, with the SHA-256
// and the size in X-Linked-Etag and X-Linked-Size on the redirect, and an ETag on
// the other host's answer that looks like a SHA-256 and is none, as Xet's are.
// What is not there is answered with the hub's own X-Error-Code.
package hubtest

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// File is one file of a repository.
type File struct {
	Content io.ReaderAt
	Size    int64
	Large   bool // kept in LFS, and answered from the other host
}

// Bytes makes a file of bytes in memory.
func Bytes(content []byte, large bool) File {
	return File{bytes.NewReader(content), int64(len(content)), large}
}

// Hash is the file's name among the blobs of a cache: its SHA-256 if it is large,
// else git's blob hash.
func (f File) Hash() string {
	h := sha256.New()
	if !f.Large {
		h = sha1.New()
		fmt.Fprintf(h, "blob %d\x00", f.Size)
	}
	if _, err := io.Copy(h, io.NewSectionReader(f.Content, 0, f.Size)); err != nil {
		panic(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// Request is one that a Hub has had.
type Request struct {
	CDN           bool // it went to the other host
	Method, Path  string
	Host          string
	Authorization string
	Range         string
}

// Hub is a running server. Its fields are set before the first request.
type Hub struct {
	URL   string // for HF_ENDPOINT
	Token string // what a request must have to be answered; "": none is needed

	// Intercept, if not nil, answers each request in the hub's place. cdn is
	// whether it went to the other host; serve is what the hub would do.
	Intercept func(w http.ResponseWriter, r *http.Request, cdn bool, serve http.HandlerFunc)

	cdn string // the other host's URL, by another name of this machine

	mu       sync.Mutex
	repos    map[string]map[string]*commit // owner/name -> branch or commit
	blobs    map[string]File               // by hash: large files
	requests []Request
}

type commit struct {
	hash   string
	files  map[string]File
	hashes map[string]string // by name
}

// New starts a hub, which ends with the test.
func New(t testing.TB) *Hub {
	h := &Hub{repos: map[string]map[string]*commit{}, blobs: map[string]File{}}
	start := func(cdn bool, serve http.HandlerFunc) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.mu.Lock()
			h.requests = append(h.requests, Request{
				CDN: cdn, Method: r.Method, Path: r.URL.EscapedPath(), Host: r.Host,
				Authorization: r.Header.Get("Authorization"), Range: r.Header.Get("Range"),
			})
			h.mu.Unlock()
			if h.Intercept == nil {
				serve(w, r)
				return
			}
			h.Intercept(w, r, cdn, serve)
		}))
		t.Cleanup(func() {
			s.CloseClientConnections()
			s.Close()
		})
		return s.URL
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/{owner}/{name}/resolve/{revision}/{file}", h.serve)
	mux.HandleFunc("/api/resolve-cache/models/{owner}/{name}/{revision}/{file}", h.serveSmall)
	h.URL = start(false, mux.ServeHTTP)
	h.cdn = strings.Replace(start(true, h.serveCDN), "127.0.0.1", "localhost", 1)
	return h
}

// Add puts the files of a commit into a repository, owner/name, and makes it the
// branch main.
func (h *Hub) Add(repo, hash string, files map[string]File) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &commit{hash, files, map[string]string{}}
	for name, f := range files {
		c.hashes[name] = f.Hash()
		if f.Large {
			h.blobs[c.hashes[name]] = f
		}
	}
	if h.repos[repo] == nil {
		h.repos[repo] = map[string]*commit{}
	}
	h.repos[repo][hash], h.repos[repo]["main"] = c, c
}

// Branch names a commit that was added.
func (h *Hub) Branch(repo, branch, hash string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.repos[repo][branch] = h.repos[repo][hash]
}

// Requests returns those that there have been since it was last called.
func (h *Hub) Requests() []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.requests
	h.requests = nil
	return r
}

// find returns the file that a path asks for, or answers why there is none.
func (h *Hub) find(w http.ResponseWriter, r *http.Request) (*commit, File, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	no := func(status int, code, message string) (*commit, File, bool) {
		w.Header().Set("X-Error-Code", code)
		w.Header().Set("X-Error-Message", message)
		w.WriteHeader(status)
		return nil, File{}, false
	}
	revision := r.PathValue("revision")
	branches, ok := h.repos[r.PathValue("owner")+"/"+r.PathValue("name")]
	switch {
	case h.Token != "" && r.Header.Get("Authorization") != "Bearer "+h.Token:
		return no(http.StatusUnauthorized, "RepoNotFound", "Invalid username or password.")
	case !ok && r.Header.Get("Authorization") == "":
		return no(http.StatusUnauthorized, "RepoNotFound", "Invalid username or password.")
	case !ok:
		return no(http.StatusNotFound, "RepoNotFound", "Repository not found")
	case branches[revision] == nil:
		return no(http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+revision)
	}
	c := branches[revision]
	f, ok := c.files[r.PathValue("file")]
	w.Header().Set("X-Repo-Commit", c.hash)
	if !ok {
		return no(http.StatusNotFound, "EntryNotFound", "Entry not found")
	}
	return c, f, true
}

func (h *Hub) serveSmall(w http.ResponseWriter, r *http.Request) {
	if c, f, ok := h.find(w, r); ok {
		w.Header().Set("ETag", strconv.Quote(c.hashes[r.PathValue("file")]))
		content(w, r, f)
	}
}

func (h *Hub) serve(w http.ResponseWriter, r *http.Request) {
	c, f, ok := h.find(w, r)
	if !ok {
		return
	}
	name := r.PathValue("file")
	w.Header().Set("RateLimit", `"resolvers";r=2998;t=172`)
	if !f.Large {
		w.Header().Set("Location", fmt.Sprintf("/api/resolve-cache/models/%s/%s/%s/%s?etag=%%22%s%%22",
			r.PathValue("owner"), r.PathValue("name"), c.hash, name, c.hashes[name]))
		w.WriteHeader(http.StatusTemporaryRedirect)
		return
	}
	w.Header().Set("X-Linked-Etag", strconv.Quote(c.hashes[name]))
	w.Header().Set("X-Linked-Size", strconv.FormatInt(f.Size, 10))
	w.Header().Set("ETag", `"the redirect's own"`)
	w.Header().Set("Location", h.cdn+"/blob/"+c.hashes[name]+"?Signature=secret")
	w.WriteHeader(http.StatusFound)
}

func (h *Hub) serveCDN(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	f, ok := h.blobs[strings.TrimPrefix(r.URL.Path, "/blob/")]
	h.mu.Unlock()
	if !ok || r.URL.Query().Get("Signature") != "secret" || r.Header.Get("Authorization") != "" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	w.Header().Set("ETag", strconv.Quote(strings.Repeat("c0", 32)))
	content(w, r, f)
}

func content(w http.ResponseWriter, r *http.Request, f File) {
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(f.Content, 0, f.Size))
}
