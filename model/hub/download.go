package hub

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"checkpoint12/model/atomicfile"
	"checkpoint12/model/regularfile"
)

// small fetches or reads a file of at most limit bytes into memory.
func (s *session) small(ctx context.Context, revision, file string, limit int64) (entry, error) {
	e, err := s.head(ctx, revision, file)
	if err != nil {
		return e, err
	}
	if e.size > limit {
		return e, fmt.Errorf("%s: %s has %d bytes, more than any model's", s.repo, e.name, e.size)
	}
	most := e.size
	if most < 0 {
		most = limit
	}
	if ok, _ := e.hash.of(s.Cache.blob(s.repo, e.hash)); ok {
		e.content, err = regularfile.Read(s.Cache.blob(s.repo, e.hash), limit)
	} else {
		err = s.try(ctx, e.commit, e.name, func(ctx watched) (int64, error) {
			b, _, err := s.open(ctx, e, 0, most)
			if err != nil {
				return 0, err
			}
			defer b.Close()
			e.content, err = io.ReadAll(b)
			n := int64(len(e.content))
			s.fetched += n
			if err == nil {
				err = e.check(bytes.NewReader(e.content), n)
			}
			return n, err
		})
	}
	if err != nil {
		return e, fmt.Errorf("%s: %w", e.name, err)
	}
	e.size = int64(len(e.content))
	return e, nil
}

// check returns an error if the content, have bytes, is not the file's.
func (e entry) check(content io.Reader, have int64) error {
	got, err := e.hash.sum(content, have)
	if err == nil && got != e.hash {
		err = corrupt("%d bytes came, but they are not the file: their hash is %.16s…, the hub says %.16s…",
			have, got, e.hash)
	}
	return err
}

// obtain makes a file visible in its snapshot, unless it is there already.
func (s *session) obtain(ctx context.Context, e entry) error {
	blob := s.Cache.blob(s.repo, e.hash)
	file := filepath.Join(s.Cache.Snapshot(s.repo, e.commit), e.name)
	if ok, _ := e.hash.of(file); ok {
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
	if ok, _ := e.hash.of(file); ok { // somebody was faster
		return nil
	}
	fresh, err := s.fill(ctx, e, blob)
	if err == nil {
		err = s.publish(blob, file, fresh)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", e.name, err)
	}
	return nil
}

// lock keeps others, huggingface_hub among them, from fetching the same content.
func (s *session) lock(ctx context.Context, e entry) (unlock func(), err error) {
	path := s.Cache.lock(s.repo, e.hash)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, fmt.Errorf("the hub's cache: %w", err)
	}
	flags := os.O_CREATE | os.O_RDONLY | syscall.O_NONBLOCK // a pipe, too
	l := flock.New(path, flock.SetPermissions(0o664), flock.SetFlag(flags))
	ok, err := l.TryLock()
	if err == nil && !ok {
		s.note("%s: waiting for another fetch of it to end", e.name)
		ok, err = l.TryLockContext(ctx, 100*time.Millisecond)
	}
	switch {
	case ok:
		return func() { l.Close() }, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, errors.ErrUnsupported):
		// Without locks two fetches at once may spoil each other's bytes; the hash shows it.
		return func() {}, nil
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}

// fill puts a file's content in blob, and reports whether it was not there before.
func (s *session) fill(ctx context.Context, e entry, blob string) (fresh bool, err error) {
	switch ok, err := e.hash.of(blob); {
	case ok:
		return false, nil
	case errors.Is(err, fs.ErrNotExist): // or a link to nowhere
	case err != nil:
		return false, err
	default: // it cannot have come from the hub as it is
		s.note("%s: what is in the cache is not the file that the hub has; fetching it again", e.name)
		if err := os.Remove(blob); err != nil {
			return false, err
		}
	}
	if e.content != nil {
		return true, atomicfile.WriteFile(blob, e.content)
	}
	return true, s.download(ctx, e, blob)
}

