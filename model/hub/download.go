package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// session is one fetch.
type session struct {
	*Client
	repo    Repo
	reached bool  // a server has answered
	fetched int64 // bytes of files that have come
}

// receive fetches the missing bytes of a file, and checks its hash. After an error
// other than corruption the bytes that have come are of use to a later fetch.
func (s *session) receive(ctx context.Context, in *incoming) error {
	t := retry{c: s.Client, what: in.name, reached: &s.reached}
	again := false
	for {
		before := in.have
		var err error
		if in.have < in.most {
			err = s.attempt(ctx, in)
		}
		s.fetched += max(0, in.have-before)
		if err == nil {
			err = in.check()
		}
		var corrupt *corruptError
		var write *writeError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &write):
			return err
		case errors.As(err, &corrupt):
			// Perhaps it was what had come before. What comes in one piece and is
			// wrong again is the server's fault.
			if err := in.restart(); err != nil {
				return &writeError{err}
			}
			if again {
				return err
			}
			again = true
			s.note(fmt.Sprintf("%s: %v; starting it again", in.name, err))
			continue
		}
		if err := t.wait(ctx, err, in.have-before); err != nil {
			if ctx.Err() == nil {
				err = s.explain(err, s.repo, in.commit, in.name)
			}
			return err
		}
	}
}

// attempt reads one answer to its end.
func (s *session) attempt(ctx context.Context, in *incoming) error {
	ctx, dog := watch(ctx, s.stall)
	defer dog.stop()
	resp, from, err := s.body(ctx, s.repo, in.entry, in.have, &s.reached)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if from != in.have {
		if err := in.restart(); err != nil {
			return &writeError{err}
		}
	}
	host := resp.Request.URL.Hostname()
	body := watched{resp.Body, ctx, dog, host}
	buf := make([]byte, min(in.most-in.have+1, 1<<20)) // one byte too many shows
	for {
		n, err := body.Read(buf[:min(int64(len(buf)), in.most-in.have+1)])
		if in.have+int64(n) > in.most {
			return &corruptError{fmt.Sprintf("%s sends more than %d bytes", host, in.most)}
		}
		if _, err := in.Write(buf[:n]); err != nil {
			return err
		}
		if n > 0 && in.file != nil && s.Progress != nil {
			s.Progress(in.name, in.have, in.size)
		}
		switch {
		case err == io.EOF && in.have < in.size:
			return newNetworkError(host, errCut)
		case err == io.EOF:
			return nil
		case err != nil && in.have == in.size:
			return nil // all is there; the hash says whether it is right
		case err != nil:
			return err
		}
	}
}

// small fetches a file of at most limit bytes into memory, or reads it in the
// cache. Its size is known then.
func (s *session) small(ctx context.Context, e *entry, limit int64) ([]byte, error) {
	if e.size > limit {
		return nil, fmt.Errorf("%s: %s has %d bytes, which no model's has", s.repo, e.name, e.size)
	}
	blob := s.Cache.blob(s.repo, string(e.hash))
	if ok, _ := e.hash.of(blob); ok {
		content, err := os.ReadFile(blob)
		e.size = int64(len(content))
		return content, err
	}
	in := inMemory(*e, limit)
	if err := s.receive(ctx, in); err != nil {
		return nil, fmt.Errorf("%s: %w", e.name, err)
	}
	e.size = in.size
	return in.memory.Bytes(), nil
}

// obtain makes a file visible in its snapshot: from the cache if its content is
// there, else from what small has fetched, else from the hub.
func (s *session) obtain(ctx context.Context, e entry, content []byte) error {
	blob := s.Cache.blob(s.repo, string(e.hash))
	file := filepath.Join(s.Cache.Snapshot(s.repo, e.commit), e.name)
	right := func() bool {
		ok, err := e.hash.of(file)
		return ok && err == nil
	}
	if right() {
		return nil // nothing is written then: the cache may be another user's
	}
	if err := os.MkdirAll(filepath.Dir(blob), 0o777); err != nil {
		return fmt.Errorf("the hub's cache: %w", err)
	}
	unlock, err := s.lock(ctx, e)
	if err != nil {
		return err
	}
	defer unlock()
	if right() { // somebody was faster
		return nil
	}
	if ok, err := s.there(e, blob); err != nil || ok {
		if err == nil {
			err = s.publish(blob, file, false)
		}
		return wrap(e.name, err)
	}
	if err := s.download(ctx, e, blob, content); err != nil {
		return wrap(e.name, err)
	}
	return wrap(e.name, s.publish(blob, file, true))
}

func wrap(name string, err error) error {
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return err
}

// there reports whether the file has the right content. One that has another is
// removed: it cannot have come from the hub as it is.
func (s *session) there(e entry, path string) (bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, nil // not there, or a link to nowhere
	}
	ok := info.Size() == e.size
	if ok {
		if ok, err = e.hash.of(path); err != nil {
			return false, err
		}
	}
	if !ok {
		s.note(fmt.Sprintf("%s: what is in the cache is not the file that the hub has; fetching it again", e.name))
		return false, os.Remove(path)
	}
	return true, nil
}

// download fetches a file's content to blob, which it becomes when it is whole.
func (s *session) download(ctx context.Context, e entry, blob string, content []byte) error {
	incomplete := blob + ".incomplete"
	in, err := s.inFile(e, incomplete)
	if err != nil {
		return err
	}
	if content != nil {
		if err = in.restart(); err == nil {
			_, err = in.Write(content)
		}
	} else {
		err = s.receive(ctx, in)
	}
	if e := in.close(s.sync); err == nil && e != nil {
		err = &writeError{e}
	}
	var corrupt *corruptError
	switch {
	case err == nil:
		return os.Rename(incomplete, blob)
	case errors.As(err, &corrupt) || in.have == 0:
		os.Remove(incomplete)
		return err
	}
	if diskFull(err) {
		err = fmt.Errorf("%w: make room, or set HF_HOME to a folder on another disk", err)
	}
	return fmt.Errorf("%w (%d of %d bytes are there, and the next fetch goes on from them)", err, in.have, e.size)
}

// lock keeps others, huggingface_hub among them, from fetching the same content,
// and waits for those who do.
func (s *session) lock(ctx context.Context, e entry) (unlock func(), err error) {
	path := s.Cache.lock(s.repo, string(e.hash))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, fmt.Errorf("the hub's cache: %w", err)
	}
	l := flock.New(path, flock.SetPermissions(0o664))
	ok, err := l.TryLock()
	if err == nil && !ok {
		s.note(e.name + ": waiting for another fetch of it to end")
		ok, err = l.TryLockContext(ctx, 100*time.Millisecond)
	}
	switch {
	case ok:
		return func() { l.Close() }, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, errors.ErrUnsupported):
		// A file system without locks. Two fetches at once then spoil each other's
		// bytes, which the hash shows.
		return func() {}, nil
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}
