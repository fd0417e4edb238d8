//go:build unix

package cli

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"checkpoint12/model/hub"
)

// An interrupt says that the same command goes on, and it does.
func TestFetchInterrupted(t *testing.T) {
	h, cache := newHub(t)
	files := micro(t)
	h.Add("someone/model", mediumCommit, files)
	h.Intercept = func(w http.ResponseWriter, r *http.Request, cdn bool, serve http.HandlerFunc) {
		if !cdn || r.Header.Get("Range") != "" {
			serve(w, r)
			return
		}
		w.Header().Set("Content-Length", strconv.FormatInt(files[hub.WeightsFile].Size, 10))
		w.Write(read(t, files[hub.WeightsFile])[:1000])
		w.(http.Flusher).Flush()
		for r.Context().Err() == nil {
			found, _ := filepath.Glob(filepath.Join(cache, "*", "blobs", "*.incomplete"))
			if len(found) == 1 {
				if info, err := os.Stat(found[0]); err == nil && info.Size() == 1000 {
					syscall.Kill(os.Getpid(), syscall.SIGINT)
					break
				}
			}
			time.Sleep(time.Millisecond)
		}
		<-r.Context().Done()
	}
	status, stdout, stderr := run("fetch", "someone/model")
	if status != StatusInterrupted || stdout != "" || stderr != "checkpoint12: note: what has come is kept, and the same command goes on from there\ncheckpoint12: error: interrupted\n" {
		t.Errorf("status %d, %q, %q", status, stdout, stderr)
	}
	h.Requests()
	if status, _, stderr = run("fetch", "someone/model"); status != StatusPass || stderr != "" {
		t.Errorf("again: status %d, %q", status, stderr)
	}
	for _, r := range h.Requests() {
		if r.CDN && r.Range != "bytes=1000-" {
			t.Errorf("did not go on: %+v", r)
		}
	}
}
