package hub

import (
	"context"
	"errors"
	"io"
	"time"
)

// watchdog ends a context when it is not told in time that there is life.
type watchdog struct {
	timer  *time.Timer
	cancel context.CancelCauseFunc
	limit  time.Duration
}

func watch(ctx context.Context, limit time.Duration) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &watchdog{time.AfterFunc(limit, func() { cancel(errStalled) }), cancel, limit}
}

func (w *watchdog) alive() { w.timer.Reset(w.limit) }

func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// watched is a body whose every byte is a sign of life, and whose errors are
// those of the network.
type watched struct {
	io.Reader
	ctx  context.Context
	dog  *watchdog
	host string
}

func (w watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if n > 0 {
		w.dog.alive()
	}
	if err == nil || err == io.EOF {
		return n, err
	}
	if cause := context.Cause(w.ctx); cause != nil {
		err = cause
	} else if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errCut
	}
	return n, newNetworkError(w.host, err)
}