// download fetches a file's content to blob, which it becomes when it is whole.
func (s *session) download(ctx context.Context, e entry, blob string) error {
	path := blob + ".incomplete"
	f, err := regularfile.Update(path)
	if err != nil {
		return err
	}
	ctx, cancel := s.within(ctx, e.size)
	defer cancel()
	p := &partial{session: s, entry: e, file: f, out: s.disk(f)}
	if p.have, err = f.Seek(0, io.SeekEnd); err == nil {
		err = s.try(ctx, e.commit, e.name, p.attempt)
	}
	if e := errors.Join(s.sync(f), f.Close()); err == nil {
		err = e
	}
	var wrong *corruptError
	switch {
	case err == nil:
		return os.Rename(path, blob)
	case errors.As(err, &wrong) || p.have == 0:
		os.Remove(path)
		return err
	case errors.As(err, new(*fs.PathError)): // not the network
		err = fmt.Errorf("%w: make room, or set HF_HOME to a folder on another disk", err)
	}
	return fmt.Errorf("%w (%d of %d bytes are there, and the next fetch goes on from them)", err, p.have, e.size)
}

// partial is HASH.incomplete, a file as far as it has come.
type partial struct {
	*session
	entry
	file *os.File
	out  io.Writer // to file, through Client.disk
	have int64     // bytes that have come
}

// attempt goes on where the last one ended. After an error other than corruption
// the bytes that have come are of use to a later fetch.
func (p *partial) attempt(ctx watched) (gained int64, err error) {
	before := p.have
	if p.have < p.size {
		err = p.receive(ctx)
	}
	gained = p.have - before
	if err == nil {
		err = p.check(io.NewSectionReader(p.file, 0, p.have), p.have)
	}
	if wrong := new(corruptError); errors.As(err, &wrong) {
		err = cmp.Or(p.restart(), err)
	}
	return gained, err
}

// receive reads one answer to its end.
func (p *partial) receive(ctx watched) error {
	b, from, err := p.open(ctx, p.entry, p.have, p.size)
	if err != nil {
		return err
	}
	defer b.Close()
	if from != p.have {
		if err := p.restart(); err != nil {
			return err
		}
	}
	_, err = io.Copy(p, b)
	return err
}

// Write takes the next bytes.
func (p *partial) Write(b []byte) (int, error) {
	n, err := p.out.Write(b)
	p.have += int64(n)
	p.fetched += int64(n)
	p.Progress(p.name, p.have, p.size)
	return n, err
}

// restart discards the bytes that have come.
func (p *partial) restart() error {
	p.have = 0
	if err := p.file.Truncate(0); err != nil {
		return err
	}
	_, err := p.file.Seek(0, io.SeekStart)
	return err
}

// publish makes the blob visible as a file of a snapshot, by a relative link or,
// where there are none, moved if it is new and else copied, as huggingface_hub does.
func (s *session) publish(blob, file string, fresh bool) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return err
	}
	relative, err := filepath.Rel(filepath.Dir(file), blob)
	if err != nil {
		return err
	}
	link := file + ".tmp"
	os.Remove(link) // a killed run's
	if !s.copies && os.Symlink(relative, link) == nil {
		defer os.Remove(link)
		to, _ := os.Stat(link)
		if content, _ := os.Stat(blob); !os.SameFile(to, content) {
			return fmt.Errorf("%s: leads out of the cache, and from there no link leads back: remove it",
				filepath.Dir(file))
		}
		return os.Rename(link, file) // in the place of what is not the file, or leads nowhere
	}
	if fresh {
		return os.Rename(blob, file)
	}
	r, _, err := regularfile.Open(blob)
	if err != nil {
		return err
	}
	defer r.Close()
	return atomicfile.Write(file, func(w io.Writer) error {
		_, err := io.Copy(w, r)
		return err
	})
}
